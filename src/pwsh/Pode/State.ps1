# Shared state and locks: one table each, in the core. An object that changes is the same for all (Shared.ps1).

Set-StrictMode -Version Latest

# Get-, Set-, Remove-, Test-PodeState and Get-PodeStateNames are compiled (StateCommands.cs); what is an object comes here.
[SecretBridge.Pode.SetPodeStateCommand]::Store = { param($Name, $Value, $Scope) Send-StateValue $Name $Value $Scope }

# An object that is known already is told by its number; another takes the place of the one of that name.
function Send-StateValue([string] $Name, $Value, [string[]] $Scope) {
    $what = [ordered]@{ do = 'state-set'; name = $Name; scope = $Scope }
    if (-not (Test-Container $Value)) {
        Write-CopyWarning "the state '$Name'" $Value
        $what['value'] = [SecretBridge.Portable]::Tag($Value)
        $null = Request-Core $what
        return
    }
    $found = ConvertTo-SharedText $Value
    Write-StayWarning "the state '$Name'" $found.Stays
    $copy = Find-SharedCopy $Value
    if ($null -ne $copy) {
        $what['shared'] = $copy.Id
        $null = $script:Held.Add($copy.Id)
    }
    $what['text'] = $found.Text
    $answer = Request-Core $what
    if ($what['shared'] -ne $answer['id']) {
        if ($null -ne $copy) { $script:Copies.Remove($copy.Id) }
        $null = Add-SharedCopy $answer['id'] $Value $found.Text $answer['version']
    }
}

<#
.SYNOPSIS
Writes the shared state to a JSON file.
#>
function Save-PodeState {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [string] $Path,
        [string[]] $Scope, [string[]] $Exclude, [string[]] $Include,
        [ValidateRange(0, 100)] [int] $Depth = 20, [switch] $Compress
    )
    $state = [ordered]@{}
    foreach ($name in Get-PodeStateNames -Scope $Scope -Include $Include -Exclude $Exclude) {
        $state[$name] = Get-PodeState -Name $name -WithScope
    }
    $full = [System.IO.Path]::GetFullPath($Path, $script:Bridge.Root)
    [System.IO.File]::WriteAllText($full, (ConvertTo-Json -InputObject $state -Depth $Depth -Compress:$Compress))
}

# What Pode 2.13 and later write into a state file: each value with its type.
function ConvertFrom-StateData($Node) {
    if ($Node -is [object[]]) { return , @(foreach ($item in $Node) { ConvertFrom-StateData $item }) }
    if ($Node -isnot [hashtable]) { return $Node }
    if (-not $Node.ContainsKey('Items')) {
        switch ([string]$Node['Type']) {
            'DateTime' { return [datetime]::Parse($Node['Value'], [cultureinfo]::InvariantCulture, 'RoundtripKind') }
            'TimeSpan' { return [timespan]::FromTicks($Node['Value']) }
            'Guid' { return [guid]$Node['Value'] }
        }
        return $Node['Value']
    }
    if ($Node['Type'] -notmatch 'Dictionary|Hashtable|PSCustomObject') { return , @(foreach ($item in $Node['Items']) { ConvertFrom-StateData $item }) }
    $table = [ordered]@{}
    foreach ($item in $Node['Items']) { $table[[object][string]$item['Key']] = ConvertFrom-StateData $item['Value'] }
    if ($Node['Type'] -eq 'PSCustomObject') { return [pscustomobject]$table }
    if ($Node['Type'] -match 'Ordered' -and $Node['Type'] -notmatch '^Pode') { return $table }
    [hashtable]::new($table, [StringComparer]::OrdinalIgnoreCase)
}

<#
.SYNOPSIS
Reads the shared state from a JSON file; a file that is not there is no state.
#>
function Restore-PodeState {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Path, [switch] $Merge, [int] $Depth = 20)
    $full = [System.IO.Path]::GetFullPath($Path, $script:Bridge.Root)
    if (-not [System.IO.File]::Exists($full)) { return }
    $state = [SecretBridge.PlainJson]::ParseTables([System.IO.File]::ReadAllText($full))
    if ($state -isnot [hashtable]) { throw (New-CommandError "the state file '$full' holds no table" 'StateFile' 'InvalidData') }
    if ($state.ContainsKey('__pode_state_data__')) { $state = ConvertFrom-StateData $state['__pode_state_data__'] }
    if (-not $Merge) { foreach ($name in @(Get-PodeStateNames)) { $null = Remove-PodeState -Name $name } }
    foreach ($name in $state.Keys) {
        $entry = $state[$name]
        # Very old files have the bare value.
        if ($entry -isnot [hashtable] -or -not $entry.ContainsKey('Scope')) { $entry = @{ Value = $entry; Scope = @() } }
        $null = Set-PodeState -Name $name -Value $entry['Value'] -Scope $entry['Scope']
    }
}

# Locks go by name, because an object is another one in each worker: what has no name shares one lock.
function Get-LockName($Object, [string] $Name) {
    if ($Name) { return $Name }
    $copy = if ($null -ne $Object) { Find-SharedCopy $Object }
    if ($null -ne $copy) { return "__object_$($copy.Id)__" }
    if ($Object -is [System.Collections.IDictionary] -and $Object['Name'] -is [string] -and $Object['Name']) { return $Object['Name'] }
    '__global__'
}

# Returns once nobody holds the global lock.
function Wait-GlobalLock([int] $Timeout) {
    Enter-Lock '__global__' $Timeout
    Exit-Lock '__global__'
}

function Enter-Lock([string] $Name, [int] $Timeout) {
    try { [SecretBridge.Pode.Locks]::Enter($Name, $Timeout) }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
}

function Exit-Lock([string] $Name) {
    try { [SecretBridge.Pode.Locks]::Exit($Name) }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
}

<#
.SYNOPSIS
Runs a block while no other worker holds the same lock.
#>
function Lock-PodeObject {
    [CmdletBinding(DefaultParameterSetName = 'Object')]
    param(
        [Parameter(Position = 0, ValueFromPipeline, ParameterSetName = 'Object')] [AllowNull()] [object] $Object,
        [Parameter(Mandatory, ParameterSetName = 'Name')] [string] $Name,
        [Parameter(Mandatory)] [scriptblock] $ScriptBlock,
        [int] $Timeout = [System.Threading.Timeout]::Infinite,
        [switch] $Return,
        [switch] $CheckGlobal
    )
    $lock = Get-LockName $Object $Name
    if ($CheckGlobal) { Wait-GlobalLock $Timeout }
    Enter-Lock $lock $Timeout
    try {
        if ($Return) { . $ScriptBlock } else { $null = . $ScriptBlock }
    }
    finally { Exit-Lock $lock }
}

<#
.SYNOPSIS
Names a lock.
#>
function New-PodeLockable {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    $null = $Name
}

<#
.SYNOPSIS
A named lock, for Lock-PodeObject.
#>
function Get-PodeLockable {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    @{ Name = $Name }
}

<#
.SYNOPSIS
Takes a lock until Exit-PodeLockable.
#>
function Enter-PodeLockable {
    [CmdletBinding(DefaultParameterSetName = 'Object')]
    param(
        [Parameter(Position = 0, ValueFromPipeline, ParameterSetName = 'Object')] [AllowNull()] [object] $Object,
        [Parameter(Mandatory, ParameterSetName = 'Name')] [string] $Name,
        [int] $Timeout = [System.Threading.Timeout]::Infinite,
        [switch] $CheckGlobal
    )
    if ($CheckGlobal) { Wait-GlobalLock $Timeout }
    Enter-Lock (Get-LockName $Object $Name) $Timeout
}

<#
.SYNOPSIS
Gives a lock back.
#>
function Exit-PodeLockable {
    [CmdletBinding(DefaultParameterSetName = 'Object')]
    param(
        [Parameter(Position = 0, ValueFromPipeline, ParameterSetName = 'Object')] [AllowNull()] [object] $Object,
        [Parameter(Mandatory, ParameterSetName = 'Name')] [string] $Name
    )
    Exit-Lock (Get-LockName $Object $Name)
}

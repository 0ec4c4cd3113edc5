# The Secrets feature: vaults, mounts and secrets. Every table is the core's.

Set-StrictMode -Version Latest

# What only PowerShell's own cmdlets can do for the compiled commands: look into a value of any type.
[SecretBridge.Pode.SecretValues]::Expand = { param($Value, $Name) , (Select-Object -InputObject $Value -ExpandProperty $Name -ErrorAction SilentlyContinue) }
[SecretBridge.Pode.SecretValues]::Select = { param($Value, $Names) Select-Object -InputObject $Value -Property ([string[]]$Names) }

# VaultParameters are plain data; anything else could not reach another worker.
function ConvertTo-VaultParameter($Value, [string] $Name = 'VaultParameters') {
    if ($null -eq $Value) { return $null }
    $base = $Value
    if ($base -is [string]) { return [SecretBridge.Values]::Checked($base) }
    if ($base -is [bool] -or $base -is [int] -or $base -is [long] -or $base -is [double]) { return $base }
    if ($base -is [System.Collections.IDictionary]) {
        $plain = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal)
        foreach ($entry in $base.GetEnumerator()) { $plain[[object][string]$entry.Key] = ConvertTo-VaultParameter $entry.Value "$Name.$($entry.Key)" }
        return $plain
    }
    if ($base -is [ValueType] -or $base -is [uri] -or $base -is [version]) { return [string]$base }
    if ($base -is [array] -or $base -is [System.Collections.IList]) { return , @(foreach ($item in $base) { ConvertTo-VaultParameter $item $Name }) }
    throw (New-CommandError "'$Name' is a $($base.GetType().FullName), which cannot reach the workers (hint: plain data; open connections in -InitScriptBlock)" 'VaultParameters' 'InvalidType')
}

<#
.SYNOPSIS
Registers a secret vault: a SecretManagement extension module, or script blocks of one's own.
#>
function Register-PodeSecretVault {
    [CmdletBinding(DefaultParameterSetName = 'SecretManagement')]
    param(
        [Parameter(Mandatory)] [string] $Name,
        [hashtable] $VaultParameters,
        [string] $UnlockSecret,
        [securestring] $UnlockSecureSecret,
        [int] $UnlockInterval = 0,
        [switch] $NoUnlock,
        [int] $CacheTtl = 0,
        [scriptblock] $InitScriptBlock,
        [Parameter(ParameterSetName = 'SecretManagement')] [string] $VaultName,
        [Parameter(Mandatory, ParameterSetName = 'SecretManagement')] [Alias('Module')] [string] $ModuleName,
        [Parameter(Mandatory, ParameterSetName = 'Custom')] [scriptblock] $ScriptBlock,
        [Parameter(ParameterSetName = 'Custom')] [Alias('Unlock')] [scriptblock] $UnlockScriptBlock,
        [Parameter(ParameterSetName = 'Custom')] [Alias('Remove')] [scriptblock] $RemoveScriptBlock,
        [Parameter(ParameterSetName = 'Custom')] [Alias('Set')] [scriptblock] $SetScriptBlock,
        [Parameter(ParameterSetName = 'Custom')] [Alias('Unregister')] [scriptblock] $UnregisterScriptBlock
    )
    $custom = $PSCmdlet.ParameterSetName -eq 'Custom'
    $unlock = if ($UnlockSecret) { [ordered]@{ t = 'securestring'; v = [SecretBridge.Values]::Checked($UnlockSecret) } }
    elseif ($null -ne $UnlockSecureSecret -and $UnlockSecureSecret.Length) { [SecretBridge.Values]::Tag($UnlockSecureSecret) }
    if (-not $custom -and $ModuleName -eq 'Microsoft.PowerShell.SecretStore' -and $null -eq $unlock) {
        throw (New-CommandError "An 'UnlockSecret' property is required when using Microsoft.PowerShell.SecretStore" 'UnlockSecretRequired' 'InvalidArgument')
    }
    if ($custom -and $null -ne $unlock -and $null -eq $UnlockScriptBlock) {
        throw (New-CommandError "Unlock secret supplied for custom Secret Vault type, but not Unlock ScriptBlock supplied" 'UnlockBlockRequired' 'InvalidArgument')
    }
    $what = [ordered]@{
        do = 'vault-add'; name = $Name; type = $(if ($custom) { 'custom' } else { 'secretmanagement' })
        interval = $UnlockInterval; no_unlock = [bool]$NoUnlock; cache_ttl = $CacheTtl
    }
    if ($null -ne $unlock) { $what['unlock'] = $unlock }
    $session = $PSCmdlet.SessionState
    if ($custom) {
        $given = [ordered]@{ read = $ScriptBlock; set = $SetScriptBlock; remove = $RemoveScriptBlock; unlock = $UnlockScriptBlock; unregister = $UnregisterScriptBlock }
        $what['blocks'] = $blocks = [ordered]@{}
        foreach ($entry in $given.GetEnumerator()) { if ($null -ne $entry.Value) { $blocks[$entry.Key] = ConvertTo-Block $entry.Value $session } }
        if (Test-OnlyReads $ScriptBlock) { $what['reads'] = @('read') }
        $what['local'] = @(
            if ($null -ne $InitScriptBlock -and (Test-ProcessBound $InitScriptBlock)) { 'init' }
            if ($null -ne $UnlockScriptBlock -and (Test-ProcessBound $UnlockScriptBlock)) { 'unlock' }
        )
    }
    else {
        $what['module'] = Resolve-VaultModule $ModuleName $session
        $what['vault_name'] = if ($VaultName) { $VaultName } else { $Name }
    }
    if ($InitScriptBlock) {
        # What was imported gives way to what the script registers.
        if (@((Request-Core @{ do = 'vault-get'; names = @($Name) })['vaults']).Where({ $null -ne $_ -and -not $_['auto_imported'] }).Count) {
            throw (New-CommandError "A Secret Vault with the name '$Name' has already been registered." 'VaultExists' 'ResourceExists')
        }
        $null = ConvertTo-VaultTable $VaultParameters
        # Here and now, where the script's variables and functions are; and in each worker before it registers.
        $what['init'] = ConvertTo-Block $InitScriptBlock $session
        # A block with `$using:` runs only once its values stand in it.
        if ($script:Bridge.Check) { }
        elseif ($what['init']['using'].Count) { $null = Invoke-Block (New-CompiledBlock $what['init']) @(, $VaultParameters) }
        else { & $InitScriptBlock $VaultParameters *>&1 | & { process { [SecretBridge.Log]::Record($_) } } }
    }
    if (-not $custom -and $ModuleName -eq 'Microsoft.PowerShell.SecretStore') { $VaultParameters = Get-StoreParameter $VaultParameters $UnlockInterval }
    $what['parameters'] = if ($null -eq $VaultParameters) { [ordered]@{} } elseif ($custom) { Get-ParameterName $VaultParameters } else { ConvertTo-VaultParameter $VaultParameters }
    if ($null -ne $VaultParameters) {
        $found = if ($InitScriptBlock) { [SecretBridge.Pode.SharedText]::Of($VaultParameters) } else { ConvertTo-VaultTable $VaultParameters }
        if ($found.Stays.Length) { $what['stays'] = $found.Stays }
        $copy = Add-SharedObject $VaultParameters $found
        $copy.Stays = $found.Stays
        $what['table'] = $copy.Id
    }
    $null = Request-Core $what
}

# The table of a vault, before any block of it has run: plain data.
function ConvertTo-VaultTable([hashtable] $Table) {
    if ($null -eq $Table) { return }
    $found = [SecretBridge.Pode.SharedText]::Of($Table)
    foreach ($thing in $found.Stays) {
        throw (New-CommandError "'VaultParameters' has $thing, which cannot reach the workers (hint: plain data; open connections in -InitScriptBlock)" 'VaultParameters' 'InvalidType')
    }
    $found
}

function Get-ParameterName([hashtable] $Table) {
    $names = [ordered]@{}
    foreach ($key in $Table.Keys) { $names[[object][string]$key] = $null }
    $names
}

# SecretStore's parameters are its configuration, completed as Pode does it.
function Get-StoreParameter([hashtable] $Table, [int] $Interval) {
    if ($null -eq $Table) { $Table = @{} }
    $Table.Remove('Password')
    foreach ($pair in @('Authentication', 'Password'), @('Interaction', 'None')) { if ([string]::IsNullOrEmpty($Table[$pair[0]])) { $Table[$pair[0]] = $pair[1] } }
    if ($Table['PasswordTimeout'] -le 0) { $Table['PasswordTimeout'] = [Math]::Max(1, $Interval) * 60 + 10 }
    $Table
}

# A path is made whole, because workers may stand elsewhere.
function Resolve-VaultModule([string] $Module, $SessionState) {
    if ($Module -notmatch '[\\/]') { return $Module }
    $SessionState.Path.GetUnresolvedProviderPathFromPSPath($Module)
}

<#
.SYNOPSIS
Unregisters a secret vault. A vault that is not known is none to unregister.
#>
function Unregister-PodeSecretVault {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    $null = Request-Core ([ordered]@{ do = 'vault-remove'; name = $Name })
}

<#
.SYNOPSIS
Unlocks a secret vault with its unlock secret.
#>
function Unlock-PodeSecretVault {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    $null = Request-Core ([ordered]@{ do = 'vault-unlock'; name = $Name })
}

<#
.SYNOPSIS
Tells what is registered under one or more names. Unlock secrets are not told.
#>
function Get-PodeSecretVault {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string[]] $Name)
    foreach ($vault in @((Request-Core ([ordered]@{ do = 'vault-get'; names = @($Name) }))['vaults'])) {
        if ($null -eq $vault) { continue }
        $record = @{
            Name         = $vault['name']
            Type         = $vault['type']
            Parameters   = $null
            AutoImported = [bool]$vault['auto_imported']
            Unlock       = @{ Enabled = [bool]$vault['unlock']; Interval = [int]$vault['interval']; Expiry = $null }
            Cache        = @{ Enabled = [int]$vault['cache_ttl'] -gt 0; Ttl = [int]$vault['cache_ttl'] }
        }
        if ($null -ne $vault['table']) { $record.Parameters = [SecretBridge.Pode.Shared]::Get($vault['table']).Live }
        if ($null -ne $vault['expiry']) { $record.Unlock.Expiry = [datetime]::Parse($vault['expiry'], [cultureinfo]::InvariantCulture, 'RoundtripKind').ToUniversalTime() }
        if ($vault['module']) { $record['SecretManagement'] = @{ VaultName = $vault['vault_name']; ModuleName = $vault['module'] } }
        $record
    }
}

<#
.SYNOPSIS
Tells whether a secret vault is registered.
#>
function Test-PodeSecretVault {
    [CmdletBinding()]
    [OutputType([bool])]
    param([Parameter(Mandatory)] [string] $Name)
    @((Request-Core ([ordered]@{ do = 'vault-get'; names = @($Name) }))['vaults']).Where({ $null -ne $_ }).Count -gt 0
}

<#
.SYNOPSIS
Mounts a secret of a vault under a name of the script's own.
#>
function Mount-PodeSecret {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [string] $Name,
        [Parameter(Mandatory)] [string] $Vault,
        [string[]] $Property,
        [string] $ExpandProperty,
        [Parameter(Mandatory)] [string] $Key,
        [object[]] $ArgumentList,
        [int] $CacheTtl = -1
    )
    if ($Property -and $ExpandProperty) {
        throw (New-CommandError "Parameters 'Property' and 'ExpandProperty' are mutually exclusive." 'MutuallyExclusive' 'InvalidArgument')
    }
    $what = [ordered]@{ do = 'mount'; name = $Name; vault = $Vault; key = $Key; arguments = ConvertTo-LivePortableList $ArgumentList "an argument of the secret '$Name'"; cache_ttl = $CacheTtl }
    if ($Property) { $what['property'] = $Property }
    if ($ExpandProperty) { $what['expand'] = $ExpandProperty }
    $null = Request-Core $what
}

<#
.SYNOPSIS
Takes a mounted secret down; with -Remove the vault's secret too.
#>
function Dismount-PodeSecret {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [switch] $Remove)
    $null = Request-Core ([ordered]@{ do = 'dismount'; name = $Name; remove = [bool]$Remove })
}

<#
.SYNOPSIS
Names the user's own vaults to import where only exported ones are (ExportOnly in server.psd1).
#>
function Export-PodeSecretVault {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [string[]] $Name,
        [ValidateSet('SecretManagement')] [string] $Type = 'SecretManagement'
    )
    $null = Request-Core ([ordered]@{ do = 'vault-export'; names = @($Name) })
}

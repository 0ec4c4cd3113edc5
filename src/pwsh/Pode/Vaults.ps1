# SecretManagement's cmdlets, called by a script itself. For vaults that the core knows they go through
# the core, which keeps their order; for all others they are SecretManagement's own. Import-Module of
# Pode is this module, whatever version or path a script names.

Set-StrictMode -Version Latest

# Pode's name of a vault, by its name in the registry.
function Find-CoreVault([string] $Name) {
    foreach ($vault in @(([SecretBridge.Pode.SecretAccess]::Ask([ordered]@{ do = 'vault-get'; names = @($Name); by = 'registry' }))['vaults'])) {
        if ($null -ne $vault) { return $vault['name'] }
    }
}

# The vaults that a call without -Vault looks through, the default one first.
function Get-SearchedVault {
    @(([SecretBridge.Pode.SecretAccess]::Ask([ordered]@{ do = 'vault-get'; names = @(); by = 'search' }))['vaults']).Where({ $null -ne $_ })
}

# Functions of these names shadow the cmdlets in people's code only; vault modules and the worker see
# the cmdlets.
function Register-VaultProxy {
    if ($script:Bridge.Proxied) { return }
    $script:Bridge.Proxied = $true
    # `using module Pode` and `Get-Module -ListAvailable` look here.
    $folder = [System.IO.Path]::GetDirectoryName($PSScriptRoot)
    if (-not $env:PSModulePath.StartsWith($folder, [StringComparison]::Ordinal)) { $env:PSModulePath = "$folder$([System.IO.Path]::PathSeparator)$env:PSModulePath" }
    foreach ($name in $script:VaultProxies.Keys) {
        $null = & $script:UserScope { param($n, $b) Set-Item -Path "function:script:$n" -Value $b } $name (New-TypedProxy $script:VaultProxies[$name])
    }
    $null = & $script:UserScope { param($b) Set-Item -Path 'function:script:Import-Module' -Value $b } (New-ImportProxy)
}

# As loud as the caller wants it: a module's function does not see the caller's preference by itself.
function Get-CallerPreference($Cmdlet, $Bound) {
    if ($Bound.ContainsKey('ErrorAction')) { return $Bound['ErrorAction'] }
    $Cmdlet.SessionState.PSVariable.GetValue('ErrorActionPreference')
}

# An error that the core or a check of ours threw, to be written: SecretManagement's cmdlets go on after most.
function New-ProxyError($Record, [string] $Id) {
    $Record = [SecretBridge.Faults]::Thrown($Record)
    if (-not $Id) { $Id = ([string]$Record.FullyQualifiedErrorId).Split(',')[0] }
    [System.Management.Automation.ErrorRecord]::new($Record.Exception, $Id, $Record.CategoryInfo.Category, $Record.TargetObject)
}

function New-NotFoundError([string] $Name) {
    [System.Management.Automation.ErrorRecord]::new([System.Management.Automation.ItemNotFoundException]::new("The secret $Name was not found."), 'GetSecretNotFound', 'ObjectNotFound', $null)
}

function Test-NotFoundError($Record) { [SecretBridge.Faults]::Thrown($Record).FullyQualifiedErrorId -match '^(GetSecretNotFound|secret_not_found)\b' }

# A value as Get-Secret gives it.
function ConvertTo-ProxyValue($Value, [bool] $AsPlainText) {
    if ($Value -is [hashtable]) {
        $table = [hashtable]::new($Value.get_Count())
        foreach ($entry in $Value.GetEnumerator()) { $table[$entry.Key] = ConvertTo-ProxyValue $entry.Value $AsPlainText }
        return $table
    }
    if (-not $AsPlainText -and $Value -is [string]) { return [SecretBridge.SecureText]::Make($Value) }
    if ($AsPlainText -and $Value -is [securestring]) { return [SecretBridge.SecureText]::Reveal($Value) }
    return , $Value
}

# A vault's secrets as SecretManagement's own objects; where the module is not there nobody knows its types.
function Get-ProxyInformation([string] $Vault, [string] $VaultName, [string] $Filter) {
    $found = [System.Collections.Generic.SortedDictionary[string, object]]::new([StringComparer]::OrdinalIgnoreCase)
    foreach ($info in @(([SecretBridge.Pode.SecretAccess]::Ask([ordered]@{ do = 'info'; vault = $Vault }))['secrets'])) {
        if ($null -ne $info -and $info['name'] -like $Filter) { $found[$info['name']] = $info }
    }
    $kind = 'Microsoft.PowerShell.SecretManagement.SecretInformation' -as [type]
    foreach ($info in $found.Values) {
        $metadata = [SecretBridge.Metadata]::Untag($info['metadata'])
        if ($null -eq $kind) { [pscustomobject]@{ Name = $info['name']; Type = $info['type']; VaultName = $VaultName; Metadata = $metadata } }
        else { $kind::new($info['name'], [Microsoft.PowerShell.SecretManagement.SecretType]$info['type'], $VaultName, $metadata) }
    }
}

# A secret with the type that it has in the vault: a read gives texts of both kinds alike.
function Read-TypedSecret([string] $Vault, [string] $Name) {
    $value = [SecretBridge.Pode.SecretAccess]::Read($Vault, $Name)
    if ($value -is [string]) {
        $info = @(Get-ProxyInformation $Vault $Vault ([WildcardPattern]::Escape($Name)))
        if ($info.Count -and [string]$info[0].Type -eq 'SecureString') { return [SecretBridge.SecureText]::Make($value) }
    }
    return , $value
}

# Vaults to look at for a name of the registry, or all: name and vault_name of each.
function Get-ProxyVault([string] $Vault) {
    if (-not $Vault) { return Get-SearchedVault }
    foreach ($one in @(Find-CoreVault $Vault)) { @{ name = $one; vault_name = $Vault } }
}

# A proxy whose pipeline takes SecretInformation, where SecretManagement is there: by the type PowerShell tells it
# from a name.
function New-TypedProxy([scriptblock] $Proxy) {
    if ($null -eq ('Microsoft.PowerShell.SecretManagement.SecretInformation' -as [type])) { return $Proxy }
    $text = $Proxy.ToString() -replace '(ParameterSetName = ''(?:Info|SecretInfo)ParameterSet''\)\] )(\$(?:InputObject|SecretInfo)\b)', '$1[Microsoft.PowerShell.SecretManagement.SecretInformation] $2'
    $ExecutionContext.SessionState.Module.NewBoundScriptBlock([scriptblock]::Create($text))
}

$script:VaultProxies = @{
    'Get-Secret' = {
        [CmdletBinding(DefaultParameterSetName = 'NameParameterSet')]
        param(
            [Parameter(Mandatory, Position = 0, ValueFromPipeline, ValueFromPipelineByPropertyName, ParameterSetName = 'NameParameterSet')] [string] $Name,
            [Parameter(Position = 1, ValueFromPipelineByPropertyName, ParameterSetName = 'NameParameterSet')] [string] $Vault,
            [Parameter(Mandatory, ValueFromPipeline, ParameterSetName = 'InfoParameterSet')] $InputObject,
            [switch] $AsPlainText
        )
        process {
            if ($PSCmdlet.ParameterSetName -eq 'InfoParameterSet') { $Name = $InputObject.Name; $Vault = $InputObject.VaultName }
            $ErrorActionPreference = Get-CallerPreference $PSCmdlet $PSBoundParameters
            $known = @(Get-ProxyVault $Vault)
            if (-not $known.Count) {
                $more = if ($Vault) { @{ Vault = $Vault } } else { @{} }
                return Microsoft.PowerShell.SecretManagement\Get-Secret -Name $Name @more -AsPlainText:$AsPlainText
            }
            foreach ($one in $known) {
                $found = [SecretBridge.Pode.SecretAccess]::TryRead($one['name'], $Name)
                if ($null -eq $found.Item2) { return , (ConvertTo-ProxyValue $found.Item1 $AsPlainText) }
                # It may be in the next one.
                if (-not (Test-NotFoundError $found.Item2)) { $PSCmdlet.WriteError((New-ProxyError $found.Item2 '')) }
            }
            $PSCmdlet.WriteError((New-NotFoundError $Name))
        }
    }
    'Set-Secret' = {
        [CmdletBinding(SupportsShouldProcess, DefaultParameterSetName = 'SecureStringParameterSet')]
        param(
            [Parameter(Mandatory, Position = 0, ParameterSetName = 'ObjectParameterSet')] [Parameter(Mandatory, Position = 0, ParameterSetName = 'SecureStringParameterSet')] [string] $Name,
            [Parameter(Mandatory, Position = 1, ValueFromPipeline, ParameterSetName = 'ObjectParameterSet')] [object] $Secret,
            [Parameter(Mandatory, Position = 1, ValueFromPipeline, ParameterSetName = 'SecureStringParameterSet')] [securestring] $SecureStringSecret,
            [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'SecretInfoParameterSet')] $SecretInfo,
            [Parameter(Position = 2, ParameterSetName = 'ObjectParameterSet')] [Parameter(Position = 2, ParameterSetName = 'SecureStringParameterSet')] [Parameter(Mandatory, ParameterSetName = 'SecretInfoParameterSet')] [string] $Vault,
            [Parameter(Position = 3, ParameterSetName = 'ObjectParameterSet')] [Parameter(Position = 3, ParameterSetName = 'SecureStringParameterSet')] [hashtable] $Metadata,
            [switch] $NoClobber
        )
        process {
            $ErrorActionPreference = Get-CallerPreference $PSCmdlet $PSBoundParameters
            $known = @(Get-ProxyVault $Vault)
            if (-not $known.Count) {
                $call = @{}
                foreach ($entry in $PSBoundParameters.GetEnumerator()) { $call[$entry.Key] = $entry.Value }
                return Microsoft.PowerShell.SecretManagement\Set-Secret @call
            }
            $to = $known[0]['name']
            $given = $Metadata
            try {
                $value = if ($PSCmdlet.ParameterSetName -eq 'SecureStringParameterSet') { $SecureStringSecret } else { , $Secret }
                if ($PSCmdlet.ParameterSetName -eq 'SecretInfoParameterSet') {
                    $Name = $SecretInfo.Name
                    $from = @(Get-ProxyVault $SecretInfo.VaultName)
                    $value = if ($from.Count) { Read-TypedSecret $from[0]['name'] $Name } else { Microsoft.PowerShell.SecretManagement\Get-Secret -Name $Name -Vault $SecretInfo.VaultName -ErrorAction Stop }
                    $copied = @{}
                    if ($null -ne $SecretInfo.Metadata) { foreach ($entry in $SecretInfo.Metadata.GetEnumerator()) { $copied[$entry.Key] = $entry.Value } }
                    if ($copied.Count) { $given = $copied }
                }
                $exists = $false
                if ($NoClobber) {
                    try { $null = [SecretBridge.Pode.SecretAccess]::Read($to, $Name); $exists = $true }
                    catch { if (-not (Test-NotFoundError $_)) { throw } }
                }
                if (-not $exists) {
                    if ($PSCmdlet.ShouldProcess($known[0]['vault_name'], 'Write secret')) { [SecretBridge.Pode.SecretAccess]::Write($to, $Name, $value, $given) }
                    return
                }
            }
            catch {
                $PSCmdlet.WriteError((New-ProxyError $_ ''))
                return
            }
            $message = "A secret with name $Name already exists in vault $($known[0]['vault_name'])."
            $record = [System.Management.Automation.ErrorRecord]::new([System.Management.Automation.PSInvalidOperationException]::new($message), 'SetSecretCommandAlreadyExistsWithNoClobber', 'ResourceExists', $null)
            if ($PSCmdlet.ParameterSetName -eq 'SecretInfoParameterSet') { $PSCmdlet.WriteError($record) } else { $PSCmdlet.ThrowTerminatingError($record) }
        }
    }
    'Remove-Secret' = {
        [CmdletBinding(SupportsShouldProcess, DefaultParameterSetName = 'NameParameterSet')]
        param(
            [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'NameParameterSet')] [string] $Name,
            [Parameter(Mandatory, Position = 1, ParameterSetName = 'NameParameterSet')] [string] $Vault,
            [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'InfoParameterSet')] $InputObject
        )
        process {
            if ($PSCmdlet.ParameterSetName -eq 'InfoParameterSet') { $Name = $InputObject.Name; $Vault = $InputObject.VaultName }
            $ErrorActionPreference = Get-CallerPreference $PSCmdlet $PSBoundParameters
            $known = Find-CoreVault $Vault
            if (-not $known) { return Microsoft.PowerShell.SecretManagement\Remove-Secret -Name $Name -Vault $Vault }
            if (-not $PSCmdlet.ShouldProcess($Vault, 'Remove secret')) { return }
            $problem = [SecretBridge.Pode.SecretAccess]::TryRemove($known, $Name)
            if ($null -ne $problem) { $PSCmdlet.WriteError((New-ProxyError $problem '')) }
        }
    }
    'Get-SecretInfo' = {
        [CmdletBinding()]
        param([Parameter(Position = 0)] [string] $Name, [Parameter(Position = 1)] [string] $Vault)
        process {
            $ErrorActionPreference = Get-CallerPreference $PSCmdlet $PSBoundParameters
            $known = @(Get-ProxyVault $Vault)
            if (-not $known.Count) { return Microsoft.PowerShell.SecretManagement\Get-SecretInfo @PSBoundParameters }
            foreach ($one in $known) {
                try { Get-ProxyInformation $one['name'] $one['vault_name'] $(if ($Name) { $Name } else { '*' }) }
                catch { $PSCmdlet.WriteError((New-ProxyError $_ 'GetSecretInfoException')) }
            }
        }
    }
    'Set-SecretInfo' = {
        [CmdletBinding(SupportsShouldProcess)]
        param(
            [Parameter(Mandatory, Position = 0)] [string] $Name,
            [Parameter(Mandatory, Position = 1)] [hashtable] $Metadata,
            [Parameter(Position = 2)] [string] $Vault
        )
        process {
            $ErrorActionPreference = Get-CallerPreference $PSCmdlet $PSBoundParameters
            $known = @(Get-ProxyVault $Vault)
            if (-not $known.Count) { return Microsoft.PowerShell.SecretManagement\Set-SecretInfo @PSBoundParameters }
            if (-not $PSCmdlet.ShouldProcess($known[0]['vault_name'], 'Write secret metadata')) { return }
            try { [SecretBridge.Pode.SecretAccess]::WriteInfo($known[0]['name'], $Name, $Metadata) }
            catch { $PSCmdlet.WriteError((New-ProxyError $_ '')) }
        }
    }
    'Test-SecretVault' = {
        [CmdletBinding()]
        param([Parameter(Position = 0, ValueFromPipeline, ValueFromPipelineByPropertyName)] [string[]] $Name)
        process {
            $ErrorActionPreference = Get-CallerPreference $PSCmdlet $PSBoundParameters
            $names = if ($Name) { $Name } else { (Get-SearchedVault).ForEach({ $_['vault_name'] }) }
            foreach ($one in @($names)) {
                $known = @(Get-ProxyVault $one)
                if (-not $known.Count) { Microsoft.PowerShell.SecretManagement\Test-SecretVault -Name $one; continue }
                # A module's own test may write; that it can list its secrets is what the server can promise.
                try { $null = [SecretBridge.Pode.SecretAccess]::Ask([ordered]@{ do = 'info'; vault = $known[0]['name'] }); $true }
                catch { $PSCmdlet.WriteError((New-ProxyError $_ 'TestSecretVaultInvalidOperation')); $false }
            }
        }
    }
    # All vaults of SecretStore are one store, which the server then keeps unlocked.
    'Unlock-SecretStore' = {
        [CmdletBinding()]
        param([Parameter(Mandatory, Position = 0, ValueFromPipeline)] [securestring] $Password, [int] $PasswordTimeout)
        process {
            $known = (Get-SearchedVault).Where({ $_['module'] -match '(^|[\\/])Microsoft\.PowerShell\.SecretStore$' })
            if (-not $known.Count) { return Microsoft.PowerShell.SecretStore\Unlock-SecretStore @PSBoundParameters }
            foreach ($one in $known) { $null = Request-Core ([ordered]@{ do = 'vault-unlock'; name = $one['name']; secret = [SecretBridge.Values]::Tag($Password) }) }
        }
    }
    'Unlock-SecretVault' = {
        [CmdletBinding()]
        param([Parameter(Mandatory, Position = 0)] [string] $Name, [Parameter(Mandatory, Position = 1)] [securestring] $Password)
        process {
            $known = Find-CoreVault $Name
            if (-not $known) { return Microsoft.PowerShell.SecretManagement\Unlock-SecretVault -Name $Name -Password $Password }
            $null = Request-Core ([ordered]@{ do = 'vault-unlock'; name = $known; secret = [SecretBridge.Values]::Tag($Password) })
        }
    }
}

# Import-Module with the parameters that this version of PowerShell gives it.
function New-ImportProxy {
    $cmdlet = $ExecutionContext.InvokeCommand.GetCommand('Microsoft.PowerShell.Core\Import-Module', 'Cmdlet')
    $metadata = [System.Management.Automation.CommandMetadata]::new($cmdlet)
    $binding = [System.Management.Automation.ProxyCommand]::GetCmdletBindingAttribute($metadata)
    $parameters = [System.Management.Automation.ProxyCommand]::GetParamBlock($metadata)
    $text = "$binding param($parameters) process { Import-ForScript `$PSBoundParameters `$PSCmdlet.SessionState }"
    $ExecutionContext.SessionState.Module.NewBoundScriptBlock([scriptblock]::Create($text))
}

# What a script imports. Pode in any of its forms is here already: another one must not come in its place.
function Import-ForScript($Bound, $SessionState) {
    $call = @{}
    foreach ($entry in $Bound.GetEnumerator()) { $call[$entry.Key] = $entry.Value }
    foreach ($kind in 'Name', 'FullyQualifiedName', 'ModuleInfo') {
        if (-not $call.ContainsKey($kind)) { continue }
        $all = @($call[$kind])
        $call[$kind] = @($all.Where({ -not (Test-NamesOurs $_) }))
        if ($call[$kind].Length -eq $all.Length) { continue }
        if ($call['PassThru']) { $ExecutionContext.SessionState.Module }
        if ($call[$kind].Length -eq 0) { return }
    }
    # Seen by every block, not by this script's scope alone.
    $call.Remove('Scope')
    $call['Global'] = $true
    if (-not $call.ContainsKey('ErrorAction')) { $call['ErrorAction'] = $SessionState.PSVariable.GetValue('ErrorActionPreference') }
    Microsoft.PowerShell.Core\Import-Module @call
}

# A name, a path to the file or its folder, a specification or a module's information.
function Test-NamesOurs($Module) {
    $name = if ($Module -is [string]) { $Module } else { [string]$Module.Name }
    $name -match '^(.*[\\/])?Pode([\\/]\d+(\.\d+)+)?(\.psd1|\.psm1)?[\\/]?$'
}

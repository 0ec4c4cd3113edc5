# SecretManagement's cmdlets, called by a script itself. For vaults that the core knows they go through
# the core, which keeps their order; for all others they are SecretManagement's own. Import-Module of
# Pode is this module, whatever version or path a script names.

Set-StrictMode -Version Latest

# Pode's name of a vault, by its name in the registry.
function Find-CoreVault([string] $Name) {
    foreach ($vault in @((Request-Core ([ordered]@{ do = 'vault-get'; names = @($Name); by = 'registry' }))['vaults'])) {
        if ($null -ne $vault) { return $vault['name'] }
    }
}

# The vaults that a call without -Vault looks through, the default one first.
function Get-SearchedVault {
    @((Request-Core ([ordered]@{ do = 'vault-get'; names = @(); by = 'search' }))['vaults']).Where({ $null -ne $_ })
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
        $null = & $script:UserScope { param($n, $b) Set-Item -Path "function:script:$n" -Value $b } $name $script:VaultProxies[$name]
    }
    $null = & $script:UserScope { param($b) Set-Item -Path 'function:script:Import-Module' -Value $b } (New-ImportProxy)
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
            if ($null -ne $InputObject) { $Name = $InputObject.Name; $Vault = $InputObject.VaultName }
            $known = @(if ($Vault) { Find-CoreVault $Vault } else { (Get-SearchedVault).ForEach({ $_['name'] }) })
            if (-not $known.Count) {
                $more = if ($Vault) { @{ Vault = $Vault } } else { @{} }
                return Microsoft.PowerShell.SecretManagement\Get-Secret -Name $Name @more -AsPlainText:$AsPlainText
            }
            $problem = $null
            foreach ($one in $known) {
                try { $value = Read-PodeSecret -Key $Name -Vault $one }
                catch {
                    # It may be in the next one.
                    if ($null -eq $problem -and $_.FullyQualifiedErrorId -notmatch '^(GetSecretNotFound|secret_not_found)\b') { $problem = $_ }
                    continue
                }
                if (-not $AsPlainText -and $value -is [string]) { return [SecretBridge.SecureText]::Make($value) }
                if (-not $AsPlainText -and $value -is [hashtable]) {
                    foreach ($key in @($value.Keys)) { if ($value[$key] -is [string]) { $value[$key] = [SecretBridge.SecureText]::Make($value[$key]) } }
                }
                return , $value
            }
            if ($null -ne $problem) { throw $problem }
            # As the cmdlet says it, and as loud as the caller wants it.
            if (-not $PSBoundParameters.ContainsKey('ErrorAction')) { $ErrorActionPreference = $PSCmdlet.SessionState.PSVariable.GetValue('ErrorActionPreference') }
            $missing = [System.Management.Automation.ItemNotFoundException]::new("The secret $Name was not found.")
            $PSCmdlet.WriteError([System.Management.Automation.ErrorRecord]::new($missing, 'GetSecretNotFound', 'ObjectNotFound', $null))
        }
    }
    'Set-Secret' = {
        [CmdletBinding(SupportsShouldProcess, DefaultParameterSetName = 'SecureStringParameterSet')]
        param(
            [Parameter(Mandatory, Position = 0)] [string] $Name,
            [Parameter(Mandatory, Position = 1, ValueFromPipeline, ParameterSetName = 'ObjectParameterSet')] [object] $Secret,
            [Parameter(Mandatory, Position = 1, ValueFromPipeline, ParameterSetName = 'SecureStringParameterSet')] [securestring] $SecureStringSecret,
            [Parameter(Position = 2)] [string] $Vault,
            [Parameter(Position = 3)] [hashtable] $Metadata,
            [switch] $NoClobber
        )
        process {
            $known = if ($Vault) { Find-CoreVault $Vault } else { (Get-SearchedVault).ForEach({ $_['name'] }) | Select-Object -First 1 }
            $value = if ($null -ne $SecureStringSecret) { $SecureStringSecret } else { $Secret }
            if (-not $known -or $NoClobber) {
                if ($known) { throw (New-CommandError 'Set-Secret -NoClobber is not possible for a vault of the server (hint: Set-PodeSecret)' 'NotSupported' 'NotImplemented') }
                $more = @{}
                foreach ($key in 'Vault', 'Metadata') { if ($PSBoundParameters.ContainsKey($key)) { $more[$key] = $PSBoundParameters[$key] } }
                return Microsoft.PowerShell.SecretManagement\Set-Secret -Name $Name -Secret $value @more -NoClobber:$NoClobber
            }
            if (-not $PSCmdlet.ShouldProcess($known, 'Write secret')) { return }
            $more = if ($Metadata) { @{ Metadata = $Metadata } } else { @{} }
            Set-PodeSecret -Key $Name -Vault $known -InputObject $value @more
        }
    }
    'Remove-Secret' = {
        [CmdletBinding(SupportsShouldProcess)]
        param(
            [Parameter(Mandatory, Position = 0, ValueFromPipelineByPropertyName)] [string] $Name,
            [Parameter(Mandatory, Position = 1, ValueFromPipelineByPropertyName)] [string] $Vault
        )
        process {
            $known = Find-CoreVault $Vault
            if (-not $known) { return Microsoft.PowerShell.SecretManagement\Remove-Secret -Name $Name -Vault $Vault }
            if ($PSCmdlet.ShouldProcess($Vault, 'Remove secret')) { Remove-PodeSecret -Key $Name -Vault $known }
        }
    }
    'Get-SecretInfo' = {
        [CmdletBinding()]
        param([Parameter(Position = 0)] [string] $Name, [Parameter(Position = 1)] [string] $Vault)
        process {
            $known = @(if ($Vault) { foreach ($one in @(Find-CoreVault $Vault)) { @{ name = $one; vault_name = $Vault } } } else { Get-SearchedVault })
            if (-not $known.Count) { return Microsoft.PowerShell.SecretManagement\Get-SecretInfo @PSBoundParameters }
            $found = foreach ($one in $known) {
                foreach ($info in @((Request-Core ([ordered]@{ do = 'info'; vault = $one['name'] }))['secrets'])) {
                    if ($null -eq $info -or ($Name -and $info['name'] -notlike $Name)) { continue }
                    [pscustomobject]@{ Name = $info['name']; Type = $info['type']; VaultName = $one['vault_name']; Metadata = ConvertFrom-Metadata $info['metadata'] }
                }
            }
            $found | Sort-Object -Property Name
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
            $known = if ($Vault) { Find-CoreVault $Vault } else { (Get-SearchedVault).ForEach({ $_['name'] }) | Select-Object -First 1 }
            if ($known) { throw (New-CommandError 'Set-SecretInfo is not possible for a vault of the server (hint: Set-PodeSecret -Metadata)' 'NotSupported' 'NotImplemented') }
            Microsoft.PowerShell.SecretManagement\Set-SecretInfo @PSBoundParameters
        }
    }
    # All vaults of SecretStore are one store, which the server then keeps unlocked.
    'Unlock-SecretStore' = {
        [CmdletBinding()]
        param([Parameter(Mandatory, Position = 0, ValueFromPipeline)] [securestring] $Password, [int] $PasswordTimeout)
        process {
            $known = (Get-SearchedVault).Where({ $_['module'] -match '(^|[\\/])Microsoft\.PowerShell\.SecretStore$' })
            if (-not $known.Count) { return Microsoft.PowerShell.SecretStore\Unlock-SecretStore @PSBoundParameters }
            foreach ($one in $known) { $null = Request-Core ([ordered]@{ do = 'vault-unlock'; name = $one['name']; secret = [SecretBridge.Portable]::SecretTag($Password) }) }
        }
    }
    'Unlock-SecretVault' = {
        [CmdletBinding()]
        param([Parameter(Mandatory, Position = 0)] [string] $Name, [Parameter(Mandatory, Position = 1)] [securestring] $Password)
        process {
            $known = Find-CoreVault $Name
            if (-not $known) { return Microsoft.PowerShell.SecretManagement\Unlock-SecretVault -Name $Name -Password $Password }
            $null = Request-Core ([ordered]@{ do = 'vault-unlock'; name = $known; secret = [SecretBridge.Portable]::SecretTag($Password) })
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

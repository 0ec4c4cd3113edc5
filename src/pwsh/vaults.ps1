# The calls on vaults. Names and values reach the cmdlets as arguments, never as source text.

$script:SecretManagement = 'Microsoft.PowerShell.SecretManagement'
$script:SecretStore = 'Microsoft.PowerShell.SecretStore'

# Resolved once: a look-up by name costs more than some of the calls.
$script:Cmdlets = @{}
# The private HOME that holds this process's vault registry.
$script:Registry = ''
# By registry name: the extension's module, whether it takes metadata, the password that opened it.
$script:Modules = @{}
$script:TakesMetadata = @{}
$script:Passwords = @{}

function Invoke-BridgeHello([System.Collections.IDictionary] $Fields, $Secrets) {
    $script:Registry = Get-BridgeText $Fields 'registry'
    [ordered]@{
        protocol = $script:ProtocolVersion
        pwsh = $PSVersionTable.PSVersion.ToString()
        pid = $PID
        guarded = $script:Guarded
        secret_management = Connect-BridgeRegistry
    }
}

# Fixes SecretManagement's registry to the private folder. It takes HOME at its first use and never looks
# at it again, so HOME is the user's own again before any vault module is loaded. Gives the module's
# version; nothing where it is not installed.
function Connect-BridgeRegistry {
    $homeOfUser = [Environment]::GetEnvironmentVariable('HOME')
    [Environment]::SetEnvironmentVariable('HOME', $script:Registry)
    try {
        $module = Import-Module -Name $script:SecretManagement -Global -PassThru -ErrorAction Stop
        foreach ($name in 'Get-Secret', 'Set-Secret', 'Remove-Secret', 'Get-SecretInfo', 'Unlock-SecretVault',
            'Register-SecretVault', 'Unregister-SecretVault', 'Get-SecretVault') {
            $script:Cmdlets[$name] = $module.ExportedCommands[$name]
        }
        $null = & $script:Cmdlets['Get-SecretVault'] -ErrorAction SilentlyContinue
        [string]$module.Version
    }
    catch [System.IO.FileNotFoundException] { $null }
    finally { [Environment]::SetEnvironmentVariable('HOME', $homeOfUser) }
}

# Runs a cmdlet and gives its output; all of its errors become one. Warnings and the like go to the log.
function Invoke-BridgeCmdlet([string] $Name, [hashtable] $Parameters, $Secrets) {
    $cmdlet = $script:Cmdlets[$Name]
    if ($null -eq $cmdlet) {
        throw (New-BridgeError 'SecretManagementMissing' "the module $script:SecretManagement is not installed where this pwsh looks" 'NotInstalled')
    }
    $errors = $warnings = $output = $null
    try {
        $output = & $cmdlet @Parameters -ErrorAction SilentlyContinue -ErrorVariable errors -WarningAction SilentlyContinue -WarningVariable warnings
    }
    catch { throw (Join-BridgeError @(@($_) + @($errors))) }
    foreach ($warning in $warnings) { Write-BridgeLog 'warning' ([string]$warning) $Secrets }
    if ($errors.Count) { throw (Join-BridgeError $errors) }
    , $output
}

function Invoke-BridgeRegister([System.Collections.IDictionary] $Fields, $Secrets) {
    $vault = Get-BridgeText $Fields 'vault'
    $module = Get-BridgeText $Fields 'module'
    $arguments = @{ Name = $vault; ModuleName = $module; AllowClobber = $true; Confirm = $false }
    $parameters = ConvertFrom-BridgeParameter $Fields['parameters'] $Secrets
    if ($null -ne $parameters -and $parameters.Count) { $arguments['VaultParameters'] = $parameters }
    if ($script:Cmdlets.Count) {
        # Into the global scope, where init scripts and script blocks see its commands.
        $imported = Import-Module -Name $module -Global -PassThru -DisableNameChecking -ErrorAction Stop
        $script:Modules[$vault] = @($imported)[0].Name
    }
    $null = Invoke-BridgeCmdlet 'Register-SecretVault' $arguments $Secrets
    $script:TakesMetadata[$vault] = Test-BridgeMetadata $vault
    [ordered]@{ module = $script:Modules[$vault]; metadata = $script:TakesMetadata[$vault] }
}

# Whether the extension's Set-Secret takes metadata, as SecretManagement noted in our registry. One that
# does not must never be given any: SecretManagement would remove the secret that it had just written.
function Test-BridgeMetadata([string] $Vault) {
    $path = [System.IO.Path]::Combine($script:Registry, '.secretmanagement', 'secretvaultregistry', 'vaultinfo')
    try {
        $document = [System.Text.Json.JsonDocument]::Parse([System.IO.File]::ReadAllText($path))
        try {
            foreach ($entry in $document.RootElement.GetProperty('Vaults').EnumerateObject()) {
                if ([string]::Equals($entry.Name, $Vault, 'OrdinalIgnoreCase')) {
                    return $entry.Value.GetProperty('SetSecretSupportsMetadata').GetBoolean()
                }
            }
        }
        finally { $document.Dispose() }
    }
    catch { $null = $_ }
    $false
}

function Invoke-BridgeUnregister([System.Collections.IDictionary] $Fields, $Secrets) {
    $vault = Get-BridgeText $Fields 'vault'
    # Names may hold wildcard characters, and here alone the cmdlet takes them as such.
    $name = [WildcardPattern]::Escape($vault)
    $null = Invoke-BridgeCmdlet 'Unregister-SecretVault' @{ Name = $name; Confirm = $false } $Secrets
    foreach ($table in $script:Modules, $script:TakesMetadata, $script:Passwords) { $table.Remove($vault) }
    [ordered]@{}
}

function Invoke-BridgeUnlock([System.Collections.IDictionary] $Fields, $Secrets) {
    $vault = Get-BridgeText $Fields 'vault'
    if ($null -ne $Fields['password']) {
        $password = ConvertFrom-BridgeValue $Fields['password'] $Secrets
        if ($password -is [string]) { $password = ConvertTo-BridgeSecureString $password }
        $script:Passwords[$vault] = $password
    }
    if (-not $script:Passwords.ContainsKey($vault)) {
        throw (New-BridgeError 'NoRememberedPassword' "no password for the vault '$vault' was given to this worker")
    }
    $isStore = $script:Modules[$vault] -eq $script:SecretStore
    try { Unlock-BridgeVault $vault $Secrets }
    catch {
        # A store without a password refuses every unlock, and needs none.
        if (-not $isStore) { throw }
        $told = Get-BridgeStoreState
        if ($told['authentication'] -ne 'None') { throw }
        return $told
    }
    if ($isStore) { Get-BridgeStoreState } else { [ordered]@{ written = $false } }
}

# Unlocks with the remembered password. For SecretStore that also reads the file again, at once.
function Unlock-BridgeVault([string] $Vault, $Secrets) {
    $null = Invoke-BridgeCmdlet 'Unlock-SecretVault' @{ Name = $Vault; Password = $script:Passwords[$Vault] } $Secrets
}

function Update-BridgeCopy([System.Collections.IDictionary] $Fields, [string] $Vault, $Secrets) {
    if ($Fields['refresh'] -and $script:Passwords.ContainsKey($Vault)) { Unlock-BridgeVault $Vault $Secrets }
}

function Invoke-BridgeGet([System.Collections.IDictionary] $Fields, $Secrets) {
    $vault = Get-BridgeText $Fields 'vault'
    $name = Get-BridgeText $Fields 'name'
    Update-BridgeCopy $Fields $vault $Secrets
    $value = Invoke-BridgeCmdlet 'Get-Secret' @{ Name = $name; Vault = $vault; AsPlainText = $true } $Secrets
    $information = $null
    if ($Fields['detail'] -or $null -eq $value) { $information = Find-BridgeSecret $vault $name $Secrets }
    if ($null -eq $value) {
        # An empty text may come back as nothing; only a secret that is listed is one.
        $isText = $null -ne $information -and [string]$information.Type -in 'String', 'SecureString'
        if (-not $isText) { throw (New-BridgeError 'GetSecretNotFound' "The secret $name was not found." 'ObjectNotFound') }
        $value = ''
    }
    $tagged = ConvertTo-BridgeValue $value
    if ($null -ne $information -and $tagged['t'] -eq 'string' -and [string]$information.Type -eq 'SecureString') {
        $tagged['t'] = 'securestring'
    }
    $metadata = if ($Fields['detail'] -and $null -ne $information) { $information.Metadata }
    [ordered]@{ value = $tagged; metadata = ConvertTo-BridgeMetadata $metadata }
}

function Invoke-BridgeSet([System.Collections.IDictionary] $Fields, $Secrets) {
    $vault = Get-BridgeText $Fields 'vault'
    $name = Get-BridgeText $Fields 'name'
    $value = ConvertFrom-BridgeValue $Fields['value'] $Secrets
    Update-BridgeCopy $Fields $vault $Secrets
    $arguments = @{ Name = $name; Vault = $vault; Secret = $value; Confirm = $false }
    $metadata = $null
    if ($null -ne $Fields['metadata']) { $metadata = ConvertFrom-BridgeMetadata $Fields['metadata'] }
    elseif ($Fields['keep_metadata'] -and $script:TakesMetadata[$vault]) {
        $present = Find-BridgeSecret $vault $name $Secrets
        if ($null -ne $present -and $null -ne $present.Metadata) { $metadata = ConvertFrom-BridgeMetadata (ConvertTo-BridgeMetadata $present.Metadata) }
    }
    if ($null -ne $metadata -and $metadata.Count) {
        if (-not $script:TakesMetadata[$vault]) {
            throw (New-BridgeError 'SetSecretMetadataCommandNotSupported' "the vault '$vault' holds no metadata" 'NotImplemented')
        }
        $arguments['Metadata'] = $metadata
    }
    $null = Invoke-BridgeCmdlet 'Set-Secret' $arguments $Secrets
    [ordered]@{}
}

function Invoke-BridgeRemove([System.Collections.IDictionary] $Fields, $Secrets) {
    $vault = Get-BridgeText $Fields 'vault'
    Update-BridgeCopy $Fields $vault $Secrets
    $arguments = @{ Name = Get-BridgeText $Fields 'name'; Vault = $vault; Confirm = $false }
    $null = Invoke-BridgeCmdlet 'Remove-Secret' $arguments $Secrets
    [ordered]@{}
}

function Invoke-BridgeInfo([System.Collections.IDictionary] $Fields, $Secrets) {
    $vault = Get-BridgeText $Fields 'vault'
    Update-BridgeCopy $Fields $vault $Secrets
    $found = if ($null -ne $Fields['name']) { Find-BridgeSecret $vault (Get-BridgeText $Fields 'name') $Secrets }
    else { Invoke-BridgeCmdlet 'Get-SecretInfo' @{ Vault = $vault } $Secrets }
    $secrets_ = foreach ($information in $found) {
        if ($null -eq $information) { continue }
        [ordered]@{
            name = Assert-BridgeText $information.Name
            type = [string]$information.Type
            metadata = ConvertTo-BridgeMetadata $information.Metadata
        }
    }
    [ordered]@{ secrets = @($secrets_) }
}

# What the vault lists under exactly this name, without case; nothing where there is none.
function Find-BridgeSecret([string] $Vault, [string] $Name, $Secrets) {
    $arguments = @{ Name = [WildcardPattern]::Escape($Name); Vault = $Vault }
    foreach ($information in (Invoke-BridgeCmdlet 'Get-SecretInfo' $arguments $Secrets)) {
        if ($null -ne $information -and [string]::Equals($information.Name, $Name, 'OrdinalIgnoreCase')) { return $information }
    }
}

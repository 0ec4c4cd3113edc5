# Registering vaults and unlocking them, by SecretManagement's own cmdlets. Names reach them as arguments, never
# as source. What is done for each secret is compiled (VaultCalls.cs).

Set-StrictMode -Version Latest

$script:SecretManagement = 'Microsoft.PowerShell.SecretManagement'

# Folder of the private registry.
$script:Registry = $null

# What only PowerShell can do for the compiled calls: run a command and collect its streams.
[SecretBridge.Cmdlets]::Collect = {
    param($Run)
    $errors = $warnings = $notes = $null
    $parameters = $Run.Parameters
    try {
        $Run.Output = & $Run.Command @parameters -ErrorAction SilentlyContinue -ErrorVariable errors -WarningAction SilentlyContinue -WarningVariable warnings -InformationAction SilentlyContinue -InformationVariable notes 6>$null
    }
    catch { $Run.Thrown = $_ }
    $Run.Errors = $errors
    $Run.Warnings = $warnings
    $Run.Notes = $notes
}
[SecretBridge.Cmdlets]::Plain = {
    param($Run)
    $parameters = $Run.Parameters
    $Run.Output = @(& $Run.Command @parameters -ErrorAction Stop)
}

function Invoke-BridgeHello($Fields, $Secrets) {
    if ($Fields['protocol'] -ne [SecretBridge.Worker]::ProtocolVersion) {
        throw ([SecretBridge.BridgeException]::Record('ProtocolMismatch', "this worker speaks protocol $([SecretBridge.Worker]::ProtocolVersion)"))
    }
    $script:Registry = [SecretBridge.Fields]::Text($Fields, 'registry')
    $version = $null
    try { $version = Import-BridgeSecretManagement }
    # Where there is none, or only a broken one, the worker does without. Looked for after the import alone, since that
    # goes through all folders of modules.
    catch { if (Get-Module -Name $script:SecretManagement -ListAvailable -ErrorAction Ignore) { throw } }
    [ordered]@{
        protocol = [SecretBridge.Worker]::ProtocolVersion
        pwsh = $PSVersionTable.PSVersion.ToString()
        pid = $PID
        guarded = [SecretBridge.Platform]::Guarded
        secret_management = $version
    }
}

# Imports SecretManagement with a registry of its own. It fixes the registry's path at first use, from
# HOME alone; SecretStore and Az look at HOME later, when it is the user's again. On Windows the path
# comes from a known folder that no variable moves, and is moved afterwards.
function Import-BridgeSecretManagement {
    $old = [Environment]::GetEnvironmentVariable('HOME')
    [Environment]::SetEnvironmentVariable('HOME', $script:Registry)
    try {
        $module = Import-Module -Name $script:SecretManagement -Global -PassThru
        $cmdlets = @{}
        foreach ($command in $module.ExportedCmdlets.Values) { $cmdlets[$command.Name] = $command }
        [SecretBridge.Vaults]::Cmdlets = $cmdlets
        $get = $cmdlets['Get-SecretVault']
        $null = Invoke-BridgeCmdlet $get @{} $null
        if (-not [SecretBridge.Platform]::MoveRegistry($get.ImplementingType.Assembly, $script:Registry)) {
            [SecretBridge.Log]::Write('warning', "this SecretManagement ($($module.Version)) cannot be given a registry of its own: vaults are registered in the user's", $null)
        }
        $module.Version.ToString()
    }
    finally { [Environment]::SetEnvironmentVariable('HOME', $old) }
}

function Get-BridgeCmdlet([string] $Name) {
    try { [SecretBridge.Vaults]::Cmdlet($Name) }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
}

# Runs a cmdlet and gives its output as it came, arrays whole; any error at all makes the call fail.
function Invoke-BridgeCmdlet([System.Management.Automation.CommandInfo] $Command, [hashtable] $Parameters, $Secrets) {
    try { , [SecretBridge.Cmdlets]::Invoke($Command, $Parameters, $Secrets) }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
}

function Invoke-BridgeRegister($Fields, $Secrets) {
    $command = Get-BridgeCmdlet 'Register-SecretVault'
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    if ([WildcardPattern]::ContainsWildcardCharacters($vault)) {
        # Unregister-SecretVault would take it for a pattern, and other vaults with it.
        throw ([SecretBridge.BridgeException]::Record('BadCall', "the vault name '$vault' has wildcard characters"))
    }
    $module = Import-BridgeExtension ([SecretBridge.Fields]::Text($Fields, 'module')) $Secrets
    $call = @{ Name = $vault; ModuleName = $module.Source; AllowClobber = -not $Fields['new']; Confirm = $false }
    $parameters = [SecretBridge.Parameters]::Untag($Fields['parameters'], $Secrets)
    # SecretStore's are its configuration, and go the way of `configure`.
    # `get_Count()`, here and below: `.Count` of a table is its member of that name, if it has one.
    if ($null -ne $parameters -and $parameters.get_Count() -and $module.Name -ne $script:SecretStore) {
        $call['VaultParameters'] = $parameters
        foreach ($change in [SecretBridge.Parameters]::Changed($parameters, '')) { [SecretBridge.Log]::Write('warning', "VaultParameters of '$vault': $change", $Secrets) }
    }
    # Whether it worked or not: the file may hold VaultParameters of this vault or of another.
    try { $null = Invoke-BridgeCmdlet $command $call $Secrets }
    finally { Protect-BridgeRegistry }
    $metadata = Test-BridgeMetadataSupport $vault
    if ($module.Name -eq $script:SecretStore) { $null = Get-BridgeStoreCmdlet 'Unlock-SecretStore' }
    [SecretBridge.Vaults]::Known[$vault] = [SecretBridge.KnownVault]@{ Module = $module.Name; Metadata = $metadata; SetInfo = $module.SetInfo; Functions = $module.Functions }
    [ordered]@{ module = $module.Name; metadata = $metadata }
}

# Imports the extension's module for init scripts and script blocks. That it fails here is only logged:
# Register-SecretVault imports it once more and says why it cannot.
function Import-BridgeExtension([string] $Source, $Secrets) {
    $name = [System.IO.Path]::GetFileName($Source.TrimEnd('/', '\'))
    if ($name -like '*.psd1' -or $name -like '*.psm1') { $name = [System.IO.Path]::GetFileNameWithoutExtension($name) }
    $found = @{ Name = $name; Source = $Source; SetInfo = $false; Functions = @{} }
    try {
        $module = @(Import-Module -Name $Source -Global -PassThru -WarningAction SilentlyContinue)[-1]
        $found.Name = $module.Name
        foreach ($nested in $module.NestedModules) {
            if ($nested.Name -ne "$($module.Name).Extension") { continue }
            $found.SetInfo = $nested.ExportedCommands.ContainsKey('Set-SecretInfo')
            if ($module.Name -eq $script:SecretStore) { $found.Functions = $nested.ExportedFunctions }
        }
    }
    catch { [SecretBridge.Log]::Write('warning', "the module '$Source' could not be imported: $($_.Exception.Message)", $Secrets) }
    $found
}

# SecretManagement makes the file as the umask has it. Its folder lets nobody else in; this holds also
# where a copy of the file goes elsewhere.
function Protect-BridgeRegistry {
    $path = [SecretBridge.Platform]::RegistryFile
    if (-not [System.IO.File]::Exists($path)) { return }
    try { [SecretBridge.Platform]::Protect($path) }
    catch { [SecretBridge.Log]::Write('warning', "the registry's mode could not be set: $($_.Exception.GetType().FullName)", $null) }
}

# Whether the extension's Set-Secret takes metadata, which only the registry's file tells.
function Test-BridgeMetadataSupport([string] $Vault) {
    $path = [SecretBridge.Platform]::RegistryFile
    try {
        $document = [System.Text.Json.JsonDocument]::Parse([System.IO.File]::ReadAllText($path))
        try { $registry = [SecretBridge.PlainJson]::Read($document.RootElement) }
        finally { $document.Dispose() }
        foreach ($entry in $registry['Vaults'].GetEnumerator()) {
            if ($entry.Key -eq $Vault) { return [bool]$entry.Value['SetSecretSupportsMetadata'] }
        }
    }
    catch { [SecretBridge.Log]::Write('warning', "the registry could not be read: $($_.Exception.GetType().FullName)", $null) }
    $false
}

function Invoke-BridgeUnregister($Fields, $Secrets) {
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    $null = Invoke-BridgeCmdlet (Get-BridgeCmdlet 'Unregister-SecretVault') @{ Name = $vault; Confirm = $false } $Secrets
    [SecretBridge.Vaults]::Forget($vault)
    [ordered]@{}
}

function Invoke-BridgeUnlock($Fields, $Secrets) {
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    $given = Get-BridgePassword $Fields $Secrets
    $password = if ($null -ne $given) { $given } else { [SecretBridge.Vaults]::Password($vault) }
    if ([SecretBridge.Vaults]::IsSecretStore($vault)) { return Unlock-BridgeStoreVault $vault $password $Secrets }
    if ($null -eq $password) { throw ([SecretBridge.BridgeException]::Record('NoRememberedPassword', "no password for the vault '$vault' was given")) }
    Unlock-BridgeVault $vault $password $Secrets
    [ordered]@{ written = $false }
}

# Unlocks, and remembers the password once it has opened the vault.
function Unlock-BridgeVault([string] $Vault, [securestring] $Password, $Secrets) {
    try { [SecretBridge.VaultCalls]::Unlock($Vault, $Password, $Secrets) }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
}

# The field `password` as a SecureString; nothing where it is missing.
function Get-BridgePassword($Fields, $Secrets) {
    try { [SecretBridge.VaultCalls]::Password($Fields, $Secrets) }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
}

# The calls on vaults, by SecretManagement's own cmdlets. Names reach them as arguments, never as source.

Set-StrictMode -Version Latest

$script:SecretManagement = 'Microsoft.PowerShell.SecretManagement'

# The module's cmdlets by name, looked up once: a proxy that a script defines is never called instead.
$script:Cmdlets = $null
# Folder of the private registry.
$script:Registry = $null
# What `register` found out, by the vault's name: Module, Metadata (Set-Secret takes it), SetInfo.
$script:Vaults = @{}
# The last cmdlet that ran gave warnings.
$script:Warned = $false
# Passwords that unlocked a vault, by its name; see Get-BridgePasswordName.
$script:Passwords = @{}

function Invoke-BridgeHello($Fields, $Secrets) {
    if ($Fields['protocol'] -ne [SecretBridge.Worker]::ProtocolVersion) {
        throw ([SecretBridge.BridgeException]::Record('ProtocolMismatch', "this worker speaks protocol $([SecretBridge.Worker]::ProtocolVersion)"))
    }
    $script:Registry = [SecretBridge.Fields]::Text($Fields, 'registry')
    $version = $null
    # A broken module of that name elsewhere on the path is no reason to do without.
    if (Get-Module -Name $script:SecretManagement -ListAvailable -ErrorAction Ignore) { $version = Import-BridgeSecretManagement }
    [ordered]@{
        protocol = [SecretBridge.Worker]::ProtocolVersion
        pwsh = $PSVersionTable.PSVersion.ToString()
        pid = $PID
        guarded = [SecretBridge.Platform]::Guarded
        secret_management = $version
    }
}

# Imports SecretManagement with a registry of its own. It fixes the registry's path at first use, from
# HOME alone; SecretStore and Az look at HOME later, when it is the user's again. (On Windows the path
# comes from a known folder that no variable moves: there the registry is the user's.)
function Import-BridgeSecretManagement {
    $old = [Environment]::GetEnvironmentVariable('HOME')
    [Environment]::SetEnvironmentVariable('HOME', $script:Registry)
    try {
        $module = Import-Module -Name $script:SecretManagement -Global -PassThru
        $script:Cmdlets = @{}
        foreach ($command in $module.ExportedCmdlets.Values) { $script:Cmdlets[$command.Name] = $command }
        $null = Invoke-BridgeCmdlet $script:Cmdlets['Get-SecretVault'] @{} $null
        $module.Version.ToString()
    }
    finally { [Environment]::SetEnvironmentVariable('HOME', $old) }
}

function Get-BridgeCmdlet([string] $Name) {
    if ($null -eq $script:Cmdlets) {
        throw ([SecretBridge.BridgeException]::Record('SecretManagementMissing', "the module $script:SecretManagement is not installed (hint: Install-PSResource $script:SecretManagement, in pwsh)", 'NotInstalled'))
    }
    $script:Cmdlets[$Name]
}

# Runs a cmdlet and gives its output as it came, arrays whole. All its errors are collected, because the
# first alone often is not the cause (and `-ErrorAction Stop` makes SecretManagement rename them); any
# at all makes the call fail.
function Invoke-BridgeCmdlet([System.Management.Automation.CommandInfo] $Command, [hashtable] $Parameters, $Secrets) {
    $output = $errors = $warnings = $notes = $thrown = $null
    try {
        $output = & $Command @Parameters -ErrorAction SilentlyContinue -ErrorVariable errors -WarningAction SilentlyContinue -WarningVariable warnings -InformationAction SilentlyContinue -InformationVariable notes 6>$null
    }
    catch { $thrown = $_ }
    if ($warnings) { foreach ($record in $warnings) { [SecretBridge.Log]::Record($record, $Secrets) } }
    if ($notes) { foreach ($record in $notes) { [SecretBridge.Log]::Record($record, $Secrets) } }
    $script:Warned = [bool]$warnings
    if ($errors -or $null -ne $thrown) {
        $all = [System.Collections.Generic.List[object]]::new()
        if ($null -ne $thrown) { $all.Add($thrown) }
        if ($errors) { foreach ($record in $errors) { $all.Add($record) } }
        $joined = [SecretBridge.Faults]::Join($all)
        # Some modules tell what is wrong by a warning only.
        if ($warnings) { $joined.Exception.Data['SecretBridge.Warned'] = $true }
        throw $joined
    }
    , $output
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
    $script:Vaults[$vault] = @{ Module = $module.Name; Metadata = $metadata; SetInfo = $module.SetInfo; Functions = $module.Functions }
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

function Get-BridgeRegistryPath {
    [System.IO.Path]::Combine([SecretBridge.Platform]::SecretManagement($script:Registry), 'secretvaultregistry', 'vaultinfo')
}

# SecretManagement makes the file as the umask has it. Its folder lets nobody else in; this holds also
# where a copy of the file goes elsewhere.
function Protect-BridgeRegistry {
    $path = Get-BridgeRegistryPath
    if (-not [System.IO.File]::Exists($path)) { return }
    try { [SecretBridge.Platform]::Protect($path) }
    catch { [SecretBridge.Log]::Write('warning', "the registry's mode could not be set: $($_.Exception.GetType().FullName)", $null) }
}

# Whether the extension's Set-Secret takes metadata, which only the registry's file tells.
function Test-BridgeMetadataSupport([string] $Vault) {
    $path = Get-BridgeRegistryPath
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
    $script:Passwords.Remove($vault)
    $script:Vaults.Remove($vault)
    [ordered]@{}
}

function Invoke-BridgeUnlock($Fields, $Secrets) {
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    $given = Get-BridgePassword $Fields $Secrets
    $password = if ($null -ne $given) { $given } else { $script:Passwords[(Get-BridgePasswordName $vault)] }
    if ((Get-BridgeModuleName $vault) -eq $script:SecretStore) { return Unlock-BridgeStoreVault $vault $password $Secrets }
    if ($null -eq $password) { throw ([SecretBridge.BridgeException]::Record('NoRememberedPassword', "no password for the vault '$vault' was given")) }
    Unlock-BridgeVault $vault $password $Secrets
    [ordered]@{ written = $false }
}

# Unlocks, and remembers the password once it has opened the vault. An extension that has nothing to
# unlock says so by a warning.
function Unlock-BridgeVault([string] $Vault, [securestring] $Password, $Secrets) {
    $null = Invoke-BridgeCmdlet (Get-BridgeCmdlet 'Unlock-SecretVault') @{ Name = $Vault; Password = $Password } $Secrets
    $script:Passwords[(Get-BridgePasswordName $Vault)] = $Password
}

# All vaults of SecretStore are one store with one password. No vault has a name with wildcards.
function Get-BridgePasswordName([string] $Vault) {
    if ((Get-BridgeModuleName $Vault) -eq $script:SecretStore) { '*' } else { $Vault }
}

# The field `password` as a SecureString; nothing where it is missing.
function Get-BridgePassword($Fields, $Secrets) {
    if ($null -eq $Fields['password']) { return }
    $password = [SecretBridge.Values]::Untag([SecretBridge.Fields]::Object($Fields, 'password'), $Secrets)
    if ($password -is [string]) { return [SecretBridge.SecureText]::Make($password) }
    if ($password -is [securestring]) { return $password }
    throw ([SecretBridge.BridgeException]::Record('BadCall', 'a password is a string or a SecureString'))
}

# With `refresh`: unlocks with the remembered password, at which SecretStore reads its file again.
function Update-BridgeVault($Fields, [string] $Vault, $Secrets) {
    if (-not $Fields['refresh']) { return }
    $password = $script:Passwords[(Get-BridgePasswordName $Vault)]
    if ($null -ne $password) { Unlock-BridgeVault $Vault $password $Secrets }
}

function Get-BridgeModuleName([string] $Vault) {
    if ($script:Vaults.ContainsKey($Vault)) { $script:Vaults[$Vault].Module } else { '' }
}

function Invoke-BridgeGet($Fields, $Secrets) {
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    $name = [SecretBridge.Fields]::Text($Fields, 'name')
    Update-BridgeVault $Fields $vault $Secrets
    $value = Get-BridgeOwnSecret $vault $name
    if ($null -eq $value) { $value = Invoke-BridgeCmdlet (Get-BridgeCmdlet 'Get-Secret') @{ Name = $name; Vault = $vault; AsPlainText = $true } $Secrets }
    if ($null -eq $value) { throw ([SecretBridge.BridgeException]::Record('GetSecretNotFound', "The secret $name was not found.", 'ObjectNotFound')) }
    $tagged = [SecretBridge.Values]::Tag($value)
    if (-not $Fields['detail']) { return [ordered]@{ value = $tagged; metadata = @{} } }
    $metadata = @{}
    foreach ($info in Find-BridgeInfo $vault $name $Secrets) {
        if ($tagged['t'] -eq 'string' -and $info.Type -eq 'SecureString') { $tagged['t'] = 'securestring' }
        $metadata = [SecretBridge.Metadata]::Tag($info.Metadata)
    }
    [ordered]@{ value = $tagged; metadata = $metadata }
}

# What an extension's own function gives, where the extension is known to keep its state in the process and not
# in SecretManagement's runspace: half of Get-Secret's time is the way there, and nearly all of Get-SecretInfo's.
# Nothing where it gives an error or anything unlike a plain success: SecretManagement is asked then, and says why.
function Invoke-BridgeOwnFunction([string] $Vault, [string] $Name, [hashtable] $Arguments) {
    $known = $script:Vaults[$Vault]
    if ($null -eq $known -or -not $known.Functions.ContainsKey($Name)) { return }
    try { $output = @(& $known.Functions[$Name] @Arguments -VaultName $Vault -AdditionalParameters @{ Verbose = $false } -ErrorAction Stop) }
    catch { return }
    $script:Warned = $false
    , $output
}

# A secret as Get-Secret -AsPlainText would give it.
function Get-BridgeOwnSecret([string] $Vault, [string] $Name) {
    $output = Invoke-BridgeOwnFunction $Vault 'Get-Secret' @{ Name = $Name }
    if ($null -eq $output -or $output.Length -ne 1) { return }
    $value = $output[0]
    if ($value -is [securestring]) { return [SecretBridge.SecureText]::Reveal($value) }
    if ($value -is [string] -or $value -is [byte[]] -or $value -is [pscredential]) { return , $value }
    if ($value -isnot [hashtable]) { return }
    # Not the table itself, which the extension may keep.
    $plain = @{}
    foreach ($entry in $value.GetEnumerator()) {
        $member = $entry.Value
        if ($member -is [securestring]) { $member = [SecretBridge.SecureText]::Reveal($member) }
        $plain[$entry.Key] = $member
    }
    $plain
}

function Invoke-BridgeSet($Fields, $Secrets) {
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    $name = [SecretBridge.Fields]::Text($Fields, 'name')
    $value = [SecretBridge.Values]::Untag([SecretBridge.Fields]::Object($Fields, 'value'), $Secrets)
    Update-BridgeVault $Fields $vault $Secrets
    $metadata = Get-BridgeNextMetadata $Fields $vault $name $Secrets
    $call = @{ Name = $name; Vault = $vault; Confirm = $false }
    $call[$(if ($value -is [securestring]) { 'SecureStringSecret' } else { 'Secret' })] = $value
    if ($null -ne $metadata -and $metadata.get_Count()) { $call['Metadata'] = $metadata }
    $null = Invoke-BridgeCmdlet (Get-BridgeCmdlet 'Set-Secret') $call $Secrets
    [ordered]@{}
}

# The metadata to send with a Set: the call's own; with `keep_metadata` the present one, because a Set
# without erases it.
function Get-BridgeNextMetadata($Fields, [string] $Vault, [string] $Name, $Secrets) {
    $known = $script:Vaults[$Vault]
    $supported = $null -eq $known -or $known.Metadata -or $known.SetInfo
    $own = $Fields['metadata']
    if ($null -ne $own -and $own.get_Count()) {
        # SecretManagement would write the secret, fail on the metadata, and remove the secret again,
        # the one of before included.
        if (-not $supported) {
            throw ([SecretBridge.BridgeException]::Record('SetSecretMetadataCommandNotSupported', "the vault '$Vault' keeps no metadata", 'NotImplemented'))
        }
        return [SecretBridge.Metadata]::Untag($own)
    }
    if ($null -ne $own -or -not $Fields['keep_metadata'] -or -not $supported) { return }
    $found = try { Find-BridgeInfo $Vault $Name $Secrets }
    catch { [SecretBridge.Log]::Write('warning', "the metadata of a secret in '$Vault' could not be read, so it is written without: $($_.Exception.GetType().FullName)", $Secrets) }
    foreach ($info in $found) {
        if ($null -eq $info.Metadata) { return }
        $present = @{}
        foreach ($entry in $info.Metadata.GetEnumerator()) { $present[$entry.Key] = $entry.Value }
        return $present
    }
}

function Invoke-BridgeRemove($Fields, $Secrets) {
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    $name = [SecretBridge.Fields]::Text($Fields, 'name')
    Update-BridgeVault $Fields $vault $Secrets
    $null = Invoke-BridgeCmdlet (Get-BridgeCmdlet 'Remove-Secret') @{ Name = $name; Vault = $vault; Confirm = $false } $Secrets
    [ordered]@{}
}

function Invoke-BridgeInfo($Fields, $Secrets) {
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    Update-BridgeVault $Fields $vault $Secrets
    $found = if ($null -ne $Fields['name']) { Find-BridgeInfo $vault ([SecretBridge.Fields]::Text($Fields, 'name')) $Secrets }
    else { Get-BridgeInfoList $vault '*' $Secrets }
    $items = [object[]]@(
        foreach ($info in $found) {
            [ordered]@{
                name = [SecretBridge.Values]::Checked($info.Name)
                type = $info.Type.ToString()
                metadata = [SecretBridge.Metadata]::Tag($info.Metadata)
            }
        }
    )
    $names = [string[]]@(foreach ($item in $items) { $item['name'] })
    [Array]::Sort($names, $items, [StringComparer]::OrdinalIgnoreCase)
    $reply = [ordered]@{ secrets = $items }
    if ($script:Warned) { $reply['warned'] = $true }
    $reply
}

# Whether the vault's own test finds it ready. An error of the test is a no.
function Invoke-BridgeTest($Fields, $Secrets) {
    $vault = [SecretBridge.Fields]::Text($Fields, 'vault')
    $ready = try { Invoke-BridgeCmdlet (Get-BridgeCmdlet 'Test-SecretVault') @{ Name = $vault } $Secrets }
    catch { [SecretBridge.Log]::Write('debug', "Test-SecretVault of '$vault' gave an error: $($_.Exception.GetType().FullName)", $Secrets) }
    [ordered]@{ ready = $null -ne $ready -and @($ready)[-1] -eq $true }
}

# The information of the secret of exactly this name, in any case; none, if there is none.
function Find-BridgeInfo([string] $Vault, [string] $Name, $Secrets) {
    # WildcardPattern.Escape leaves the backtick alone before pwsh 7.6.
    $exact = [regex]::Replace($Name, '[*?\[\]`]', '`$0')
    foreach ($info in Get-BridgeInfoList $Vault $exact $Secrets) {
        if ([string]::Equals($info.Name, $Name, 'OrdinalIgnoreCase')) { return $info }
    }
    # Az.KeyVault's filter is case-sensitive, its names are not. SecretStore's filter is right.
    if ((Get-BridgeModuleName $Vault) -eq $script:SecretStore) { return }
    foreach ($info in Get-BridgeInfoList $Vault '*' $Secrets) {
        if ([string]::Equals($info.Name, $Name, 'OrdinalIgnoreCase')) { return $info }
    }
}

function Get-BridgeInfoList([string] $Vault, [string] $Filter, $Secrets) {
    $own = Invoke-BridgeOwnFunction $Vault 'Get-SecretInfo' @{ Filter = $Filter }
    if ($null -ne $own) { return $own }
    Invoke-BridgeCmdlet (Get-BridgeCmdlet 'Get-SecretInfo') @{ Name = $Filter; Vault = $Vault } $Secrets |
        & { process { $_ } }
}

# What is SecretStore's own: its configuration, and how it is unlocked. All SecretStore vaults of one
# HOME are one store with one configuration.

Set-StrictMode -Version Latest

$script:SecretStore = 'Microsoft.PowerShell.SecretStore'
# How long a written configuration may take to come back to this process as a file event, which drops
# the unlock.
$script:EchoLimit = [timespan]::FromMilliseconds(500)
# How often a store that locks itself between two steps is opened again.
$script:OpenLimit = 5
# SecretStore's watching of its files was looked for.
$script:WatchLookedFor = $false

function Get-BridgeStoreCmdlet([string] $Name) {
    $module = Get-Module -Name $script:SecretStore
    if (-not $module) { $module = Import-Module -Name $script:SecretStore -Global -PassThru }
    Stop-BridgeStoreWatch @($module)[0]
    @($module)[0].ExportedCommands[$Name]
}

# SecretStore watches its files, and reads them on threads of its own, with the one PowerShell object that
# its commands use too. Where the two meet, the engine throws on a thread where nobody catches, and the process
# ends (SIGABRT, "The pipeline does not contain a command"); or the store is locked, or put back to what it
# was, under a command. An unlock reads all that the watching would, and the core sees to it that it is done.
# The watcher is not public: where it is not found, all goes on as the module has it.
function Stop-BridgeStoreWatch($Module) {
    if ($script:WatchLookedFor) { return }
    $script:WatchLookedFor = $true
    try {
        $command = $Module.ExportedCmdlets['Unlock-SecretStore']
        if ($null -eq $command) { return }
        $type = $command.ImplementingType.Assembly.GetType('Microsoft.PowerShell.SecretStore.SecureStoreFile')
        $field = if ($null -ne $type) { $type.GetField('_storeFileWatcher', [System.Reflection.BindingFlags]'Static, NonPublic') }
        $watcher = if ($null -ne $field) { $field.GetValue($null) }
        if ($watcher -is [System.IO.FileSystemWatcher]) { $watcher.EnableRaisingEvents = $false }
    }
    catch { [SecretBridge.Log]::Write('debug', "SecretStore goes on watching its files: $($_.Exception.GetType().FullName)", $null) }
}

# The configuration, or nothing while the store is locked. Never called before there is a store: the
# question alone would write a default configuration.
function Get-BridgeStoreConfiguration {
    try { Invoke-BridgeCmdlet (Get-BridgeStoreCmdlet 'Get-SecretStoreConfiguration') @{} $null }
    catch { }
}

# The configuration of a store that has just been opened with the password. A file event, or another
# process, may lock it between any two steps: it is opened again, some times.
function Get-BridgeOpenConfiguration([securestring] $Password, $Secrets) {
    for ($left = $script:OpenLimit; $left -gt 0; $left--) {
        $configuration = Get-BridgeStoreConfiguration
        if ($null -ne $configuration) { return $configuration }
        # One without authentication refuses every password, and tells its configuration.
        try { $null = Invoke-BridgeCmdlet (Get-BridgeStoreCmdlet 'Unlock-SecretStore') @{ Password = $Password } $Secrets }
        catch { if ($left -eq 1) { throw } }
    }
    throw ([SecretBridge.BridgeException]::Record('StoreLockedAgain', 'the store was locked again each time that it had been opened (another process may be changing its configuration)', 'ResourceUnavailable'))
}

function Test-BridgeStore {
    $root = [SecretBridge.Platform]::SecretManagement("$([Environment]::GetEnvironmentVariable('HOME'))")
    foreach ($file in 'storeconfig', 'storefile') {
        if ([System.IO.File]::Exists([System.IO.Path]::Combine($root, 'localstore', $file))) { return $true }
    }
    $false
}

function ConvertTo-BridgeStoreReply($Configuration, [bool] $Written) {
    [ordered]@{
        authentication = [string]$Configuration.Authentication
        password_timeout = [long]$Configuration.PasswordTimeout
        written = $Written
    }
}

# Unlocks the store by one of its vaults. A store without authentication cannot be unlocked, and need
# not be: that is no fault.
function Unlock-BridgeStoreVault([string] $Vault, $Password, $Secrets) {
    $failure = if ($null -eq $Password) {
        [SecretBridge.BridgeException]::Record('NoRememberedPassword', "no password for the vault '$Vault' was given")
    }
    else {
        try { Unlock-BridgeVault $Vault $Password $Secrets } catch { $_ }
    }
    $configuration = if ($null -eq $failure -or (Test-BridgeStore)) { Get-BridgeStoreConfiguration }
    # A wrong password locks the store again, so only one without authentication still answers.
    if ($null -ne $failure -and ($null -eq $configuration -or $configuration.Authentication -ne 'None')) { throw $failure }
    if ($null -eq $configuration) { return [ordered]@{ written = $false } }
    ConvertTo-BridgeStoreReply $configuration $false
}

# Brings the configuration to what the plan names, and writes only what differs: every write drops the
# unlock in every process.
function Invoke-BridgeConfigure($Fields, $Secrets) {
    $wanted = ConvertFrom-BridgeStoreParameter ([SecretBridge.Fields]::Object($Fields, 'parameters'))
    $password = Get-BridgePassword $Fields $Secrets
    if ($null -ne $password -and $password.Length -eq 0) { throw ([SecretBridge.BridgeException]::Record('BadCall', 'the password of a SecretStore cannot be empty')) }
    if (-not (Test-BridgeStore) -and $wanted['Authentication'] -eq 'None') {
        return New-BridgeOpenStore $wanted $password $Secrets
    }
    $present = Open-BridgeStore $password $Secrets
    $differing = @{}
    # One that has a password was opened with it, or this point is not reached.
    if ($null -ne $password -and $present.Authentication -ne 'None') { [SecretBridge.Vaults]::RememberStore($password) }
    foreach ($name in $wanted.Keys) {
        if ([string]$present.$name -ne [string]$wanted[$name]) { $differing[$name] = $wanted[$name] }
    }
    if ($differing.Count -eq 0) { return ConvertTo-BridgeStoreReply $present $false }
    Set-BridgeStoreConfiguration $present $differing $password $Secrets
}

# The plan's parameters with their names and values as the cmdlet has them.
function ConvertFrom-BridgeStoreParameter([System.Collections.IDictionary] $Parameters) {
    $allowed = @{
        Scope = 'CurrentUser', 'AllUsers'
        # In the order of their numbers, which are allowed too.
        Authentication = 'None', 'Password'
        Interaction = 'None', 'Prompt'
        PasswordTimeout = $null
    }
    $wanted = @{}
    foreach ($entry in $Parameters.GetEnumerator()) {
        $name = $entry.Key
        if (-not $allowed.ContainsKey($name)) { throw ([SecretBridge.BridgeException]::Record('BadCall', "SecretStore has no parameter '$name'")) }
        $words = $allowed[$name]
        $value = $entry.Value
        if ($null -eq $words) {
            $number = 0
            if (-not [int]::TryParse([string]$value, [ref] $number)) { throw ([SecretBridge.BridgeException]::Record('BadCall', "the parameter '$name' is a whole number")) }
            $wanted[$name] = $number
            continue
        }
        if ($value -is [int] -and $value -in 0, 1) { $value = $words[$value] }
        if ($value -notin $words) { throw ([SecretBridge.BridgeException]::Record('BadCall', "the parameter '$name' is one of $($words -join ', ')")) }
        $wanted[$name] = $value
    }
    $wanted
}

# A store that is not there yet, without authentication. The cmdlet needs a password all the same (it
# makes a store with it and takes it off again); the plan need not have one.
function New-BridgeOpenStore([hashtable] $Wanted, $Password, $Secrets) {
    if ($null -eq $Password) {
        $Password = [SecretBridge.SecureText]::Make([Convert]::ToBase64String([System.Security.Cryptography.RandomNumberGenerator]::GetBytes(32)))
    }
    $call = @{ Interaction = 'None' }
    foreach ($name in $Wanted.Keys) { $call[$name] = $Wanted[$name] }
    # The cmdlet makes the store and then changes it. The event of its first write may lock it in between,
    # and a store whose password is known here alone must not stay so.
    for ($left = 3; $left -gt 0; $left--) {
        try {
            Write-BridgeStoreConfiguration $call $Password $Secrets
            break
        }
        catch { if ($left -eq 1 -or -not (Test-BridgeStore)) { throw } }
    }
    ConvertTo-BridgeStoreReply (Get-BridgeOpenConfiguration $Password $Secrets) $true
}

# Opens the store and gives its configuration; a missing one is created with the password, by the unlock.
function Open-BridgeStore($Password, $Secrets) {
    $failure = [SecretBridge.BridgeException]::Record('NoRememberedPassword', 'the store needs a password, and none was given')
    if ($null -ne $Password) {
        try {
            $null = Invoke-BridgeCmdlet (Get-BridgeStoreCmdlet 'Unlock-SecretStore') @{ Password = $Password } $Secrets
            return Get-BridgeOpenConfiguration $Password $Secrets
        }
        catch { $failure = $_ }
    }
    $configuration = if (Test-BridgeStore) { Get-BridgeStoreConfiguration }
    # A store without authentication refuses every password; one that was already open needs none.
    if ($null -eq $configuration -or ($null -ne $Password -and $configuration.Authentication -ne 'None')) { throw $failure }
    $configuration
}

function Set-BridgeStoreConfiguration($Present, [hashtable] $Differing, $Password, $Secrets) {
    if ($Differing.ContainsKey('Authentication') -and $null -eq $Password) {
        throw ([SecretBridge.BridgeException]::Record('NoRememberedPassword', 'a change of the authentication needs the store''s password'))
    }
    # The cmdlet opens the store with it, should a file event have locked it meanwhile; not always.
    for ($left = $script:OpenLimit; $left -gt 0; $left--) {
        try {
            Write-BridgeStoreConfiguration $Differing $Password $Secrets
            break
        }
        catch {
            $locked = (Get-BridgeRank $_) -eq 0
            if ($left -eq 1 -or $null -eq $Password -or -not $locked) { throw }
            $null = Invoke-BridgeCmdlet (Get-BridgeStoreCmdlet 'Unlock-SecretStore') @{ Password = $Password } $Secrets
        }
    }
    $after = if ($Differing.ContainsKey('Authentication')) { $Differing['Authentication'] } else { [string]$Present.Authentication }
    if ($after -eq 'Password' -and $null -ne $Password) { return Confirm-BridgeStore $Password $Secrets }
    $configuration = Get-BridgeStoreConfiguration
    if ($null -eq $configuration) { return [ordered]@{ authentication = $after; written = $true } }
    ConvertTo-BridgeStoreReply $configuration $true
}

function Write-BridgeStoreConfiguration([hashtable] $Parameters, $Password, $Secrets) {
    $call = @{ Confirm = $false } + $Parameters
    if ($null -ne $Password) { $call['Password'] = $Password }
    $null = Invoke-BridgeCmdlet (Get-BridgeStoreCmdlet 'Set-SecretStoreConfiguration') $call $Secrets
}

# Unlocks after a write, and once more when the write has come back as a file event.
function Confirm-BridgeStore($Password, $Secrets) {
    $unlock = Get-BridgeStoreCmdlet 'Unlock-SecretStore'
    $null = Invoke-BridgeCmdlet $unlock @{ Password = $Password } $Secrets
    $configuration = Get-BridgeOpenConfiguration $Password $Secrets
    $watch = [System.Diagnostics.Stopwatch]::StartNew()
    while ($watch.Elapsed -lt $script:EchoLimit) {
        [System.Threading.Thread]::Sleep(20)
        $now = Get-BridgeStoreConfiguration
        if ($null -ne $now) { continue }
        $configuration = Get-BridgeOpenConfiguration $Password $Secrets
        break
    }
    ConvertTo-BridgeStoreReply $configuration $true
}

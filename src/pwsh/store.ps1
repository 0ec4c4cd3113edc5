# What is SecretStore's own: its configuration. Writing it drops the unlock in every process, so it is
# written only where it differs from what the plan names. Nothing here may prompt.

$script:StoreSettings = 'Scope', 'Authentication', 'PasswordTimeout', 'Interaction'

# Compares the configuration with the named parameters, writes what differs, and leaves the store
# unlocked if a password is at hand.
function Invoke-BridgeConfigure([System.Collections.IDictionary] $Fields, $Secrets) {
    $wanted = ConvertFrom-BridgeParameter $Fields['parameters'] $Secrets
    foreach ($name in $wanted.Keys) {
        if ($name -notin $script:StoreSettings) { throw (New-BridgeError 'BadCall' "SecretStore has no setting '$name'") }
    }
    $password = $null
    if ($null -ne $Fields['password']) {
        $password = ConvertFrom-BridgeValue $Fields['password'] $Secrets
        if ($password -is [string]) { $password = ConvertTo-BridgeSecureString $password }
    }
    $written = $false
    if (-not (Test-BridgeStore)) { $written = New-BridgeStore $wanted $password }
    elseif ($null -ne $password) { Open-BridgeStore $password }
    $present = Get-BridgeStoreConfiguration
    if ($null -eq $present) {
        throw (New-BridgeError 'Microsoft.PowerShell.SecretManagement.PasswordRequiredException' 'the store is locked, and tells nothing of itself' 'AuthenticationError')
    }
    $different = @{}
    foreach ($name in $wanted.Keys) {
        if ([string]$wanted[$name] -ne [string]$present.$name) { $different[$name] = $wanted[$name] }
    }
    if ($different.Count) {
        # Only a change of the way to authenticate takes a password; with others it is an error.
        if ($different.ContainsKey('Authentication') -and $null -ne $password) { $different['Password'] = $password }
        Set-SecretStoreConfiguration @different -Confirm:$false -ErrorAction Stop
        $written = $true
        if ($null -ne $password) { Open-BridgeStore $password }
    }
    $told = Get-BridgeStoreState
    $told['written'] = $written
    $told
}

function Test-BridgeStore {
    $folder = if ($IsWindows) { [System.IO.Path]::Combine($env:LOCALAPPDATA, 'Microsoft', 'PowerShell', 'secretmanagement', 'localstore') }
    else { [System.IO.Path]::Combine([string]$env:HOME, '.secretmanagement', 'localstore') }
    [System.IO.File]::Exists([System.IO.Path]::Combine($folder, 'storefile'))
}

# Makes the store; true where that wrote a configuration.
function New-BridgeStore([hashtable] $Wanted, $Password) {
    if ([string]$Wanted['Authentication'] -eq 'None') {
        # A password must be given even so, or the command asks for one; nobody ever needs it.
        if ($null -eq $Password) { $Password = ConvertTo-BridgeSecureString ([guid]::NewGuid().ToString('N')) }
        $settings = @{ Interaction = 'None' } + $Wanted
        if ($Wanted.ContainsKey('Interaction')) { $settings = $Wanted }
        Set-SecretStoreConfiguration @settings -Password $Password -Confirm:$false -ErrorAction Stop
        return $true
    }
    if ($null -ne $Password) { Unlock-SecretStore -Password $Password -ErrorAction Stop }
    $false
}

# A store without a password refuses every unlock, and needs none.
function Open-BridgeStore([securestring] $Password) {
    try { Unlock-SecretStore -Password $Password -ErrorAction Stop }
    catch {
        $present = Get-BridgeStoreConfiguration
        if ($null -eq $present -or [string]$present.Authentication -ne 'None') {
            # The extension's own words for it, whichever command was used.
            throw [System.Management.Automation.ErrorRecord]::new($_.Exception, 'SecretStoreUnlockFailed', 'AuthenticationError', $null)
        }
    }
}

# The configuration, or nothing where the store is locked.
function Get-BridgeStoreConfiguration {
    try { Get-SecretStoreConfiguration -ErrorAction Stop }
    catch { $null }
}

function Get-BridgeStoreState {
    $present = Get-BridgeStoreConfiguration
    if ($null -eq $present) { return [ordered]@{ authentication = $null; password_timeout = $null; written = $false } }
    [ordered]@{
        authentication = [string]$present.Authentication
        password_timeout = [long]$present.PasswordTimeout
        written = $false
    }
}

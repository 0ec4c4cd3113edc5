# The extension vault: each function is one request to a running secretbridge server.
#
# The server holds each store's lane, so that no write of one process erases one of another. Nothing is kept here
# but connections.

using namespace System.Collections
using namespace System.Net.Http
using namespace System.Text.Json.Nodes

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

# A client by the place that it leads to: making one for each call would leave a connection behind each time.
$script:Clients = @{}

# === talking to the server ===

function Get-BridgeClient {
    [OutputType([HttpClient])]
    param([hashtable] $Parameters, [string] $VaultName)

    $socket = [string] $Parameters['Socket']
    $uri = [string] $Parameters['Uri']
    if (-not $socket -and -not $uri) {
        throw [System.ArgumentException]::new("The vault '$VaultName' names no server. Register it with -VaultParameters @{ Uri = 'http://127.0.0.1:8085'; TokenFile = '...' }.")
    }
    if (-not $socket -and $uri -notmatch '^https?://') {
        throw [System.ArgumentException]::new("The vault '$VaultName': its Uri '$uri' is no address. Write it as http://127.0.0.1:8085 or https://host:8443.")
    }
    if ($socket -clike 'unix:*') {
        $socket = $socket.Substring(5)
    }
    $place = $socket ? $socket : $uri
    if ($script:Clients.ContainsKey($place)) {
        return $script:Clients[$place]
    }
    $handler = [SocketsHttpHandler]::new()
    $handler.UseProxy = $false
    $handler.AllowAutoRedirect = $false
    $handler.PooledConnectionIdleTimeout = [timespan]::FromSeconds(10)
    if ($socket) {
        # .NET calls it on a thread without a runspace, which a script block cannot run on. So it is compiled.
        $handler.ConnectCallback = New-SocketCallback $socket
    }
    $client = [HttpClient]::new($handler)
    $client.BaseAddress = [uri] ($socket ? 'http://localhost/' : ($uri.TrimEnd('/') + '/'))
    $client.Timeout = [timespan]::FromSeconds(60)
    $script:Clients[$place] = $client
    $client
}

function Get-BridgePlace {
    [OutputType([string])]
    param([hashtable] $Parameters)

    [string] ($Parameters['Socket'] ? $Parameters['Socket'] : $Parameters['Uri'])
}

function New-SocketCallback {
    param([string] $Place)

    if (-not ('SecretBridge.SocketDoor' -as [type])) {
        Add-Type -Path (Join-Path $PSScriptRoot 'Platform.cs'), (Join-Path $PSScriptRoot 'SocketDoor.cs')
    }
    [SecretBridge.SocketDoor]::new($Place).Callback
}

function Get-BridgeToken {
    <#
    .SYNOPSIS
    The token in a file, read each time, so that a rotated token is used at once.
    #>
    [OutputType([string])]
    param([string] $VaultName, [string] $Path)

    $file = $Path -match '^~[\\/]' ? (Join-Path $HOME $Path.Substring(2)) : $Path
    try {
        [System.IO.File]::ReadAllText($file).Trim()
    }
    catch {
        throw [System.InvalidOperationException]::new("The vault '$VaultName': its TokenFile cannot be read. $($_.Exception.GetBaseException().Message) Register the vault again with the right file, or with one that you may read.", $_.Exception)
    }
}

function Invoke-Bridge {
    <#
    .SYNOPSIS
    Sends one request and returns its JSON, or nothing where the answer has none or says that the secret is missing.
    #>
    param(
        [string] $VaultName,
        [hashtable] $Parameters,
        [string] $Method,
        [string] $Path,
        [JsonNode] $Body,
        [switch] $MayBeMissing
    )

    $client = Get-BridgeClient $Parameters $VaultName
    $remote = $Parameters['Vault'] ? [string] $Parameters['Vault'] : $VaultName
    $request = [HttpRequestMessage]::new([HttpMethod]::new($Method), 'vaults/' + [uri]::EscapeDataString($remote) + $Path)
    try {
        $request.Headers.Accept.ParseAdd('application/json')
        $tokenFile = [string] $Parameters['TokenFile']
        if ($tokenFile) {
            $token = Get-BridgeToken $VaultName $tokenFile
            $request.Headers.Authorization = [System.Net.Http.Headers.AuthenticationHeaderValue]::new('Bearer', $token)
        }
        if ($null -ne $Body) {
            $request.Content = [StringContent]::new($Body.ToJsonString(), [System.Text.Encoding]::UTF8, 'application/json')
        }
        $response = $client.Send($request)
        try {
            $text = $response.Content.ReadAsStringAsync().GetAwaiter().GetResult()
            if ($response.IsSuccessStatusCode) {
                if ($text) { Write-Output -InputObject ([JsonNode]::Parse($text)) -NoEnumerate }
                return
            }
            Resolve-Refusal $VaultName ([int] $response.StatusCode) $text $MayBeMissing
        }
        finally {
            $response.Dispose()
        }
    }
    catch [HttpRequestException] {
        throw [System.InvalidOperationException]::new("The vault '$VaultName' cannot reach its secretbridge server at $(Get-BridgePlace $Parameters): $($_.Exception.Message)", $_.Exception)
    }
    catch [System.OperationCanceledException] {
        throw [System.TimeoutException]::new("The vault '$VaultName': its secretbridge server at $(Get-BridgePlace $Parameters) did not answer within $($client.Timeout.TotalSeconds) seconds. Whether a write was done is not known.", $_.Exception)
    }
    finally {
        $request.Dispose()
    }
}

function Resolve-Refusal {
    param([string] $VaultName, [int] $Status, [string] $Text, [bool] $MayBeMissing)

    $fault = $null
    try { $fault = [JsonNode]::Parse($Text)['error'] } catch { $fault = $null }
    if ($null -eq $fault) {
        throw [System.InvalidOperationException]::new("The vault '$VaultName': what answers with $Status is not secretbridge.")
    }
    $code = [string] $fault['code']
    if ($MayBeMissing -and $code -eq 'secret_not_found') {
        return
    }
    $hint = [string] $fault['hint']
    $message = "The vault '$VaultName': $($fault['message'])$($hint ? " ($hint)" : '')"
    if ($code -eq 'locked') {
        throw [Microsoft.PowerShell.SecretManagement.PasswordRequiredException]::new($message)
    }
    if ($code -eq 'secret_not_found') {
        throw [System.Management.Automation.ItemNotFoundException]::new($message)
    }
    throw [System.InvalidOperationException]::new($message)
}

# === values ===

function ConvertTo-BridgeValue {
    <#
    .SYNOPSIS
    The type and the value of a secret, as the server's JSON has them.
    #>
    param([object] $Secret)

    $value = $Secret -is [psobject] ? $Secret.psobject.BaseObject : $Secret
    $node = [JsonObject]::new()
    if ($value -is [string]) {
        $node['Type'] = 'String'
        $node['Value'] = $value
    }
    elseif ($value -is [securestring]) {
        $node['Type'] = 'SecureString'
        $node['Value'] = [System.Net.NetworkCredential]::new('', $value).Password
    }
    elseif ($value -is [byte[]]) {
        $node['Type'] = 'ByteArray'
        $node['Value'] = [System.Convert]::ToBase64String($value)
    }
    elseif ($value -is [pscredential]) {
        $credential = [JsonObject]::new()
        $credential['UserName'] = $value.UserName
        $credential['Password'] = [System.Net.NetworkCredential]::new('', $value.Password).Password
        $node['Type'] = 'PSCredential'
        $node['Value'] = $credential
    }
    elseif ($value -is [IDictionary]) {
        $table = [JsonObject]::new()
        foreach ($key in $value.Keys) {
            $member = ConvertTo-BridgeValue $value[$key]
            if ([string] $member['Type'] -eq 'String') {
                $table[[string] $key] = [string] $member['Value']
            }
            else {
                $table[[string] $key] = $member
            }
        }
        $node['Type'] = 'Hashtable'
        $node['Value'] = $table
    }
    else {
        $kind = $null -eq $value ? 'null' : $value.GetType().FullName
        throw [System.ArgumentException]::new("A secret is a string, SecureString, byte[], PSCredential or Hashtable, and not a $kind.")
    }
    Write-Output -InputObject $node -NoEnumerate
}

function ConvertTo-BridgeSecureString {
    [OutputType([securestring])]
    param([string] $Text)

    $secure = [securestring]::new()
    foreach ($char in $Text.ToCharArray()) {
        $secure.AppendChar($char)
    }
    $secure.MakeReadOnly()
    Write-Output -InputObject $secure -NoEnumerate
}

function ConvertFrom-BridgeValue {
    <#
    .SYNOPSIS
    A secret from the type and the value that the server's JSON has.
    #>
    param([string] $Type, [JsonNode] $Value)

    switch ($Type) {
        'SecureString' { return ConvertTo-BridgeSecureString ([string] $Value) }
        'ByteArray' { return Write-Output -InputObject ([System.Convert]::FromBase64String([string] $Value)) -NoEnumerate }
        'PSCredential' {
            return [pscredential]::new([string] $Value['UserName'], (ConvertTo-BridgeSecureString ([string] $Value['Password'])))
        }
        'Hashtable' {
            $table = @{}
            foreach ($pair in $Value.AsObject().GetEnumerator()) {
                $member = $pair.Value
                $table[$pair.Key] = if ($member -is [JsonObject]) {
                    ConvertFrom-BridgeValue ([string] $member['Type']) $member['Value']
                }
                else {
                    [string] $member
                }
            }
            return $table
        }
        default { return [string] $Value }
    }
}

function ConvertTo-BridgeMetadata {
    param([hashtable] $Metadata)

    $node = [JsonObject]::new()
    foreach ($key in $Metadata.Keys) {
        $value = $Metadata[$key]
        $value = $value -is [psobject] ? $value.psobject.BaseObject : $value
        if ($value -is [datetime]) {
            $date = [JsonObject]::new()
            $date['Type'] = 'DateTime'
            $date['Value'] = $value.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ss.fffffffZ', [cultureinfo]::InvariantCulture)
            $node[[string] $key] = $date
        }
        elseif ($value -is [int] -or $value -is [long] -or $value -is [short] -or $value -is [byte]) {
            $node[[string] $key] = [JsonValue]::Create([long] $value)
        }
        elseif ($value -is [string]) {
            $node[[string] $key] = $value
        }
        else {
            throw [System.ArgumentException]::new("The metadata '$key' is neither a string nor a whole number nor a date.")
        }
    }
    Write-Output -InputObject $node -NoEnumerate
}

function ConvertFrom-BridgeMetadata {
    param([JsonNode] $Metadata)

    $table = [System.Collections.Generic.Dictionary[string, object]]::new()
    if ($null -ne $Metadata) {
        foreach ($pair in $Metadata.AsObject().GetEnumerator()) {
            $value = $pair.Value
            if ($value -is [JsonObject]) {
                $table[$pair.Key] = [datetime]::Parse([string] $value['Value'], [cultureinfo]::InvariantCulture, 'RoundtripKind')
            }
            elseif ($value.GetValueKind() -eq 'Number') {
                $number = $value.GetValue[long]()
                $table[$pair.Key] = ($number -ge [int]::MinValue -and $number -le [int]::MaxValue) ? [int] $number : $number
            }
            else {
                $table[$pair.Key] = [string] $value
            }
        }
    }
    Write-Output -InputObject $table -NoEnumerate
}

# === what SecretManagement calls ===

<#
.SYNOPSIS
Reads a secret from the server.
.PARAMETER Name
The secret's name.
.PARAMETER VaultName
The registered vault.
.PARAMETER AdditionalParameters
The vault's parameters: Uri or Socket, TokenFile, Vault.
.EXAMPLE
Get-Secret -Name db -Vault local -AsPlainText
#>
function Get-Secret {
    [CmdletBinding()]
    param([string] $Name, [string] $VaultName, [hashtable] $AdditionalParameters)

    $path = '/secrets/' + [uri]::EscapeDataString($Name)
    $answer = Invoke-Bridge $VaultName $AdditionalParameters GET $path -MayBeMissing
    if ($null -ne $answer) {
        Write-Output -InputObject (ConvertFrom-BridgeValue ([string] $answer['Type']) $answer['Value']) -NoEnumerate
    }
}

<#
.SYNOPSIS
Writes a secret through the server.
.PARAMETER Name
The secret's name.
.PARAMETER Secret
A string, SecureString, byte[], PSCredential or Hashtable.
.PARAMETER VaultName
The registered vault.
.PARAMETER AdditionalParameters
The vault's parameters.
.PARAMETER Metadata
Metadata in place of what is there; without it, what is there stays.
.EXAMPLE
Set-Secret -Name db -Secret (Read-Host -AsSecureString) -Vault local -Metadata @{ Owner = 'dba' }
#>
function Set-Secret {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'SecretManagement asks.')]
    [CmdletBinding()]
    param([string] $Name, [object] $Secret, [string] $VaultName, [hashtable] $AdditionalParameters, [hashtable] $Metadata)

    $body = ConvertTo-BridgeValue $Secret
    if ($PSBoundParameters.ContainsKey('Metadata') -and $null -ne $Metadata -and $Metadata.Count -gt 0) {
        $body['Metadata'] = ConvertTo-BridgeMetadata $Metadata
    }
    $null = Invoke-Bridge $VaultName $AdditionalParameters PUT ('/secrets/' + [uri]::EscapeDataString($Name)) $body
    $true
}

<#
.SYNOPSIS
Removes a secret through the server.
.PARAMETER Name
The secret's name.
.PARAMETER VaultName
The registered vault.
.PARAMETER AdditionalParameters
The vault's parameters.
.EXAMPLE
Remove-Secret -Name db -Vault local
#>
function Remove-Secret {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'SecretManagement asks.')]
    [CmdletBinding()]
    param([string] $Name, [string] $VaultName, [hashtable] $AdditionalParameters)

    $null = Invoke-Bridge $VaultName $AdditionalParameters DELETE ('/secrets/' + [uri]::EscapeDataString($Name))
    $true
}

<#
.SYNOPSIS
Lists the server's secrets: names, types and metadata.
.PARAMETER Filter
A name or a pattern.
.PARAMETER VaultName
The registered vault.
.PARAMETER AdditionalParameters
The vault's parameters.
.EXAMPLE
Get-SecretInfo -Vault local -Name 'db-*'
#>
function Get-SecretInfo {
    [CmdletBinding()]
    param([string] $Filter, [string] $VaultName, [hashtable] $AdditionalParameters)

    $pattern = [WildcardPattern]::Get(($Filter ? $Filter : '*'), 'IgnoreCase')
    $answer = Invoke-Bridge $VaultName $AdditionalParameters GET '/secrets'
    foreach ($secret in $answer['Secrets'].AsArray()) {
        $name = [string] $secret['Name']
        # SecretManagement asks by an exact name too, in which [ and * mean themselves.
        if (-not ($pattern.IsMatch($name) -or $name -eq $Filter)) {
            continue
        }
        $type = [Microsoft.PowerShell.SecretManagement.SecretType] [string] $secret['Type']
        $metadata = ConvertFrom-BridgeMetadata $secret['Metadata']
        $readOnly = [System.Collections.ObjectModel.ReadOnlyDictionary[string, object]]::new($metadata)
        [Microsoft.PowerShell.SecretManagement.SecretInformation]::new($name, $type, $VaultName, $readOnly)
    }
}

<#
.SYNOPSIS
Replaces a secret's metadata and leaves its value.
.PARAMETER Name
The secret's name.
.PARAMETER Metadata
Strings, whole numbers and dates.
.PARAMETER VaultName
The registered vault.
.PARAMETER AdditionalParameters
The vault's parameters.
.EXAMPLE
Set-SecretInfo -Name db -Vault local -Metadata @{ Owner = 'dba' }
#>
function Set-SecretInfo {
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '', Justification = 'SecretManagement asks.')]
    [CmdletBinding()]
    param([string] $Name, [hashtable] $Metadata, [string] $VaultName, [hashtable] $AdditionalParameters)

    $body = [JsonObject]::new()
    $body['Metadata'] = ConvertTo-BridgeMetadata $Metadata
    $null = Invoke-Bridge $VaultName $AdditionalParameters PATCH ('/secrets/' + [uri]::EscapeDataString($Name)) $body
    $true
}

<#
.SYNOPSIS
Tells whether the server answers for the vault. Nothing is written.
.PARAMETER VaultName
The registered vault.
.PARAMETER AdditionalParameters
The vault's parameters.
.EXAMPLE
Test-SecretVault -Name local
#>
function Test-SecretVault {
    [CmdletBinding()]
    [OutputType([bool])]
    param([string] $VaultName, [hashtable] $AdditionalParameters)

    try {
        $null = Invoke-Bridge $VaultName $AdditionalParameters GET '/secrets'
        $true
    }
    catch {
        Write-Error -ErrorRecord $_ -ErrorAction Continue
        $false
    }
}

<#
.SYNOPSIS
Unlocks the vault on the server, for all who use it.
.PARAMETER Password
The vault's password.
.PARAMETER VaultName
The registered vault.
.PARAMETER AdditionalParameters
The vault's parameters.
.EXAMPLE
Unlock-SecretVault -Name store -Password (Read-Host -AsSecureString)
#>
function Unlock-SecretVault {
    [CmdletBinding()]
    param([securestring] $Password, [string] $VaultName, [hashtable] $AdditionalParameters)

    $body = [JsonObject]::new()
    $body['Password'] = [System.Net.NetworkCredential]::new('', $Password).Password
    $null = Invoke-Bridge $VaultName $AdditionalParameters POST '/unlock' $body
}

Export-ModuleMember -Function Get-Secret, Set-Secret, Remove-Secret, Get-SecretInfo, Set-SecretInfo, Test-SecretVault, Unlock-SecretVault

# The worker's module in this process: lines, values, faults, asks. No vault is called.
# Run: pwsh -NoProfile -NonInteractive -File tests/pwsh/Worker.Tests.ps1 [-Write]
# With -Write it writes fixtures/protocol/worker.jsonl anew, for a deliberate change of the protocol.
param([switch] $Write)

Set-StrictMode -Version Latest
. $PSScriptRoot/Harness.ps1

$root = [System.IO.Path]::GetFullPath([System.IO.Path]::Combine($PSScriptRoot, '..', '..'))
. $PSScriptRoot/Compiled.ps1
$workerFolder = Initialize-CompiledWorker
$module = Import-Module -Name "$workerFolder/SecretBridge.Worker.psm1" -PassThru -DisableNameChecking
Initialize-BridgeWorker
$golden = "$root/fixtures/protocol"
$utf8 = [System.Text.UTF8Encoding]::new($false, $true)
$odd = "$([char]0)$([char]0x1f)`"\/`b`f`n`r`t$([char]0x7f)$([char]0x85)$([char]0x2028)$([char]0x2029)é😀"

# Feeds the module these bytes, and keeps what it writes.
function Open-Wire([byte[]] $Bytes, [System.IO.Stream] $From) {
    $script:Written = [System.IO.MemoryStream]::new()
    $source = if ($From) { $From } else { [System.IO.MemoryStream]::new($Bytes) }
    [SecretBridge.Channel]::Open($source, $script:Written)
}

# A line as text; nothing at the end of the stream.
function Read-Line {
    $line = [SecretBridge.Channel]::Wire.ReadLine()
    if ($null -eq $line) { return }
    $utf8.GetString($line.ToArray())
    [SecretBridge.Channel]::Wire.Release()
}

function Read-Message { [SecretBridge.Channel]::Receive() }

function Get-Written { $utf8.GetString($script:Written.ToArray()) }

function Get-Line($Object) {
    Open-Wire @()
    [SecretBridge.Channel]::SendPlain($Object)
    Get-Written
}

# A value as the worker would send it, and as it is after a trip to the core and back.
function Get-Trip($Value) {
    Open-Wire $utf8.GetBytes((Get-Line @{ value = [SecretBridge.Values]::Tag($Value) }))
    $plain = (Read-Message)['value']
    , ([SecretBridge.Values]::Untag($plain))
}

function New-Secure([string] $Text) { [System.Net.NetworkCredential]::new('', $Text).SecurePassword }

# A stream that gives one byte a read, as a slow pipe may.
class DripStream : System.IO.MemoryStream {
    DripStream([byte[]] $bytes) : base($bytes) {}
    [int] Read([byte[]] $buffer, [int] $offset, [int] $count) {
        return ([System.IO.MemoryStream]$this).Read($buffer, $offset, [Math]::Min(1, $count))
    }
}

# --- lines ---

Test-That 'lines are split at the line feed, and a half line at the end is dropped' {
    Open-Wire $utf8.GetBytes("a`n`nbcé`nhalf")
    Assert-Equal 'a' ((Read-Line))
    Assert-Equal '' ((Read-Line))
    Assert-Equal 'bcé' ((Read-Line))
    Assert-True ($null -eq (Read-Line)) 'the stream has ended'
}

Test-That 'a line much longer than the buffer arrives whole, and so does the next' {
    $long = 'x' * 3MB
    Open-Wire $utf8.GetBytes("first`n$long`nlast`n")
    Assert-Equal 'first' ((Read-Line))
    Assert-Equal $long.Length (Read-Line).Length
    Assert-Equal 'last' ((Read-Line))
}

Test-That 'a line longer than the protocol allows ends the reading' {
    [SecretBridge.Wire]::MaxLine = 256KB
    try {
        Open-Wire ([byte[]]::new(512KB))
        $null = Assert-Fault 'IOException' { Read-Line }
    }
    finally { [SecretBridge.Wire]::MaxLine = 64MB }
}

Test-That 'what was read is wiped from the buffer' {
    Open-Wire $utf8.GetBytes("canary`nrest`n")
    $null = Read-Line
    $left = $utf8.GetString([SecretBridge.Channel]::Wire.Buffer.ToArray())
    Assert-True (-not $left.Contains('canary')) 'the line is gone'
    Assert-True ($left.Contains('rest')) 'the next is not'
}

Test-That 'a line is written in one piece, with one line feed' {
    Open-Wire @()
    [SecretBridge.Channel]::SendPlain(@{ v = "a`nb" })
    Assert-Equal ('{"v":"a\nb"}' + "`n") (Get-Written)
}

Test-That 'a line too long to send is a fault, and the writer goes on' {
    [SecretBridge.Wire]::MaxLine = 1KB
    try {
        Open-Wire @()
        $null = Assert-Fault 'ValueNotRepresentable' { [SecretBridge.Channel]::SendPlain(@{ v = 'x' * 2KB }) }
        [SecretBridge.Channel]::SendPlain(@{ v = 1 })
        Assert-Equal ('{"v":1}' + "`n") (Get-Written)
    }
    finally { [SecretBridge.Wire]::MaxLine = 64MB }
}

# --- the core's golden lines ---

$coreLines = [System.IO.File]::ReadAllLines("$golden/core.jsonl", $utf8)

Test-That 'every golden line of the core is read' {
    Open-Wire ([System.IO.File]::ReadAllBytes("$golden/core.jsonl"))
    $ids = foreach ($line in $coreLines) {
        $message = Read-Message
        if ($message.Contains('call')) { $message['call']['id'] }
    }
    Assert-Equal (1..$ids.Length -join ' ') ($ids -join ' ') 'ids'
    Assert-True ($null -eq (Read-Message)) 'nothing is left'
}

Test-That 'every call of the golden lines has an operation, and no operation is without a line' {
    $named = foreach ($line in $coreLines) {
        Open-Wire $utf8.GetBytes("$line`n")
        $message = Read-Message
        if ($message.Contains('call')) { $message['call']['op'].Keys }
    }
    $known = @([SecretBridge.Worker]::Operations.Keys) + @([SecretBridge.VaultCalls]::Operations.Keys) + 'ping', 'shutdown'
    Assert-Equal (($known | Sort-Object) -join ' ') (($named | Sort-Object -Unique) -join ' ')
}

Test-That 'every golden value is decoded and encoded to the same again' {
    $count = 0
    foreach ($line in $coreLines) {
        Open-Wire $utf8.GetBytes("$line`n")
        $message = Read-Message
        if (-not $message.Contains('call') -or -not $message['call']['op'].Contains('set')) { continue }
        $plain = $message['call']['op']['set']['value']
        $again = [SecretBridge.Values]::Tag([SecretBridge.Values]::Untag($plain))
        # A Hashtable keeps no order.
        if ($plain['t'] -eq 'hashtable') {
            $sorted = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal)
            foreach ($key in $plain['v'].Keys) { $sorted[[object]$key] = $again['v'][[object]$key] }
            Assert-Equal $plain['v'].Keys.Count $again['v'].Keys.Count 'members'
            $again['v'] = $sorted
        }
        Assert-Equal (Get-Line $plain) (Get-Line $again)
        $count++
    }
    Assert-True ($count -ge 16) 'there were such lines'
}

Test-That 'a golden string is what it says, to the character' {
    $line = $coreLines | Where-Object { $_.Contains('"set"') } | Select-Object -First 1
    Open-Wire $utf8.GetBytes("$line`n")
    Assert-Equal $odd ([SecretBridge.Values]::Untag((Read-Message)['call']['op']['set']['value']))
}

Test-That 'parameters become Hashtables without case, lists and numbers of the right size' {
    Open-Wire $utf8.GetBytes("$($coreLines[3])`n")
    $plain = (Read-Message)['call']['op']['register']['parameters']
    $parameters = [SecretBridge.Parameters]::Untag($plain, $null)
    Assert-Equal ([hashtable]) $parameters.GetType()
    Assert-Equal 'prod' $parameters['azkvaultname']
    Assert-Equal ([int]) $parameters['int'].GetType()
    Assert-Equal ([long]) $parameters['long'].GetType()
    Assert-Equal ([double]) $parameters['double'].GetType()
    Assert-Equal $true $parameters['flag']
    Assert-True ($parameters.ContainsKey('nothing') -and $null -eq $parameters['nothing']) 'null is kept'
    Assert-Equal ([object[]]) $parameters['list'].GetType()
    Assert-Equal 3 $parameters['list'].Length
    Assert-Equal 0 $parameters['list'][2].Length
    Assert-Equal ([hashtable]) $parameters['nested'].GetType()
    Assert-Equal 0 $parameters['nested']['count']
}

Test-That 'metadata keeps its three types, both ways' {
    $line = $coreLines | Where-Object { $_.Contains('"date"') }
    Open-Wire $utf8.GetBytes("$line`n")
    $plain = (Read-Message)['call']['op']['set']['metadata']
    $metadata = [SecretBridge.Metadata]::Untag($plain)
    Assert-Equal ([datetime]::new(2026, 11, 23, 10, 0, 0, [System.DateTimeKind]::Utc)) $metadata['d']
    Assert-Equal 'Utc' ([string]$metadata['d'].Kind)
    Assert-Equal ([int]) $metadata['i'].GetType()
    Assert-Equal '' $metadata['s']
    $again = [SecretBridge.Metadata]::Tag([ordered]@{ d = $metadata['d']; i = $metadata['i']; s = $metadata['s'] })
    Assert-Equal (Get-Line $plain) (Get-Line $again)
}

# --- values ---

foreach ($text in @('', $odd, '2026-11-23T10:00:00Z', '{"a":1}', ' ', "`n", ('"' * 1MB), ('é' * 1MB))) {
    Test-That "a string of $($text.Length) characters survives the trip ($([System.Text.Json.JsonEncodedText]::Encode($text.Substring(0, [Math]::Min(12, $text.Length)))))" {
        Assert-Equal $text (Get-Trip $text)
    }
}

foreach ($bytes in @([byte[]]@(), [byte[]]@(7), [byte[]](0..255), [byte[]]::new(1MB))) {
    Test-That "a byte array of $($bytes.Length) stays a byte array" {
        $back = Get-Trip $bytes
        Assert-Equal ([byte[]]) $back.GetType()
        Assert-Equal ([Convert]::ToBase64String($bytes)) ([Convert]::ToBase64String($back))
    }
}

Test-That 'what the extension''s own function gives is taken without Get-Secret, also in the list that Write-Output puts around it' {
    function Get-Given { param($Name, $VaultName, $AdditionalParameters) $null = $VaultName, $AdditionalParameters; Write-Output $script:Given[$Name] -NoEnumerate }
    function Get-Wrapped { param($Name, $VaultName, $AdditionalParameters) $null = $VaultName, $AdditionalParameters; , [System.Collections.Generic.List[object]]@(, $script:Given[$Name]) }
    $script:Given = @{ text = 'v'; bytes = [byte[]](1, 2); secure = (New-Secure 'v') }
    foreach ($function in 'Get-Given', 'Get-Wrapped') {
        [SecretBridge.Vaults]::Known['own'] = [SecretBridge.KnownVault]@{ Module = 'Own'; Functions = @{ 'Get-Secret' = Get-Command $function } }
        try {
            $found = foreach ($name in 'text', 'bytes', 'secure') {
                $fields = [System.Collections.Specialized.OrderedDictionary]::new()
                $fields['vault'] = 'own'
                $fields['name'] = $name
                $value = [SecretBridge.VaultCalls]::Operations['get'].Invoke($fields, [System.Collections.Generic.List[string]]::new())['value']
                "$($value['t']) $($value['v'])"
            }
            Assert-Equal ($found -join ', ') 'string v, bytes AQI=, string v'
        }
        finally { [SecretBridge.Vaults]::Forget('own') }
    }
}
Test-That 'bytes that a pipeline took apart are a byte array again' {
    Assert-Equal 'AQL/' ([SecretBridge.Values]::Tag([object[]]@([byte]1, [byte]2, [byte]255)))['v']
    Assert-Equal 'Bw==' ([SecretBridge.Values]::Tag([byte]7))['v']
}

Test-That 'a SecureString survives the trip, empty or of the greatest length' {
    foreach ($text in @('', 'päss', ('z' * 65536))) {
        $back = Get-Trip (New-Secure $text)
        Assert-Equal ([securestring]) $back.GetType()
        Assert-Equal $text ([System.Net.NetworkCredential]::new('', $back).Password)
        Assert-True $back.IsReadOnly() 'read-only'
    }
}

Test-That 'a credential survives the trip, with an empty password too' {
    foreach ($text in @('', 'p"w')) {
        $back = Get-Trip ([pscredential]::new('DOMAIN\user', (New-Secure $text)))
        Assert-Equal 'DOMAIN\user' $back.UserName
        Assert-Equal $text $back.GetNetworkCredential().Password
    }
}

Test-That 'a table keeps its members, whatever they are called' {
    $table = @{ Count = 'a'; Keys = 'b'; psobject = 'c'; '' = 'd'; b = [byte[]]@(1); n = @{ x = New-Secure 's' } }
    $back = Get-Trip $table
    Assert-Equal ([hashtable]) $back.GetType()
    Assert-Equal 'a b c d' (@($back['count'], $back['keys'], $back['psobject'], $back['']) -join ' ')
    Assert-Equal ([byte[]]) $back['b'].GetType()
    Assert-Equal ([securestring]) $back['n']['x'].GetType()
    Assert-Equal 6 @($back.GetEnumerator()).Length
}

Test-That 'values that a vault wrapped in PSObject are seen through' {
    foreach ($value in @('text', [byte[]]@(1), @{ a = 1..0 })) {
        $wrapped = [psobject]::new($value)
        $null = Add-Member -InputObject $wrapped -NotePropertyName Note -NotePropertyValue 1
        if ($value -is [hashtable]) { $null = Assert-Fault 'ValueTypeNotSupported' { [SecretBridge.Values]::Tag($wrapped) } }
        else { Assert-Equal (Get-Line ([SecretBridge.Values]::Tag($value))) (Get-Line ([SecretBridge.Values]::Tag($wrapped))) }
    }
}

Test-That 'a lone surrogate is refused wherever it stands, never replaced' {
    $lone = "a$([char]0xD800)b"
    foreach ($value in @($lone, @{ $lone = 'x' }, @{ x = $lone }, (New-Secure $lone), [pscredential]::new($lone, (New-Secure 'x')))) {
        $null = Assert-Fault 'ValueNotRepresentable' { [SecretBridge.Values]::Tag($value) }
    }
}

Test-That 'a type that no vault may hold is refused by its name' {
    foreach ($value in @(42, $true, $null, ([datetime]::Now), @('a', 'b'), [pscustomobject]@{ a = 1 }, @{ n = 1 }, @{ n = $null })) {
        $null = Assert-Fault 'ValueTypeNotSupported' { [SecretBridge.Values]::Tag($value) }
    }
}

Test-That 'what no SecureString, credential or table can hold is refused' {
    foreach ($plain in @(
            @{ t = 'securestring'; v = 'z' * 65537 }
            @{ t = 'securestring'; v = "a$([char]0)b" }
            @{ t = 'credential'; v = @{ user = 'u'; password = "a$([char]0)b" } }
            @{ t = 'credential'; v = @{ user = ''; password = 'p' } }
        )) {
        $null = Assert-Fault 'ValueNotRepresentable' { [SecretBridge.Values]::Untag($plain) }
    }
    Open-Wire $utf8.GetBytes('{"t":"hashtable","v":{"a":{"t":"string","v":"1"},"A":{"t":"string","v":"2"}}}' + "`n")
    $twins = Read-Message
    $null = Assert-Fault 'ValueNotRepresentable' { [SecretBridge.Values]::Untag($twins) }
}

Test-That 'a tag with the wrong content is a bad call' {
    foreach ($plain in @(@{ t = 'string'; v = 1 }, @{ t = 'bytes'; v = '?' }, @{ t = 'int'; v = 1 }, @{ t = 'String'; v = 'x' }, @{}, @{ t = 'hashtable'; v = 'x' })) {
        $null = Assert-Fault 'BadCall' { [SecretBridge.Values]::Untag($plain) }
    }
}

# --- faults ---

function New-Record([System.Exception] $Exception, [string] $Id, [string] $Category = 'NotSpecified', $Target) {
    [System.Management.Automation.ErrorRecord]::new($Exception, $Id, $Category, $Target)
}

class PasswordRequiredException : System.InvalidOperationException { PasswordRequiredException([string] $m) : base($m) {} }

Test-That 'the most telling error comes first, whatever the order' {
    $notFound = New-Record ([System.Management.Automation.ItemNotFoundException]::new('n')) 'GetSecretNotFound,X'
    $other = New-Record ([System.IO.IOException]::new('o')) 'Other'
    $authentication = New-Record ([System.Security.Authentication.AuthenticationException]::new('a')) 'Auth'
    $locked = New-Record ([System.InvalidOperationException]::new('l', [PasswordRequiredException]::new('p'))) 'GetSecretInvalidOperation'
    $joined = [SecretBridge.Faults]::Join(@($notFound, $other, $authentication, $locked, $other))
    $fault = [SecretBridge.Faults]::Of($joined, $null)
    Assert-Equal 'GetSecretInvalidOperation' $fault['id']
    Assert-Equal 'Auth Other GetSecretNotFound' (($fault['more'] | ForEach-Object { $_['id'] }) -join ' ')
}

Test-That 'the kind is what was thrown, not what wrapped it' {
    $record = try { [int]::Parse('x') } catch { $_ }
    Assert-Equal 'System.FormatException' ([SecretBridge.Faults]::Of($record, $null))['kind']
}

Test-That 'a fault is bounded in message, inner chain and further errors' {
    $exception = [System.Exception]::new('innermost')
    foreach ($i in 1..20) { $exception = [System.Exception]::new('x' * 10000, $exception) }
    $records = foreach ($i in 1..20) { New-Record ([System.Exception]::new("e$i")) "E$i" }
    $fault = [SecretBridge.Faults]::Of([SecretBridge.Faults]::Join(@(New-Record $exception 'Deep') + $records), $null)
    Assert-Equal 4000 $fault['message'].Length
    Assert-Equal 8 $fault['inner'].Length
    Assert-Equal 8 $fault['more'].Length
}

# As the exceptions of Azure.Core, of the older Azure clients and of Invoke-RestMethod keep the answer.
class RawResponse { [object] $Headers; RawResponse([object] $h) { $this.Headers = $h } }
class NamedHeader { [string] $Name; [string] $Value; NamedHeader([string] $n, [string] $v) { $this.Name = $n; $this.Value = $v } }
class RequestFailedException : System.Exception {
    [int] $Status; hidden [object] $Raw
    RequestFailedException([int] $s, [object] $raw) : base('m') { $this.Status = $s; $this.Raw = $raw }
    [object] GetRawResponse() { return $this.Raw }
}
class WrappedResponse { [System.Net.HttpStatusCode] $StatusCode; [object] $Headers }
class KeyVaultErrorException : System.Exception { [object] $Response; KeyVaultErrorException([object] $r) : base('m') { $this.Response = $r } }
class AzureServiceException : System.Exception {
    [System.Net.HttpStatusCode] $StatusCode; [System.Nullable[int]] $RetryAfterSeconds
    AzureServiceException([int] $s, [System.Nullable[int]] $r) : base('m') { $this.StatusCode = $s; $this.RetryAfterSeconds = $r }
}

Test-That 'what the service answered is told, wherever a client''s exception keeps it' {
    $listed = [System.Collections.Generic.Dictionary[string, System.Collections.Generic.IEnumerable[string]]]::new()
    $listed['retry-after'] = [string[]]@('7')
    $wrapped = [WrappedResponse]@{ StatusCode = 429; Headers = $listed }
    $message = [System.Net.Http.HttpResponseMessage]::new(429)
    $message.Headers.Add('Retry-After', '2')
    $dated = [System.Net.Http.HttpResponseMessage]::new(503)
    $dated.Headers.Add('Retry-After', [DateTimeOffset]::UtcNow.AddSeconds(100).ToString('r'))
    $web = [System.Net.WebHeaderCollection]::new()
    $web['Retry-After'] = '11'
    $cases = @(
        , @([RequestFailedException]::new(429, [RawResponse]::new(@([NamedHeader]::new('Date', 'x'), [NamedHeader]::new('Retry-After', '5')))), 429, 5)
        , @([RequestFailedException]::new(429, [RawResponse]::new(@([NamedHeader]::new('x-ms-retry-after-ms', '1500')))), 429, 2)
        , @([RequestFailedException]::new(429, $null), 429, $null)
        , @([KeyVaultErrorException]::new($wrapped), 429, 7)
        , @([KeyVaultErrorException]::new($message), 429, 2)
        , @([KeyVaultErrorException]::new([WrappedResponse]@{ StatusCode = 429; Headers = $web }), 429, 11)
        , @([AzureServiceException]::new(429, 10), 429, 10)
        , @([System.Net.Http.HttpRequestException]::new('m', $null, [System.Net.HttpStatusCode]::Forbidden), 403, $null)
        , @([System.AggregateException]::new('m', [System.Exception]::new('o'), [AzureServiceException]::new(429, 4)), 429, 4)
        , @([System.Exception]::new('429 Too Many Requests'), $null, $null)
    )
    foreach ($case in $cases) {
        # As SecretManagement wraps it, and as PowerShell does.
        $inner = [System.Management.Automation.RuntimeException]::new('w', $null, (New-Record $case[0] 'I'))
        foreach ($thrown in $case[0], [System.InvalidOperationException]::new('u', $case[0]), [System.InvalidOperationException]::new('u', $inner)) {
            $fault = [SecretBridge.Faults]::Of((New-Record $thrown 'E'), $null)
            Assert-Equal "$($case[0].GetType().Name) $($case[1]) $($case[2])" "$($case[0].GetType().Name) $($fault['status']) $($fault['retry_after'])"
        }
    }
    $fault = [SecretBridge.Faults]::Of((New-Record ([KeyVaultErrorException]::new($dated)) 'E'), $null)
    Assert-True ($fault['status'] -eq 503 -and $fault['retry_after'] -gt 80 -and $fault['retry_after'] -le 100) 'a date is a wait'
}

Test-That 'a disk without room is told by its number, not by its message' {
    $number = if ($IsWindows) { 0x80070070 } else { 28 }
    $full = [System.InvalidOperationException]::new('u', [System.IO.IOException]::new('m', $number))
    Assert-Equal $true ([SecretBridge.Faults]::Of((New-Record $full 'E'), $null)['disk_full'])
    $other = [System.InvalidOperationException]::new('u', [System.IO.IOException]::new('No space left on device', 5))
    Assert-Equal $null ([SecretBridge.Faults]::Of((New-Record $other 'E'), $null)['disk_full'])
}

Test-That 'the call''s own secrets are starred out of message, target and inner errors' {
    $exception = [System.Exception]::new('bad canary-1 here', [System.Exception]::new('canary-1'))
    $fault = [SecretBridge.Faults]::Of((New-Record $exception 'E' 'NotSpecified' 'canary-1'), [string[]]@('canary-1', 'a', ''))
    Assert-True (-not (Get-Line $fault).Contains('canary')) 'no canary'
    Assert-Equal 'bad *** here' $fault['message']
}

Test-That 'a call that fails shows no secret of its own, and leaves nothing in $Error' {
    Open-Wire @()
    $call = [ordered]@{ id = 1; op = @{ set = @{ vault = 'v'; name = 'n'; value = @{ t = 'string'; v = 'canary-2' }; metadata = @{ x = @{ t = 'canary-2'; v = 1 } } } } }
    $null = [SecretBridge.Worker]::Carry($call)
    Assert-True (-not (Get-Written).Contains('canary')) 'no canary'
    Assert-Equal 0 $global:Error.Count
}

# --- dispatch and asks ---

Test-That 'an unknown operation, and script mode where there is none, are bad calls' {
    Open-Wire @()
    $null = [SecretBridge.Worker]::Carry([ordered]@{ id = 1; op = @{ nonsense = @{} } })
    $null = [SecretBridge.Worker]::Carry([ordered]@{ id = 2; op = @{ invoke = @{} } })
    $lines = (Get-Written).TrimEnd("`n").Split("`n")
    Assert-True $lines[0].StartsWith('{"reply":{"id":1,"fault":{"id":"BadCall"') 'first'
    Assert-True $lines[1].StartsWith('{"reply":{"id":2,"fault":{"id":"BadCall"') 'second'
}

Test-That 'calls that come before an answer are carried out at once, and the answer is given back' {
    $lines = '{"call":{"id":2,"op":{"ping":{}}}}', '{"call":{"id":3,"op":{"nonsense":{}}}}', '{"answer":{"seq":1,"ok":{"value":[1,"two",null,{"Count":true}]}}}', '{"call":{"id":4,"op":{"ping":{}}}}'
    Open-Wire -From ([DripStream]::new($utf8.GetBytes(($lines -join "`n") + "`n")))
    $answer = [SecretBridge.Channel]::Ask([ordered]@{ read = 'x' })
    $sent = (Get-Written).TrimEnd("`n").Split("`n")
    Assert-Equal '{"ask":{"seq":1,"what":{"read":"x"}}}' $sent[0]
    Assert-True $sent[1].StartsWith('{"reply":{"id":2,"ok":{"heap":') 'the ping'
    Assert-True $sent[2].StartsWith('{"reply":{"id":3,"fault":') 'the nonsense'
    Assert-Equal 3 $sent.Length
    Assert-Equal 'two' $answer['value'][1]
    Assert-True $answer['value'][3]['Count'] 'a member called Count'
    Assert-Equal 4 (Read-Message)['call']['id'] 'the next line is left'
}

Test-That 'a block that asks while it carries out a nested call gets its own answer' {
    function global:Invoke-BridgeScript($Fields) {
        [ordered]@{ got = [SecretBridge.Channel]::Ask([ordered]@{ n = $Fields['n'] })['n'] }
    }
    try {
        $lines = '{"call":{"id":2,"op":{"invoke":{"n":2}}}}', '{"answer":{"seq":2,"ok":{"n":22}}}', '{"answer":{"seq":1,"ok":{"n":11}}}'
        Open-Wire $utf8.GetBytes(($lines -join "`n") + "`n")
            $null = [SecretBridge.Worker]::Carry([ordered]@{ id = 1; op = @{ invoke = @{ n = 1 } } })
        $sent = (Get-Written).TrimEnd("`n").Split("`n")
        Assert-Equal '{"ask":{"seq":1,"what":{"n":1}}}|{"ask":{"seq":2,"what":{"n":2}}}|{"reply":{"id":2,"ok":{"got":22}}}|{"reply":{"id":1,"ok":{"got":11}}}' ($sent -join '|')
    }
    finally { Remove-Item Function:\Invoke-BridgeScript }
}

Test-That 'a fault in an answer is thrown with its id and category, and comes back whole' {
    $line = '{"answer":{"seq":1,"fault":{"id":"GetSecretNotFound","kind":"K","category":"ObjectNotFound","message":"m","inner":[{"kind":"I","message":"i"}]}}}'
    Open-Wire $utf8.GetBytes("$line`n")
    $record = Assert-Fault 'GetSecretNotFound' { [SecretBridge.Channel]::Ask(@{ read = 'x' }) }
    Assert-Equal 'ObjectNotFound' ([string]$record.CategoryInfo.Category)
    Assert-Equal 'm' $record.Exception.Message
    Assert-Equal 'K' $record.TargetObject['kind']
    Assert-Equal ('{"id":"GetSecretNotFound","kind":"K","category":"ObjectNotFound","message":"m","inner":[{"kind":"I","message":"i"}]}' + "`n") (Get-Line ([SecretBridge.Faults]::Of($record, $null)))
}

# --- the worker's golden lines ---

function Get-GoldenLines {
    function New-Reply($Ok) { @{ reply = [ordered]@{ id = $script:NextId++; ok = $Ok } } }
    function New-Fault($Record) { @{ reply = [ordered]@{ id = $script:NextId++; fault = [SecretBridge.Faults]::Of($Record, [string[]]@('canary-1')) } } }
    $script:NextId = 1
    $objects = @(
        New-Reply ([ordered]@{ protocol = 1; pwsh = '7.6.0'; pid = 4711; guarded = $true; secret_management = '1.1.2' })
        New-Reply ([ordered]@{ protocol = 1; pwsh = '7.4.0'; pid = 4711; guarded = $false; secret_management = $null })
        New-Reply ([ordered]@{})
        New-Reply ([ordered]@{ module = 'Az.KeyVault'; metadata = $false })
        New-Reply ([ordered]@{ authentication = 'Password'; password_timeout = [long]-1; written = $true })
        New-Reply ([ordered]@{ written = $false })
        New-Reply ([ordered]@{ heap = [long]9634048 })
        foreach ($value in @($odd, '', '2026-11-23T10:00:00Z', (New-Secure 's'), [byte[]]@(), [byte[]]@(0, 1, 2, 128, 255),
                [ordered]@{ '' = 'no name'; Count = '3'; b = [byte[]]@(1); n = [ordered]@{ x = New-Secure 'y' } },
                [pscredential]::new('DOMAIN\user', (New-Secure 'p"w')))) {
            New-Reply ([ordered]@{ value = [SecretBridge.Values]::Tag($value); metadata = @{} })
        }
        $metadata = [ordered]@{ d = [datetime]::new(2026, 11, 23, 10, 0, 0, [System.DateTimeKind]::Utc); i = -7; s = '' }
        New-Reply ([ordered]@{
                secrets = @(
                    [ordered]@{ name = 'a[1]*'; type = 'String'; metadata = [SecretBridge.Metadata]::Tag($metadata) }
                    [ordered]@{ name = 'é'; type = 'Unknown'; metadata = @{} }
                )
            })
        New-Reply ([ordered]@{ secrets = @() })
        New-Fault ([SecretBridge.BridgeException]::Record('ProtocolMismatch', 'this worker speaks protocol 1'))
        New-Fault (New-Record ([System.Management.Automation.ItemNotFoundException]::new('The secret nope was not found.')) 'GetSecretNotFound,Microsoft.PowerShell.SecretManagement.GetSecretCommand' 'ObjectNotFound' 'nope')
        $several = @(
            New-Record ([System.Management.Automation.ItemNotFoundException]::new('not found')) 'GetSecretNotFound' 'ObjectNotFound'
            New-Record ([System.Security.Authentication.AuthenticationException]::new('with canary-1', [System.IO.IOException]::new('inner canary-1'))) 'SecretStoreUnlockFailed' 'AuthenticationError'
        )
        New-Fault ([SecretBridge.Faults]::Join($several))
        @{ ask = [ordered]@{ seq = 1; what = [ordered]@{ read = [ordered]@{ vault = 'store'; key = $odd } } } }
        foreach ($level in 'error', 'warning', 'information', 'verbose', 'debug') { @{ log = [ordered]@{ level = $level; message = "a $level`nof two lines" } } }
    )
    foreach ($object in $objects) { Get-Line $object }
}

if ($Write) { [System.IO.File]::WriteAllText("$golden/worker.jsonl", -join (Get-GoldenLines), $utf8) }

Test-That 'a secret in a thrown text is starred out of the error''s id too' {
    try { throw 'no entry for hunter22, sorry' }
    catch { $fault = [SecretBridge.Faults]::Of($_, [string[]]@('hunter22')) }
    Assert-Equal 'no entry for ***' $fault['id']
    Assert-Equal 'no entry for ***, sorry' $fault['message']
}

Test-That 'whole values are starred out, by the rule that the core has' {
    $cases = ConvertFrom-Json ([System.IO.File]::ReadAllText("$root/fixtures/redaction.json", $utf8))
    Assert-True ($cases.Count -gt 15) 'there are cases'
    foreach ($case in $cases) { Assert-Equal $case.hidden ([SecretBridge.Redaction]::Hide($case.text, [string[]]@($case.values))) $case.rule }
}

Test-That 'parameters that SecretManagement changes on the way are told by their place' {
    $parameters = @{
        Folder = '/x'; Day = '2026-11-23'; Numbers = @(1, 2); When = '2026-11-23T10:00'
        Deep = @{ Tables = @(@{ a = 1 }, @{ b = '/Date(1)/' }); None = @(); Null = $null; Mixed = @(@{ c = 1 }, 'x') }
    }
    $told = @([SecretBridge.Parameters]::Changed($parameters, '')) | Sort-Object
    Assert-Equal 'Deep.Mixed,Deep.Tables.b,Numbers,When' (@($told.ForEach({ $_.Split(' ')[0] })) -join ',')
}

Test-That 'a store that is made without authentication is tried again if an event locks it' {
    $answers = & $module {
        $functions = 'Write-BridgeStoreConfiguration', 'Test-BridgeStore', 'Get-BridgeStoreConfiguration'
        $before = @{}
        foreach ($name in $functions) { $before[$name] = (Get-Item -Path "function:$name").ScriptBlock }
        $script:Passwords = [System.Collections.Generic.List[object]]::new()
        try {
            function script:Test-BridgeStore { $true }
            function script:Get-BridgeStoreConfiguration { [pscustomobject]@{ Authentication = 'None'; PasswordTimeout = 900 } }
            function script:Write-BridgeStoreConfiguration($Parameters, $Password) {
                $script:Passwords.Add($Password)
                if ($script:Passwords.Count -lt 3) { throw 'locked' }
            }
            $reply = New-BridgeOpenStore @{ Authentication = 'None' } $null $null
            # The same password each time: the store was made with it.
            $reply['authentication'], $script:Passwords.Count, [object]::ReferenceEquals($script:Passwords[0], $script:Passwords[2])
        }
        finally {
            foreach ($name in $functions) { Set-Item -Path "function:script:$name" -Value $before[$name] }
            $script:Passwords = @{}
        }
    }
    Assert-Equal 'None 3 True' "$answers"
}

Test-That 'the worker writes its golden lines, to the byte' {
    $expected = [System.IO.File]::ReadAllText("$golden/worker.jsonl", $utf8).TrimEnd("`n").Split("`n")
    $actual = (-join (Get-GoldenLines)).TrimEnd("`n").Split("`n")
    Assert-Equal $expected.Length $actual.Length 'lines'
    for ($i = 0; $i -lt $expected.Length; $i++) { Assert-Equal $expected[$i] $actual[$i] "line $($i + 1)" }
}

# A stand-in for the class of SecretManagement that has its registry.
$standIn = [System.IO.Directory]::CreateTempSubdirectory('secretbridge-standin-').FullName
foreach ($file in "$root/src/pwsh/compile.ps1", "$PSScriptRoot/RegisteredVaultCache.cs") {
    [System.IO.File]::Copy($file, [System.IO.Path]::Combine($standIn, [System.IO.Path]::GetFileName($file)))
}
$null = & "$standIn/compile.ps1" -Output "$standIn/StandIn.dll" -Strict
$null = [System.Reflection.Assembly]::LoadFrom("$standIn/StandIn.dll")

Test-That 'the registry of SecretManagement is moved where no variable moves it, and is empty then' {
    $before = [Microsoft.PowerShell.SecretManagement.Door]::Told
    Assert-True ($before.EndsWith('11Users', 'Ordinal')) $before
    $folder = [System.IO.Directory]::CreateTempSubdirectory('secretbridge-own-').FullName
    Assert-True ([SecretBridge.OwnRegistry]::Move([Microsoft.PowerShell.SecretManagement.Door].Assembly, "$folder/below/vaultinfo"))
    Assert-Equal "$folder/below/vaultinfo|$folder/below|00" ([Microsoft.PowerShell.SecretManagement.Door]::Told)
}

Test-That 'the registry of a module that is made in another way stays where it is' {
    Assert-True (-not [SecretBridge.OwnRegistry]::Move([SecretBridge.OwnRegistry].Assembly, '/nowhere/vaultinfo'))
}

Test-That 'the engine makes no lines that its own log would drop, and logs what it logged before' {
    $hidden = [System.Reflection.BindingFlags]'NonPublic, Static, Instance'
    $field = [psobject].Assembly.GetType('System.Management.Automation.Tracing.PSSysLogProvider')?.GetField('s_provider', $hidden)
    $log = ${field}?.GetValue($null)
    if ($null -eq $log) {
        # Windows has another log, which asks before it makes a line.
        Assert-True (-not [SecretBridge.EngineLog]::SkipDropped())
        return
    }
    $channels = $log.GetType().GetField('_channelFilter', $hidden)
    $isEnabled = $log.GetType().GetMethod('IsEnabled', $hidden)
    $word = { param($Type, $Name) [Enum]::Parse([psobject].Assembly.GetType("System.Management.Automation.Internal.$Type"), $Name) }
    $asked = { param($Keyword) $isEnabled.Invoke($log, @([Enum]::ToObject($isEnabled.GetParameters()[0].ParameterType, 4), (& $word 'PSKeyword' $Keyword))) }
    $before = $channels.GetValue($log)
    $analytic = [byte](& $word 'PSChannel' 'Analytic')
    try {
        $channels.SetValue($log, [byte]($before -bor $analytic))
        Assert-True (-not [SecretBridge.EngineLog]::SkipDropped()) 'somebody wants those lines'
        $channels.SetValue($log, [byte]($before -band -bnot $analytic))
        Assert-True ([SecretBridge.EngineLog]::SkipDropped()) 'nobody does'
        Assert-True (-not (& $asked 'Cmdlets')) 'no line is made'
        foreach ($keyword in 'UseAlwaysOperational', 'Runspace', 'Session') { Assert-True (& $asked $keyword) $keyword }
    }
    finally { $channels.SetValue($log, $before) }
}

Test-That 'no file of the worker names the variable that would drain the channel' {
    foreach ($file in [System.IO.Directory]::GetFiles("$root/src/pwsh", '*.ps*')) {
        Assert-True (-not [System.IO.File]::ReadAllText($file).Contains('$' + 'input', 'OrdinalIgnoreCase')) $file
    }
}

Complete-Tests 'worker module'

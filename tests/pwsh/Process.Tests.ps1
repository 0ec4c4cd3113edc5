# The worker as a process of its own, over its two pipes, with SecretManagement and SecretStore as they
# are on PSModulePath, and the vaults of fixtures/vaults. Each worker gets a HOME of its own.
# Run: pwsh -NoProfile -NonInteractive -File tests/pwsh/Process.Tests.ps1

Set-StrictMode -Version Latest
. $PSScriptRoot/Harness.ps1

$root = [System.IO.Path]::GetFullPath([System.IO.Path]::Combine($PSScriptRoot, '..', '..'))
if (-not (Get-Module -ListAvailable Microsoft.PowerShell.SecretManagement) -or -not (Get-Module -ListAvailable Microsoft.PowerShell.SecretStore)) {
    Write-Host 'worker process: skipped, SecretManagement and SecretStore are not installed'
    exit 0
}
. $PSScriptRoot/Compiled.ps1
$workerFolder = Initialize-CompiledWorker
$store = 'Microsoft.PowerShell.SecretStore'
$scratch = [System.IO.Directory]::CreateTempSubdirectory('secretbridge-test-').FullName
$workers = [System.Collections.Generic.List[object]]::new()

function New-Folder { [System.IO.Directory]::CreateDirectory("$scratch/$([guid]::NewGuid().ToString('n'))").FullName }

# The types are not there yet when the class below is parsed.
function Read-Plain([string] $Line) { [SecretBridge.PlainJson]::Parse($Line) }

class Worker {
    [System.Diagnostics.Process] $Process
    [string] $HomeFolder
    [string] $Registry
    [System.Threading.Tasks.Task[string]] $Stderr
    [System.Collections.Generic.List[object]] $Log = [System.Collections.Generic.List[object]]::new()
    [int] $LastId = 0

    [void] Send([string] $line) {
        $this.Process.StandardInput.Write("$line`n")
        $this.Process.StandardInput.Flush()
    }

    # The reply to the call, as the JSON says; nothing where the worker ended instead.
    [object] Call([string] $op, [object] $fields) {
        $this.LastId++
        $call = @{ call = [ordered]@{ id = $this.LastId; op = @{ $op = $fields } } }
        $this.Send((ConvertTo-Json -Compress -Depth 20 $call))
        while ($true) {
            $line = $this.Process.StandardOutput.ReadLine()
            if ($null -eq $line) { return $null }
            # Anything that is no protocol must break the test: the channel is guarded. The module's own
            # reader, because ConvertFrom-Json turns date-like strings into dates.
            $message = Read-Plain $line
            if ($message.Contains('log')) { $this.Log.Add($message['log']); continue }
            if ($message['reply']['id'] -ne $this.LastId) { throw "reply $($message['reply']['id']) to call $($this.LastId)" }
            return $message['reply']
        }
        return $null
    }

    [object] Ok([string] $op, [object] $fields) {
        $reply = $this.Call($op, $fields)
        if ($null -eq $reply) { throw "the worker ended in $op" }
        if ($reply.Contains('fault')) { throw "$op`: $(ConvertTo-Json -Compress -Depth 9 $reply['fault'])" }
        return $reply['ok']
    }

    [object] Fault([string] $op, [object] $fields) {
        $reply = $this.Call($op, $fields)
        if ($null -eq $reply) { throw "the worker ended in $op" }
        if (-not $reply.Contains('fault')) { throw "$op did not fail" }
        return $reply['fault']
    }

    [int] Ended() {
        if (-not $this.Process.WaitForExit(20000)) { throw 'the worker did not end' }
        return $this.Process.ExitCode
    }
}

function Start-Worker([string] $HomeFolder = (New-Folder), [string] $ModulePath = "$root/fixtures/vaults$([System.IO.Path]::PathSeparator)$env:PSModulePath", [string] $Before = '', [switch] $Raw) {
    $info = [System.Diagnostics.ProcessStartInfo]::new([Environment]::ProcessPath)
    foreach ($argument in '-NoLogo', '-NoProfile', '-NonInteractive', '-File', "$workerFolder/worker.ps1") { $info.ArgumentList.Add($argument) }
    $info.RedirectStandardInput = $info.RedirectStandardOutput = $info.RedirectStandardError = $true
    $info.StandardInputEncoding = $info.StandardOutputEncoding = [System.Text.UTF8Encoding]::new($false)
    $info.Environment['HOME'] = $HomeFolder
    $info.Environment['PSModulePath'] = $ModulePath
    $info.Environment['SECRETBRIDGE_MODULE_PATH'] = $Before
    $null = $info.Environment.Remove('XDG_DATA_HOME')
    $worker = [Worker]::new()
    $worker.HomeFolder = $HomeFolder
    $worker.Registry = New-Folder
    $worker.Process = [System.Diagnostics.Process]::Start($info)
    $worker.Stderr = $worker.Process.StandardError.ReadToEndAsync()
    $workers.Add($worker)
    if (-not $Raw) { $null = $worker.Ok('hello', @{ protocol = 1; registry = $worker.Registry }) }
    $worker
}

function New-Text([string] $Text) { @{ t = 'string'; v = $Text } }

function Start-TestVault([hashtable] $Parameters = @{}) {
    $worker = Start-Worker
    $null = $worker.Ok('register', @{ vault = 'tv'; module = 'TestVault'; parameters = @{ Folder = New-Folder } + $Parameters })
    $worker
}

function Start-Store([string] $HomeFolder = (New-Folder)) {
    $worker = Start-Worker $HomeFolder
    $null = $worker.Ok('configure', @{ parameters = @{ Interaction = 'None' }; password = New-Text 'pw-123' })
    $null = $worker.Ok('register', @{ vault = 'store'; module = $store; parameters = @{} })
    $null = $worker.Ok('unlock', @{ vault = 'store'; password = New-Text 'pw-123' })
    $worker
}

# --- start and end ---

Test-That 'the registry is private, the user''s is not touched, and HOME is as it was' {
    $homeFolder = New-Folder
    $users = [System.IO.Directory]::CreateDirectory("$homeFolder/.secretmanagement/secretvaultregistry").FullName
    [System.IO.File]::WriteAllText("$users/vaultinfo", '{"DefaultVaultName":"","Vaults":{}}')
    $before = [System.IO.File]::GetLastWriteTimeUtc("$users/vaultinfo")
    $worker = Start-Store $homeFolder
    $null = $worker.Ok('init', @{ script = "if (`$env:HOME -cne '$homeFolder') { throw `$env:HOME }" })
    Assert-True ([System.IO.File]::Exists("$($worker.Registry)/.secretmanagement/secretvaultregistry/vaultinfo")) 'registered in the private one'
    Assert-Equal '{"DefaultVaultName":"","Vaults":{}}' ([System.IO.File]::ReadAllText("$users/vaultinfo"))
    Assert-Equal $before ([System.IO.File]::GetLastWriteTimeUtc("$users/vaultinfo"))
    Assert-True ([System.IO.File]::Exists("$homeFolder/.secretmanagement/localstore/storefile")) 'the store is in the user''s HOME'
}

Test-That 'folders of the plan go before the user''s modules, also in a runspace made later' {
    $homeFolder = New-Folder
    $before = New-Folder
    foreach ($place in @("$homeFolder/.local/share/powershell/Modules", 'user'), @($before, 'plan')) {
        $null = [System.IO.Directory]::CreateDirectory("$($place[0])/Rival")
        [System.IO.File]::WriteAllText("$($place[0])/Rival/Rival.psm1", "function Get-Rival { '$($place[1])' }")
    }
    $worker = Start-Worker $homeFolder -Before $before
    $null = $worker.Ok('register', @{ vault = 'tv'; module = 'TestVault'; parameters = @{ Folder = New-Folder } })
    $null = $worker.Ok('init', @{ script = 'if ((Get-Rival) -ne ''plan'') { throw (Get-Rival) }' })
    $null = $worker.Ok('init', @{ script = '$found = [powershell]::Create().AddScript(''Get-Rival'').Invoke(); if ($found -ne ''plan'') { throw "$found" }' })
    $null = $worker.Ok('init', @{ script = 'if ($null -ne $env:SECRETBRIDGE_MODULE_PATH) { throw ''still there'' }' })
}

Test-That 'no socket waits for a debugger' {
    $worker = Start-Worker
    Assert-Equal '' ([System.IO.Directory]::GetFiles([System.IO.Path]::GetTempPath(), "CoreFxPipe_PSHost.*.$($worker.Process.Id).*") -join ',')
}

Test-That 'hello tells the versions, and refuses another protocol' {
    $worker = Start-Worker -Raw
    Assert-Equal 'ProtocolMismatch' $worker.Fault('hello', @{ protocol = 2; registry = $worker.Registry })['id']
    $ok = $worker.Ok('hello', @{ protocol = 1; registry = $worker.Registry })
    Assert-Equal $PSVersionTable.PSVersion.ToString() $ok['pwsh']
    Assert-Equal $worker.Process.Id ([int]$ok['pid'])
    Assert-Equal $true $ok['guarded']
    Assert-True ([bool]$ok['secret_management']) 'SecretManagement is found'
}

Test-That 'without SecretManagement the worker starts, and vault calls say what is missing' {
    $worker = Start-Worker -ModulePath (New-Folder) -Raw
    $ok = $worker.Ok('hello', @{ protocol = 1; registry = $worker.Registry })
    Assert-True ($null -eq $ok['secret_management']) 'no version'
    Assert-Equal 'SecretManagementMissing' $worker.Fault('register', @{ vault = 'v'; module = 'm'; parameters = @{} })['id']
    Assert-Equal 'SecretManagementMissing' $worker.Fault('get', @{ vault = 'v'; name = 'n' })['id']
    $null = $worker.Ok('ping', @{})
}

Test-That 'the worker ends with 0 at the end of the stream, and at a shutdown after its reply' {
    $worker = Start-Worker
    $worker.Process.StandardInput.Close()
    Assert-Equal 0 $worker.Ended()
    $worker = Start-Worker
    $null = $worker.Ok('shutdown', @{})
    Assert-Equal 0 $worker.Ended()
}

Test-That 'a line that is no protocol ends the worker with 70, its text is not logged' {
    $worker = Start-Worker
    $worker.Send('canary {')
    Assert-Equal 70 $worker.Ended()
    Assert-True (-not $worker.Stderr.Result.Contains('canary')) 'not logged'
}

# --- init scripts ---

Test-That 'init scripts share the global scope, without strict mode, and their output is dropped' {
    $worker = Start-Worker
    $null = $worker.Ok('init', @{ script = '$x = 5; function f { "hi" }; 1..3; /bin/echo native' })
    $null = $worker.Ok('init', @{ script = 'if ($global:x -ne 5 -or (f) -ne "hi") { throw "lost" }; $null.nothing; $undefined' })
    $file = "$(New-Folder)/it's.ps1"
    [System.IO.File]::WriteAllText($file, '$y = $PSScriptRoot')
    $null = $worker.Ok('init', @{ file = $file })
    $null = $worker.Ok('init', @{ script = "if (`$y -cne '$([System.IO.Path]::GetDirectoryName($file))'.Replace(`"''`", `"'`")) { throw `$y }" })
}

Test-That 'an error of an init script is a fault with its place, terminating or not' {
    $worker = Start-Worker
    $fault = $worker.Fault('init', @{ script = "`n  Get-Item /no/such/item; `$z = 1" })
    Assert-Equal 'PathNotFound' $fault['id']
    Assert-Equal 2 ([int]$fault['position']['line'])
    $null = $worker.Ok('init', @{ script = 'if ($z -ne 1) { throw "it went on" }' })
    Assert-Equal 'boom' $worker.Fault('init', @{ script = 'throw "boom"' })['message']
    Assert-Equal 'System.Management.Automation.ParseException' $worker.Fault('init', @{ script = 'if (}' })['kind']
    Assert-Equal 'BadCall' $worker.Fault('init', @{ file = '/no/such/file.ps1' })['id']
}

Test-That 'warnings and Write-Host of an init script go to the log' {
    $worker = Start-Worker
    $null = $worker.Ok('init', @{ script = 'Write-Warning w; Write-Host h; Write-Verbose v -Verbose' })
    Assert-Equal 'warning w|information h|verbose v' (($worker.Log | ForEach-Object { "$($_['level']) $($_['message'])" }) -join '|')
}

Test-That 'an exit in an init script ends the process' {
    $worker = Start-Worker
    Assert-True ($null -eq $worker.Call('init', @{ script = 'exit 3' })) 'no reply'
    Assert-Equal 3 $worker.Ended()
}

# --- what a vault may do ---

Test-That 'a vault that writes or reads the standard streams disturbs no call' {
    if (-not $IsLinux) { return }
    $worker = Start-TestVault
    foreach ($name in 'cat', 'echo', 'write-host', 'console', 'start-process', 'babble') {
        Assert-Equal 'done' $worker.Ok('get', @{ vault = 'tv'; name = $name })['value']['v'] $name
        $null = $worker.Ok('ping', @{})
    }
    $null = $worker.Ok('shutdown', @{})
    $log = $worker.Stderr.Result
    foreach ($text in 'text by /bin/echo', 'text by [Console]::WriteLine', 'text by Start-Process', 'babble') { Assert-True $log.Contains($text) $text }
    Assert-True ('text by Write-Warning' -in ($worker.Log | ForEach-Object { $_['message'] })) 'the warning'
}

Test-That 'an exit in a vault never looks like an answer' {
    $worker = Start-TestVault
    Assert-True ($null -eq $worker.Call('get', @{ vault = 'tv'; name = 'exit' })) 'read'
    $null = $worker.Ended()
    $worker = Start-TestVault @{ Misbehave = @{ set = 'exit' } }
    Assert-True ($null -eq $worker.Call('set', @{ vault = 'tv'; name = 'k'; value = New-Text 'v' })) 'write'
    $null = $worker.Ended()
}

Test-That 'errors of a vault come with all that was said, the locked one first' {
    $worker = Start-TestVault
    $fault = $worker.Fault('get', @{ vault = 'tv'; name = 'error' })
    Assert-Equal 'TestVaultFirst TestVaultSecond GetSecretNotFound' ((@($fault['id']) + @($fault['more'] | ForEach-Object { $_['id'] })) -join ' ')
    Assert-Equal 'Microsoft.PowerShell.SecretManagement.PasswordRequiredException' $worker.Fault('get', @{ vault = 'tv'; name = 'locked' })['kind']
    $fault = $worker.Fault('get', @{ vault = 'tv'; name = 'throw' })
    Assert-Equal 'GetSecretInvalidOperation' $fault['id']
    Assert-True ('thrown by the test vault' -in ($fault['inner'] | ForEach-Object { $_['message'] })) 'the cause'
    Assert-Equal 'ValueNotRepresentable' $worker.Fault('get', @{ vault = 'tv'; name = 'lone-surrogate' })['id']
    Assert-Equal 'GetSecretNotFound' $worker.Fault('get', @{ vault = 'tv'; name = 'nothing there' })['id']
    Assert-Equal 'GetSecretInvalidOperation' $worker.Fault('get', @{ vault = 'tv'; name = 'number' })['id']
}

Test-That 'a failed write is a fault, without the value' {
    $worker = Start-TestVault @{ Misbehave = @{ set = 'throw'; remove = 'error' } }
    $reply = ConvertTo-Json -Depth 9 $worker.Fault('set', @{ vault = 'tv'; name = 'k'; value = New-Text 'canary-9' })
    Assert-True ($reply.Contains('SetSecretInvalidOperation') -and -not $reply.Contains('canary')) $reply
    Assert-Equal 'TestVaultFirst' $worker.Fault('remove', @{ vault = 'tv'; name = 'k' })['id']
}

Test-That 'a vault with a password is locked until unlocked, and a wrong one says so' {
    $worker = Start-TestVault @{ Password = 'open' }
    Assert-Equal 'Microsoft.PowerShell.SecretManagement.PasswordRequiredException' $worker.Fault('get', @{ vault = 'tv'; name = 'k' })['kind']
    Assert-Equal 'NoRememberedPassword' $worker.Fault('unlock', @{ vault = 'tv' })['id']
    Assert-Equal 'System.Security.Authentication.AuthenticationException' $worker.Fault('unlock', @{ vault = 'tv'; password = New-Text 'wrong' })['kind']
    Assert-Equal 'NoRememberedPassword' $worker.Fault('unlock', @{ vault = 'tv' })['id'] 'a wrong one is not remembered'
    $null = $worker.Ok('unlock', @{ vault = 'tv'; password = @{ t = 'securestring'; v = 'open' } })
    $null = $worker.Ok('unlock', @{ vault = 'tv' })
    Assert-Equal 'GetSecretNotFound' $worker.Fault('get', @{ vault = 'tv'; name = 'k'; refresh = $true })['id']
}

Test-That 'SecretStore read by its own functions gives what Get-Secret and Get-SecretInfo give' {
    $worker = Start-Store
    $values = [ordered]@{
        text = New-Text 'plain'; empty = New-Text ''; secure = @{ t = 'securestring'; v = 'hidden' }; bytes = @{ t = 'bytes'; v = 'AQID' }; byte = @{ t = 'bytes'; v = 'Bw==' }
        table = @{ t = 'hashtable'; v = @{ a = New-Text 'x'; b = @{ t = 'securestring'; v = 'y' }; c = @{ t = 'bytes'; v = 'AA==' } } }
        login = @{ t = 'credential'; v = @{ user = 'u'; password = 'p' } }
    }
    foreach ($name in $values.Keys) { $null = $worker.Ok('set', @{ vault = 'store'; name = $name; value = $values[$name]; metadata = @{ note = New-Text "of $name" } }) }
    # The members of a table come in no order of their own.
    $sorted = {
        param($Value)
        if ($Value -is [object[]]) { return , @(foreach ($item in $Value) { & $sorted $item }) }
        if ($Value -isnot [System.Collections.IDictionary]) { return $Value }
        $made = [ordered]@{}
        foreach ($key in @($Value.Keys) | Sort-Object -CaseSensitive) { $made[$key] = & $sorted $Value[$key] }
        $made
    }
    # How a reply looks, in one order, with what a call by the cmdlets says beside it.
    $show = { param($Op, $Fields) $reply = $worker.Call($Op, $Fields); ConvertTo-Json -Depth 9 -Compress ($reply.Contains('ok') ? (& $sorted $reply['ok']) : [ordered]@{ id = $reply['fault']['id']; kind = $reply['fault']['kind'] }) }
    $cmdlets = '[SecretBridge.Vaults]::Known["store"] = [SecretBridge.KnownVault]@{ Module = [SecretBridge.Vaults]::SecretStore; Metadata = $true; SetInfo = $true; Functions = @{} }'
    $functions = '[SecretBridge.Vaults]::Known["store"] = [SecretBridge.KnownVault]@{ Module = [SecretBridge.Vaults]::SecretStore; Metadata = $true; SetInfo = $true; Functions = (Get-Module Microsoft.PowerShell.SecretStore).NestedModules.Where({ $_.Name -like "*.Extension" })[0].ExportedFunctions }'
    $calls = @(foreach ($name in @($values.Keys) + 'missing', 'TEXT', 'a*') { , @('get', @{ vault = 'store'; name = $name }); , @('get', @{ vault = 'store'; name = $name; detail = $true }); , @('info', @{ vault = 'store'; name = $name }) }) + , @('info', @{ vault = 'store' })
    foreach ($locked in $false, $true) {
        if ($locked) { $null = $worker.Fault('unlock', @{ vault = 'store'; password = New-Text 'wrong' }) }
        foreach ($call in $calls) {
            $null = $worker.Ok('init', @{ script = $functions })
            $own = & $show $call[0] $call[1]
            $null = $worker.Ok('init', @{ script = $cmdlets })
            Assert-Equal (& $show $call[0] $call[1]) $own "$(ConvertTo-Json -Compress $call[1]), locked: $locked"
        }
    }
}

Test-That 'a module that is no vault, or not there, cannot be registered' {
    $worker = Start-Worker
    Assert-Equal 'RegisterSecretVaultCantGetModuleInfo' $worker.Fault('register', @{ vault = 'v'; module = 'No.Such.Module'; parameters = @{} })['id']
    Assert-Equal 'RegisterSecretVaultInvalidExtensionVault' $worker.Fault('register', @{ vault = 'v'; module = 'Microsoft.PowerShell.SecretManagement'; parameters = @{} })['id']
    Assert-Equal 'BadCall' $worker.Fault('register', @{ vault = 'v*'; module = 'TestVault'; parameters = @{} })['id']
}

Test-That 'a module is registered by its folder too, twice without harm, and unregistered' {
    $worker = Start-Worker
    $log = "$(New-Folder)/log"
    $register = @{ vault = 'tv'; module = "$root/fixtures/vaults/TestVault"; parameters = @{ Folder = New-Folder; Log = $log } }
    foreach ($time in 1, 2) { Assert-Equal 'TestVault' $worker.Ok('register', $register)['module'] }
    $null = $worker.Ok('unregister', @{ vault = 'tv' })
    Assert-True ([System.IO.File]::ReadAllText($log).StartsWith('unregister ')) 'the hook ran'
    Assert-Equal 'GetSecretVaultNotFound' $worker.Fault('get', @{ vault = 'tv'; name = 'k' })['id']
    Assert-Equal 'UnregisterSecretVaultObjectNotFound' $worker.Fault('unregister', @{ vault = 'tv' })['id']
}

Test-That 'parameters that an extension does not get as they are given are logged, without their values' {
    $worker = Start-TestVault @{ Hosts = @('canary-1'); Until = '2026-11-23T10:00:00Z' }
    $told = @($worker.Log.Where({ $_['level'] -eq 'warning' }).ForEach({ $_['message'] })) -join "`n"
    Assert-True ($told.Contains('Hosts') -and $told.Contains('Until')) $told
    Assert-True (-not $told.Contains('canary') -and -not $told.Contains('2026')) $told
}

Test-That 'metadata for a vault that keeps none is refused before the vault is called' {
    $folder = New-Folder
    $null = [System.IO.Directory]::CreateDirectory("$folder/Plain/Plain.Extension")
    [System.IO.File]::WriteAllText("$folder/Plain/Plain.psd1", "@{ ModuleVersion = '1.0'; NestedModules = './Plain.Extension' }")
    [System.IO.File]::WriteAllText("$folder/Plain/Plain.Extension/Plain.Extension.psd1", "@{ ModuleVersion = '1.0'; RootModule = 'Plain.Extension.psm1'; FunctionsToExport = 'Get-Secret', 'Set-Secret', 'Remove-Secret', 'Get-SecretInfo', 'Test-SecretVault' }")
    # Its filter is case-sensitive, as Az.KeyVault's is.
    [System.IO.File]::WriteAllText("$folder/Plain/Plain.Extension/Plain.Extension.psm1", @'
        $script:held = [hashtable]::new([StringComparer]::OrdinalIgnoreCase)
        function Get-Secret { param($Name, $VaultName, $AdditionalParameters) $script:held[$Name] }
        function Set-Secret { param($Name, $Secret, $VaultName, $AdditionalParameters) $script:held[$Name] = $Secret }
        function Remove-Secret { param($Name, $VaultName, $AdditionalParameters) $script:held.Remove($Name) }
        function Test-SecretVault { param($VaultName, $AdditionalParameters) $true }
        function Get-SecretInfo { param($Filter, $VaultName, $AdditionalParameters)
            foreach ($key in $script:held.Keys) {
                if ([WildcardPattern]::new($Filter).IsMatch($key)) { [Microsoft.PowerShell.SecretManagement.SecretInformation]::new($key, 'String', $VaultName) }
            }
        }
'@)
    $worker = Start-Worker
    $reply = $worker.Ok('register', @{ vault = 'plain'; module = "$folder/Plain"; parameters = @{} })
    Assert-Equal $false $reply['metadata']
    $null = $worker.Ok('set', @{ vault = 'plain'; name = 'Key'; value = New-Text 'old' })
    $fault = $worker.Fault('set', @{ vault = 'plain'; name = 'Key'; value = New-Text 'new'; metadata = @{ m = New-Text 'x' } })
    Assert-Equal 'SetSecretMetadataCommandNotSupported' $fault['id']
    Assert-Equal 'old' $worker.Ok('get', @{ vault = 'plain'; name = 'key' })['value']['v']
    Assert-Equal 'Key' $worker.Ok('info', @{ vault = 'plain'; name = 'KEY' })['secrets'][0]['name']
    $null = $worker.Ok('unlock', @{ vault = 'plain'; password = New-Text 'any' })
    Assert-Equal 'warning' $worker.Log[-1]['level'] 'unlock is not supported, which is a warning'
}

# --- values, in both vaults ---

$odd = "$([char]0)$([char]0x1f)`"\/`b`f`n`r`t$([char]0x7f)$([char]0x85)$([char]0x2028)$([char]0x2029)é😀"
$values = [ordered]@{
    'odd string' = New-Text $odd
    'empty string' = New-Text ''
    'date-like string' = New-Text '2026-11-23T10:00:00Z'
    'JSON-like string' = New-Text '{"a":[1,2]}'
    'string of 1 MiB' = New-Text ('"' * 1MB)
    'SecureString' = @{ t = 'securestring'; v = 'pässword' }
    'empty SecureString' = @{ t = 'securestring'; v = '' }
    'bytes' = @{ t = 'bytes'; v = 'AAECgP8=' }
    'one byte' = @{ t = 'bytes'; v = 'AA==' }
    'no bytes' = @{ t = 'bytes'; v = '' }
    'bytes of 1 MiB' = @{ t = 'bytes'; v = [Convert]::ToBase64String([byte[]]::new(1MB)) }
    'credential' = @{ t = 'credential'; v = @{ user = 'DOMAIN\user'; password = 'p"w' } }
    'credential without password' = @{ t = 'credential'; v = @{ user = 'u'; password = '' } }
    'table' = @{ t = 'hashtable'; v = @{ Count = New-Text '1'; Keys = New-Text '2'; b = @{ t = 'bytes'; v = 'AQ==' }; c = @{ t = 'credential'; v = @{ user = 'u'; password = 'p' } } } }
}

# A plain value as one text, its members in order.
function Format-Plain($Plain) {
    if ($Plain -isnot [System.Collections.IDictionary]) { return "<$Plain>" }
    $members = foreach ($entry in $Plain.GetEnumerator()) { "$($entry.Key)=$(Format-Plain $entry.Value)" }
    "{$(($members | Sort-Object -CaseSensitive) -join ',')}"
}

function Assert-RoundTrip($Worker, [string] $Vault, $Value) {
    $null = $Worker.Ok('set', @{ vault = $Vault; name = 'k'; value = $Value })
    $back = $Worker.Ok('get', @{ vault = $Vault; name = 'k'; detail = $true })['value']
    Assert-Equal (Format-Plain $Value) (Format-Plain $back)
}

$vaultWorkers = @{ tv = Start-TestVault; store = Start-Store }
foreach ($vault in 'tv', 'store') {
    foreach ($what in $values.Keys) {
        Test-That "$what comes back from $vault as it went in" { Assert-RoundTrip $vaultWorkers[$vault] $vault $values[$what] }
    }

    Test-That "metadata of $vault is kept, replaced or erased as the call says" {
        $worker = $vaultWorkers[$vault]
        $metadata = @{ s = New-Text 'text'; i = @{ t = 'int'; v = 42 }; d = @{ t = 'date'; v = '2026-11-23T10:00:00.0000000Z' }; Count = New-Text 'c' }
        $read = { $worker.Ok('get', @{ vault = $vault; name = 'M'; detail = $true })['metadata'] }
        $null = $worker.Ok('set', @{ vault = $vault; name = 'm'; value = New-Text '1'; metadata = $metadata })
        $null = $worker.Ok('set', @{ vault = $vault; name = 'm'; value = New-Text '2'; keep_metadata = $true })
        $kept = & $read
        Assert-Equal 'text 42 c' "$($kept['s']['v']) $($kept['i']['v']) $($kept['Count']['v'])"
        Assert-Equal 'string int date' "$($kept['s']['t']) $($kept['i']['t']) $($kept['d']['t'])"
        $null = $worker.Ok('set', @{ vault = $vault; name = 'm'; value = New-Text '3'; keep_metadata = $true; metadata = @{ n = New-Text 'new' } })
        Assert-Equal 'n' ((& $read).Keys -join ' ')
        $null = $worker.Ok('set', @{ vault = $vault; name = 'm'; value = New-Text '4' })
        Assert-Equal 0 @((& $read).Keys).Length
    }

    Test-That "names of $vault are data: brackets, slashes, spaces, other scripts, `$(…)" {
        $worker = $vaultWorkers[$vault]
        foreach ($name in 'a/b', ' two words ', 'ü', '$(throw 1)', '-Vault', "quote'`"", 'x[1]') {
            $null = $worker.Ok('set', @{ vault = $vault; name = $name; value = New-Text $name })
            Assert-Equal $name $worker.Ok('get', @{ vault = $vault; name = $name })['value']['v']
            $found = $worker.Ok('info', @{ vault = $vault; name = $name })['secrets']
            Assert-Equal $name $found[0]['name']
            Assert-Equal 1 $found.Count
            $null = $worker.Ok('remove', @{ vault = $vault; name = $name })
            Assert-Equal 0 $worker.Ok('info', @{ vault = $vault; name = $name })['secrets'].Count
        }
    }

    Test-That "a listing of $vault is sorted by name, and a pattern is no name" {
        $worker = $vaultWorkers[$vault]
        foreach ($name in 'b', 'A', 'c') { $null = $worker.Ok('set', @{ vault = $vault; name = $name; value = New-Text 'v' }) }
        $names = $worker.Ok('info', @{ vault = $vault })['secrets'] | ForEach-Object { $_['name'] }
        Assert-Equal 'A b c' (($names | Where-Object { $_ -in 'A', 'b', 'c' }) -join ' ')
        Assert-Equal 0 $worker.Ok('info', @{ vault = $vault; name = '*' })['secrets'].Count
    }
}

Test-That 'what SecretStore cannot hold is a fault, and the old value stays' {
    $worker = $vaultWorkers['store']
    $many = @{}
    foreach ($i in 1..21) { $many["m$i"] = New-Text 'v' }
    $null = $worker.Ok('set', @{ vault = 'store'; name = 'limits'; value = New-Text 'old' })
    foreach ($value in @(
            @{ t = 'hashtable'; v = $many }
            @{ t = 'hashtable'; v = @{ inner = @{ t = 'hashtable'; v = @{ a = New-Text 'b' } } } }
            @{ t = 'securestring'; v = "a$([char]0)b" }
            @{ t = 'securestring'; v = 'z' * 65537 }
        )) {
        $null = $worker.Fault('set', @{ vault = 'store'; name = 'limits'; value = $value })
        Assert-Equal 'old' $worker.Ok('get', @{ vault = 'store'; name = 'limits' })['value']['v']
    }
    $null = $worker.Fault('set', @{ vault = 'store'; name = 'limits'; value = New-Text 'new'; metadata = @{ big = @{ t = 'int'; v = 5000000000 } } })
    Assert-Equal 'old' $worker.Ok('get', @{ vault = 'store'; name = 'limits' })['value']['v']
}

# --- SecretStore ---

Test-That 'a missing store is created with the password, then brought to what the plan names' {
    $worker = Start-Worker
    $ok = $worker.Ok('configure', @{ parameters = @{ PasswordTimeout = 3600; interaction = 'none' }; password = New-Text 'pw-123' })
    Assert-Equal 'Password 3600 True' "$($ok['authentication']) $($ok['password_timeout']) $($ok['written'])"
    $null = $worker.Ok('register', @{ vault = 'store'; module = $store; parameters = @{ PasswordTimeout = 3600 } })
    $null = $worker.Ok('set', @{ vault = 'store'; name = 'k'; value = New-Text 'v' }) # open, without another unlock
    $ok = $worker.Ok('configure', @{ parameters = @{ Authentication = 'Password'; PasswordTimeout = 3600 }; password = New-Text 'pw-123' })
    Assert-Equal $false $ok['written'] 'nothing differs'
    $ok = $worker.Ok('configure', @{ parameters = @{ Authentication = 1; PasswordTimeout = -1 }; password = New-Text 'pw-123' })
    Assert-Equal '-1 True' "$($ok['password_timeout']) $($ok['written'])"
    Assert-Equal 'v' $worker.Ok('get', @{ vault = 'store'; name = 'k' })['value']['v']
}

Test-That 'a store without authentication is made without a password, and stays so where the plan names none' {
    $worker = Start-Worker
    $ok = $worker.Ok('configure', @{ parameters = @{ Authentication = 'None' } })
    Assert-Equal 'None True' "$($ok['authentication']) $($ok['written'])"
    Assert-Equal $false $worker.Ok('configure', @{ parameters = @{ Authentication = 'None' } })['written']
    $again = Start-Worker $worker.HomeFolder
    $ok = $again.Ok('configure', @{ parameters = @{}; password = New-Text 'unused' })
    Assert-Equal 'None False' "$($ok['authentication']) $($ok['written'])"
    $null = $again.Ok('register', @{ vault = 'store'; module = $store; parameters = @{} })
    Assert-Equal 'None' $again.Ok('unlock', @{ vault = 'store'; password = New-Text 'unused' })['authentication']
    Assert-Equal 'None' $again.Ok('unlock', @{ vault = 'store' })['authentication']
    $null = $again.Ok('set', @{ vault = 'store'; name = 'k'; value = New-Text 'v'; refresh = $true })
    Assert-Equal 'v' $again.Ok('get', @{ vault = 'store'; name = 'k'; refresh = $true })['value']['v']
}

Test-That 'the authentication changes both ways, with the password only, and the secrets stay' {
    $worker = Start-Store
    $null = $worker.Ok('set', @{ vault = 'store'; name = 'k'; value = New-Text 'v' })
    Assert-Equal 'NoRememberedPassword' $worker.Fault('configure', @{ parameters = @{ Authentication = 'None' } })['id']
    Assert-Equal 'None' $worker.Ok('configure', @{ parameters = @{ Authentication = 'None' }; password = New-Text 'pw-123' })['authentication']
    Assert-Equal 'v' $worker.Ok('get', @{ vault = 'store'; name = 'k' })['value']['v']
    Assert-Equal 'Password' $worker.Ok('configure', @{ parameters = @{ Authentication = 'Password' }; password = New-Text 'pw-456' })['authentication']
    $fresh = Start-Worker $worker.HomeFolder
    $null = $fresh.Ok('register', @{ vault = 'store'; module = $store; parameters = @{} })
    $null = $fresh.Ok('unlock', @{ vault = 'store'; password = New-Text 'pw-456' })
    Assert-Equal 'v' $fresh.Ok('get', @{ vault = 'store'; name = 'k' })['value']['v']
}

Test-That 'a locked store says so, a wrong password too, and neither is written to' {
    $worker = Start-Store
    $fresh = Start-Worker $worker.HomeFolder
    $null = $fresh.Ok('register', @{ vault = 'store'; module = $store; parameters = @{} })
    Assert-Equal 'Microsoft.PowerShell.SecretManagement.PasswordRequiredException' $fresh.Fault('get', @{ vault = 'store'; name = 'k' })['kind']
    Assert-Equal 'NoRememberedPassword' $fresh.Fault('unlock', @{ vault = 'store' })['id']
    Assert-Equal 'SecretStoreUnlockFailed' $fresh.Fault('unlock', @{ vault = 'store'; password = New-Text 'wrong-pw' })['id']
    Assert-Equal 'NoRememberedPassword' $fresh.Fault('configure', @{ parameters = @{ PasswordTimeout = 5 } })['id']
    $fault = ConvertTo-Json -Depth 9 $fresh.Fault('configure', @{ parameters = @{ PasswordTimeout = 5 }; password = New-Text 'wrong-pw' })
    Assert-True (-not $fault.Contains('wrong-pw')) 'no password in the fault'
    $ok = $fresh.Ok('unlock', @{ vault = 'store'; password = New-Text 'pw-123' })
    Assert-Equal 'Password 900' "$($ok['authentication']) $($ok['password_timeout'])"
}

Test-That 'a configuration that SecretStore does not know is a bad call' {
    $worker = Start-Worker
    foreach ($parameters in @(@{ Passwort = 'x' }, @{ Authentication = 'Maybe' }, @{ PasswordTimeout = 'soon' }, @{ Interaction = 2 })) {
        $fault = $worker.Fault('configure', @{ parameters = $parameters; password = New-Text 'pw-123' })
        Assert-Equal 'BadCall' $fault['id']
        Assert-True $fault['message'].Contains(@($parameters.Keys)[0]) 'names it'
    }
    Assert-True (-not [System.IO.Directory]::Exists("$($worker.HomeFolder)/.secretmanagement/localstore")) 'and no store is made'
}

Test-That 'a refresh shows at once what another process wrote, and a write after it loses nothing' {
    $one = Start-Store
    $null = $one.Ok('set', @{ vault = 'store'; name = 'a'; value = New-Text '1' })
    $two = Start-Worker $one.HomeFolder
    $null = $two.Ok('register', @{ vault = 'store'; module = $store; parameters = @{} })
    $null = $two.Ok('unlock', @{ vault = 'store'; password = New-Text 'pw-123' })
    $null = $one.Ok('set', @{ vault = 'store'; name = 'b'; value = New-Text '2' })
    Assert-Equal '2' $two.Ok('get', @{ vault = 'store'; name = 'b'; refresh = $true })['value']['v']
    foreach ($i in 1..4) {
        $writer = if ($i % 2) { $one } else { $two }
        $null = $writer.Ok('set', @{ vault = 'store'; name = "n$i"; value = New-Text "$i"; refresh = $true })
    }
    $three = Start-Worker $one.HomeFolder
    $null = $three.Ok('register', @{ vault = 'store'; module = $store; parameters = @{} })
    $null = $three.Ok('unlock', @{ vault = 'store'; password = New-Text 'pw-123' })
    Assert-Equal 'a b n1 n2 n3 n4' (($three.Ok('info', @{ vault = 'store' })['secrets'] | ForEach-Object { $_['name'] }) -join ' ')
}

foreach ($worker in $workers) { if (-not $worker.Process.HasExited) { $worker.Process.Kill($true) } }
[System.IO.Directory]::Delete($scratch, $true)
Complete-Tests 'worker process'

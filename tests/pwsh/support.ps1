# What the tests of the Pode module share: a core made of tables, and `Test-Rule`.
# The commands ask the core through the compiled channel; here a function over tables answers.

Set-StrictMode -Version Latest

$global:Core = $null
$global:Failures = 0

function global:Reset-Core {
    $global:Core = @{
        Asks = [System.Collections.Generic.List[object]]::new()
        Logs = [System.Collections.Generic.List[string]]::new()
        Secrets = @{}; State = @{}; Vaults = @{}; Mounts = @{}; Routes = [System.Collections.Generic.List[object]]::new()
        Shared = [System.Collections.Generic.List[object]]::new(); Blocks = @{}; Functions = [System.Collections.Generic.List[object]]::new(); Variables = [System.Collections.Generic.List[object]]::new()
    }
}

. $PSScriptRoot/Compiled.ps1
$global:WorkerFolder = Initialize-CompiledWorker
Import-Module "$global:WorkerFolder/SecretBridge.Worker.psm1" -DisableNameChecking -Global
[SecretBridge.Channel]::LogTo = { param($Level, $Message) $global:Core.Logs.Add("${Level}: $Message") }

function global:Stop-Ask([string] $Message) {
    $exception = [System.InvalidOperationException]::new($Message)
    $exception.Data['SecretBridge.Fault'] = [ordered]@{ id = 'ScriptCommand'; kind = 'System.InvalidOperationException'; category = 'InvalidOperation'; message = $Message }
    throw [System.Management.Automation.ErrorRecord]::new($exception, 'ScriptCommand', 'InvalidOperation', $null)
}

# Through JSON and back, so that nothing passes that could not travel.
function global:ConvertTo-Wire($Value) {
    if ($null -eq $Value -or $Value -is [string] -or $Value -is [bool] -or $Value -is [int] -or $Value -is [long] -or $Value -is [double]) { return $Value }
    if ($Value -is [System.Collections.IDictionary]) {
        $plain = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal)
        foreach ($entry in $Value.GetEnumerator()) { $plain[[object][string]$entry.Key] = ConvertTo-Wire $entry.Value }
        return $plain
    }
    if ($Value -is [System.Collections.IEnumerable]) { return , @(foreach ($item in $Value) { , (ConvertTo-Wire $item) }) }
    throw "a $($Value.GetType().FullName) cannot travel"
}

function global:Get-CoreAnswer([System.Collections.IDictionary] $What) {
    $ask = ConvertTo-Wire $What
    $core = $global:Core
    $core.Asks.Add($ask)
    $ok = switch ($ask['do']) {
        'secret-get' { if (-not $core.Secrets.ContainsKey($ask['name'])) { Stop-Ask "No Secret named '$($ask['name'])' has been mounted." }; [ordered]@{ value = $core.Secrets[$ask['name']] } }
        'secret-set' { $core.Secrets[$ask['name']] = $ask['value']; [ordered]@{} }
        'state-get' { if ($core.State.ContainsKey($ask['name'])) { [ordered]@{ found = $true; value = $core.State[$ask['name']] } } else { [ordered]@{ found = $false } } }
        'state-set' {
            if ($ask.Contains('value')) { $core.State[$ask['name']] = $ask['value']; [ordered]@{} }
            else {
                $id = $ask['shared']
                if ($null -eq $id) { $core.Shared.Add(@{ Version = 1; Text = $ask['text'] }); $id = $core.Shared.Count }
                $core.State[$ask['name']] = [ordered]@{ t = 'shared'; v = $id }
                [ordered]@{ id = $id; version = $core.Shared[$id - 1].Version }
            }
        }
        'state-remove' { $old = $core.State[$ask['name']]; $core.State.Remove($ask['name']); [ordered]@{ value = $old } }
        'state-names' { [ordered]@{ names = @($core.State.Keys) } }
        'vault-get' { [ordered]@{ vaults = @(if ($ask['by'] -eq 'search') { $core.Vaults.Values } else { foreach ($name in $ask['names']) { if ($core.Vaults.ContainsKey($name)) { $core.Vaults[$name] } } }) } }
        'vault-add' { $core.Vaults[$ask['name']] = $ask; [ordered]@{} }
        'mount' { $core.Mounts[$ask['name']] = $ask; [ordered]@{} }
        'mount-test' { [ordered]@{ mounted = $core.Secrets.ContainsKey($ask['name']) } }
        'read' { [ordered]@{ value = [ordered]@{ t = 'string'; v = "$($ask['vault'])/$($ask['key'])" } } }
        'shared-add' { if ($ask.Contains('id')) { return [ordered]@{ id = $ask['id'] } }; $core.Shared.Add(@{ Version = 1; Text = $ask['value'] }); [ordered]@{ id = $core.Shared.Count; version = 1 } }
        'shared-get' { $one = $core.Shared[$ask['id'] - 1]; [ordered]@{ id = $ask['id']; version = $one.Version; value = $one.Text } }
        'shared-set' {
            $one = $core.Shared[$ask['id'] - 1]
            if ($one.Version -ne $ask['version']) { [ordered]@{ id = $ask['id']; version = $one.Version; value = $one.Text } }
            else { $one.Version++; $one.Text = $ask['value']; [ordered]@{ id = $ask['id']; version = $one.Version } }
        }
        'lock' { [ordered]@{ locked = $true } }
        'route-add' { $core.Routes.Add($ask); [ordered]@{} }
        'function-add' { $core.Functions.Add($ask); [ordered]@{} }
        'variable-add' { $core.Variables.Add($ask); [ordered]@{} }
        'route-test' { [ordered]@{ exists = $true } }
        default { [ordered]@{} }
    }
    return , $ok
}

# Without a file, as the worker's own files are no place of an error.
foreach ($name in 'Stop-Ask', 'Get-CoreAnswer') { Set-Item -Path "function:global:$name" -Value ([scriptblock]::Create((Get-Item -Path "function:$name").ScriptBlock.ToString())) }

[SecretBridge.Channel]::AskTo = [scriptblock]::Create('Get-CoreAnswer $args[0]')

function global:Set-CoreSecret([string] $Name, [string] $Value) { $global:Core.Secrets[$Name] = [ordered]@{ t = 'string'; v = $Value } }
function global:Get-CoreSecret([string] $Name) { $global:Core.Secrets[$Name]['v'] }

# Runs a rule; what it throws is a failure.
function global:Test-Rule([string] $Rule, [scriptblock] $Body) {
    Reset-Core
    try {
        $null = & $Body
        if ($env:PODE_TESTS_VERBOSE) { "ok      $Rule" }
    }
    catch {
        $global:Failures++
        "FAILED  $Rule`n        $_$(if ($env:PODE_TESTS_VERBOSE) { "`n        $($_.ScriptStackTrace -replace "`n", "`n        ")" })"
    }
}

function global:Assert-Equal($Actual, $Expected, [string] $What = '') {
    $left = if ($Actual -is [string]) { $Actual } else { ConvertTo-Json -InputObject $Actual -Depth 8 -Compress }
    $right = if ($Expected -is [string]) { $Expected } else { ConvertTo-Json -InputObject $Expected -Depth 8 -Compress }
    if ($left -cne $right) { throw "$What expected <$right> but got <$left>" }
}

function global:Assert-Throws([scriptblock] $Body, [string] $Pattern) {
    try { $null = & $Body }
    catch {
        $fault = $_.Exception.Data['SecretBridge.Fault']
        $text = if ($fault) { "$($fault['message']) at $($fault['position']['script']):$($fault['position']['line'])" } else { "$_" }
        if ($text -notmatch $Pattern) { throw "expected an error like <$Pattern> but got <$text>" }
        return
    }
    throw "expected an error like <$Pattern> but there was none"
}

# A folder for the rules of one file.
$global:Folder = [System.IO.Path]::Combine([System.IO.Path]::GetTempPath(), "pode-tests-$([guid]::NewGuid().ToString('n'))")
$null = [System.IO.Directory]::CreateDirectory($global:Folder)

function global:New-TestScript([string] $Text, [string] $Name = 'server.ps1') {
    $path = [System.IO.Path]::Combine($global:Folder, $Name)
    [System.IO.File]::WriteAllText($path, $Text)
    $path
}

# A module state as a new process has it.
function global:Import-Pode {
    Remove-Module -Name Pode -Force -ErrorAction Ignore
    Import-Module "$global:WorkerFolder/Pode/Pode.psd1" -DisableNameChecking -Global
}

function global:Invoke-Plan([string] $Text, [string[]] $Arguments = @()) {
    Import-Pode
    $path = New-TestScript $Text
    $answer = Invoke-BridgeScript ([ordered]@{ plan = [ordered]@{ script = $path; arguments = $Arguments; check = $false } })
    if ($answer.Contains('problems')) {
        $exception = [System.InvalidOperationException]::new($answer['problems'][0]['message'])
        $exception.Data['SecretBridge.Fault'] = $answer['problems'][0]
        throw [System.Management.Automation.ErrorRecord]::new($exception, 'ScriptProblem', 'NotImplemented', $null)
    }
    $answer
}

# Takes what was planned into a fresh module, as a pool's worker does, and gives the ids of the routes.
function global:Start-Worker {
    $blocks = [System.Collections.Generic.List[object]]::new()
    $id = 0
    foreach ($route in $global:Core.Routes) { $id++; $block = [ordered]@{ id = $id }; foreach ($e in $route['block'].GetEnumerator()) { $block[$e.Key] = $e.Value }; $blocks.Add($block) }
    Import-Pode
    $load = [ordered]@{ root = $global:Folder; script = "$global:Folder/server.ps1"; variables = $global:Core.Variables.ToArray(); modules = @(); functions = $global:Core.Functions.ToArray(); blocks = $blocks.ToArray() }
    $null = Invoke-BridgeScript ([ordered]@{ load = $load })
}

function global:New-TestEvent([string] $Method = 'GET', [string] $Path = '/', [string] $Query = '', $Headers = @(), [string] $Body = '', $Parameters = [ordered]@{}) {
    [ordered]@{
        method = $Method; path = $Path; query = $Query; parameters = $Parameters; headers = $Headers
        body = [Convert]::ToBase64String([System.Text.Encoding]::Latin1.GetBytes($Body))
        endpoint = [ordered]@{ protocol = 'http'; address = 'localhost'; name = '' }; route = [ordered]@{ path = $Path; method = $Method.ToLower() }
        context = 'c1'; remote = '127.0.0.1:5'; version = '1.1'; timestamp = '2026-11-24T00:00:00.0000000Z'
    }
}

function global:Invoke-TestRoute([int] $Id = 1, $Event_ = (New-TestEvent), $Arguments = @()) {
    (Invoke-BridgeScript ([ordered]@{ route = [ordered]@{ block = $Id; arguments = $Arguments; event = $Event_ } }))['response']
}

function global:Get-ResponseText($Response) { [System.Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($Response['body'])) }
function global:Get-ResponseHeader($Response, [string] $Name) { @(foreach ($pair in $Response['headers']) { if ($pair[0] -eq $Name) { $pair[1] } }) -join '|' }

# Runs the inside of a route and gives its response.
function global:Invoke-RouteText([string] $Block, $Event_ = (New-TestEvent), [string] $Before = '') {
    foreach ($list in 'Routes', 'Functions', 'Variables') { $global:Core[$list].Clear() }
    $null = Invoke-Plan "$Before`nStart-PodeServer {`n Add-PodeRoute -Method Get -Path '/' -ScriptBlock {$Block}`n}"
    Start-Worker
    Invoke-TestRoute 1 $Event_
}

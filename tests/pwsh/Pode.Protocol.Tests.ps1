# Script mode's golden lines, from the worker's side: one conversation. What the core says is read from
# fixtures/protocol/script-core.jsonl, what the worker says is compared with script-worker.jsonl to the byte.
# src/script/protocol/tests.rs holds the core's side to the same two files.
# Run: pwsh -NoProfile -NonInteractive -File tests/pwsh/Pode.Protocol.Tests.ps1 [-Write]
# With -Write it writes script-worker.jsonl anew, for a deliberate change of the protocol.
param([switch] $Write)

Set-StrictMode -Version Latest

. "$PSScriptRoot/support.ps1"

$utf8 = [System.Text.UTF8Encoding]::new($false, $true)
$golden = [System.IO.Path]::GetFullPath([System.IO.Path]::Combine($PSScriptRoot, '..', '..', 'fixtures', 'protocol'))


# What the worker writes, with its golden folder.
$global:Lines = [System.Collections.Generic.List[string]]::new()
function global:Add-Line([System.Collections.IDictionary] $Line) {
    $written = [System.IO.MemoryStream]::new()
    [SecretBridge.Channel]::Open([System.IO.MemoryStream]::new(), $written)
    [SecretBridge.Channel]::SendPlain($Line)
    $text = [System.Text.Encoding]::UTF8.GetString($written.ToArray()).TrimEnd("`n").Replace($global:Folder, '/srv/app')
    # This file itself is on the stack.
    $global:Lines.Add(($text -replace '\\nat <ScriptBlock>, [^"]*Tests\.ps1: line \d+', ''))
}

# The core's lines, with the folder of this test in place of theirs.
$calls = [System.Collections.Generic.List[object]]::new()
$global:Answers = @{}
foreach ($line in [System.IO.File]::ReadAllLines("$golden/script-core.jsonl", $utf8)) {
    [SecretBridge.Channel]::Open([System.IO.MemoryStream]::new($utf8.GetBytes($line.Replace('/srv/app', $global:Folder) + "`n")), [System.IO.MemoryStream]::new())
    $message = [SecretBridge.Channel]::Receive()
    if ($message.Contains('call')) { $calls.Add($message['call']) } else { $global:Answers[[int]$message['answer']['seq']] = $message['answer']['ok'] }
}

$global:Seq = 0
function global:Get-GoldenAnswer([System.Collections.IDictionary] $What) {
    $global:Seq++
    Add-Line ([ordered]@{ ask = [ordered]@{ seq = $global:Seq; what = (ConvertTo-Wire $What) } })
    if (-not $global:Answers.ContainsKey($global:Seq)) { Stop-Ask "no golden answer $($global:Seq)" }
    return , $global:Answers[$global:Seq]
}
[SecretBridge.Channel]::AskTo = [scriptblock]::Create('Get-GoldenAnswer $args[0]')

# Every ask that a script can bring about while it declares; what came of the answers is kept to be looked at.
$null = New-TestScript @'
param($Word = 'w')
Import-Module "$PSScriptRoot/Mine.psm1"
function Get-Mine { 'mine' }
$global:Got = [ordered]@{}
Start-PodeServer -Threads 2 {
    Add-PodeEndpoint -Address localhost -Port 8081 -Protocol Http -Name web
    Register-PodeSecretVault -Name store -ModuleName My.Vault -VaultParameters @{ Path = 'p' } -UnlockSecret 'pw' -UnlockInterval 5 -CacheTtl 1
    Register-PodeSecretVault -Name own -VaultParameters @{ Count = 1 } -UnlockSecret 'open' -ScriptBlock { param($c, $key) $c.Count++; "$key $($c.Count)" } -UnlockScriptBlock { param($c, $s) } -SetScriptBlock { param($c, $key, $value) }
    $global:Got.Vault = (Get-PodeSecretVault -Name store).Unlock.Interval
    $global:Got.Known = Test-PodeSecretVault -Name nope
    Unlock-PodeSecretVault -Name store
    Export-PodeSecretVault -Name mine
    Mount-PodeSecret -Name Db -Vault store -Key db -ExpandProperty Pass -CacheTtl 2
    Mount-PodeSecret -Name Own -Vault own -Key k -ArgumentList 7, 'x'
    $global:Got.Mounted = Test-PodeSecret -Name Db
    $global:Got.Secret = Get-PodeSecret -Name Db
    $global:Got.Members = Get-PodeSecret -Name Own
    Update-PodeSecret -Name Db -InputObject 'new' -Metadata @{ Owner = 'me' }
    $global:Got.Read = Read-PodeSecret -Vault store -Key k -Property A
    Set-PodeSecret -Vault store -Key k -InputObject ([byte[]](1, 2))
    Remove-PodeSecret -Vault store -Key k
    Dismount-PodeSecret -Name Db -Remove
    $global:Got.Info = Get-SecretInfo -Vault Real | ForEach-Object { "$($_.Name) $($_.Type) $($_.Metadata['Owner'])" }
    $global:Got.State = Set-PodeState -Name n -Value 5 -Scope s
    $list = @{ A = 1 }
    $null = Set-PodeState -Name list -Value $list
    $global:Got.Again = Get-PodeState -Name n
    $global:Got.Names = @(Get-PodeStateNames -Scope s) -join ','
    $null = Remove-PodeState -Name n -NoPassThru
    $global:Got.Gone = Test-PodeState -Name n
    Lock-PodeObject -Name gate -ScriptBlock { } -Timeout 100
    Add-PodeRoute -Method Get -Path '/a/:id' -ContentType 'application/json' -EndpointName web -ArgumentList 1 -ScriptBlock { param($n) $list = Get-PodeState -Name list; $list.A++; Write-PodeJsonResponse @{ A = $list.A } }
    Add-PodeRoute -Method Get -Path '/db' -ScriptBlock { Write-PodeJsonResponse @{ Value = $secret:Db } }
    Add-PodeRoute -Method Post -Path '/db' -ScriptBlock { $secret:Db = $WebEvent.Data.Value }
    Remove-PodeRoute -Method Get -Path '/b'
    $global:Got.Route = Test-PodeRoute -Method Get -Path '/a/:id'
    New-PodeLogFileMethod -Name errors | Enable-PodeLogErrorType -Levels Error
    'wrong' | Write-PodeErrorLog -Level Warning
    Mount-PodeSecret -Name Live -Vault own -Key k -ArgumentList $list
    Unregister-PodeSecretVault -Name own
}
'@
$null = New-TestScript "Start-PodeServer {`n    Add-PodeTimer -Name t -Interval 5 -ScriptBlock { }`n}" 'problem.ps1'
$null = New-TestScript 'param([Parameter(Mandatory)] [string] $VaultName) $null = $env:MINE; $null = Get-Content -Path "$PSScriptRoot/token.txt"; $extra = "extra"; . "$PSScriptRoot/$extra.ps1"; Start-PodeServer { }' 'check.ps1'
$null = New-TestScript '' 'extra.ps1'
$null = New-TestScript 'function Get-Theirs { }' 'Mine.psm1'

foreach ($call in $calls) {
    $invoke = $call['op']['invoke']
    # Each kind of worker is a process of its own.
    if ($invoke.Contains('plan') -or $invoke.Contains('load')) { Import-Pode }
    $reply = Invoke-BridgeScript $invoke
    Add-Line ([ordered]@{ reply = [ordered]@{ id = $call['id']; ok = (ConvertTo-Wire $reply) } })
}
$file = "$golden/script-worker.jsonl"
if ($Write) { [System.IO.File]::WriteAllText($file, ($global:Lines -join "`n") + "`n", $utf8) }

Test-Rule 'the worker writes its golden lines, to the byte' {
    $expected = [System.IO.File]::ReadAllLines($file, $utf8)
    for ($i = 0; $i -lt $expected.Length; $i++) { Assert-Equal $global:Lines[$i] $expected[$i] "line $($i + 1)" }
    Assert-Equal $global:Lines.Count $expected.Length 'lines'
}

Test-Rule 'what the core answers is what the commands give' {
    $got = $global:Got
    Assert-Equal @($got.Vault, $got.Known, $got.Mounted, $got.Secret, $got.Members.User) @(5, $false, $true, "a `"value`" $([char]0xe9)", 'in')
    Assert-Equal @($got.Read, $got.Info, $got.State, $got.Again, $got.Names, $got.Gone, $got.Route) @($null, 'k String me', 5, 5, 'list,n', $false, $true)
}

[System.IO.Directory]::Delete($global:Folder, $true)
"$global:Failures failed"
exit [Math]::Min(1, $global:Failures)

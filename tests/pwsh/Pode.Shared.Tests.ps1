# Objects that blocks share: how they travel, how two changes of one version meet, and which blocks only read.

Set-StrictMode -Version Latest

. "$PSScriptRoot/support.ps1"
Import-Pode

$pode = Get-Module Pode
function global:Use-Pode([scriptblock] $Body) { & (Get-Module Pode) $Body @args }

# What comes back of a value, made new and in place of itself.
function global:Copy-Shared($Value) {
    Use-Pode { param($v) $text = [SecretBridge.Pode.SharedText]::Of($v).Text; $new = [SecretBridge.Pode.SharedReader]::Read($text, $null); if ([SecretBridge.Pode.SharedText]::Of($new).Text -cne $text) { throw "another text: $text" }; , $new } $Value
}

# === values ===

foreach ($value in @(
        'text', '', "two`nlines `u{2028} ☂ `"q`"", 5, -7, $true, $false, 5000000000, 2.5, 1.10d, [single]0.5, [byte]7, [int16]3, [uint64]9, [bigint]::Parse('123456789012345678901234567890')
        [datetime]::new(2026, 1, 2, 3, 4, 5, [System.DateTimeKind]::Utc), [datetime]::new(2026, 1, 2), [datetimeoffset]::new(2026, 1, 2, 3, 4, 5, [timespan]::FromHours(2))
        [timespan]::FromSeconds(1.5), [guid]'11111111-2222-3333-4444-555555555555', [char]'x', [System.DayOfWeek]::Friday, [uri]'https://a.test/x', [version]'1.2.3'
    )) {
    Test-Rule "values: a $($value.GetType().Name) comes back as it was ($value)" {
        $new = Copy-Shared @{ V = $value }
        Assert-Equal $new.V.GetType().FullName $value.GetType().FullName
        if (-not $value.Equals($new.V)) { throw "<$value> became <$($new.V)>" }
        if ($value -is [datetime]) { Assert-Equal "$($new.V.Kind)" "$($value.Kind)" }
    }
}
foreach ($case in @(
        , @('a Hashtable', { @{ a = @{ b = 1 } } })
        , @('an ordered table', { [ordered]@{ z = 1; a = 2 } })
        , @('a table with case', { $t = [hashtable]::new([StringComparer]::Ordinal); $t['a'] = 1; $t['A'] = 2; $t })
        , @('a synchronized table', { , [hashtable]::Synchronized(@{ a = 1 }) })
        , @('an array', { , @(1, 'b', $null, @(2)) })
        , @('an array of one', { , @(1) })
        , @('an empty array', { , @() })
        , @('an array of ints', { , [int[]](1, 2) })
        , @('an array of strings', { , [string[]]('a', 'b') })
        , @('an ArrayList', { , [System.Collections.ArrayList]@(1, 2) })
        , @('a synchronized ArrayList', { , [System.Collections.ArrayList]::Synchronized([System.Collections.ArrayList]@(1)) })
        , @('a List', { , [System.Collections.Generic.List[string]]@('a') })
        , @('a List of objects', { , [System.Collections.Generic.List[object]]@('a', 1) })
        , @('a HashSet', { , [System.Collections.Generic.HashSet[string]]::new([string[]]('a', 'b')) })
        , @('a Queue', { $q = [System.Collections.Generic.Queue[int]]::new(); $q.Enqueue(1); $q.Enqueue(2); , $q })
        , @('a Stack', { $q = [System.Collections.Stack]::new(); $q.Push(1); $q.Push(2); , $q })
        , @('a Dictionary', { $d = [System.Collections.Generic.Dictionary[string, object]]::new(); $d['a'] = 1; , $d })
        , @('a ConcurrentDictionary', { $d = [System.Collections.Concurrent.ConcurrentDictionary[string, int]]::new(); $d['a'] = 1; , $d })
    )) {
    Test-Rule "values: $($case[0]) keeps its type, its order and its members" {
        $value = & $case[1]
        $new = (Copy-Shared @{ V = $value }).V
        Assert-Equal $new.GetType().FullName $value.GetType().FullName
        # A table without an order is told by its text, which Copy-Shared has compared.
        if ($value -is [hashtable]) { return }
        Assert-Equal (ConvertTo-Json -InputObject @($new.GetEnumerator()) -Depth 5 -Compress) (ConvertTo-Json -InputObject @($value.GetEnumerator()) -Depth 5 -Compress)
    }
}
Test-Rule 'values: an object, bytes, secrets and script blocks travel' {
    $secure = [securestring]::new(); foreach ($c in 'pass'.ToCharArray()) { $secure.AppendChar($c) }
    $new = Copy-Shared @{ O = [pscustomobject]@{ z = 1; a = @{ b = 2 } }; B = [byte[]](1, 2, 255); S = $secure; C = [pscredential]::new('u', $secure); F = { param($x) $x + 1 } }
    Assert-Equal (ConvertTo-Json $new.O -Compress) '{"z":1,"a":{"b":2}}'
    Assert-Equal $new.B.GetType().Name 'Byte[]'
    Assert-Equal "$($new.B)" '1 2 255'
    Assert-Equal ([System.Net.NetworkCredential]::new('', $new.S).Password) 'pass'
    Assert-Equal $new.C.GetNetworkCredential().Password 'pass'
    Assert-Equal (& $new.F 4) 5
}
Test-Rule 'values: keys that are no texts, and a table that knows no case' {
    $new = Copy-Shared @{ 5 = 'five'; Name = 'n' }
    Assert-Equal $new[5] 'five'
    Assert-Equal $new['NAME'] 'n'
}
Test-Rule 'values: one object in two places is one, and a circle ends' {
    $list = [System.Collections.ArrayList]@(1)
    $table = @{ A = $list; B = $list }
    $table.Self = $table
    $new = Copy-Shared $table
    $null = $new.A.Add(2)
    Assert-Equal $new.B.Count 2
    Assert-Equal ([object]::ReferenceEquals($new, $new.Self)) $true
    $one = [pscustomobject]@{ n = 1 }
    $new = Copy-Shared @{ A = $one; B = $one; C = [pscustomobject]@{ n = 1 } }
    $new.A.n = 2
    Assert-Equal @($new.B.n, $new.C.n) @(2, 1)
}
Test-Rule 'values: equal tables have equal texts, in whatever order they were filled' {
    $one = @{}; foreach ($n in 1..40) { $one["k$n"] = $n }
    $two = @{}; foreach ($n in 40..1) { $two["k$n"] = $n }
    Assert-Equal (Use-Pode { param($a, $b) [SecretBridge.Pode.SharedText]::Of($a).Text -ceq [SecretBridge.Pode.SharedText]::Of($b).Text } $one $two) $true
}
Test-Rule 'values: what cannot travel is named with its place and type, and stays where it is' {
    $table = @{ Token = 't'; Deep = @{ Stream = [System.IO.MemoryStream]::new() } }
    $stream = $table.Deep.Stream
    $found = Use-Pode { param($t) [SecretBridge.Pode.SharedText]::Of($t) } $table
    Assert-Equal @($found.Stays) @("'Deep.Stream' (System.IO.MemoryStream)")
    $changed = $found.Text.Replace('"t"', '"u"')
    $null = Use-Pode { param($x, $t) [SecretBridge.Pode.SharedReader]::Read($x, $t) } $changed $table
    Assert-Equal $table.Token 'u'
    Assert-Equal ([object]::ReferenceEquals($stream, $table.Deep.Stream)) $true
    $other = Use-Pode { param($x) [SecretBridge.Pode.SharedReader]::Read($x, $null) } $changed
    Assert-Equal @($other.Token, ($null -eq $other.Deep.Stream), $other.Deep.ContainsKey('Stream')) @('u', $true, $true)
}
Test-Rule 'values: a copy is made new in place, nested objects too' {
    $table = @{ L = [System.Collections.ArrayList]@(1); T = @{ a = 1; gone = 2 }; O = [pscustomobject]@{ x = 1 } }
    $list, $inner, $object = $table.L, $table.T, $table.O
    $text = (Use-Pode { param($t) [SecretBridge.Pode.SharedText]::Of($t) } @{ L = [System.Collections.ArrayList]@(1, 2); T = @{ a = 5 }; O = [pscustomobject]@{ y = 2 } }).Text
    $null = Use-Pode { param($x, $t) [SecretBridge.Pode.SharedReader]::Read($x, $t) } $text $table
    Assert-Equal @($list.Count, $inner.a, $inner.Count, $object.y, ($null -eq $object.psobject.Properties['x'])) @(2, 5, 1, 2, $true)
}
Test-Rule 'values: a secret is in no message of what cannot travel' {
    $found = Use-Pode { param($t) [SecretBridge.Pode.SharedText]::Of($t) } @{ Password = 'canary'; S = [System.IO.MemoryStream]::new() }
    if ("$($found.Stays)" -match 'canary') { throw 'it is' }
}

# === two changes of one version ===

# base, ours, theirs, what comes of it
foreach ($case in @(
        , @('each its own member', { @{ a = 1; b = 1 } }, { @{ a = 2; b = 1 } }, { @{ a = 1; b = 2 } }, { @{ a = 2; b = 2 } })
        , @('the same member: ours', { @{ a = 1 } }, { @{ a = 2 } }, { @{ a = 3 } }, { @{ a = 2 } })
        , @('members added and removed', { @{ a = 1; b = 1 } }, { @{ b = 1; c = 1 } }, { @{ a = 1; b = 1; d = 1 } }, { @{ b = 1; c = 1; d = 1 } })
        , @('nested members', { @{ t = @{ a = 1; b = 1 } } }, { @{ t = @{ a = 2; b = 1 } } }, { @{ t = @{ a = 1; b = 2; c = 3 } } }, { @{ t = @{ a = 2; b = 2; c = 3 } } })
        , @('two additions to a list', { @{ l = [System.Collections.ArrayList]@(1) } }, { @{ l = [System.Collections.ArrayList]@(1, 2) } }, { @{ l = [System.Collections.ArrayList]@(1, 3) } }, { @{ l = [System.Collections.ArrayList]@(1, 3, 2) } })
        , @('two additions to an array', { @{ l = @('a') } }, { @{ l = @('a', 'b') } }, { @{ l = @('a', 'c') } }, { @{ l = @('a', 'c', 'b') } })
        , @('only theirs', { @{ a = 1 } }, { @{ a = 1 } }, { @{ a = 2 } }, { @{ a = 2 } })
    )) {
    Test-Rule "merge: $($case[0])" {
        $merged, $wanted = Use-Pode { param($c) $texts = foreach ($body in $c[1..4]) { [SecretBridge.Pode.SharedText]::Of((& $body)).Text }; $m = [SecretBridge.Pode.SharedMerge]::Merge($texts[0], $texts[1], $texts[2]); [SecretBridge.Pode.SharedText]::Of([SecretBridge.Pode.SharedReader]::Read($m, $null)).Text; $texts[3] } $case
        Assert-Equal $merged $wanted
    }
}

# === what only reads ===

foreach ($block in @(
        { param($config, $key) "value of $key" }, { param($config, $key) $config.Secrets[$key] }, { param($config, $key) return $config['Secrets'][$key] }
        { param($config, $key) if ($config.Secrets.ContainsKey($key)) { $config.Secrets[$key] } else { throw "no $key" } }
        { param($config, $key) $headers = @{}; $headers['Authorization'] = "Bearer $($config.Token)"; Invoke-RestMethod -Uri "$($config.Url)/$key" -Headers $headers }
        { param($config, $key) Start-Sleep -Milliseconds 5; Get-Content (Join-Path $config.Folder $key) -Raw }
        { param($config, $key) $config.Items | Where-Object { $_.Name -eq $key } | Select-Object -First 1 }
        { param($config, $key) $i = 0; $i++; foreach ($item in $config.Items) { if ($item -eq $key) { $item } } }
        { param($config, $key) [Convert]::FromBase64String($config[$key]) }, { }
        { param($config, $key) $text = $config.Secrets[$key]; $text.ToUpper() }
    )) {
    Test-Rule "reads: only reads {$block}" { Assert-Equal (Use-Pode { param($b) Test-OnlyReads $b } $block) $true }
}
foreach ($block in @(
        { param($config, $key) $config.Count++ }, { param($config, $key) $config.Count += 1 }, { param($config, $key) $config['Count'] = 1 }, { param($config, $key) $config.Log.Add($key) }
        { param($config, $key) $t = $config.Secrets; $t[$key] = 1 }, { param($config, $key) foreach ($item in $config.Items) { $item.Used = $true } }, { param($config, $key) $config.Items | ForEach-Object { $_.Used = $true } }
        { param($config, $key) Update-Counter $config }, { param($config, $key) Update-Counter }, { $args[0].Count++ }, { param($config, $key) & $config.Reader $key }, { param($config, $key) Invoke-Expression '$config.x = 1' }
        { param($config, $key) [array]::Reverse($config.Items) }, { param($config, $key) $null = $config.Remove($key) }, { param($config, $key) $config.Items | ForEach-Object Clear }
        { param($config, $key) $PSBoundParameters['config'].x = 1 }, { param($config, $key) Set-Content -Path x -Value y }, { param($config, $key) ($config).Count++ }, { param($config, $key) Add-Member -InputObject $config -Name x -Value 1 }
        { param($config, $key) "x$key" > file }, { param($config, $key) [System.Threading.Interlocked]::Increment([ref]$config.Count) }, { param($config, $key) function Set-It { $config.x = 1 }; Set-It }
        { param($config, $key) $a, $b = $config.One, $config.Two; $a.x = 1 }, { param($config, $key) $h = @{ s = $config.Secrets }; $h.s[$key] = 1 }, { param($config, $key) $script:n++; $script:m = 1 }
    )) {
    Test-Rule "reads: may change {$block}" { Assert-Equal (Use-Pode { param($b) Test-OnlyReads $b } $block) $false }
}
foreach ($case in @(
        @({ Connect-AzAccount -Identity }, $true), @({ Import-Module x }, $true), @({ $global:token = 1 }, $true), @({ $env:X = 1 }, $true), @({ param($c) $c.Token = 'x' }, $false), @({ param($c) Invoke-RestMethod x }, $false)
    )) {
    Test-Rule "process: {$($case[0])} is $($case[1])" { Assert-Equal (Use-Pode { param($b) Test-ProcessBound $b } $case[0]) $case[1] }
}

# === a vault's blocks ===

function global:Invoke-Custom([int] $Block, [string] $Kind, $Table, $More = @{}) {
    $call = [ordered]@{ vault = 'v'; kind = $Kind; block = $Block; table = $Table; key = 'k'; arguments = @() }
    foreach ($entry in $More.GetEnumerator()) { $call[$entry.Key] = $entry.Value }
    Invoke-BridgeScript ([ordered]@{ custom = $call })
}
function global:Start-Blocks([string[]] $Texts) {
    $global:Core.Routes.Clear()
    foreach ($text in $Texts) { $global:Core.Routes.Add([ordered]@{ block = [ordered]@{ text = $text; file = ''; line = 1; using = @() } }) }
    Start-Worker
}
function global:New-Given([int] $Version, $Value) {
    $given = [ordered]@{ id = 3; version = $Version }
    if ($null -ne $Value) { $given['value'] = Use-Pode { param($v) [SecretBridge.Pode.SharedText]::Of($v).Text } $Value }
    $given
}
Test-Rule 'blocks: what one changes goes back, and the next sees it' {
    Start-Blocks 'param($c, $k) $c.Count++; "$($c.Count)"', 'param($c, $k) "$($c.Count)"'
    $answer = Invoke-Custom 1 'read' (New-Given 1 @{ Count = 0 })
    Assert-Equal @($answer['value']['v'], $answer['table']['version'], $answer['table']['value']) @('1', 1, '["table","hashtable","Count",1]')
    $answer = Invoke-Custom 2 'read' (New-Given 2)
    Assert-Equal @($answer['value']['v'], $answer.Contains('table')) @('1', $false)
    Assert-Equal (Invoke-Custom 2 'read' (New-Given 7 @{ Count = 40 }))['value']['v'] '40'
}
Test-Rule 'blocks: what one changed before it throws stands, as in Pode' {
    Start-Blocks 'param($c, $k) $c.Misses++; throw "no $k"'
    $answer = Invoke-Custom 1 'read' (New-Given 1 @{ Misses = 0 })
    Assert-Equal @($answer['failed']['message'], $answer['table']['value']) @('no k', '["table","hashtable","Misses",1]')
}
Test-Rule 'blocks: a block for this worker alone leaves only what cannot travel' {
    Start-Blocks 'param($c) $c.Unlocks++; $c.Stream = [System.IO.MemoryStream]::new()', 'param($c, $k) "$($c.Unlocks) $($null -ne $c.Stream)"'
    $answer = Invoke-Custom 1 'unlock' (New-Given 1 @{ Unlocks = 0 })
    Assert-Equal @($answer['stays']) @("'Stream' (System.IO.MemoryStream)")
    $text = $answer['table']['value']
    Start-Blocks 'param($c) $c.Unlocks++; $c.Stream = [System.IO.MemoryStream]::new()', 'param($c, $k) "$($c.Unlocks) $($null -ne $c.Stream)"'
    $given = [ordered]@{ id = 3; version = 2; value = $text }
    $answer = Invoke-Custom 1 'unlock' $given @{ local = $true }
    Assert-Equal $answer.Contains('table') $false
    Assert-Equal (Invoke-Custom 2 'read' (New-Given 2))['value']['v'] '1 True'
}
Test-Rule 'blocks: what an unlock block leaves is told with its answer, also while the script still holds the table' {
    Start-Blocks 'param($c) $c.Stream = [System.IO.MemoryStream]::new()'
    [SecretBridge.Pode.Shared]::Hold(3)
    $answer = Invoke-Custom 1 'unlock' (New-Given 1 @{ A = 1 })
    Assert-Equal @($answer['stays']) @("'Stream' (System.IO.MemoryStream)")
    Assert-Equal $answer.Contains('table') $true
}
Test-Rule 'blocks: a change that came too late is merged with what came before it' {
    Start-Blocks 'param($c, $k) $c.Mine++'
    $answer = Invoke-Custom 1 'read' (New-Given 1 @{ Mine = 0; Other = 0 })
    Assert-Equal $answer['table']['version'] 1
    $merged = (Invoke-BridgeScript ([ordered]@{ merge = New-Given 2 @{ Mine = 0; Other = 5 } }))['table']
    Assert-Equal @($merged['version'], $merged['value']) @(2, '["table","hashtable","Mine",1,"Other",5]')
    $next = Invoke-Custom 1 'read' (New-Given 3)
    Assert-Equal $next['table']['value'] '["table","hashtable","Mine",2,"Other",5]'
}
Test-Rule 'vaults: what a route changes in the parameters of a vault is told at its end' {
    $null = $global:Core.Shared.Add(@{ Version = 1; Text = '["table","hashtable","Seen",0]' })
    $null = Invoke-Plan 'Start-PodeServer { Add-PodeRoute -Method Get -Path / -ScriptBlock { $vault = Get-PodeSecretVault -Name v; $vault.Parameters.Seen++; Write-PodeJsonResponse $vault.Unlock } }'
    $global:Core.Vaults['v'] = [ordered]@{ name = 'v'; type = 'custom'; table = 1; unlock = $true; interval = 3; cache_ttl = 0; expiry = $null; auto_imported = $false }
    Start-Worker
    $response = Invoke-TestRoute
    Assert-Equal $global:Core.Shared[0].Text '["table","hashtable","Seen",1]'
    $unlock = Get-ResponseText $response | ConvertFrom-Json
    Assert-Equal @($unlock.Enabled, $unlock.Interval, ($null -eq $unlock.Expiry), ($null -eq $unlock.psobject.Properties['Secret'])) @($true, 3, $true, $true)
}
Test-Rule 'vaults: what the script changes after it has registered a vault is told' {
    $null = Invoke-Plan '$p = @{ A = 1 }; Start-PodeServer { Register-PodeSecretVault -Name v -VaultParameters $p -ScriptBlock { 1 }; $p.A = 2; $null = Test-PodeSecretVault v; $p.B = 3 }'
    Assert-Equal $global:Core.Shared[0].Text '["table","hashtable","A",2,"B",3]'
}
Test-Rule 'vaults: what the init block does to the parameters is in the table' {
    $null = Invoke-Plan 'Start-PodeServer { Register-PodeSecretVault -Name v -VaultParameters @{ A = 1 } -InitScriptBlock { param($c) $c.A++; $c.S = [System.IO.MemoryStream]::new() } -ScriptBlock { 1 } }'
    Assert-Equal $global:Core.Shared[0].Text '["table","hashtable","A",2,"S",["stays","System.IO.MemoryStream"]]'
    Assert-Equal @($global:Core.Vaults['v']['stays']) @("'S' (System.IO.MemoryStream)")
}

# === `$using:` and `$state:` ===

foreach ($case in @(
        , @('a table of $using:', '$h = [hashtable]::Synchronized(@{ Count = 0 })', '($using:h).Count++; Write-PodeTextResponse "$($using:h.Count)"', '1|2')
        , @('a list of $using:', '$h = [System.Collections.ArrayList]::new()', '$null = ($using:h).Add("x"); Write-PodeTextResponse "$($using:h.Count)"', '1|2')
        , @('a variable that holds it', '$h = @{ In = @{ Count = 0 } }', '$x = $using:h; $x.In.Count += 2; Write-PodeTextResponse "$($using:h.In.Count)"', '2|4')
        , @('under a lock', '$h = @{ Count = 0 }', 'Lock-PodeObject -Object $using:h -ScriptBlock { ($using:h).Count++ }; Write-PodeTextResponse "$($using:h.Count)"', '1|2')
        , @('a state', '$null = Set-PodeState -Name s -Value @{ Count = 0 }', '$state:s.Count++; Write-PodeTextResponse "$($state:s.Count)"', '1|2')
        , @('a state in a variable', '$null = Set-PodeState -Name s -Value ([hashtable]::Synchronized(@{ Count = 0 }))', '$x = $state:s; $x.Count++; Write-PodeTextResponse "$($state:s.Count)"', '1|2')
        , @('a list in the state', '$null = Set-PodeState -Name s -Value ([System.Collections.Generic.List[string]]::new())', '(Get-PodeState -Name s).Add("x"); Write-PodeTextResponse "$($state:s.Count)"', '1|2')
        , @('one object in both', '$h = @{ Count = 0 }; $null = Set-PodeState -Name s -Value $h', '($using:h).Count++; Write-PodeTextResponse "$($state:s.Count)"', '1|2')
        , @('a state that is set anew', '$null = Set-PodeState -Name s -Value @{ Count = 0 }', '$state:s = @{ Count = $state:s.Count + 5 }; Write-PodeTextResponse "$($state:s.Count)"', '5|10')
        , @('an array in the state', '$null = Set-PodeState -Name s -Value @(1)', '$state:s += 2; Write-PodeTextResponse "$($state:s.Count)"', '2|3')
    )) {
    Test-Rule "live: $($case[0])" {
        $null = Invoke-Plan "Start-PodeServer { $($case[1])`nAdd-PodeRoute -Method Get -Path / -ScriptBlock { $($case[2]) } }"
        # Two workers, one after the other: what one changed is there in the next.
        $texts = foreach ($worker in 1, 2) { Start-Worker; $answer = Invoke-TestRoute; if ($answer['failed']) { throw $answer['failed']['message'] }; Get-ResponseText $answer }
        Assert-Equal ($texts -join '|') $case[3]
    }
}
Test-Rule 'live: what cannot travel is named with its line' {
    $null = Invoke-Plan "Start-PodeServer {`n`$h = @{ S = [System.IO.MemoryStream]::new() }`nAdd-PodeRoute -Method Get -Path / -ScriptBlock { `$using:h.S } }"
    Assert-Equal (@($global:Core.Logs) -match 'server\.ps1:3: \$using:h has ''S'' \(System\.IO\.MemoryStream\)').Count 1
}

# === what a check tells ===

function global:Invoke-Check([string] $Text) {
    Import-Pode
    Invoke-BridgeScript ([ordered]@{ plan = [ordered]@{ script = (New-TestScript $Text); arguments = @(); check = $true } })
}
Test-Rule 'check: all problems are told in one run, those of named files too' {
    $null = New-TestScript "Add-PodeSchedule -Name x`nfunction Get-PodeOwn { }" 'lib.ps1'
    $answer = Invoke-Check "Start-PodeServer {`n. ./lib.ps1`nAdd-PodeTimer -Name x`nAdd-PodeRoute -Method Get -Path / -Authentication a -Middleware b -ScriptBlock { Get-PodeOwn; `$session:x }`n}"
    Assert-Equal $answer['served'] $false
    $told = foreach ($problem in $answer['problems']) {
        $file = [System.IO.Path]::GetFileName($problem['position']['script'])
        $words = $problem['message'] -replace ' .hint: .*'
        "${file}:$($problem['position']['line']) $words"
    }
    Assert-Equal @($told) @(
        'lib.ps1:1 Add-PodeSchedule is a command of Pode that secretbridge does not have', 'server.ps1:3 Add-PodeTimer is a command of Pode that secretbridge does not have'
        'server.ps1:4 Add-PodeRoute has no parameter -Authentication here', 'server.ps1:4 Add-PodeRoute has no parameter -Middleware here', 'server.ps1:4 $session: is not here'
    )
}
Test-Rule 'check: all mistakes of writing are told' {
    $answer = Invoke-Check "if (`$x {`n}`nforeach `$y"
    if (@($answer['problems']).Count -lt 2) { throw "there are $(@($answer['problems']).Count)" }
}
Test-Rule 'check: no secret is needed, and what would be is named' {
    $env:SECRETBRIDGE_TEST_SET = 'x'
    $answer = Invoke-Check @'
Start-PodeServer {
    $password = Get-Content ./password.txt -Raw
    $credential = Import-Clixml ./credential.xml
    Register-PodeSecretVault -Name s -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret $env:SECRETBRIDGE_TEST_UNSET
    Register-PodeSecretVault -Name c -UnlockSecret $password -UnlockScriptBlock { } -ScriptBlock { } -VaultParameters @{ P = $credential.GetNetworkCredential().Password; E = $env:SECRETBRIDGE_TEST_SET }
}
'@
    Assert-Equal @($answer['needs']['environment']).ForEach({ "$($_['name']) $($_['set'])" }) @('SECRETBRIDGE_TEST_SET True', 'SECRETBRIDGE_TEST_UNSET False')
    Assert-Equal @($answer['needs']['files']).ForEach({ [System.IO.Path]::GetFileName($_) }) @('credential.xml', 'password.txt')
    Assert-Equal $global:Core.Vaults.Count 2
}

[System.IO.Directory]::Delete($global:Folder, $true)
"$global:Failures failed"
exit [Math]::Min(1, $global:Failures)

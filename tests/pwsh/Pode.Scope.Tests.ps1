# The rewrite: each case is run as a route in a fresh worker, over a core made of tables.

Set-StrictMode -Version Latest

. "$PSScriptRoot/support.ps1"

# name, secrets before, block, what the block answers as text
$reads = @(
    , @('a plain read', '$secret:A', 'one')
    , @('case does not count', '$SECRET:a', 'one')
    , @('a member of the value', '$secret:A.Length', '3')
    , @('a method of the value', '$secret:A.ToUpper()', 'ONE')
    , @('an index', '$secret:A[0]', 'o')
    , @('a string', '"x $secret:A y"', 'x one y')
    , @('a string that goes on', '"$secret:A.Length"', 'one.Length')
    , @('braces', '${secret:name-with.dots}', 'dots')
    , @('braces in a string', '"<${secret:name-with.dots}>"', '<dots>')
    , @('a here-string', "@`"`nx `$secret:A`n`"@", "x one")
    , @('single quotes stay', "'`$secret:A'", '$secret:A')
    , @('an escaped dollar stays', '"`$secret:A"', '$secret:A')
    , @('similar names', '"$secret:foo $secret:foobar $secret:foo"', 'f fb f')
    , @('a comment', "# `$secret:nope`n`$secret:A", 'one')
    , @('an argument', 'Join-String -InputObject $secret:A -OutputPrefix p', 'pone')
    , @('an argument with a colon', 'Join-String -InputObject:$secret:A -OutputPrefix:p', 'pone')
    , @('a bare word', 'Write-Output x$secret:A', 'xone')
    , @('a cast', '[string]$secret:A', 'one')
    , @('a comparison', '[string]($secret:A -eq ''one'')', 'True')
    , @('a table', '@{ k = $secret:A }.k', 'one')
    , @('a subexpression in a string', '"$($secret:A.Length + 1)"', '4')
    , @('a loop over it', 'foreach ($c in $secret:A.ToCharArray()) { "$c-" }', 'o-n-e-')
    , @('a default of a parameter', '& { param($p = $secret:A) $p }', 'one')
    , @('not', '[string](-not $secret:A)', 'False')
)
foreach ($case in $reads) {
    Test-Rule "read: $($case[0])" {
        Set-CoreSecret 'A' 'one'; Set-CoreSecret 'foo' 'f'; Set-CoreSecret 'foobar' 'fb'; Set-CoreSecret 'name-with.dots' 'dots'
        $response = Invoke-RouteText "Write-PodeTextResponse (-join @(`n$($case[1])`n))"
        Assert-Equal $response['failed'] $null
        Assert-Equal (Get-ResponseText $response) $case[2]
    }
}

# name, block, value of A afterwards
$writes = @(
    , @('a text', '$secret:A = ''new''', 'new')
    , @('an expression', '$secret:A = ''n'' + ''ew'' * 2', 'newew')
    , @('a command', '$secret:A = Join-String -InputObject ''x'' -OutputPrefix ''p''', 'px')
    , @('a pipeline', '$secret:A = ''b'', ''a'' | Sort-Object | Select-Object -First 1', 'a')
    , @('an if', '$secret:A = if ($true) { ''yes'' } else { ''no'' }', 'yes')
    , @('another secret', '$secret:A = $secret:B', 'two')
    , @('a string with secrets', '$secret:A = "$secret:A-$secret:B"', 'one-two')
    , @('+=', '$secret:A += ''!''', 'one!')
    , @('*=', '$secret:A *= 2', 'oneone')
    , @('a cast', '[string]$secret:A = 42', '42')
    , @('a cast with an attribute', '[ValidateLength(1, 9)] [string] $secret:A = 42', '42')
    , @('a number', '$secret:A = 42', '42')
    , @('braces', '${secret:A} = ''b''', 'b')
    , @('++', '$secret:N++; $secret:A = $secret:N', '8')
    , @('-- as a value', '$x = $secret:N--; $secret:A = "$x $secret:N"', '7 6')
    , @('an assignment as a value', '$x = $secret:A = ''v''; $secret:A += $x', 'vv')
    , @('a chain', '$secret:A = $secret:B = ''c''', 'c')
    , @('in a condition', 'if ($secret:A = ''yes'') { $secret:A += ''!'' }', 'yes!')
    , @('in brackets', '$y = ($secret:A = ''p''); $secret:A += $y', 'pp')
    , @('inside a function', 'function f { $secret:A = ''f'' } f', 'f')
    , @('no blanks', '$secret:A=''t''', 't')
    , @('a line end after the sign', "`$secret:A =`n 'l'", 'l')
    , @('two on a line', '$secret:A = ''1''; $secret:A += ''2''', '12')
)
foreach ($case in $writes) {
    Test-Rule "write: $($case[0])" {
        Set-CoreSecret 'A' 'one'; Set-CoreSecret 'B' 'two'; Set-CoreSecret 'N' '7'
        $response = Invoke-RouteText $case[1]
        Assert-Equal $response['failed'] $null
        Assert-Equal (Get-CoreSecret 'A') $case[2]
    }
}

Test-Rule 'a member is changed in a copy that is written back' {
    $global:Core.Secrets['H'] = [ordered]@{ t = 'hashtable'; v = [ordered]@{ user = [ordered]@{ t = 'string'; v = 'u' }; pass = [ordered]@{ t = 'string'; v = 'old' } } }
    $response = Invoke-RouteText '$secret:H.pass = ''new''; $secret:H[''extra''] = ''e''; $secret:H.pass += ''!''; $x = $secret:H.user = ''w''; $secret:H.extra += $x'
    Assert-Equal $response['failed'] $null
    $members = $global:Core.Secrets['H']['v']
    Assert-Equal "$($members['user']['v']) $($members['pass']['v']) $($members['extra']['v'])" 'w new! ew'
}

Test-Rule 'state: values, members, steps and changing methods' {
    $response = Invoke-RouteText @'
$state:n = 1; $state:n++; $state:n += 5
$state:t = @{ list = @(); hits = 0 }; $state:t.hits++; $state:t.list += 'x'; $state:t.Add('new', 'v')
for ($state:i = 0; $state:i -lt 3; $state:i++) { }
$null = $state:none
Write-PodeTextResponse "$state:n $($state:t.hits) $($state:t.list) $($state:t.new) $state:i [$state:none]"
'@
    Assert-Equal $response['failed'] $null
    Assert-Equal (Get-ResponseText $response) '7 1 x v 3 []'
}

Test-Rule 'bytes stay bytes on both ways' {
    $response = Invoke-RouteText '$secret:B = [byte[]](1,2); $secret:C = [byte[]]@(7); $x = $secret:C; Write-PodeTextResponse "$($x.GetType().Name) $($secret:B.Length)"'
    Assert-Equal $response['failed'] $null
    Assert-Equal (Get-ResponseText $response) 'Byte[] 2'
}

$refused = @(
    , @('one of several variables', '$a, $secret:b = 1, 2', 'one of several variables.*:3$')
    , @('a loop variable', 'foreach ($secret:b in 1) { }', 'foreach loop.*:3$')
    , @('splatting', 'Get-Item @secret:b', 'cannot be splatted.*:3$')
    , @('==', '$secret:b == 1', 'compares with -eq.*:3$')
    , @('a syntax error', 'if (', 'does not parse.*:\d$')
    , @('session variables', '$session:x', 'not here.*:3$')
    , @('Pode''s inside', '$PodeContext.Server', 'Pode''s inside.*:3$')
)
foreach ($case in $refused) {
    Test-Rule "refused with its line: $($case[0])" {
        Assert-Throws { Invoke-Plan "Start-PodeServer {`n Add-PodeRoute -Method Get -Path '/' -ScriptBlock {`n$($case[1])`n}`n}" } $case[2]
    }
}

Test-Rule 'lines stay where they are' {
    Set-CoreSecret 'A' 'one'
    $response = Invoke-RouteText "`n`$x = `$secret:A`n`$secret:A =`n  'l'`nthrow 'here'"
    Assert-Equal $response['failed']['position']['line'] 7
    Assert-Equal $response['failed']['position']['script'] "$global:Folder/server.ps1"
    Assert-Equal $response['failed']['message'] 'here'
}

Test-Rule 'using: values are taken when the route is declared' {
    $response = Invoke-RouteText 'Write-PodeTextResponse "$using:word $($using:table.k) $(& $using:block)"' -Before '$word = ''w''; $table = @{ k = ''v'' }; $block = { ''called'' }'
    Assert-Equal $response['failed'] $null
    Assert-Equal (Get-ResponseText $response) 'w v called'
}

Test-Rule 'using: a value that is not there stops the start' {
    Assert-Throws { Invoke-RouteText '$using:nothing' } 'could not be found'
}

Test-Rule 'functions, files and using namespace reach the workers' {
    Set-CoreSecret 'A' 'one'
    $null = New-TestScript 'function From-File { "file $secret:A" }' 'lib.ps1'
    $response = Invoke-RouteText 'Write-PodeTextResponse "$(From-Script 3) $(From-File) $([StringBuilder]::new("sb")) $PSScriptRoot"' -Before "using namespace System.Text`nfunction From-Script([int] `$n) { `"`$secret:A `$(`$n + 1)`" }`n. `$PSScriptRoot/lib.ps1"
    Assert-Equal $response['failed'] $null
    Assert-Equal (Get-ResponseText $response) "one 4 file one sb $global:Folder"
}

Test-Rule 'lift: the tutorial''s routes' {
    $null = Invoke-Plan @'
Start-PodeServer {
    Add-PodeRoute -Method Get -Path '/a' -ScriptBlock { Write-PodeJsonResponse @{ Value = $secret:X } }
    Add-PodeRoute -Method Post -Path '/a' -ScriptBlock { $secret:X = $WebEvent.Data.Value }
    Add-PodeRoute -Method Get -Path '/b' -ScriptBlock { Write-PodeJsonResponse -Value ([ordered]@{ a = 1 }) }
    Add-PodeRoute -Method Get -Path '/c' -ScriptBlock { Write-PodeJsonResponse @{ a = 1; b = 't' } }
    Add-PodeRoute -Method Get -Path '/d' -ScriptBlock { Write-PodeJsonResponse @{ a = (Get-Date) } }
    Add-PodeRoute -Method Get -Path '/e' -ScriptBlock { Write-PodeJsonResponse @{ a = "$secret:X" } }
    Add-PodeRoute -Method Get -Path '/f' -ScriptBlock { param($p) Write-PodeJsonResponse @{ a = 1 } }
}
'@
    $lifts = @(foreach ($route in $global:Core.Routes) { if ($route.Contains('lift')) { ConvertTo-Json -InputObject $route['lift'] -Depth 8 -Compress } else { '-' } })
    Assert-Equal $lifts[0] '{"respond":{"object":[["Value",{"secret":"X"}]]}}'
    Assert-Equal $lifts[1] '{"update":{"secret":"X","field":"Value"}}'
    Assert-Equal $lifts[3] '{"respond":{"object":[["a",{"literal":1}],["b",{"literal":"t"}]]}}'
    Assert-Equal ($lifts[4..6] -join '') '---'
}

Test-Rule 'lift: a table in brackets, as an ordered one must be' {
    $null = Invoke-Plan 'Start-PodeServer {
        Add-PodeRoute -Method Get -Path /a -ScriptBlock { Write-PodeJsonResponse ([ordered]@{ b = $secret:X; a = 1 }) }
        Add-PodeRoute -Method Get -Path /b -ScriptBlock { Write-PodeJsonResponse -Value ((@{ a = $true })) }
        Add-PodeRoute -Method Get -Path /c -ScriptBlock { Write-PodeJsonResponse -Value (Get-Date) }
        Add-PodeRoute -Method Get -Path /d -ScriptBlock { Write-PodeJsonResponse -Value ([ordered]@{ a = 1 } 2>&1) }
    }'
    $lifts = @(foreach ($route in $global:Core.Routes) { if ($route.Contains('lift')) { ConvertTo-Json -InputObject $route['lift'] -Depth 8 -Compress } else { '-' } })
    Assert-Equal $lifts @('{"respond":{"object":[["b",{"secret":"X"}],["a",{"literal":1}]]}}', '{"respond":{"object":[["a",{"literal":true}]]}}', '-', '-')
}
Test-Rule 'lift: never where a script has a command of that name' {
    $null = Invoke-Plan "function Write-PodeJsonResponse { }`nStart-PodeServer { Add-PodeRoute -Method Get -Path '/' -ScriptBlock { Write-PodeJsonResponse @{ a = 1 } } }"
    Assert-Equal $global:Core.Routes[0].Contains('lift') $false
}

[System.IO.Directory]::Delete($global:Folder, $true)
"$global:Failures failed"
exit [Math]::Min(1, $global:Failures)

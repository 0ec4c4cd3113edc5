# The module SecretBridge by SecretManagement's own commands, against a running server.
#
# Needs in the environment: SECRETBRIDGE_MODULE (the module's folder), SECRETBRIDGE_ADDR, SECRETBRIDGE_TOKEN_FILE,
# and SECRETBRIDGE_SOCKET where there is a socket. Ends with 1 and a message at the first thing that is wrong.

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

function Assert-That {
    param([bool] $Holds, [string] $What)
    if (-not $Holds) { throw "does not hold: $What" }
}

function Get-Failure {
    param([scriptblock] $Action)
    try { & $Action } catch { return $_ }
    throw "no error came of: $Action"
}

$manifest = Join-Path $env:SECRETBRIDGE_MODULE 'SecretBridge.psd1'
$null = Test-ModuleManifest -Path $manifest
Import-Module Microsoft.PowerShell.SecretManagement
$parameters = @{ Uri = $env:SECRETBRIDGE_ADDR; TokenFile = $env:SECRETBRIDGE_TOKEN_FILE }
Register-SecretVault -Name local -ModuleName $manifest -VaultParameters $parameters

Assert-That (Test-SecretVault -Name local) 'the vault answers'

# Five types go in and come out.
Set-Secret -Vault local -Name text -Secret 'correct "horse" ☂'
Assert-That ((Get-Secret -Vault local -Name text -AsPlainText) -ceq 'correct "horse" ☂') 'a string'
$secure = ConvertTo-SecureString 'hidden' -AsPlainText -Force
Set-Secret -Vault local -Name secure -Secret $secure
Assert-That ((Get-Secret -Vault local -Name secure -AsPlainText) -ceq 'hidden') 'a SecureString'
[byte[]] $bytes = 0, 127, 128, 255
Set-Secret -Vault local -Name bytes -Secret $bytes
$read = Get-Secret -Vault local -Name bytes
Assert-That ($read -is [byte[]] -and (-join $read) -eq '0127128255') 'bytes'
Set-Secret -Vault local -Name one -Secret ([byte[]] @(7))
Assert-That ((Get-Secret -Vault local -Name one) -is [byte[]]) 'one byte stays an array'
Set-Secret -Vault local -Name login -Secret ([pscredential]::new('dom\sa', $secure))
$credential = Get-Secret -Vault local -Name login
Assert-That ($credential.UserName -eq 'dom\sa') 'the user of a credential'
Assert-That ([System.Net.NetworkCredential]::new('', $credential.Password).Password -ceq 'hidden') 'its password'
Set-Secret -Vault local -Name table -Secret @{ user = 'sa'; pass = 'x' }
$table = Get-Secret -Vault local -Name table -AsPlainText
Assert-That ($table -is [hashtable] -and $table['user'] -eq 'sa' -and $table['pass'] -eq 'x') 'a Hashtable'

# Metadata.
$when = [datetime]::new(2026, 1, 2, 3, 4, 5, [System.DateTimeKind]::Utc)
Set-Secret -Vault local -Name text -Secret 'two' -Metadata @{ Owner = 'dba'; Count = 5; When = $when }
$info = Get-SecretInfo -Vault local -Name text
Assert-That ($info.Type -eq 'String' -and $info.VaultName -eq 'local') 'the type'
Assert-That ($info.Metadata['Owner'] -eq 'dba' -and $info.Metadata['Count'] -eq 5) 'metadata'
Assert-That ($info.Metadata['When'].ToUniversalTime() -eq $when) 'a date'
Set-SecretInfo -Vault local -Name text -Metadata @{ Owner = 'ops' }
Assert-That ((Get-SecretInfo -Vault local -Name text).Metadata['Owner'] -eq 'ops') 'metadata is replaced'
Assert-That ((Get-Secret -Vault local -Name text -AsPlainText) -eq 'two') 'and the value stays'
Assert-That (@(Get-SecretInfo -Vault local -Name 't*').Count -eq 2) 'a pattern'

# Names that are patterns, and what cannot be kept.
Set-Secret -Vault local -Name 'odd [1]*' -Secret 'x'
Assert-That ((Get-Secret -Vault local -Name 'odd [1]*' -AsPlainText) -eq 'x') 'a name like a pattern'
Remove-Secret -Vault local -Name 'odd [1]*'
$null = Get-Failure { Set-SecretInfo -Vault local -Name text -Metadata @{ When = [guid]::NewGuid() } -ErrorAction Stop }
Assert-That ((Get-SecretInfo -Vault local -Name text).Metadata['Owner'] -eq 'ops') 'metadata that no vault keeps changes nothing'
$null = Get-Failure { Set-SecretInfo -Vault local -Name nowhere -Metadata @{ A = 'b' } -ErrorAction Stop }

# A server that is not there, and a token that is not right.
Register-SecretVault -Name dead -ModuleName $manifest -VaultParameters @{ Uri = 'http://127.0.0.1:1'; Vault = 'local' }
Assert-That (-not (Test-SecretVault -Name dead -ErrorAction SilentlyContinue)) 'a server that is not there fails the test'
$null = Get-Failure { Get-Secret -Vault dead -Name secure -ErrorAction Stop }
Register-SecretVault -Name stranger -ModuleName $manifest -VaultParameters @{ Uri = $env:SECRETBRIDGE_ADDR; Vault = 'local' }
Assert-That (-not (Test-SecretVault -Name stranger -ErrorAction SilentlyContinue)) 'without a token the test fails'
$null = Get-Failure { Set-Secret -Vault stranger -Name secure -Secret 'never-canary' -ErrorAction Stop }
Register-SecretVault -Name nowhere -ModuleName $manifest
$null = Get-Failure { Get-Secret -Vault nowhere -Name x -ErrorAction Stop }

# What is missing.
Remove-Secret -Vault local -Name text
$missing = Get-Failure { Get-Secret -Vault local -Name text -ErrorAction Stop }
Assert-That ($missing.FullyQualifiedErrorId -like 'GetSecretNotFound*') 'a missing secret is not found'
$null = Get-Failure { Remove-Secret -Vault local -Name text -ErrorAction Stop }

# Over the socket.
if ($env:SECRETBRIDGE_SOCKET) {
    $parameters = @{ Socket = $env:SECRETBRIDGE_SOCKET; TokenFile = $env:SECRETBRIDGE_TOKEN_FILE; Vault = 'local' }
    Register-SecretVault -Name near -ModuleName $manifest -VaultParameters $parameters
    Assert-That ((Get-Secret -Vault near -Name secure -AsPlainText) -ceq 'hidden') 'over the socket'
    Assert-That (Test-SecretVault -Name near) 'the vault answers over the socket'
    $piped = @{ Socket = "pipe:$env:SECRETBRIDGE_SOCKET"; TokenFile = $env:SECRETBRIDGE_TOKEN_FILE; Vault = 'local' }
    # .NET takes a Unix socket for a pipe whose name is a path: the way of Windows, as far as it can be gone here.
    Register-SecretVault -Name pipe -ModuleName $manifest -VaultParameters $piped
    Assert-That ((Get-Secret -Vault pipe -Name secure -AsPlainText) -ceq 'hidden') 'over a pipe'
}

# The module's own command.
Import-Module $manifest
$given = @{ Name = 'mine'; Uri = $env:SECRETBRIDGE_ADDR; TokenFile = $env:SECRETBRIDGE_TOKEN_FILE; RemoteVault = 'local' }
Register-SecretBridgeVault @given
Assert-That ((Get-Secret -Vault mine -Name secure -AsPlainText) -ceq 'hidden') 'a vault that the module registers'
$null = Get-Failure { Register-SecretBridgeVault @given -ErrorAction Stop }
Register-SecretBridgeVault @given -AllowClobber

# As the Gallery wants it: a manifest with what it shows, files that are there, and help on each command.
$about = Test-ModuleManifest -Path $manifest
foreach ($member in 'Description', 'Author', 'CompanyName', 'Copyright', 'Guid', 'LicenseUri') {
    Assert-That ([bool] "$($about.$member)") "the manifest tells $member"
}
Assert-That ($about.Tags -contains 'SecretManagement') 'the tag by which extension vaults are found'
Assert-That (@($about.ExportedFunctions.Keys).Count -eq 1) 'one command of its own'
$extension = Join-Path $env:SECRETBRIDGE_MODULE 'SecretBridge.Extension/SecretBridge.Extension.psd1'
$null = Test-ModuleManifest -Path $extension
$needed = 'Get-Secret', 'Set-Secret', 'Remove-Secret', 'Get-SecretInfo', 'Set-SecretInfo', 'Test-SecretVault', 'Unlock-SecretVault'
$inner = Import-Module $extension -PassThru -Force
Assert-That (-not (Compare-Object $needed @($inner.ExportedFunctions.Keys))) 'what SecretManagement calls, and nothing else'
# Whose pipe is told a token: the pure part of what Windows alone can show whole.
$null = & $inner { New-SocketCallback 'pipe:nowhere' }
$me, $group = 'S-1-5-21-1-2-3-1001', 'S-1-5-32-544'
$owners = @(
    @{ Owner = $me; New = $me; Trusted = $true; Says = 'my pipe, from an ordinary PowerShell' }
    @{ Owner = $me; New = $group; Trusted = $true; Says = 'my pipe, from an elevated PowerShell' }
    @{ Owner = $group; New = $me; Trusted = $true; Says = 'a pipe of the administrators' }
    @{ Owner = 'S-1-5-18'; New = $me; Trusted = $true; Says = 'a pipe of the system' }
    @{ Owner = 'S-1-5-21-1-2-3-1002'; New = $me; Trusted = $false; Says = 'another user''s pipe' }
    @{ Owner = 'S-1-5-21-1-2-3-1002'; New = $group; Trusted = $false; Says = 'another user''s pipe, from an elevated PowerShell' }
    @{ Owner = 'S-1-5-21-1-2-3-100'; New = $me; Trusted = $false; Says = 'the begin of my identifier' }
    @{ Owner = 'S-1-1-0'; New = $me; Trusted = $false; Says = 'everybody''s pipe' }
    @{ Owner = ''; New = $me; Trusted = $false; Says = 'nobody''s pipe' }
)
foreach ($one in $owners) {
    $is = [SecretBridge.OwnPipe]::IsTrusted($one.Owner, $me, $one.New)
    Assert-That ($is -eq $one.Trusted) $one.Says
}
Assert-That (-not [SecretBridge.OwnPipe]::IsTrusted('', '', '')) 'an owner that is not known is no match for a user that is not'
# What was registered wrongly is told with the vault and what to write.
$wrongly = @(
    @{ Parameters = @{}; Says = '*''far'' names no server*Uri = *' }
    @{ Parameters = @{ Uri = '127.0.0.1:8085' }; Says = '*''far''*no address*http://*' }
    @{ Parameters = @{ Uri = $env:SECRETBRIDGE_ADDR; TokenFile = '/nowhere/token' }; Says = '*''far''*TokenFile cannot be read*' }
    @{ Parameters = @{ Uri = 'http://127.0.0.1:1' }; Says = '*''far'' cannot reach*http://127.0.0.1:1*' }
)
foreach ($wrong in $wrongly) {
    $given = $wrong.Parameters
    $told = Get-Failure { & $inner.ExportedFunctions['Get-Secret'] -Name x -VaultName far -AdditionalParameters $given }
    Assert-That ("$told" -like $wrong.Says) "what is registered wrongly is told: $told"
}
foreach ($command in @($inner.ExportedFunctions.Values) + @(Get-Command Register-SecretBridgeVault)) {
    $help = $command.ScriptBlock.Ast.GetHelpContent()
    Assert-That ($null -ne $help -and $help.Synopsis -and $help.Examples.Count -gt 0) "help on $($command.Name)"
    $common = [System.Management.Automation.PSCmdlet]::CommonParameters + [System.Management.Automation.PSCmdlet]::OptionalCommonParameters
    foreach ($parameter in $command.Parameters.Keys) {
        Assert-That ($parameter -in $common -or $help.Parameters.ContainsKey($parameter.ToUpperInvariant())) "help on $($command.Name) -$parameter"
    }
}
'module: all of it holds'

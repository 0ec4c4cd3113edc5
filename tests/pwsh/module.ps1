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
}
'module: all of it holds'

# The module SecretBridge in front of a vault that the server has locked.
#
# Needs what module.ps1 needs, and a locked vault 'store' with the secret 'before' and the password 'right-canary'.

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

function ConvertTo-Password {
    param([string] $Text)
    $password = [securestring]::new()
    foreach ($char in $Text.ToCharArray()) { $password.AppendChar($char) }
    $password
}

Import-Module Microsoft.PowerShell.SecretManagement
$parameters = @{ Uri = $env:SECRETBRIDGE_ADDR; TokenFile = $env:SECRETBRIDGE_TOKEN_FILE }
Register-SecretVault -Name store -ModuleName (Join-Path $env:SECRETBRIDGE_MODULE 'SecretBridge.psd1') -VaultParameters $parameters

$locked = Get-Failure { Get-Secret -Vault store -Name before -AsPlainText -ErrorAction Stop }
Assert-That ("$locked" -like '*locked*') 'a locked vault says so'
Assert-That (-not (Test-SecretVault -Name store -ErrorAction SilentlyContinue)) 'and fails the test'
$wrong = $null
try { Unlock-SecretVault -Name store -Password (ConvertTo-Password 'wrong-canary') -ErrorAction Stop } catch { $wrong = $_ }
Assert-That ("$wrong" -notlike '*wrong-canary*') 'no message has the password'
$null = Get-Failure { Get-Secret -Vault store -Name before -AsPlainText -ErrorAction Stop }
Unlock-SecretVault -Name store -Password (ConvertTo-Password 'right-canary')
Assert-That ((Get-Secret -Vault store -Name before -AsPlainText) -ceq 'kept') 'the right password unlocks it'
Assert-That (Test-SecretVault -Name store) 'and the test holds'
Set-Secret -Vault store -Name after -Secret 'written' -Metadata @{ Owner = 'dba' }
Set-SecretInfo -Vault store -Name after -Metadata @{ Owner = 'ops' }
Assert-That ((Get-SecretInfo -Vault store -Name after).Metadata['Owner'] -eq 'ops') 'metadata is replaced'
'module: a locked vault holds'

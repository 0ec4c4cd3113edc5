<#
A secret of an Azure Key Vault, to read and to update. Sign in first: Connect-AzAccount.

    secretbridge run examples/AzKeyVault.ps1 -VaultName my-vault -SubscriptionId 0000-…
    Invoke-RestMethod -Uri http://localhost:8080/secret
    Invoke-RestMethod -Uri http://localhost:8080/secret -Method Post -Body @{ Value = 'new' }
#>
param(
    [Parameter(Mandatory)] [string] $VaultName,
    [Parameter(Mandatory)] [string] $SubscriptionId,
    [string] $Key = 'AKVSecretName',
    [int] $Port = 8080
)

Start-PodeServer -Threads 4 {
    Add-PodeEndpoint -Address localhost -Port $Port -Protocol Http

    Register-PodeSecretVault -Name 'Azure' -VaultName $VaultName -ModuleName 'Az.KeyVault' -VaultParameters @{
        AZKVaultName   = $VaultName
        SubscriptionId = $SubscriptionId
    }
    Mount-PodeSecret -Name 'Shared' -Vault 'Azure' -Key $Key -CacheTtl 1

    # Both are answered without PowerShell while the value is cached.
    Add-PodeRoute -Method Get -Path '/secret' -ScriptBlock {
        Write-PodeJsonResponse @{ Value = $secret:Shared }
    }

    Add-PodeRoute -Method Post -Path '/secret' -ScriptBlock {
        $secret:Shared = $WebEvent.Data.Value
    }
}

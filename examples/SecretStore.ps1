<#
A SecretStore vault behind two routes. The password comes from the environment; the store is created
with it where there is none yet.

    STORE_PASSWORD=… secretbridge run examples/SecretStore.ps1 -Port 8085
    Invoke-RestMethod -Uri http://localhost:8085/module/ -Method Post -Body @{ Value = 'new' }
    Invoke-RestMethod -Uri http://localhost:8085/module/
#>
param([int] $Port = 8085, [string] $Key = 'example')

Import-Module Pode -MaximumVersion 2.99

Start-PodeServer -Threads 2 {
    Add-PodeEndpoint -Address localhost -Port $Port -Protocol Http
    New-PodeLoggingMethod -Terminal | Enable-PodeErrorLogging

    Register-PodeSecretVault -Name 'Store' -ModuleName 'Microsoft.PowerShell.SecretStore' -UnlockSecret $env:STORE_PASSWORD -UnlockInterval 1 -CacheTtl 5
    Mount-PodeSecret -Name 'Example' -Vault 'Store' -Key $Key

    Add-PodeRoute -Method Get -Path '/module/' -ScriptBlock {
        Write-PodeJsonResponse @{ Value = $secret:Example }
    }

    Add-PodeRoute -Method Post -Path '/module/' -ScriptBlock {
        $secret:Example = $WebEvent.Data.Value
    }

    # Any key of the store; a mount made here is seen by every worker.
    Add-PodeRoute -Method Post -Path '/adhoc/:key' -ScriptBlock {
        $key = $WebEvent.Parameters.key
        $WebEvent.Data.Value | Set-PodeSecret -Key $key -Vault 'Store'
        if (-not (Test-PodeSecret -Name $key)) { Mount-PodeSecret -Name $key -Vault 'Store' -Key $key }
        Set-PodeResponseStatus -Code 201
    }

    Add-PodeRoute -Method Get -Path '/adhoc/:key' -ScriptBlock {
        Write-PodeJsonResponse @{ Value = Get-PodeSecret -Name $WebEvent.Parameters.key }
    }

    Add-PodeRoute -Method Delete -Path '/adhoc/:key' -ScriptBlock {
        Dismount-PodeSecret -Name $WebEvent.Parameters.key -Remove
    }
}

<#
secretbridge's own vault, an encrypted file with its key beside it, in a script: no PowerShell module is
needed. The module name 'SecretBridge.Local' says so; `Folder` is where the two files are kept.

    secretbridge run examples/LocalVault.ps1 -Folder ./secrets -Port 8087
#>
param([Parameter(Mandatory)] [string] $Folder, [int] $Port = 8087)

Start-PodeServer {
    Add-PodeEndpoint -Address localhost -Port $Port -Protocol Http

    Register-PodeSecretVault -Name 'Local' -ModuleName 'SecretBridge.Local' -VaultParameters @{ Folder = $Folder }
    Mount-PodeSecret -Name 'Counter' -Vault 'Local' -Key 'counter'

    Add-PodeRoute -Method Get -Path '/counter' -ScriptBlock {
        Write-PodeJsonResponse @{ Value = $secret:Counter }
    }

    Add-PodeRoute -Method Put -Path '/counter' -ScriptBlock {
        $secret:Counter = $WebEvent.Data.Value
    }

    # Read, change and write are three steps: the lock makes them one.
    Add-PodeRoute -Method Post -Path '/counter/next' -ScriptBlock {
        Lock-PodeObject -Name 'counter' -ScriptBlock { $secret:Counter++ }
        Write-PodeTextResponse "now $secret:Counter"
    }
}

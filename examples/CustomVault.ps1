<#
A vault of script blocks: one JSON file of users, each a table of its own.

    secretbridge run examples/CustomVault.ps1 -File ./users.json -Port 8086
    Invoke-RestMethod -Uri http://localhost:8086/users/ann -Method Put -ContentType application/json -Body '{"role":"admin","token":"t"}'
    Invoke-RestMethod -Uri http://localhost:8086/users/ann
#>
param([Parameter(Mandatory)] [string] $File, [int] $Port = 8086)

function Read-UserFile([string] $Path) {
    if (-not (Test-Path -LiteralPath $Path)) { return @{} }
    Get-Content -LiteralPath $Path -Raw | ConvertFrom-Json -AsHashtable
}

Start-PodeServer -Threads 2 {
    Add-PodeEndpoint -Address localhost -Port $Port -Protocol Http

    $vault = @{
        Name            = 'Users'
        VaultParameters = @{ Path = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($File) }
    }
    Register-PodeSecretVault @vault -ScriptBlock {
        param($config, $key)
        (Read-UserFile $config.Path)[$key]
    } -SetScriptBlock {
        param($config, $key, $value)
        # Two workers may come at once; the file is read and written as one.
        Lock-PodeObject -Name 'users' -ScriptBlock {
            $users = Read-UserFile $config.Path
            $users[$key] = $value
            $users | ConvertTo-Json | Set-Content -LiteralPath $config.Path
        }
    } -RemoveScriptBlock {
        param($config, $key)
        Lock-PodeObject -Name 'users' -ScriptBlock {
            $users = Read-UserFile $config.Path
            $users.Remove($key)
            $users | ConvertTo-Json | Set-Content -LiteralPath $config.Path
        }
    }

    Add-PodeRoute -Method Get -Path '/users/:name' -ScriptBlock {
        $user = Read-PodeSecret -Key $WebEvent.Parameters.name -Vault 'Users'
        if ($null -eq $user) { Set-PodeResponseStatus -Code 404; return }
        Write-PodeJsonResponse $user
    }

    Add-PodeRoute -Method Put -Path '/users/:name' -ScriptBlock {
        Set-PodeSecret -Key $WebEvent.Parameters.name -Vault 'Users' -InputObject $WebEvent.Data
    }

    Add-PodeRoute -Method Delete -Path '/users/:name' -ScriptBlock {
        Remove-PodeSecret -Key $WebEvent.Parameters.name -Vault 'Users'
    }
}

//! SecretManagement's cmdlets in routes, beside the genuine ones of the same process.

use super::{body, script};
use crate::need_pwsh;

/// A script whose route `/compare` runs each line twice, once as people write it and once by the module's own
/// cmdlets, and tells what came out differently.
const SCRIPT: &str = r#"
using namespace Microsoft.PowerShell.SecretManagement
Start-PodeServer -Threads 1 {
    Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
    New-PodeLoggingMethod -Terminal | Enable-PodeErrorLogging
    Register-PodeSecretVault -Name Store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret 'made up 1'
    Set-PodeSecret -Key one -Vault Store -InputObject 'x'
    Set-PodeSecret -Key two -Vault Store -InputObject 'y'
    Set-PodeSecret -Key table -Vault Store -InputObject @{ a = 'b' }
    Set-PodeSecret -Key bytes -Vault Store -InputObject ([byte[]](1, 2, 3))
    Add-PodeRoute -Method Get -Path '/type' -ScriptBlock {
        $info = Get-SecretInfo -Name one -Vault Store
        Write-PodeTextResponse -Value "$($info.Type.GetType().Name) $([int]$info.Type)"
    }
    Add-PodeRoute -Method Delete -Path '/old' -ScriptBlock {
        Remove-Secret -Name NotThere -Vault Store -ErrorAction SilentlyContinue
        Write-PodeTextResponse -Value 'clean'
    }
    Add-PodeRoute -Method Get -Path '/compare' -ScriptBlock {
        $lines = @(
            'Get-Secret one -Vault Store -AsPlainText'
            '(Get-Secret one -Vault Store).GetType().Name'
            '(Get-Secret table -Vault Store)["a"].GetType().Name'
            '(Get-Secret table -Vault Store -AsPlainText)["a"]'
            '(Get-Secret bytes -Vault Store).GetType().Name'
            'Get-Secret nope -Vault Store -ErrorAction SilentlyContinue; "after"'
            'Get-Secret nope -Vault Store -ErrorAction SilentlyContinue -ErrorVariable e; $e.Count; $e[0].FullyQualifiedErrorId.Split(",")[0]; $e[0].Exception.GetType().Name; [string]$e[0].CategoryInfo.Category'
            'try { Get-Secret nope -Vault Store -ErrorAction Stop; "went on" } catch { $_.FullyQualifiedErrorId.Split(",")[0] }'
            '& { $ErrorActionPreference = "Stop"; try { Get-Secret nope -Vault Store } catch { "stopped" } }'
            'try { Get-Secret one -Vault Nowhere; "went on" } catch { $_.FullyQualifiedErrorId.Split(",")[0] }'
            '"one", "two" | Get-Secret -Vault Store -AsPlainText'
            'Get-SecretInfo one -Vault Store | Get-Secret -AsPlainText'
            '$i = Get-SecretInfo one -Vault Store; $i.GetType().FullName; [int]$i.Type; $i.Name; $i.VaultName; $i.Metadata.GetType().Name'
            '(Get-SecretInfo t* -Vault Store).Name -join " "'
            'Get-SecretInfo one -Vault Store | ConvertTo-Json -Compress'
            'Get-SecretInfo nope -Vault Store; "nothing"'
            'Remove-Secret nope -Vault Store -ErrorAction SilentlyContinue -ErrorVariable e; $e.Count -gt 0; "after"'
            'try { Remove-Secret nope -Vault Store -ErrorAction Stop; "went on" } catch { "stopped" }'
            'Set-Secret fresh v1 -Vault Store -NoClobber; Get-Secret fresh -Vault Store -AsPlainText'
            'try { Set-Secret one v2 -Vault Store -NoClobber; "went on" } catch { $_.FullyQualifiedErrorId.Split(",")[0]; [string]$_.CategoryInfo.Category }'
            '"x" | Set-Secret -Name piped -Vault Store; Get-Secret piped -Vault Store -AsPlainText'
            'Set-Secret whatif v -Vault Store -WhatIf; Get-Secret whatif -Vault Store -ErrorAction Ignore; "none"'
            'Set-SecretInfo two -Metadata @{ note = "n" } -Vault Store; (Get-SecretInfo two -Vault Store).Metadata["note"]; Get-Secret two -Vault Store -AsPlainText'
            'Get-SecretInfo piped -Vault Store | Remove-Secret; Get-Secret piped -Vault Store -ErrorAction Ignore; "gone"'
            'Test-SecretVault Store'
        )
        $names = 'Get-Secret', 'Set-Secret', 'Remove-Secret', 'Get-SecretInfo', 'Set-SecretInfo', 'Test-SecretVault'
        $different = foreach ($line in $lines) {
            $both = foreach ($prefix in '', 'Microsoft.PowerShell.SecretManagement\') {
                $text = [regex]::Replace($line, "\b($($names -join '|'))\b(?!-)", { param($m) $prefix + $m.Value })
                Microsoft.PowerShell.SecretManagement\Remove-Secret fresh -Vault Store -ErrorAction Ignore
                $out = try { & ([scriptblock]::Create($text)) 2>&1 } catch { "threw $($_.FullyQualifiedErrorId.Split(',')[0])" }
                (@($out) | ForEach-Object { "$_" }) -join '|'
            }
            if ($both[0] -cne $both[1]) { "$line`n  here:    $($both[0])`n  genuine: $($both[1])" }
        }
        Write-PodeTextResponse -Value "$(@($lines).Count) lines`n$(@($different) -join "`n")"
    }
}
"#;

#[test]
fn secretmanagements_cmdlets_in_routes_are_as_the_genuine_ones() {
    let pwsh = need_pwsh!();
    let server = script(pwsh, SCRIPT, &[], &[]).start();
    assert_eq!(body(&server.get("/compare")), (200, "25 lines\n"));
    assert_eq!(body(&server.get("/type")), (200, "SecretType 2"));
    assert_eq!(body(&server.delete("/old")), (200, "clean"));
}

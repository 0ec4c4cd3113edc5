//! What a script's `catch` prints: the module's own message, or Pode's.

use super::{body, script, store_script};
use crate::need_pwsh;

#[test]
fn a_catch_prints_the_modules_or_podes_message() {
    let pwsh = need_pwsh!();
    let routes = r"
        Register-PodeSecretVault -Name Own -UnlockSecret s -NoUnlock -UnlockScriptBlock { [datetime]::new(2020, 1, 2, 3, 4, 5, [System.DateTimeKind]::Utc) } -ScriptBlock { throw 'own words' }
        Mount-PodeSecret -Name Gone -Vault Store -Key nope
        Add-PodeRoute -Method Get -Path /said/:what -ScriptBlock {
            $what = $WebEvent.Parameters.what
            try {
                switch ($what) {
                    'missing' { Get-PodeSecret -Name Gone }
                    'read' { Read-PodeSecret -Vault Store -Key nope }
                    'remove' { Remove-PodeSecret -Vault Store -Key nope }
                    'unmounted' { Get-PodeSecret -Name nosuch }
                    'vault' { Read-PodeSecret -Vault nosuch -Key k }
                    'own' { Read-PodeSecret -Vault Own -Key k }
                    'set' { Set-PodeSecret -Vault Own -Key k -InputObject v }
                    'delete' { Remove-PodeSecret -Vault Own -Key k }
                    'past' { Unlock-PodeSecretVault -Name Own }
                    'type' { Set-PodeSecret -Vault Store -Key k -InputObject @(1, 2) }
                    'mounted' { Mount-PodeSecret -Name Gone -Vault Store -Key k }
                }
                $said = 'nothing'
            }
            catch { $said = $_.Exception.Message }
            Write-PodeTextResponse $said
        }";
    let server = script(pwsh, &store_script(routes), &[], &[]).start();
    for (what, words) in [
        ("missing", "The secret nope was not found."),
        ("read", "The secret nope was not found."),
        ("remove", "Remove-Secret error in vault Store : Secret not found"),
        ("unmounted", "No Secret named 'nosuch' has been mounted."),
        ("vault", "No Secret Vault with the name 'nosuch' has been registered."),
        ("own", "own words"),
        ("set", "No Set ScriptBlock supplied for updating/creating secrets in the vault 'Own'"),
        ("delete", "No Remove ScriptBlock supplied for removing secrets from the vault 'Own'"),
        ("past", "Secret Vault unlock expiry date is in the past (UTC): 01/02/2020 03:04:05"),
        (
            "type",
            "Secret value is of an invalid type. Expected types: String, SecureString, HashTable, Byte[], or PSCredential. But got: Object[]",
        ),
        ("mounted", "A Secret with the name 'Gone' has already been mounted."),
    ] {
        assert_eq!(body(&server.get(&format!("/said/{what}"))), (200, words), "{what}: {}", server.stderr());
    }
}

//! Custom vaults with a memory: what a block writes into its first parameter is there for every later one.

use rustix::process::Signal;

use super::{FORM, body, script};
use crate::need_pwsh;
use crate::support::process::signal;
use crate::support::pwsh::Pwsh;
use crate::support::server::Server;
use crate::support::{SOON, wait_until};

/// A vault in memory that counts, behind an unlock that keeps its token in the table, as people write them.
const MEMORY: &str = r#"
    Register-PodeSecretVault -Name Mem -VaultParameters @{ Reads = 0; Unlocks = 0 } -UnlockSecret 'canary-password' -InitScriptBlock {
        param($config)
        $config.Store = @{ nested = @{ list = @() } }
        $config.Inits++
    } -ScriptBlock {
        param($config, $key)
        if ($config.Token -ne 'token-canary-password') { throw 'locked' }
        $config.Reads++
        if (-not $config.Store.ContainsKey($key)) { throw "no secret $key" }
        $config.Store[$key]
    } -UnlockScriptBlock {
        param($config, $secret)
        $config.Unlocks++
        $config.Token = "token-$secret"
    } -SetScriptBlock {
        param($config, $key, $value)
        $config.Store[$key] = $value
        $config.Store.nested.list += $key
    } -RemoveScriptBlock {
        param($config, $key)
        $config.Store.Remove($key)
    }
    Mount-PodeSecret -Name One -Vault Mem -Key one
    Set-PodeSecret -Key one -Vault Mem -InputObject 'declared'
    Add-PodeRoute -Method Get -Path /read/:key -ScriptBlock { Write-PodeTextResponse (Read-PodeSecret -Vault Mem -Key $WebEvent.Parameters.key) }
    Add-PodeRoute -Method Post -Path /write/:key -ScriptBlock { Set-PodeSecret -Vault Mem -Key $WebEvent.Parameters.key -InputObject $WebEvent.Data.Value }
    Add-PodeRoute -Method Delete -Path /write/:key -ScriptBlock { Remove-PodeSecret -Vault Mem -Key $WebEvent.Parameters.key }
    Add-PodeRoute -Method Get -Path /table -ScriptBlock {
        $table = (Get-PodeSecretVault -Name Mem).Parameters
        Write-PodeJsonResponse ([ordered]@{ Reads = $table.Reads; Unlocks = $table.Unlocks; Inits = $table.Inits; Keys = $table.Store.nested.list.Count })
    }
    Add-PodeRoute -Method Post -Path /reset -ScriptBlock { (Get-PodeSecretVault -Name Mem).Parameters.Reads = 0 }
    Add-PodeRoute -Method Get -Path /die -ScriptBlock { [System.Environment]::FailFast('') }
    Add-PodeRoute -Method Get -Path /pid -ScriptBlock { Start-Sleep -Milliseconds 50; Write-PodeTextResponse "$PID" }"#;

fn server(pwsh: &Pwsh, threads: u32, routes: &str) -> Server {
    let text = format!(
        "Start-PodeServer -Threads {threads} {{
            Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
            {}
        }}",
        routes
    );
    script(pwsh, &text, &[], &[]).start()
}

#[test]
fn what_a_block_writes_into_its_parameters_is_there_for_every_later_block() {
    let pwsh = need_pwsh!();
    for threads in [1, 8] {
        let server = server(pwsh, threads, MEMORY);
        let clients: Vec<_> = (0..8)
            .map(|n| {
                let client = server.client();
                std::thread::spawn(move || {
                    let written = client.post(&format!("/write/k{n}"), FORM, format!("Value=v{n}"));
                    (written.status, client.get(&format!("/read/k{n}")).text().to_owned())
                })
            })
            .collect();
        for (n, client) in clients.into_iter().enumerate() {
            assert_eq!(client.join().unwrap(), (200, format!("v{n}")), "{}", server.stderr());
        }
        assert_eq!(body(&server.get("/read/one")), (200, "declared"));
        assert_eq!(server.get("/read/nope").status, 500);
        // The one that threw had counted before.
        let table = r#"{"Reads":10,"Unlocks":1,"Inits":1,"Keys":9}"#;
        assert_eq!(body(&server.get("/table")), (200, table), "{threads} threads: {}", server.stderr());
        assert_eq!(server.delete("/write/k1").status, 200);
        assert_eq!(server.get("/read/k1").status, 500);
        assert_eq!(server.post("/reset", FORM, "").status, 200);
        assert_eq!(server.get("/table").json()["Reads"], 0, "what a route changes is written back");
        server.assert_never_wrote(&["canary-password"]);
    }
}

#[test]
fn the_table_of_a_vault_survives_its_workers() {
    let pwsh = need_pwsh!();
    let server = server(pwsh, 2, MEMORY);
    assert_eq!(server.post("/write/k", FORM, "Value=kept").status, 200);
    let before = server.get("/pid").text().to_owned();
    for _ in 0..2 {
        assert_ne!(server.get("/die").status, 200);
    }
    wait_until("a new worker answers", SOON, || server.get("/pid").status == 200);
    assert_eq!(body(&server.get("/read/k")), (200, "kept"), "{}", server.stderr());
    assert_ne!(server.get("/pid").text(), before);
    assert_eq!(server.get("/table").json()["Unlocks"], 1, "and it is unlocked still");
}

#[test]
fn a_block_that_dies_half_way_leaves_the_table_as_it_was() {
    let pwsh = need_pwsh!();
    let server = server(
        pwsh,
        2,
        r#"Register-PodeSecretVault -Name Mem -VaultParameters @{ Count = 0 } -ScriptBlock {
            param($config, $key)
            $config.Count++
            if ($key -eq 'die') { [System.Environment]::FailFast('') }
            if ($key -eq 'throw') { throw 'thrown' }
            $config.Count
        }
        Add-PodeRoute -Method Get -Path /read/:key -ScriptBlock { Write-PodeTextResponse "$(Read-PodeSecret -Vault Mem -Key $WebEvent.Parameters.key)" }"#,
    );
    assert_eq!(body(&server.get("/read/a")), (200, "1"));
    assert_ne!(server.get("/read/die").status, 200);
    assert_eq!(body(&server.get("/read/a")), (200, "2"), "{}", server.stderr());
    assert_eq!(server.get("/read/throw").status, 500);
    assert_eq!(body(&server.get("/read/a")), (200, "4"), "what throws has counted, as in Pode");
}

#[test]
fn four_writers_of_500_increments_make_2000_whatever_the_threads_and_beside_a_reload() {
    let pwsh = need_pwsh!();
    for threads in [1, 8] {
        let server = server(
            pwsh,
            threads,
            r#"Register-PodeSecretVault -Name Mem -VaultParameters @{ Count = 0 } -ScriptBlock { param($config, $key) $config[$key] } -SetScriptBlock {
                param($config, $key, $value)
                $config[$key] = $config[$key] + [int]$value
            }
            Add-PodeRoute -Method Post -Path /many -ScriptBlock { foreach ($i in 1..25) { Set-PodeSecret -Vault Mem -Key Count -InputObject '1' } }
            Add-PodeRoute -Method Get -Path /count -ScriptBlock { Write-PodeTextResponse "$(Read-PodeSecret -Vault Mem -Key Count)" }"#,
        );
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let client = server.client();
                std::thread::spawn(move || {
                    (0..20).map(|_| client.post("/many", FORM, "").status).collect::<Vec<_>>()
                })
            })
            .collect();
        signal(server.pid(), Signal::HUP);
        for writer in writers {
            assert!(
                writer.join().unwrap().iter().all(|status| *status == 200),
                "{threads}: {}",
                server.stderr()
            );
        }
        signal(server.pid(), Signal::HUP);
        assert_eq!(body(&server.get("/count")), (200, "2000"), "{threads}: {}", server.stderr());
    }
}

#[test]
fn blocks_that_only_read_run_beside_each_other() {
    let pwsh = need_pwsh!();
    let server = server(
        pwsh,
        4,
        r#"Register-PodeSecretVault -Name Mem -VaultParameters @{ Pause = 700 } -ScriptBlock {
            param($config, $key)
            $began = [datetime]::UtcNow.Ticks
            Start-Sleep -Milliseconds $config.Pause
            "$began $([datetime]::UtcNow.Ticks)"
        }
        Add-PodeRoute -Method Get -Path /read -ScriptBlock { Write-PodeTextResponse (Read-PodeSecret -Vault Mem -Key k) }"#,
    );
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let client = server.client();
            std::thread::spawn(move || client.get("/read").text().to_owned())
        })
        .collect();
    let mut times: Vec<(u64, u64)> = readers
        .into_iter()
        .map(|reader| {
            let text = reader.join().unwrap();
            let (began, ended) = text.split_once(' ').expect("two times");
            (began.parse().unwrap(), ended.parse().unwrap())
        })
        .collect();
    times.sort_unstable();
    let beside = times.windows(2).any(|pair| pair[1].0 < pair[0].1);
    assert!(beside, "one began before another had ended: {times:?}");
}

#[test]
fn what_cannot_leave_its_process_is_made_in_each_worker() {
    let pwsh = need_pwsh!();
    let server = server(
        pwsh,
        3,
        r#"Register-PodeSecretVault -Name Net -VaultParameters @{ Unlocks = 0; Inits = 0 } -UnlockSecret s -InitScriptBlock {
            param($config)
            $config.Inits++
            $config.Stream = [System.IO.MemoryStream]::new()
        } -UnlockScriptBlock {
            param($config, $secret)
            $config.Unlocks++
            $config.Writer = [System.IO.StreamWriter]::new($config.Stream)
        } -ScriptBlock {
            param($config, $key)
            "$($config.Unlocks) $($config.Inits) $($config.Stream.CanRead) $($config.Writer.AutoFlush)"
        }
        Add-PodeRoute -Method Get -Path /read -ScriptBlock { Start-Sleep -Milliseconds 100; Write-PodeTextResponse (Read-PodeSecret -Vault Net -Key k) }"#,
    );
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let client = server.client();
            std::thread::spawn(move || client.get("/read").text().to_owned())
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), "1 1 True False", "{}", server.stderr());
    }
    for name in ["'Stream' (System.IO.MemoryStream)", "'Writer' (System.IO.StreamWriter)"] {
        assert_eq!(server.stderr().matches(name).count(), 1, "it is said once: {}", server.stderr());
    }
}

#[test]
fn a_vault_is_shown_as_pode_shows_it() {
    let pwsh = need_pwsh!();
    let server = server(
        pwsh,
        2,
        r#"Register-PodeSecretVault -Name Mem -VaultParameters @{ Url = 'u' } -UnlockSecret canary-password -UnlockInterval 3 -CacheTtl 2 -ScriptBlock { 'v' } -UnlockScriptBlock { }
        Register-PodeSecretVault -Name Bare -ScriptBlock { param($config) "<$($null -eq $config)>" }
        Add-PodeRoute -Method Get -Path /vault/:name -ScriptBlock { Write-PodeJsonResponse (Get-PodeSecretVault -Name $WebEvent.Parameters.name) }
        Add-PodeRoute -Method Get -Path /bare -ScriptBlock { Write-PodeTextResponse (Read-PodeSecret -Vault Bare -Key k) }
        Register-PodeSecretVault -Name Store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret canary-password -UnlockInterval 3
        Add-PodeRoute -Method Get -Path /kind/:name -ScriptBlock {
            $vault = Get-PodeSecretVault -Name $WebEvent.Parameters.name
            Write-PodeTextResponse "$($vault.Unlock.Expiry.Kind) $($vault.Unlock.Expiry -gt [datetime]::UtcNow.AddMinutes(2)) $($vault.Unlock.ContainsKey('Secret'))"
        }"#,
    );
    let vault = server.get("/vault/mem").json();
    assert_eq!(
        (&vault["Name"], &vault["Type"], &vault["Parameters"]["Url"], &vault["AutoImported"]),
        (&"Mem".into(), &"custom".into(), &"u".into(), &false.into())
    );
    assert_eq!((&vault["Unlock"]["Enabled"], &vault["Unlock"]["Interval"]), (&true.into(), &3.into()));
    assert_eq!((&vault["Cache"]["Ttl"], &vault["Cache"]["Enabled"]), (&2.into(), &true.into()));
    for name in ["mem", "store"] {
        assert_eq!(body(&server.get(&format!("/kind/{name}"))), (200, "Utc True False"), "{name}");
    }
    let bare = server.get("/vault/bare").json();
    assert!(bare["Parameters"].is_null() && bare["Unlock"]["Expiry"].is_null(), "{bare}");
    assert_eq!(body(&server.get("/bare")), (200, "<True>"), "no parameters are $null");
    server.assert_never_wrote(&["canary-password"]);
}

#[test]
fn a_vault_whose_time_is_over_is_unlocked_again_also_where_nobody_asks_for_a_secret() {
    let pwsh = need_pwsh!();
    let server = server(
        pwsh,
        2,
        r#"Register-PodeSecretVault -Name Mem -VaultParameters @{ Unlocks = 0 } -UnlockSecret canary-password -ScriptBlock {
            param($config) $config.Token
        } -UnlockScriptBlock {
            param($config, $secret)
            $config.Unlocks++
            $config.Token = "token $($config.Unlocks)"
            [datetime]::UtcNow.AddSeconds(2)
        }
        Add-PodeRoute -Method Get -Path /unlocks -ScriptBlock { Write-PodeTextResponse "$((Get-PodeSecretVault -Name Mem).Parameters.Unlocks)" }"#,
    );
    let unlocks = || server.get("/unlocks").text().parse::<u32>().unwrap();
    let first = unlocks();
    wait_until("it is unlocked again", SOON, || unlocks() > first + 1);
    server.assert_never_wrote(&["canary-password"]);
}

#[test]
fn environment_variables_that_a_script_sets_are_there_in_every_worker() {
    let pwsh = need_pwsh!();
    let text = r#"$env:SB_TEST_OUTSIDE = 'canary-outside'
        Start-PodeServer -Threads 2 {
            Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
            $env:SB_TEST_INSIDE = 'inside'
            $env:SB_TEST_GIVEN = $null
            Add-PodeRoute -Method Get -Path /env -ScriptBlock {
                Write-PodeTextResponse "$env:SB_TEST_OUTSIDE $env:SB_TEST_INSIDE <$env:SB_TEST_GIVEN>"
            }
            Add-PodeRoute -Method Get -Path /die -ScriptBlock { [System.Environment]::FailFast('') }
        }"#;
    let server = script(pwsh, text, &[], &[]).env("SB_TEST_GIVEN", "given").start();
    assert_eq!(body(&server.get("/env")), (200, "canary-outside inside <>"));
    server.get("/die");
    server.get("/die");
    assert_eq!(body(&server.get("/env")), (200, "canary-outside inside <>"), "in new workers too");
    server.assert_never_wrote(&["canary-outside"]);
}

#[test]
fn objects_of_using_and_state_are_one_for_all_workers() {
    let pwsh = need_pwsh!();
    let server = server(
        pwsh,
        4,
        r#"$counts = [hashtable]::Synchronized(@{ Count = 0; ByRoute = @{} })
        $seen = [System.Collections.ArrayList]::Synchronized([System.Collections.ArrayList]::new())
        Set-PodeState -Name total -Value @{ Count = 0 } | Out-Null
        Add-PodeRoute -Method Post -Path /count -ScriptBlock {
            $counts = $using:counts
            Lock-PodeObject -Object $counts -ScriptBlock {
                $counts.Count++
                $counts.ByRoute[$WebEvent.Path]++
            }
            Lock-PodeObject -Name total -ScriptBlock { $state:total.Count++ }
            $null = ($using:seen).Add($PID)
        }
        Add-PodeRoute -Method Get -Path /count -ScriptBlock {
            $all = $using:counts
            Write-PodeTextResponse "$($all.Count) $($all.ByRoute['/count']) $($state:total.Count) $(($using:seen).Count)"
        }"#,
    );
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let client = server.client();
            std::thread::spawn(move || {
                (0..15).map(|_| client.post("/count", FORM, "").status).collect::<Vec<_>>()
            })
        })
        .collect();
    for writer in writers {
        assert!(writer.join().unwrap().iter().all(|status| *status == 200), "{}", server.stderr());
    }
    assert_eq!(body(&server.get("/count")), (200, "60 60 60 60"), "{}", server.stderr());
}

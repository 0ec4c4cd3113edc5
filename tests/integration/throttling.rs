//! A vault whose service answers 429 after ten calls, and says when to come again: it is obeyed, and nobody gets a 502.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::http::{Client, Response};
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};
use crate::support::{fixture, free_port, wait_until};

/// Readers in one round, and how many of them read at a time.
const READERS: usize = 1000;
const AT_ONCE: usize = 20;

const KEYS: usize = 5;

/// Seconds that a value is kept; and that the service wants to be left alone.
const TTL: u64 = 1;
const RETRY_AFTER: u64 = 2;

/// The service's log: status and name of each call.
fn calls(log: &Path) -> Vec<(u16, String)> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let one = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let status = words.next()?.parse().ok()?;
        Some((status, words.collect::<Vec<_>>().join(" ")))
    };
    text.lines().filter_map(one).collect()
}

/// So many readers of five keys, at the same time.
fn round(client: &Client, path: impl Fn(usize) -> String + Sync, judge: impl Fn(&Response) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(reader) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|reader| *reader < READERS)
                {
                    judge(&client.get(&path(reader % KEYS)));
                }
            });
        }
    });
}

/// 503 with the seconds to wait; true where it is a 200 instead.
#[track_caller]
fn is_answered(answer: &Response) -> bool {
    if answer.status == 200 {
        return true;
    }
    assert_eq!(answer.status, 503, "{}", answer.text());
    let wait: u64 = answer.header("Retry-After").expect("when to come again").parse().unwrap();
    assert!((1..=RETRY_AFTER).contains(&wait), "{wait}");
    false
}

/// Values beyond their time are said to be so.
fn is_stale(answer: &Response) -> bool {
    answer.header("Cache-Status").is_some_and(|status| status.contains("ttl=-"))
}

fn vault(name: &str, log: &Path, client: &str, more: &str) -> String {
    format!(
        "[vaults.{name}]\nmodule = \"Throttled\"\nexpose = true\ncache_ttl = \"{TTL}s\"\n{more}\n\
         parameters = {{ Log = \"{}\", RetryAfter = {RETRY_AFTER}, Client = \"{client}\" }}\n",
        log.display()
    )
}

fn start(pwsh: &Pwsh, vaults: &str) -> Server {
    let plan = format!(
        "listen = \"127.0.0.1:0\"\nauth.open = true\npool = {{ min = 2, max = 2 }}\n\
         [pwsh]\nmodule_path = [\"{}\"]\n{vaults}",
        fixture("vaults").display()
    );
    Builder::new().config(&plan).pwsh(pwsh).start()
}

/// No more than five calls for each time that a value is kept, or that the service wanted to be left alone.
#[track_caller]
fn assert_spared(log: &Path, begun: Instant) {
    let (calls, seconds) = (calls(log), begun.elapsed().as_secs());
    let (served, refused): (Vec<_>, Vec<_>) = calls.iter().partition(|(status, _)| *status == 200);
    assert!(served.len() <= KEYS * (seconds / TTL + 1) as usize, "{seconds} s: {calls:?}");
    // With one call at a time the first refusal is heeded by all that wait.
    assert!(refused.len() <= (seconds / RETRY_AFTER + 1) as usize, "{seconds} s: {calls:?}");
    assert!(calls.iter().all(|(_, what)| what.starts_with("get ")), "nothing else is asked of it: {calls:?}");
}

#[test]
fn a_thousand_readers_of_five_keys_cost_a_throttled_vault_five_calls_and_get_no_502() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    for client in ["core", "rest"] {
        let logs: [PathBuf; 2] =
            ["strict", "lenient"].map(|name| folder.path().join(format!("{client}-{name}")));
        let plan = vault("strict", &logs[0], client, "")
            + &vault("lenient", &logs[1], client, "max_stale = \"10m\"");
        let server = start(pwsh, &plan);
        let begun = Instant::now();
        let (refused, stale) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let at = |vault: &'static str| move |key| format!("/vaults/{vault}/secrets/key{key}");
        wait_until("the service has refused", Duration::from_secs(60), || {
            round(&server, at("strict"), |answer| {
                if !is_answered(answer) {
                    assert_eq!(answer.json()["error"]["code"], "throttled");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
            round(&server, at("lenient"), |answer| {
                assert_eq!(answer.status, 200, "{}", answer.text());
                stale.fetch_add(is_stale(answer).into(), Ordering::Relaxed);
            });
            refused.load(Ordering::Relaxed) > 0 && stale.load(Ordering::Relaxed) > 0
        });
        logs.iter().for_each(|log| assert_spared(log, begun));
        let health = server.get("/health").json();
        let strict =
            health["vaults"].as_array().unwrap().iter().find(|vault| vault["name"] == "strict").unwrap();
        assert_eq!(strict["state"], "throttled", "{health}");
        let metrics = server.get("/metrics");
        let counted = format!(
            "secretbridge_vault_calls_total{{vault=\"strict\",action=\"read\",outcome=\"throttled\"}} {}",
            calls(&logs[0]).iter().filter(|(status, _)| *status == 429).count()
        );
        assert!(metrics.text().contains(&counted), "{counted}\n{}", metrics.text());
    }
}

#[test]
fn calls_that_wait_when_the_vault_asks_to_be_left_alone_are_not_made() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let plan =
        vault("bare", &log, "core", "").replace(&format!("cache_ttl = \"{TTL}s\""), "cache_ttl = \"0s\"");
    let server = start(pwsh, &plan.replace(&format!("RetryAfter = {RETRY_AFTER}"), "RetryAfter = 3000"));
    let answered = AtomicUsize::new(0);
    round(
        &server,
        |key| format!("/vaults/bare/secrets/key{key}"),
        |answer| {
            answered.fetch_add((answer.status == 200).into(), Ordering::Relaxed);
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        },
    );
    // Whoever asks for what is being read gets the same answer.
    assert!(
        (10..READERS).contains(&answered.load(Ordering::Relaxed)),
        "{}",
        answered.load(Ordering::Relaxed)
    );
    assert_eq!(calls(&log).len(), 11, "ten that were answered, and one that was not: {:?}", calls(&log));
}

#[test]
fn a_script_of_a_throttled_vault_answers_503_and_when_to_come_again() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mounts: String = (0..KEYS)
        .map(|key| {
            format!(
                "Mount-PodeSecret -Name 'k{key}' -Vault Busy -Key 'key{key}' -CacheTtl 60
                 Add-PodeRoute -Method Get -Path '/k{key}' -ScriptBlock {{ Write-PodeJsonResponse @{{ Value = $secret:k{key} }} }}
                 Add-PodeRoute -Method Get -Path '/block/k{key}' -ScriptBlock {{ $v = $secret:k{key}; Write-PodeTextResponse $v }}\n"
            )
        })
        .collect();
    let text = format!(
        "Start-PodeServer -Threads 2 {{
            Add-PodeEndpoint -Address localhost -Port {port} -Protocol Http
            Register-PodeSecretVault -Name Busy -ModuleName '{module}' -VaultParameters @{{ Log = '{log}'; RetryAfter = 3000 }}
            {mounts}
            Mount-PodeSecret -Name bare -Vault Busy -Key bare
            Add-PodeRoute -Method Get -Path '/lifted' -ScriptBlock {{ Write-PodeJsonResponse @{{ Value = $secret:bare }} }}
            Add-PodeRoute -Method Get -Path '/bare' -ScriptBlock {{ $v = $secret:bare; Write-PodeTextResponse $v }}
            Add-PodeRoute -Method Get -Path '/own' -ScriptBlock {{ Write-PodeTextResponse (Get-PodeSecret -Name bare) }}
            Add-PodeRoute -Method Get -Path '/caught' -ScriptBlock {{
                try {{ Write-PodeTextResponse (Get-PodeSecret -Name bare) }} catch {{ Write-PodeTextResponse 'caught' }}
            }}
        }}",
        port = free_port(),
        module = fixture("vaults").join("Throttled").display(),
        log = log.display(),
    );
    let builder = Builder::new().pwsh(pwsh);
    let path = builder.file("server.ps1", text);
    let server = builder.arg("run").arg(path).start();
    round(&server, |key| format!("/k{key}"), |answer| assert_eq!(answer.status, 200, "{}", answer.text()));
    for key in 0..KEYS {
        assert_eq!(server.get(&format!("/block/k{key}")).text(), format!("value of key{key}"));
    }
    assert_eq!(calls(&log).len(), KEYS, "{:?}", calls(&log));
    while calls(&log).len() < 10 {
        assert_eq!(server.get("/bare").text(), "value of bare");
    }
    for path in ["/bare", "/lifted", "/own", "/bare"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        let wait: u64 = answer.header("Retry-After").expect(path).parse().unwrap();
        assert!((2900..=3000).contains(&wait), "{path}: {wait}");
    }
    // A thousand readers at once, whoever answers their routes: each is told when to come again, and nobody asks the vault.
    let paths = ["/bare", "/lifted", "/own"];
    round(
        &server,
        |reader| paths[reader % paths.len()].to_owned(),
        |answer| {
            assert_eq!(answer.status, 503, "{}", answer.text());
            let wait: u64 = answer.header("Retry-After").expect("when to come again").parse().unwrap();
            assert!((2800..=3000).contains(&wait), "{wait}");
        },
    );
    assert_eq!(server.get("/caught").text(), "caught");
    assert_eq!(server.get("/k1").status, 200, "what is kept is served");
    assert_eq!(calls(&log).len(), 11, "{:?}", calls(&log));
}

//! Modules that behave as real ones do, each through the whole life of a secret. `docs/extensions.md` is the table
//! of what comes out.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::http::Response;
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::{Builder, Server};
use crate::support::{SOON, fixture, free_port};

mod lives;

const TEXT: &str = "text/plain";

fn vault(name: &str, module: &str, folder: &Path, more: &str) -> String {
    let path = folder.join(format!("{name}.json"));
    format!(
        "[vaults.{name}]\nmodule = \"{module}\"\nexpose = true\n{more}\nparameters = {{ Path = \"{}\", Way = \"{name}\" }}\n",
        path.display()
    )
}

fn plan(workers: usize, vaults: &str) -> String {
    let modules = fixture("vaults");
    format!(
        "listen = \"127.0.0.1:0\"\nauth.open = true\npool = {{ min = {workers}, max = {workers} }}\n\
         [pwsh]\nmodule_path = [\"{}\"]\n{vaults}",
        modules.display()
    )
}

fn start(pwsh: &Pwsh, workers: usize, vaults: &str) -> Server {
    Builder::new().config(&plan(workers, vaults)).pwsh(pwsh).env("MADE_UP", "made up").start()
}

fn path(vault: &str, key: &str) -> String {
    format!("/vaults/{vault}/secrets/{key}")
}

fn shown(verb: &str, answer: &Response) -> String {
    match answer.status {
        200 => format!("{verb} {}", answer.json()["Value"].as_str().unwrap_or("?")),
        status if answer.text().contains("unknown") => format!("{verb} {status} unknown"),
        status => format!("{verb} {status}"),
    }
}

/// What the ways do beside an ordinary life.
fn refused_and_odd(server: &Server) {
    let client = server.client();
    for way in ["false", "warns", "error"] {
        let answer = client.put(&path(way, "no"), TEXT, "x");
        assert_eq!(shown("PUT", &answer), "PUT 502", "{way}: {}", answer.text());
        assert_eq!(client.get(&path(way, "no")).status, 404, "{way}");
    }
    let begun = Instant::now();
    assert_eq!(client.get(&path("prompts", "ask")).status, 502, "nobody is there to answer");
    assert!(begun.elapsed() < Duration::from_secs(15));
    // Metadata that the caller sends goes to the module, which does with it what it does.
    let with_metadata = r#"{"Value":"v","Metadata":{"Comment":"c"}}"#;
    let answer = client.put(&path("dated", "m"), "application/json", with_metadata);
    say(&format!("extensions/dated, with metadata: {} {}", answer.status, answer.text()));
    assert!(answer.status != 204 || client.get(&path("dated", "m")).status == 200);
}

#[test]
fn a_vault_that_somebody_else_changes_opens_again_for_reads_writes_and_lists_in_every_worker() {
    let pwsh = need_pwsh!();
    for way in ["locks", "silent-lock"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(format!("{way}.json"));
        let mut saved = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut save = |content: &str| {
            std::fs::write(&file, content).unwrap();
            saved += Duration::from_secs(10);
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(saved).unwrap();
        };
        save(r#"{"a":"1"}"#);
        let server = start(pwsh, 2, &vault(way, "Ways", folder.path(), "unlock = { env = \"MADE_UP\" }"));
        assert_eq!(server.get(&path(way, "a")).json()["Value"], "1");
        for value in ["2", "3"] {
            save(&format!(r#"{{"a":"{value}"}}"#));
            assert_eq!(server.get(&path(way, "a")).json()["Value"], value, "{way}: {}", server.stderr());
        }
        save(r#"{"a":"4"}"#);
        let answer = server.client().put(&path(way, "b"), TEXT, "x");
        assert_eq!(answer.status, 204, "{way}: {}", answer.text());
        assert_eq!(server.get(&path(way, "b")).json()["Value"], "x");
        save(r#"{"a":"5","c":"6"}"#);
        let listed = server.get(&format!("/vaults/{way}/secrets")).json();
        assert_eq!(listed["Secrets"].as_array().map(Vec::len), Some(2), "{way}: {listed}");
        assert_eq!(server.get("/health").json()["vaults"][0]["state"], "ok");
    }
}

#[test]
fn a_module_without_get_secret_info_is_refused_at_the_start_by_name_for_serve_and_run() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let both = vault("listless", "Listless", folder.path(), "") + &vault("keeps", "Ways", folder.path(), "");
    let refused = Builder::new().config(&plan(1, &both)).pwsh(pwsh).run(SOON);
    let text = String::from_utf8_lossy(&refused.stderr);
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    for word in ["the vault 'listless'", "Listless", "Get-SecretInfo"] {
        assert!(last.contains(word), "{word} is not in: {last}");
    }
    let script = format!(
        "$env:PSModulePath = '{modules}' + [System.IO.Path]::PathSeparator + $env:PSModulePath
        Start-PodeServer {{
            Add-PodeEndpoint -Address localhost -Port {port} -Protocol Http
            Register-PodeSecretVault -Name 'listless' -ModuleName 'Listless' -VaultParameters @{{ Path = '{file}' }}
        }}",
        modules = fixture("vaults").display(),
        port = free_port(),
        file = folder.path().join("listless.json").display(),
    );
    let builder = Builder::new().pwsh(pwsh);
    let path = builder.file("server.ps1", script);
    let refused = builder.arg("run").arg(path).run(SOON);
    let text = String::from_utf8_lossy(&refused.stderr);
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(refused.status.code(), Some(64), "{text}");
    for word in ["Listless", "Get-SecretInfo", "server.ps1:4"] {
        assert!(last.contains(word), "{word} is not in: {last}");
    }
    assert!(!folder.path().join("listless.json").exists(), "nothing was called");
}

#[test]
fn a_password_that_does_not_open_it_is_tried_less_and_less_often_and_health_names_the_vault() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("locks.json"), "{}").unwrap();
    let config = plan(1, &vault("locks", "Ways", folder.path(), "unlock = { env = \"MADE_UP\" }"));
    let server = Builder::new().config(&config).pwsh(pwsh).env("MADE_UP", "not-the-one-5f2d").start();
    for _ in 0..10 {
        assert_eq!(server.get(&path("locks", "a")).status, 503);
        assert_eq!(
            server.client().put(&path("locks", "a"), TEXT, "x").status,
            503,
            "nothing is acknowledged"
        );
    }
    let health = server.get("/health").json();
    assert_eq!(health["vaults"][0]["state"], "locked_out", "{health}");
    server.assert_never_wrote(&["not-the-one-5f2d"]);
}

#[test]
fn a_login_that_is_over_is_made_again_by_the_init_script_and_said() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let (mark, logins) = (folder.path().join("expired"), folder.path().join("logins"));
    let init = format!(
        "$env:MADE_UP_TOKEN = [datetime]::UtcNow.Ticks; [System.IO.File]::AppendAllText('{}', \"x\")",
        logins.display()
    );
    let vaults = format!(
        "[vaults.service]\nmodule = \"Login\"\nexpose = true\nparameters = {{ Folder = \"{}\" }}\n",
        folder.path().display()
    );
    let config = plan(1, &vaults).replace("[pwsh]", &format!("[pwsh]\ninit = [\"\"\"{init}\"\"\"]"));
    let server = Builder::new().config(&config).pwsh(pwsh).start();
    assert_eq!(server.get(&path("service", "any")).status, 200);
    std::fs::write(&mark, "").unwrap();
    assert_eq!(server.get(&path("service", "any")).status, 200, "{}", server.stderr());
    assert!(server.stderr().contains("the init script runs again"), "{}", server.stderr());
    // One that does not help is not run at each request.
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    std::fs::File::options().write(true).open(&mark).unwrap().set_modified(later).unwrap();
    for _ in 0..10 {
        assert_eq!(server.get(&path("service", "any")).status, 502);
    }
    assert_eq!(server.get("/health").json()["vaults"][0]["state"], "failing");
    assert!(std::fs::read_to_string(&logins).unwrap().len() <= 3);
}

/// The same by a script's `-InitScriptBlock`, which Pode runs once: its vaults would fail from then on.
#[test]
fn a_login_of_a_script_that_is_over_is_made_again_by_its_init_script_block() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let (mark, logins) = (folder.path().join("expired"), folder.path().join("logins"));
    let text = format!(
        "$env:PSModulePath = '{modules}' + [System.IO.Path]::PathSeparator + $env:PSModulePath
        Start-PodeServer -Threads 1 {{
            Add-PodeEndpoint -Address localhost -Port {port} -Protocol Http
            Register-PodeSecretVault -Name 'service' -ModuleName 'Login' -VaultParameters @{{ Folder = '{folder}' }} -InitScriptBlock {{
                $env:MADE_UP_TOKEN = [datetime]::UtcNow.Ticks
                [System.IO.File]::AppendAllText('{logins}', 'x')
            }}
            Add-PodeRoute -Method Get -Path '/read' -ScriptBlock {{
                Write-PodeTextResponse -Value (Read-PodeSecret -Vault service -Key any)
            }}
        }}",
        modules = fixture("vaults").display(),
        port = free_port(),
        folder = folder.path().display(),
        logins = logins.display(),
    );
    let builder = Builder::new().pwsh(pwsh);
    let script = builder.file("server.ps1", text);
    let server = builder.arg("run").arg(script).start();
    assert_eq!(server.get("/read").text(), "kept there", "{}", server.stderr());
    std::fs::write(&mark, "").unwrap();
    assert_eq!(server.get("/read").text(), "kept there", "{}", server.stderr());
    assert!(server.stderr().contains("the init script runs again"), "{}", server.stderr());
    // One that does not help is not run at each request.
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    std::fs::File::options().write(true).open(&mark).unwrap().set_modified(later).unwrap();
    for _ in 0..10 {
        assert_eq!(server.get("/read").status, 500);
    }
    assert!(std::fs::read_to_string(&logins).unwrap().len() <= 4);
}

/// What may be there: a value or nothing, and whether that is known.
type Known = HashMap<String, (Vec<Option<String>>, bool)>;

#[test]
fn whatever_way_a_module_fails_in_no_answer_is_untrue() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let server = start(pwsh, 2, &vault("random", "Ways", folder.path(), ""));
    let client = server.client();
    let (mut known, mut seen) = (Known::new(), HashMap::<String, usize>::new());
    for round in 0..150 {
        let key = format!("key{}", round % 4);
        let (possible, _) = known.entry(key.clone()).or_insert_with(|| (vec![None], true));
        let removes = round % 5 == 4;
        let (answer, wanted) = if removes {
            (client.delete(&path("random", &key)), None)
        } else {
            let value = format!("value {round}");
            (client.put(&path("random", &key), TEXT, &value), Some(value))
        };
        let unknown = answer.text().contains("unknown");
        match answer.status {
            204 => *possible = vec![wanted],
            404 if removes => assert!(possible.contains(&None), "{round}: {}", answer.text()),
            502 if unknown => possible.push(wanted),
            502 => {}
            other => panic!("{round}: {other} {}", answer.text()),
        }
        *seen.entry(format!("{}{}", answer.status, if unknown { " unknown" } else { "" })).or_default() += 1;
        let now = client.get(&path("random", &key));
        let now = (now.status == 200).then(|| match &now.json()["Value"] {
            Value::String(text) => text.clone(),
            other => panic!("{other}"),
        });
        assert!(possible.contains(&now), "{round}: {} then {now:?}, not one of {possible:?}", answer.text());
        *possible = vec![now];
    }
    say(&format!("extensions/random: {seen:?}"));
    assert!(seen.contains_key("204") && seen.contains_key("502"), "{seen:?}");
}

#[test]
fn a_private_folder_that_cannot_be_made_is_named_with_what_to_do() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let config = plan(1, &vault("false", "Ways", folder.path(), ""));
    let builder = || Builder::new().config(&config).pwsh(pwsh);
    let failed = |builder: Builder| {
        let output = builder.run(Duration::from_secs(60));
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.lines().any(|line| line.contains("   at ")), "{said}");
        said
    };
    let said = failed(builder().env("XDG_RUNTIME_DIR", "/proc/1").env("TMPDIR", "/proc/1"));
    assert!(said.contains("/proc/1/secretbridge-") && said.contains("XDG_RUNTIME_DIR"), "{said}");
}

#[test]
fn a_torn_or_missing_store_is_not_called_a_wrong_password() {
    let pwsh = need_pwsh!();
    let config = "listen = \"127.0.0.1:0\"\nauth.open = true\npool = { min = 1, max = 1 }\n\
        [vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nunlock = { env = \"MADE_UP\" }\nexpose = true\n";
    let server = Builder::new().config(config).pwsh(pwsh).env("MADE_UP", "made up").start();
    assert_eq!(server.client().put(&path("store", "k"), TEXT, "v").status, 204);
    let local = server.home().join(".secretmanagement/localstore");
    let file = local.join("storefile");
    let content = std::fs::read(&file).unwrap();
    std::fs::write(&file, &content[..content.len().min(100)]).unwrap();
    let answer = server.get(&path("store", "k"));
    assert_eq!(answer.status, 503, "{}", answer.text());
    let said = answer.text().to_owned();
    // The genuine one's form is known, so that it is told from a wrong password.
    let word =
        if pwsh.stand_in_store { "may be wrong, or the store's files in" } else { "storefile is damaged" };
    assert!(said.contains(word) && said.contains("damaged"), "{said}");
    assert!(said.contains(&local.display().to_string()), "{said}");
}

//! Modules that behave as real ones do, each through the whole life of a secret. `docs/extensions.md` is the table
//! of what comes out.

use std::collections::HashMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::time::Instant;

use crate::need_pwsh;
use crate::support::fixture;
use crate::support::http::{Client, Response};
use crate::support::pwsh::{Pwsh, say};
use crate::support::server::{Builder, Server};

const TEXT: &str = "text/plain";

/// What a module does that is like any other.
const AS_ANY: &str = "PUT 204, GET one, LIST k, PUT 204, GET two, DELETE 204, GET 404";

/// The same, where the list comes as one array.
const AS_ARRAY: &str = "PUT 204, GET one, LIST ?, PUT 204, GET two, DELETE 204, GET 404";

/// Each way, and what comes of it where that is not as any.
const WAYS: [(&str, &str); 16] = [
    ("merge", AS_ANY),
    ("dated", AS_ANY),
    ("locks", AS_ANY),
    ("silent-lock", AS_ANY),
    ("false", AS_ANY),
    ("warns", AS_ANY),
    ("error", AS_ANY),
    ("error-after", AS_ANY),
    ("throw-after", AS_ANY),
    ("no-list", "PUT 204, GET one, LIST 502, PUT 204, GET two, DELETE 204, GET 404"),
    ("twins", "PUT 204, GET one, LIST ?, PUT 204, GET two, DELETE 204, GET 404"),
    ("noise", AS_ANY),
    ("prompts", AS_ANY),
    ("many", AS_ANY),
    ("native", AS_ANY),
    ("bytes", "PUT 502 unknown, GET ?, LIST k, PUT 502 unknown, GET ?, DELETE 204, GET 404"),
];

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

/// The vaults of all ways, with their files in a folder.
fn all_ways(folder: &Path) -> String {
    let unlock = "unlock = { env = \"MADE_UP\" }";
    let ways = WAYS.iter().map(|(way, _)| {
        // A vault that locks itself wants a file that is there.
        std::fs::write(folder.join(format!("{way}.json")), "{}").unwrap();
        vault(way, "Ways", folder, if way.contains("lock") { unlock } else { "" })
    });
    ways.collect()
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

/// A secret's whole life.
fn life(client: &Client, vault: &str) -> String {
    let (key, list) = (path(vault, "k"), format!("/vaults/{vault}/secrets"));
    let put = |value: &str| shown("PUT", &client.put(&key, TEXT, value));
    let get = || shown("GET", &client.get(&key));
    let listed = || {
        let answer = client.get(&list);
        let names: Vec<String> = match answer.status {
            200 => answer.json()["Secrets"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["Name"].as_str().unwrap().to_owned())
                .collect(),
            status => vec![status.to_string()],
        };
        format!("LIST {}", names.join(" "))
    };
    let mut steps = vec![put("one"), get(), listed(), put("two"), get()];
    steps.push(shown("DELETE", &client.delete(&key)));
    steps.push(get());
    steps.join(", ")
}

#[test]
fn each_way_in_which_modules_behave_gives_true_answers_by_two_workers() {
    let pwsh = need_pwsh!();
    let folder = tempfile::tempdir().unwrap();
    let bare = vault("bare", "Bare", folder.path(), "");
    let by_path =
        vault("by_path", &fixture("vaults/Bare").display().to_string(), folder.path(), "parallel = true");
    let sided = vault("sided", "Sided", folder.path(), "");
    let server = start(pwsh, 2, &format!("{}{bare}{by_path}{sided}", all_ways(folder.path())));
    let rows: Vec<_> = WAYS.iter().chain(&[("bare", AS_ARRAY), ("by_path", AS_ARRAY)]).collect();
    thread::scope(|scope| {
        let lives: Vec<_> = rows
            .iter()
            .map(|(way, expected)| {
                let client = server.client();
                (way, expected, scope.spawn(move || life(&client, way)))
            })
            .collect();
        for (way, expected, life) in lives {
            let mut life = life.join().unwrap();
            if *way == "twins" {
                // Whether a list with two entries of one name is an error is SecretManagement's to say.
                life = life.replace("LIST k k", "LIST ?").replace("LIST 502", "LIST ?");
            }
            if matches!(*way, "bare" | "by_path") {
                // Whether a list that comes as one array is taken apart is SecretManagement's to say too.
                life = life.replace("LIST ,", "LIST ?,").replace("LIST k,", "LIST ?,");
            }
            if *way == "bytes" {
                // Whether bytes that a module gives one by one are put together again is SecretManagement's to say: the
                // genuine one does.
                life = life
                    .replace("GET 502", "GET ?")
                    .replace("GET b25l", "GET ?")
                    .replace("GET dHdv", "GET ?");
            }
            assert_eq!(life, *expected, "{way}: {}", server.stderr());
        }
    });
    assert_eq!(server.get(&path("sided", "any")).json()["Value"], "2.0.0", "the newest of two versions");
    refused_and_odd(&server);
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
    assert!(said.contains("may be wrong, or the store's files in") && said.contains("damaged"), "{said}");
    assert!(said.contains(&local.display().to_string()), "{said}");
}

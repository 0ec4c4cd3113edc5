//! The table of what comes out of each way, by two workers, for `serve` and for `run`. `docs/extensions.md` has the
//! same table.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{TEXT, path, refused_and_odd, vault};
use crate::need_pwsh;
use crate::support::http::Client;
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};
use crate::support::{fixture, free_port};

/// What a module does that is like any other.
const AS_ANY: &str = "PUT 204, GET one, META 204, GET one, LIST k, PUT 204, GET two, DELETE 204, GET 404";

/// Each way, and what comes of it with the genuine SecretManagement.
const WAYS: [(&str, &str); 22] = [
    ("merge", AS_ANY),
    ("dated", "PUT 204, GET one, META 502 unknown, GET one, LIST k, PUT 204, GET two, DELETE 204, GET 404"),
    ("keeps", AS_ANY),
    ("locks", AS_ANY),
    ("silent-lock", AS_ANY),
    ("false", AS_ANY),
    ("warns", AS_ANY),
    ("error", AS_ANY),
    ("error-after", AS_ANY),
    ("throw-after", AS_ANY),
    ("no-list", "PUT 204, GET one, META 204, GET one, LIST 502, PUT 204, GET two, DELETE 204, GET 404"),
    ("twins", "PUT 204, GET one, META 204, GET one, LIST 502, PUT 204, GET two, DELETE 204, GET 404"),
    ("noise", AS_ANY),
    ("prompts", AS_ANY),
    ("many", AS_ANY),
    ("native", AS_ANY),
    ("bw", AS_ANY),
    ("lpass", AS_ANY),
    (
        "bytes",
        "PUT 502 unknown, GET b25l, META 204, GET b25l, LIST k, PUT 502 unknown, GET dHdv, DELETE 204, GET 404",
    ),
    ("bare", "PUT 204, GET one, META 502, GET one, LIST k, PUT 204, GET two, DELETE 204, GET 404"),
    ("by_path", "PUT 204, GET one, META 502, GET one, LIST k, PUT 204, GET two, DELETE 204, GET 404"),
    ("needing", "PUT 204, GET one, META 502, GET one, LIST k, PUT 204, GET two, DELETE 204, GET 404"),
];

/// What the stand-in makes of what the genuine SecretManagement makes something else of.
fn expected(outcome: &str, way: &str, genuine: bool) -> String {
    match way {
        _ if genuine => outcome.to_owned(),
        // It lists a name twice, where the genuine one refuses.
        "twins" => outcome.replace("LIST 502", "LIST k k"),
        // It lists nothing where a module gives its list as one array.
        "bare" | "by_path" => outcome.replace("LIST k", "LIST "),
        // It does not put bytes that come one by one together again.
        "bytes" => outcome
            .replace("GET b25l", "GET 502")
            .replace("GET dHdv", "GET 502")
            .replace("META 204", "META 502"),
        _ => outcome.to_owned(),
    }
}

fn is_genuine(pwsh: &Pwsh, home: &Path) -> bool {
    let author = "(Get-Module -ListAvailable -Name Microsoft.PowerShell.SecretManagement | Select-Object -First 1).Author";
    pwsh.output_of(author, home) == "Microsoft Corporation"
}

fn module(way: &str) -> (String, &'static str) {
    match way {
        "bare" => ("Bare".into(), ""),
        "by_path" => (fixture("vaults/Bare").display().to_string(), "parallel = true"),
        "needing" => ("Needing".into(), ""),
        way if way.contains("lock") => ("Ways".into(), "unlock = { env = \"MADE_UP\" }"),
        _ => ("Ways".into(), ""),
    }
}

fn serve(pwsh: &Pwsh, folder: &Path) -> Server {
    let vaults: String = WAYS
        .iter()
        .map(|(way, _)| {
            let (module, more) = module(way);
            vault(way, &module, folder, more)
        })
        .collect();
    let sided = vault("sided", "Sided", folder, "");
    super::start(pwsh, 2, &format!("{vaults}{sided}"))
}

/// A script that serves the same at the same paths.
fn run(pwsh: &Pwsh, folder: &Path) -> Server {
    let vaults: String = WAYS
        .iter()
        .map(|(way, _)| {
            let (module, more) = module(way);
            let unlock = if more.contains("unlock") { "-UnlockSecret 'made up'" } else { "" };
            let file = folder.join(format!("{way}.json"));
            format!(
                "Register-PodeSecretVault -Name '{way}' -ModuleName '{module}' {unlock} -VaultParameters @{{ Path = '{}'; Way = '{way}' }}\n",
                file.display()
            )
        })
        .collect();
    let text = format!(
        "$env:PSModulePath = '{modules}' + [System.IO.Path]::PathSeparator + $env:PSModulePath
        Start-PodeServer -Threads 2 {{
            Add-PodeEndpoint -Address localhost -Port {port} -Protocol Http
            {vaults}
            Add-PodeRoute -Method Put -Path '/vaults/:vault/secrets/:key' -ScriptBlock {{
                Set-PodeSecret -Vault $WebEvent.Parameters.vault -Key $WebEvent.Parameters.key -InputObject $WebEvent.Data
            }}
            Add-PodeRoute -Method Get -Path '/vaults/:vault/secrets/:key' -ScriptBlock {{
                $value = Read-PodeSecret -Vault $WebEvent.Parameters.vault -Key $WebEvent.Parameters.key
                if ($value -is [byte[]]) {{ $value = [System.Convert]::ToBase64String($value) }}
                Write-PodeJsonResponse @{{ Value = $value }}
            }}
            Add-PodeRoute -Method Patch -Path '/vaults/:vault/secrets/:key' -ScriptBlock {{
                Set-SecretInfo -Vault $WebEvent.Parameters.vault -Name $WebEvent.Parameters.key -Metadata @{{ Owner = 'me' }} -ErrorAction Stop
            }}
            Add-PodeRoute -Method Delete -Path '/vaults/:vault/secrets/:key' -ScriptBlock {{
                Remove-PodeSecret -Vault $WebEvent.Parameters.vault -Key $WebEvent.Parameters.key
            }}
            Add-PodeRoute -Method Get -Path '/vaults/:vault/secrets' -ScriptBlock {{
                $found = @(foreach ($info in Get-SecretInfo -Vault $WebEvent.Parameters.vault -ErrorAction Stop) {{ @{{ Name = $info.Name }} }})
                Write-PodeJsonResponse @{{ Secrets = $found }}
            }}
        }}",
        modules = fixture("vaults").display(),
        port = free_port(),
    );
    let builder = Builder::new().pwsh(pwsh);
    let path = builder.file("server.ps1", text);
    builder.arg("run").arg(path).start()
}

/// A secret's whole life. A script's answers have other statuses: 200 for a change, 500 for all that fails.
fn life(client: &Client, way: &str, is_script: bool) -> String {
    let (key, list) = (path(way, "k"), format!("/vaults/{way}/secrets"));
    let change = |verb: &str, answer: &crate::support::http::Response| match answer.status {
        200 if is_script => format!("{verb} 204"),
        _ => super::shown(verb, answer),
    };
    let put = |value: &str| change("PUT", &client.put(&key, TEXT, value));
    let get = || super::shown("GET", &client.get(&key));
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
    let meta = || {
        let body = br#"{"Metadata":{"Owner":"me"}}"#;
        change("META", &client.send("PATCH", &key, &[("Content-Type", "application/json")], body))
    };
    let mut steps = vec![put("one"), get(), meta(), get(), listed(), put("two"), get()];
    steps.push(change("DELETE", &client.delete(&key)));
    steps.push(get());
    steps.join(", ")
}

/// A process that ends in the middle of a write, before the change and after it: no answer is untrue.
fn deaths(client: &Client, way: &str, stderr: &str) {
    for name in ["dies-before", "dies-after"] {
        let key = path(way, name);
        let answer = client.put(&key, TEXT, "one");
        let now = client.get(&key).status == 200;
        let unknown = answer.text().contains("unknown");
        match answer.status {
            200 | 204 => assert!(now, "{way}, {name}: {stderr}"),
            // A script's page says nothing of the cause.
            500 => {}
            _ if unknown => {}
            status => assert!(!now, "{way}, {name}: {status} {}", answer.text()),
        }
        // By a worker that is new.
        let next = client.put(&path(way, "after"), TEXT, "x");
        if way == "bytes" {
            // Never read back as they were written.
            assert!(matches!(next.status, 500 | 502), "{way}, {name}: {} {stderr}", next.status);
            continue;
        }
        assert!(matches!(next.status, 200 | 204), "{way}, {name}: {} {stderr}", next.status);
        assert_eq!(client.get(&path(way, "after")).json()["Value"], "x", "{way}, {name}");
    }
}

fn lives(server: &Server, genuine: bool, is_script: bool) {
    thread::scope(|scope| {
        let lives: Vec<_> = WAYS
            .iter()
            .map(|(way, outcome)| {
                let client = server.client();
                (way, outcome, scope.spawn(move || life(&client, way, is_script)))
            })
            .collect();
        let mut wrong = Vec::new();
        for (way, outcome, life) in lives {
            let mut expected = expected(outcome, way, genuine);
            if is_script {
                // The cmdlet in a script names each once.
                expected = expected.replace("LIST k k", "LIST k");
                expected =
                    ["502 unknown", "502", "404"].iter().fold(expected, |it, from| it.replace(from, "500"));
            }
            let life = life.join().unwrap();
            if life != expected {
                wrong.push(format!("{way}: {life}\n  not: {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), server.stderr());
    });
    // As many at once as there are workers: each death costs a start, and nobody is to wait for all of them.
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((way, _)) = WAYS.get(next.fetch_add(1, Ordering::SeqCst)) {
                    deaths(&server.client(), way, &server.stderr());
                }
            });
        }
    });
}

/// Files that a vault which locks itself wants to be there.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (way, _) in WAYS {
        std::fs::write(folder.path().join(format!("{way}.json")), "{}").unwrap();
    }
    folder
}

#[test]
fn each_way_in_which_modules_behave_gives_true_answers_by_two_workers() {
    let pwsh = need_pwsh!();
    let folder = folder();
    let genuine = is_genuine(pwsh, folder.path());
    let server = serve(pwsh, folder.path());
    lives(&server, genuine, false);
    assert_eq!(server.get(&path("sided", "any")).json()["Value"], "2.0.0", "the newest of two versions");
    each_way_died(folder.path());
    refused_and_odd(&server);
    metadata_alone(&server, folder.path());
    names_like_wildcards(&server);
}

/// The filter of `Get-SecretInfo` is a wildcard, and `k[1]` as one means `k1`: a name is that secret alone.
fn names_like_wildcards(server: &Server) {
    let client = server.client();
    let about = |key: &str, who: &str| {
        let body = format!("{{\"Metadata\":{{\"Owner\":\"{who}\"}}}}");
        client.send("PATCH", key, &[("Content-Type", "application/json")], body.as_bytes()).status
    };
    for way in ["keeps", "merge", "dated"] {
        let [plain, brackets, star] = ["w1", "w%5B1%5D", "w%2A"].map(|key| path(way, key));
        for (key, value) in
            [(&plain, "plain"), (&brackets, "brackets"), (&star, "star"), (&brackets, "again")]
        {
            let answer = client.put(key, TEXT, value);
            assert_eq!(answer.status, 204, "{way}, {key}: {}", answer.text());
        }
        if way == "keeps" {
            assert_eq!([about(&plain, "plain"), about(&brackets, "brackets")], [204, 204]);
            let listed = client.get(&format!("/vaults/{way}/secrets")).json();
            for (name, who) in [("w1", "plain"), ("w[1]", "brackets")] {
                let found =
                    listed["Secrets"].as_array().unwrap().iter().find(|it| it["Name"] == name).unwrap();
                assert_eq!(found["Metadata"]["Owner"], who, "{listed}");
            }
        }
        assert_eq!(client.delete(&star).status, 204, "{way}");
        for (key, value) in [(&plain, "plain"), (&brackets, "again")] {
            assert_eq!(client.get(key).json()["Value"], value, "{way}, {key}");
        }
        assert_eq!(client.get(&star).status, 404, "{way}");
        assert_eq!(client.delete(&brackets).status, 204, "{way}");
        assert_eq!(client.get(&plain).json()["Value"], "plain", "{way}");
        assert_eq!(client.get(&brackets).status, 404, "{way}");
    }
}

#[test]
fn each_way_in_which_modules_behave_gives_true_answers_to_a_script_too() {
    let pwsh = need_pwsh!();
    let folder = folder();
    let genuine = is_genuine(pwsh, folder.path());
    lives(&run(pwsh, folder.path()), genuine, true);
    each_way_died(folder.path());
}

/// A module leaves a mark before it ends its process.
fn each_way_died(folder: &Path) {
    for (way, _) in WAYS {
        for name in ["dies-before", "dies-after"] {
            assert!(folder.join(format!("{way}.json.{name}")).exists(), "{way}, {name}");
        }
    }
}

/// What changes the metadata does not write the value, and an empty text is one.
fn metadata_alone(server: &Server, folder: &Path) {
    let client = server.client();
    let key = path("keeps", "about");
    assert_eq!(client.put(&key, TEXT, "").status, 204);
    let read = client.get(&key);
    assert_eq!((read.status, read.json()["Value"].as_str()), (200, Some("")), "an empty text is a value");
    assert_eq!(client.put(&key, TEXT, "v").status, 204);
    let writes =
        || std::fs::read_to_string(folder.join("keeps.json.log")).unwrap().matches("set about").count();
    let before = writes();
    let body = br#"{"Metadata":{"Owner":"me"}}"#;
    assert_eq!(client.send("PATCH", &key, &[("Content-Type", "application/json")], body).status, 204);
    assert_eq!(writes(), before, "the value is not written");
    let listed = server.get("/vaults/keeps/secrets").json();
    let about = listed["Secrets"].as_array().unwrap().iter().find(|it| it["Name"] == "about").unwrap();
    assert_eq!(about["Metadata"]["Owner"], "me", "{listed}");
    assert_eq!(client.get(&key).json()["Value"], "v");
}

#[test]
fn the_table_of_the_documentation_is_what_the_test_finds() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/extensions.md")).unwrap();
    let rows: Vec<String> = WAYS
        .iter()
        .map(|(way, outcome)| {
            format!("| `{way}` | {} |", if *outcome == AS_ANY { "as any" } else { outcome })
        })
        .collect();
    let told: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(told, rows, "the rows that begin with a way's name");
    assert!(text.contains(AS_ANY), "what `as any` is");
}

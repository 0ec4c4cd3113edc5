//! What goes wrong is told so that it can be mended: each case is made wrong for real, and the message names the thing, its
//! place and the cure. The exit code is that of the table in `--help`, and with `--log-format json` every line is JSON.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::json;

use crate::need_pwsh;
use crate::support::SOON;
use crate::support::server::Builder;
use crate::support::stand_in::StandIn;

const LOCAL: &str = "[vaults.mine]\nlocal = true\nfolder = \"data\"\nexpose = true\n";
const STORE: &str = "pool = { min = 1, max = 1 }\n[vaults.store]\nmodule = \"Some.Vault\"\nexpose = true\n";

/// Makes it wrong; stand-ins are kept there.
type Wrong = dyn Fn(Builder, &mut Vec<StandIn>) -> Builder;

/// A case: makes it wrong, and what is told of it.
struct Case {
    name: &'static str,
    wrong: Box<Wrong>,
    exit: i32,
    told: &'static [&'static str],
}

fn case(
    name: &'static str,
    exit: i32,
    told: &'static [&'static str],
    wrong: impl Fn(Builder, &mut Vec<StandIn>) -> Builder + 'static,
) -> Case {
    Case { name, wrong: Box::new(wrong), exit, told }
}

/// With a stand-in that lives as long as the list.
fn stand_in(builder: Builder, used: &mut Vec<StandIn>, stand_in: StandIn) -> Builder {
    let builder = builder.stand_in(&stand_in);
    used.push(stand_in);
    builder
}

/// A configuration that listens, with this in it.
fn config(text: &str) -> String {
    format!("listen = \"127.0.0.1:0\"\n{text}")
}

fn pair(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.join(format!("{name}.crt")), made.cert.pem()).unwrap();
    let key = folder.join(format!("{name}.key"));
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
}

fn tls(certificate: &str, key: &str) -> String {
    format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n{LOCAL}"
    )
}

/// Each: by a stand-in or without any pwsh, so in no time.
#[allow(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    vec![
        case("an option that is none", 64, &["--nonsense"], |b, _| b.arg("serve").arg("--nonsense")),
        case("no configuration there", 64, &["nowhere.toml"], |b, _| {
            b.arg("serve").arg("--config").arg("nowhere.toml")
        }),
        case("a mistake in the configuration", 64, &["secretbridge.toml:2:", "nonsense"], |b, _| {
            b.config(&config("nonsense = 1\n"))
        }),
        case("a folder for a configuration", 64, &["is not a regular file"], |b, _| {
            b.arg("serve").arg("--config").arg("home")
        }),
        case("a configuration that others may write", 64, &["secretbridge.toml", "chmod go-w"], |b, _| {
            let b = b.config(&config(LOCAL));
            fs::set_permissions(b.folder().join("secretbridge.toml"), fs::Permissions::from_mode(0o666))
                .unwrap();
            b
        }),
        case("a token that others may read", 64, &["t.token", "chmod"], |b, _| {
            let path = b.file("t.token", "0123456789abcdef0123");
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            b.config(&config(&format!("auth = {{ token_file = \"t.token\" }}\n{LOCAL}")))
        }),
        case("a token that is too short", 64, &["t.token"], |b, _| {
            b.file("t.token", "short");
            b.config(&config(&format!("auth = {{ token_file = \"t.token\" }}\n{LOCAL}")))
        }),
        case("a token's variable that is not set", 64, &["NO_SUCH_TOKEN"], |b, _| {
            b.config(&config(&format!("auth = {{ token_env = \"NO_SUCH_TOKEN\" }}\n{LOCAL}")))
        }),
        case("a certificate file without a certificate", 64, &["c.pem", "PEM"], |b, _| {
            b.file("c.pem", "no certificate");
            pair(b.folder(), "good");
            b.config(&tls("c.pem", "good.key"))
        }),
        case("a key file without a key", 64, &["k.pem", "PEM"], |b, _| {
            pair(b.folder(), "good");
            b.file("k.pem", "no key");
            b.config(&tls("good.crt", "k.pem"))
        }),
        case("a key of another certificate", 64, &["do not go together"], |b, _| {
            pair(b.folder(), "good");
            pair(b.folder(), "other");
            b.config(&tls("good.crt", "other.key"))
        }),
        case("a key that others may read", 64, &["good.key", "chmod"], |b, _| {
            pair(b.folder(), "good");
            fs::set_permissions(b.folder().join("good.key"), fs::Permissions::from_mode(0o644)).unwrap();
            b.config(&tls("good.crt", "good.key"))
        }),
        case("an address of another machine", 1, &["192.0.2.1", "no such address"], |b, _| {
            b.config(&format!("listen = \"192.0.2.1:1\"\n{LOCAL}"))
        }),
        case("a password file that is not there", 64, &["vault 'store'", "p.txt"], |b, used| {
            stand_in(b, used, StandIn::scenario("ok"))
                .config(&config(&format!("{STORE}unlock = {{ file = \"p.txt\" }}\n")))
        }),
        case(
            "a password's variable that is not set",
            64,
            &["vault 'store'", "NO_SUCH_PASSWORD"],
            |b, used| {
                stand_in(b, used, StandIn::scenario("ok"))
                    .config(&config(&format!("{STORE}unlock = {{ env = \"NO_SUCH_PASSWORD\" }}\n")))
            },
        ),
        case("no pwsh", 69, &["no pwsh was found", "--pwsh"], |b, _| b.config(&config(STORE))),
        case("a pwsh that is too old", 69, &["7.4 or later"], |b, used| {
            stand_in(b, used, StandIn::scenario("pwsh-too-old")).config(&config(STORE))
        }),
        case("SecretManagement is not there", 1, &["Install-PSResource"], |b, used| {
            stand_in(b, used, StandIn::scenario("no-secret-management")).config(&config(STORE))
        }),
        case("an init script that fails", 1, &["first.ps1", "boom"], |b, used| {
            b.file("first.ps1", "throw 'boom'");
            let fault = json!({ "id": "E", "kind": "System.Exception", "message": "boom" });
            let scenario = json!({ "rules": [{ "op": "init", "do": { "fault": fault } }] });
            stand_in(b, used, StandIn::with(&scenario)).config(&config(
                &format!("[pwsh]\ninit = {{ file = \"first.ps1\" }}\n{STORE}")
                    .replace("pool = { min = 1, max = 1 }\n", ""),
            ))
        }),
        case(
            "a worker that ends at once",
            1,
            &["ended when it had just been started", "exit status"],
            |b, used| stand_in(b, used, StandIn::scenario("exits-at-start")).config(&config(STORE)),
        ),
        case("a script that is not there", 64, &["nowhere.ps1"], |b, _| b.arg("run").arg("nowhere.ps1")),
        case("a folder for a script", 64, &["home", "it is a folder", "name the script in it"], |b, _| {
            b.arg("run").arg("home")
        }),
        case(
            "a token file for a script that is not there",
            64,
            &["--token-file", "nowhere.token"],
            |b, _| {
                b.file("server.ps1", "");
                b.arg("run").arg("--token-file").arg("nowhere.token").arg("server.ps1")
            },
        ),
        case("a HOME that cannot be written", 1, &["/proc/nowhere", "set HOME"], |b, _| {
            b.env("HOME", "/proc/nowhere")
                .env("XDG_DATA_HOME", "/proc/nowhere/data")
                .arg("serve")
                .arg("--listen")
                .arg("127.0.0.1:0")
        }),
        case("an audit file that cannot be written", 1, &["/proc/nowhere/audit", "audit"], |b, _| {
            b.config(&config(LOCAL)).arg("--audit-file").arg("/proc/nowhere/audit")
        }),
        case("a log file that cannot be written", 64, &["/proc/nowhere/log"], |b, _| {
            b.config(&config(LOCAL)).arg("--log-file").arg("/proc/nowhere/log")
        }),
        case("a log filter that is none", 64, &["inof", "debug"], |b, _| {
            b.config(&config(LOCAL)).arg("--log").arg("inof")
        }),
        case("a local vault without its key", 1, &["key.txt", "backup"], |b, _| {
            let data = b.folder().join("data");
            fs::create_dir(&data).unwrap();
            fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
            b.file("data/vault.age", "age-encryption.org/v1\n");
            b.config(&config(LOCAL))
        }),
        case("a local vault whose key others may read", 64, &["key.txt", "chmod"], |b, _| {
            let data = b.folder().join("data");
            fs::create_dir(&data).unwrap();
            fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
            b.file("data/vault.age", "age-encryption.org/v1\n");
            let key = b.file("data/key.txt", "AGE-SECRET-KEY-1\n");
            fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
            b.config(&config(LOCAL))
        }),
        case(
            "a vault to expose that is not registered",
            64,
            &["Nowhere", "vaultinfo", "has none", "Get-SecretVault"],
            |b, _| b.arg("serve").args(["--listen", "127.0.0.1:0", "--expose-vault", "Nowhere"]),
        ),
        case(
            "a registry that is damaged",
            64,
            &["Team", "vaultinfo", "cannot be read", "register the vaults again"],
            |b, _| {
                let mut folder = b.folder().join("home");
                for name in [".secretmanagement", "secretvaultregistry"] {
                    folder.push(name);
                    fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
                }
                b.file("home/.secretmanagement/secretvaultregistry/vaultinfo", "{ garbage");
                b.config(&config("[auto_import]\nexpose = [\"Team\"]\n"))
            },
        ),
        case(
            "an init script that is not there",
            64,
            &["first.ps1", "cannot be read", "[pwsh]"],
            |b, used| {
                let plan = format!("[pwsh]\ninit = {{ file = \"first.ps1\" }}\n{STORE}");
                let plan = plan.replace("pool = { min = 1, max = 1 }\n", "");
                stand_in(b, used, StandIn::scenario("ok")).config(&config(&plan))
            },
        ),
        case(
            "a private folder that cannot be made",
            1,
            &["private folder for worker files", "XDG_RUNTIME_DIR"],
            |b, used| {
                // Ours, whoever we are, and nobody can make a folder there.
                let b = stand_in(b, used, StandIn::scenario("ok")).config(&config(STORE));
                b.env("XDG_RUNTIME_DIR", "/proc/self").env("TMPDIR", "/proc/self")
            },
        ),
        case("a server that is not there", 68, &["127.0.0.1:1"], |b, _| {
            b.file("t.token", "0123456789abcdef0123");
            b.args(["get", "v/k", "--url", "http://127.0.0.1:1", "--token-file", "t.token"])
        }),
    ]
}

#[test]
fn each_mistake_is_told_with_its_place_and_cure_and_in_json_where_that_is_asked_for() {
    let mut wrong = Vec::new();
    for case in cases() {
        for json in [false, true] {
            let mut used = Vec::new();
            let mut builder = (case.wrong)(Builder::new(), &mut used);
            if json {
                builder = builder.env("NO_COLOR", "1").first(["--log-format", "json"]);
            }
            let run = std::panic::AssertUnwindSafe(|| builder.run(SOON * 2));
            let Ok(output) = std::panic::catch_unwind(run) else {
                wrong.push(format!("{}: it goes on", case.name));
                continue;
            };
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
            let text = if json {
                let parsed = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line));
                match parsed.collect::<Result<Vec<_>, _>>() {
                    Ok(parsed) => parsed
                        .iter()
                        .filter_map(|line| line["message"].as_str())
                        .collect::<Vec<_>>()
                        .join("\n"),
                    Err(_) => {
                        wrong.push(format!("{}: a line is no JSON: {stderr}", case.name));
                        continue;
                    }
                }
            } else {
                stderr.clone()
            };
            if output.status.code() != Some(case.exit) {
                wrong.push(format!(
                    "{}: {:?} in place of {}: {stderr}",
                    case.name,
                    output.status.code(),
                    case.exit
                ));
            }
            for told in case.told {
                if !text.contains(told) {
                    wrong.push(format!("{}: does not tell {told}: {stderr}", case.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_exit_codes_is_one_in_help_docs_and_program() {
    let help = String::from_utf8(Builder::new().arg("--help").run(SOON).stdout).unwrap();
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    for exit in secretbridge::inside::exit::Exit::ALL {
        let code = exit.code();
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))),
            "{code}: {help}"
        );
        assert!(docs.contains(&format!("| {code} |")), "{code}");
    }
}

/// What an error says in one word, as the sources have it: the names that `fn code` gives.
fn codes() -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for file in ["error.rs", "access.rs", "http/problem.rs", "http/bounds.rs"] {
        let text = fs::read_to_string(source.join(file)).unwrap();
        for body in text.split("fn code(").skip(1) {
            let body = body.split("\n    }\n").next().unwrap();
            let names = body.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(names.map(str::to_owned));
        }
    }
    found
}

#[test]
fn each_code_of_an_error_is_in_the_docs_with_its_cure() {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let codes = codes();
    assert!(codes.len() > 25, "{codes:?}");
    // No error: the answer to a question.
    for code in codes.iter().filter(|code| *code != "options") {
        assert!(docs.contains(&format!("`{code}`")), "{code} is not in docs/operations.md");
    }
}

/// What only a real PowerShell says.
#[test]
fn a_module_that_is_not_installed_and_a_script_that_is_wrong_are_told_with_the_cure() {
    let pwsh = need_pwsh!();
    let output = Builder::new().pwsh(pwsh).config(&config(STORE)).run(SOON * 4);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for told in ["'store'", "Some.Vault", "Install-PSResource"] {
        assert!(stderr.contains(told), "{told}: {stderr}");
    }
    for (text, told) in [
        ("Start-PodeServer {", "server.ps1:1"),
        ("throw 'boom'", "boom"),
        ("'no server'", "Start-PodeServer"),
        ("Start-PodeServer { Add-PodeRoute -Method Get -Path / -ScriptBlock { 'x' } }", "Add-PodeEndpoint"),
        (
            "Start-PodeServer { Add-PodeEndpoint -Address localhost -Port 0 -Protocol Http; Add-PodeTimer -Name t }",
            "server.ps1:1",
        ),
    ] {
        let builder = Builder::new().pwsh(pwsh);
        let script = builder.file("server.ps1", text);
        let output = builder.arg("run").arg(script).run(SOON * 4);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{text}: {stderr}");
        assert!(stderr.contains(told), "{text}: {told}: {stderr}");
    }
}

/// A store is registered for the user, and needs a password that nobody gives.
#[test]
fn a_store_that_is_exposed_without_its_password_is_told_with_the_block_to_write() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let make = "$old = ConvertTo-SecureString -String old -AsPlainText -Force; \
        Set-SecretStoreConfiguration -Password $old -Interaction None -Confirm:$false; \
        Register-SecretVault -Name Mine -ModuleName Microsoft.PowerShell.SecretStore; \
        Unlock-SecretVault -Name Mine -Password $old; Set-Secret -Name k -Secret v -Vault Mine";
    pwsh.output_of(make, home.path());
    let mut server = Builder::new()
        .pwsh(pwsh)
        .home(home.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--expose-vault", "Mine"])
        .start();
    server.set_token(fs::read_to_string(home.path().join(".local/share/secretbridge/token")).unwrap().trim());
    let answer = server.get("/vaults/Mine/secrets/k");
    assert_eq!(answer.status, 503, "{}", answer.text());
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    for told in ["[vaults.Mine]", "module = \"Microsoft.PowerShell.SecretStore\"", "unlock = { file ="] {
        assert!(
            message.contains(told) && server.stderr().contains(told),
            "{told}: {message}: {}",
            server.stderr()
        );
    }
    // A prompt that nobody answers is no news.
    assert!(!server.stderr().contains("Password:"), "{}", server.stderr());
}

#[test]
fn too_few_descriptors_are_told_as_the_cause() {
    let stand_in = StandIn::scenario("exits-at-start");
    let builder = Builder::new().stand_in(&stand_in).config(&config(STORE)).program_with_few_files(128);
    let output = builder.run(SOON * 2);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && stderr.contains("ulimit -n") && stderr.contains("128"), "{stderr}");
}

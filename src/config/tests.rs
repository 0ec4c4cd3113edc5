//! The files in `fixtures/config`, and the reference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::plan::{
    Access, Action, Bind, Extension, InitScript, Limits, PoolLimits, Registry, SecretSource, Template, Tls,
    Vault, VaultKind,
};
use crate::protocol::Parameters;

mod properties;

const BASE: &str = "/etc/secretbridge";

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn read(text: &str) -> Result<Plan, Problems> {
    parse(text, Path::new(BASE))
}

fn good(name: &str) -> Plan {
    let path = fixtures("good").into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
    read(&fs::read_to_string(path.unwrap()).unwrap()).unwrap()
}

/// With `SECRETBRIDGE_BLESS=1` the expected output is written instead.
#[test]
fn each_bad_file_gets_just_the_problems_beside_it() {
    let bless = std::env::var_os("SECRETBRIDGE_BLESS").is_some();
    for path in fixtures("bad") {
        let name = PathBuf::from(path.file_name().unwrap());
        let problems = read(&fs::read_to_string(&path).unwrap()).map(|_| ()).unwrap_err().of_file(name);
        let found = format!("{problems}\n");
        assert!(!found.contains("canary"), "a value is shown: {found}");
        let expected = path.with_extension("err");
        if bless {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap(), "{}", path.display());
    }
}

#[test]
fn each_good_file_reads_and_reads_back() {
    for path in fixtures("good") {
        let plan = read(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
        let written = to_toml(&plan, false);
        assert_eq!(read(&written).unwrap_or_else(|p| panic!("{p}\n{written}")), plan, "{written}");
    }
}

#[test]
fn the_tutorial_means_what_the_script_does() {
    let plan = good("tutorial");
    assert_eq!(plan.listeners.len(), 1);
    assert_eq!(plan.listeners[0].bind, Bind::Tcp("[::]:8080".parse().unwrap()));
    let vault = plan.vault("friendlyvaultname").unwrap().extension().unwrap();
    assert_eq!((vault.registered.as_str(), vault.module.as_str()), ("FriendlyVaultName", "Az.KeyVault"));
    assert_eq!(vault.parameters.0["AZKVaultName"], "VaultNameInAzure");
    assert_eq!(plan.mounts[0].key, "AKVSecretName");
    let secret = "SecretName".to_owned();
    let read = Template::Object(vec![("Value".into(), Template::Secret(secret.clone()))]);
    let actions: Vec<_> = plan.routes.into_iter().map(|route| route.action).collect();
    assert_eq!(actions, [Action::Respond(read), Action::Update { secret, field: "Value".into() }]);
}

#[test]
fn every_key_reaches_the_plan() {
    let plan = good("full");
    let base = Path::new(BASE);
    let default = Plan::default();
    assert_eq!(plan.listeners[1].bind, Bind::Unix(base.join("run/bridge.sock")));
    let (certificate, key) = (base.join("tls/chain.pem"), base.join("tls/key.pem"));
    let clients = Some("/etc/secretbridge/tls/clients.pem".into());
    assert_eq!(plan.listeners[2].tls, Some(Tls::Files { certificate, key, clients }));
    let callers = &plan.callers;
    assert_eq!((callers.tokens.len(), callers.peers.len(), callers.certificates.len()), (2, 1, 1));
    assert_eq!((callers.hosts.len(), callers.origins.len(), callers.limits.rate_per_caller), (2, 1, 50));
    assert_eq!(plan.listeners[2].name.as_deref(), Some("outside"));
    assert_eq!(plan.access, Access::TokenFile(base.join("token")));
    assert_eq!(plan.pwsh.path, Some(base.join("bin/pwsh")));
    assert_eq!(plan.pwsh.module_path, [base.join("modules"), "/opt/modules".into()]);
    assert_eq!(plan.init[1], InitScript::File(base.join("init.ps1")));
    let pool = PoolLimits {
        min: 1,
        max: 4,
        queue: 64,
        max_calls: 5000,
        max_age: Duration::from_secs(6 * 3600),
        max_memory: 512 << 20,
        start_limit: Duration::from_secs(90),
    };
    assert_eq!(plan.pool, pool);
    assert!(plan.limits.max_body == 1 << 20 && plan.limits.drain == Duration::from_secs(60));
    assert_ne!(plan.limits, default.limits);
    assert_eq!((plan.registry, default.registry), (Registry::User, Registry::Private));
    let az = plan.vault("FriendlyVaultName").unwrap();
    assert!(az.read_only && az.exposed && az.repair && az.keep.ttl == Duration::from_secs(300));
    let extension = az.extension().unwrap();
    assert_eq!((extension.registered.as_str(), extension.parallel), ("Real", Some(true)));
    let nested = json!({ "list": [1, 2.5, true], "since": "2024-05-01" });
    assert_eq!(extension.parameters.0["Nested"], nested);
    let files = plan.vault("files").unwrap().extension().unwrap();
    assert_eq!(files.module, base.join("./modules/My.Vault").to_str().unwrap());
    assert_eq!(files.unlock, Some(SecretSource::File(base.join("password.txt"))));
    assert!(files.keep_metadata && files.verify == Some(false) && !files.probe);
    assert_eq!(
        plan.vault("the local one").unwrap().kind,
        VaultKind::Local { folder: Some(base.join("data")), key: Some("credential:local-key".into()) }
    );
}

#[test]
fn an_answer_keeps_the_order_of_its_members() {
    let plan = good("full");
    let Action::Respond(Template::Object(members)) = &plan.routes[1].action else { panic!() };
    let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Zulu", "Kind", "List", "None"]);
    assert_eq!(members[3].1, Template::Literal(Value::Null));
}

#[test]
fn without_a_word_it_listens_on_loopback_and_asks_for_its_own_token() {
    let plan = good("store");
    assert_eq!(plan.listeners[0].bind, Bind::Tcp("127.0.0.1:8085".parse().unwrap()));
    assert_eq!(plan.access, Access::OwnToken);
    assert_eq!((plan.pool, plan.limits), (PoolLimits::default(), Limits::default()));
    assert!(plan.auto_import.enabled);
}

#[test]
fn one_end_of_the_pool_moves_the_default_of_the_other() {
    let pool = |text: &str| read(&format!("auto_import.expose = 'x'\n[pool]\n{text}")).unwrap().pool;
    assert_eq!((pool("min = 99").min, pool("min = 99").max), (99, 99));
    assert_eq!((pool("max = 1").min, pool("max = 1").max), (1, 1));
}

#[test]
fn a_relative_path_is_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.toml");
    fs::write(&file, "[vaults.a]\nlocal = true\nfolder = 'data'\nexpose = true").unwrap();
    let kind = load(&file).unwrap().vaults.remove(0).kind;
    assert_eq!(kind, VaultKind::Local { folder: Some(folder.path().join("data")), key: None });
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(load(&folder.path().join("none.toml")), Err(ConfigError::Read { .. })));
    let file = folder.path().join("latin1.toml");
    fs::write(&file, b"a = 1\n# caf\xe9").unwrap();
    let Err(ConfigError::Invalid(problems)) = load(&file) else { panic!() };
    assert_eq!(problems.to_string(), format!("{}:2:6: the file is not UTF-8", file.display()));
}

#[test]
fn problems_are_json_too() {
    let problems = read("[vaults.v]\nlocal = true\nexpos = true").unwrap_err().of_file("b.toml");
    let problem = json!({
        "line": 3, "column": 1, "path": "vaults.v.expos",
        "message": "unknown key", "hint": "did you mean 'expose'?",
    });
    assert_eq!(problems.to_json(), json!({ "file": "b.toml", "problems": [problem] }));
}

#[test]
fn a_redacted_plan_shows_no_parameter_and_a_given_password_never_shows() {
    let mut extension = Extension::new("v", "My.Vault");
    extension.parameters = Parameters(json!({ "Key": { "deep": "canary" } }).as_object().unwrap().clone());
    extension.unlock = Some(SecretSource::Value("password-canary".into()));
    let plan = Plan { vaults: vec![Vault::new("v", VaultKind::Extension(extension))], ..Plan::default() };
    assert!(!to_toml(&plan, true).contains("canary"));
    assert!(to_toml(&plan, true).contains("parameters = { Key = \"<fill in: Key>\" }"));
    let shown = to_toml(&plan, false);
    assert!(shown.contains("\"canary\"") && !shown.contains("password-canary"), "{shown}");
}

#[test]
fn the_reference_names_every_key_and_its_examples_are_right() {
    let reference = include_str!("../../docs/configuration.md");
    let blocks: Vec<&str> =
        reference.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    for block in &blocks {
        read(block).unwrap_or_else(|problems| panic!("{problems}\n{block}"));
    }
    for key in known_keys() {
        let forms = [format!("`{key}`"), format!("`[{key}"), format!("`[[{key}")];
        assert!(forms.iter().any(|form| reference.contains(form)), "{key}");
    }
}

#[test]
fn the_full_example_has_every_key() {
    let path = fixtures("good").into_iter().find(|path| path.ends_with("full.toml")).unwrap();
    let full = fs::read_to_string(path).unwrap();
    // This key is the opposite of another one, which the file has.
    for key in known_keys().iter().filter(|key| !["token_env", "open", "$schema"].contains(&key.as_str())) {
        let words =
            |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == key);
        assert!(full.lines().any(words), "{key}");
    }
}

/// Every key that the reader asks for, as its hints tell them.
fn known_keys() -> BTreeSet<String> {
    let bogus = "quite_unlike_any = 1";
    let text = format!(
        "{bogus}\n[[listeners]]\n{bogus}\ntls = {{ {bogus} }}\n[auth]\n{bogus}\n[pwsh]\n{bogus}\n\
         init = {{ {bogus} }}\n[pool]\n{bogus}\n[limits]\n{bogus}\n[auto_import]\n{bogus}\n\
         [vaults.a]\n{bogus}\nunlock = {{ {bogus} }}\n[vaults.b]\nlocal = true\n{bogus}\n\
         [secrets.a]\n{bogus}\n[[routes]]\n{bogus}"
    );
    let hints: Vec<String> = read(&text).unwrap_err().problems.into_iter().filter_map(|p| p.hint).collect();
    let lists: Vec<&str> = hints.iter().filter_map(|hint| hint.strip_prefix("known here: ")).collect();
    assert_eq!(lists.len(), text.matches(bogus).count());
    lists.iter().flat_map(|list| list.split(", ")).map(str::to_owned).collect()
}

#[test]
fn a_very_deep_document_is_no_danger() {
    let deep = 100_000;
    for text in ["[".repeat(deep), format!("a = {}", "[".repeat(deep)), format!("a{} = 1", ".a".repeat(deep))]
    {
        let _ = read(&text);
    }
}

//! The files in `fixtures/config`, and properties of all files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::plan::{
    Access, Action, AutoImport, Bind, Expose, Extension, InitScript, Limits, Listener, Mount, Pool,
    Projection, Pwsh, Route, SecretSource, Template, Tls, Vault, VaultKind,
};
use crate::protocol::Parameters;

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
    assert_eq!(plan.listeners[2].tls, Some(Tls::Files { certificate, key }));
    assert_eq!(plan.listeners[2].name.as_deref(), Some("outside"));
    assert_eq!(plan.access, Access::TokenFile(base.join("token")));
    assert_eq!(plan.pwsh.path, Some(base.join("bin/pwsh")));
    assert_eq!(plan.pwsh.module_path, [base.join("modules"), "/opt/modules".into()]);
    assert_eq!(plan.init[1], InitScript::File(base.join("init.ps1")));
    let pool = Pool {
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
    let az = plan.vault("FriendlyVaultName").unwrap();
    assert!(az.read_only && az.exposed && az.repair && az.cache_ttl == Duration::from_secs(300));
    let extension = az.extension().unwrap();
    assert_eq!((extension.registered.as_str(), extension.parallel), ("Real", Some(true)));
    let nested = json!({ "list": [1, 2.5, true], "since": "2024-05-01" });
    assert_eq!(extension.parameters.0["Nested"], nested);
    let files = plan.vault("files").unwrap().extension().unwrap();
    assert_eq!(files.module, base.join("./modules/My.Vault").to_str().unwrap());
    assert_eq!(files.unlock, Some(SecretSource::File(base.join("password.txt"))));
    assert_eq!(
        plan.vault("the local one").unwrap().kind,
        VaultKind::Local { folder: Some(base.join("data")) }
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
    assert_eq!((plan.pool, plan.limits), (Pool::default(), Limits::default()));
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
    assert_eq!(kind, VaultKind::Local { folder: Some(folder.path().join("data")) });
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
    assert!(to_toml(&plan, true).contains("parameters = { Key = \"<redacted>\" }"));
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
    // One is the opposite of another, which the file has.
    for key in known_keys().iter().filter(|key| !["token_env", "open"].contains(&key.as_str())) {
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

// === properties ===

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z][a-zA-Z0-9 ._-]{0,8}", "\\PC{1,6}x", Just("é\"'\\ß🦀".to_owned())]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![text(), any::<String>(), Just("a\n\u{0}\u{7f}\u{2028}\r\n\"\"\"".to_owned())]
}

fn absolute() -> impl Strategy<Value = PathBuf> {
    "[a-z \"é]{1,8}".prop_map(|name| Path::new("/srv").join(name))
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1u64..100_000).prop_map(Duration::from_secs),
        (1u64..9_000_000).prop_map(Duration::from_millis)
    ]
}

fn ttl() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), time()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has it", |n| n.is_finite()).prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any_text(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn literal() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => value(),
        1 => Just(Value::Null),
        1 => any_text().prop_map(|text| json!([{ "secret": text }, { "json": text, "n": null }, { "json": null }])),
    ]
}

/// In the form that the reader makes: what has no secret in it is a literal.
fn template(secrets: Vec<String>) -> impl Strategy<Value = Template> {
    let secret = prop::sample::select(secrets).prop_map(Template::Secret);
    let leaf = prop_oneof![secret.clone(), literal().prop_map(Template::Literal)];
    let nested = leaf.prop_recursive(2, 8, 3, move |inner| {
        let members = prop::collection::btree_map(any_text(), inner.clone(), 0..3);
        let items = prop::collection::vec(inner, 0..3);
        let first = secret.clone();
        prop_oneof![
            (first.clone(), any_text(), members).prop_map(|(first, name, rest)| {
                let rest = rest.into_iter().filter(|(other, _)| *other != name).collect::<Vec<_>>();
                Template::Object(rest.into_iter().chain([(name, first)]).collect())
            }),
            (first, items)
                .prop_map(|(first, rest)| { Template::List(std::iter::once(first).chain(rest).collect()) }),
        ]
    });
    nested.boxed()
}

fn extension(index: usize) -> impl Strategy<Value = VaultKind> {
    let source =
        prop_oneof!["[A-Z_]{1,9}".prop_map(SecretSource::Env), absolute().prop_map(SecretSource::File),];
    let parameters = prop::collection::btree_map("[a-z]{1,6}( [é\"])?", literal(), 0..3);
    let module = prop_oneof![Just("Az.KeyVault".to_owned()), Just("/opt/My.Vault".to_owned())];
    let unlock = prop::option::of((source, ttl(), any::<bool>()));
    (module, parameters, unlock, any::<Option<bool>>(), any::<bool>()).prop_map(
        move |(module, parameters, unlock, parallel, renamed)| {
            let registered = if renamed { format!("Real {index}") } else { format!("vault {index}") };
            let mut extension = Extension::new(registered, module);
            extension.parameters = Parameters(parameters.into_iter().collect());
            if let Some((source, interval, at_start)) = unlock {
                extension.unlock = Some(source);
                extension.unlock_interval = interval;
                extension.unlock_at_start = at_start;
            }
            extension.parallel = parallel;
            VaultKind::Extension(extension)
        },
    )
}

fn vault(index: usize) -> impl Strategy<Value = Vault> {
    let local = prop::option::of(absolute()).prop_map(|folder| VaultKind::Local { folder });
    (prop_oneof![local.boxed(), extension(index).boxed()], ttl(), any::<[bool; 3]>()).prop_map(
        move |(kind, cache_ttl, [read_only, exposed, repair])| {
            let repair = repair && !matches!(kind, VaultKind::Local { .. });
            Vault { name: format!("vault {index}"), kind, cache_ttl, read_only, exposed, repair }
        },
    )
}

fn mount(index: usize, vaults: Vec<Vault>) -> impl Strategy<Value = Mount> {
    let projection = prop_oneof![
        Just(Projection::Whole),
        text().prop_map(Projection::Member),
        text().prop_map(|name| Projection::Members(vec![name, "another one".to_owned()])),
    ];
    (text(), prop::sample::select(vaults), text(), projection, prop::option::of(ttl())).prop_map(
        move |(name, vault, key, projection, cache_ttl)| Mount {
            name: format!("{name}{index}"),
            vault: vault.name,
            key,
            projection,
            cache_ttl,
        },
    )
}

fn route(index: usize, plan: &Plan) -> impl Strategy<Value = Route> + use<> {
    let all: Vec<String> = plan.mounts.iter().map(|mount| mount.name.clone()).collect();
    let writable = plan.mounts.iter().filter(|mount| !plan.vault(&mount.vault).unwrap().read_only);
    let writable: Vec<String> = writable.map(|mount| mount.name.clone()).collect();
    let mut actions = vec![template(all).prop_map(Action::Respond).boxed()];
    if !writable.is_empty() {
        let secret = prop::sample::select(writable);
        let update = (secret.clone(), text()).prop_map(|(secret, field)| Action::Update { secret, field });
        actions.extend([update.boxed(), secret.prop_map(|secret| Action::Remove { secret }).boxed()]);
    }
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
    (method, "(/[a-z]{1,4}|/\\{name\\}){0,1}", proptest::strategy::Union::new(actions)).prop_map(
        move |(method, path, action)| Route {
            method: method.to_owned(),
            path: format!("/route{index}{path}"),
            action,
        },
    )
}

fn listeners() -> impl Strategy<Value = Vec<Listener>> {
    let files = (absolute(), absolute()).prop_map(|(certificate, key)| Tls::Files { certificate, key });
    let tls = prop::option::of(prop_oneof![files, Just(Tls::SelfSigned)]);
    let one = (any::<std::net::IpAddr>(), tls, prop::option::of(text()), prop::option::of(absolute()));
    prop::collection::vec(one, 1..4).prop_map(|all| {
        let listener =
            |(index, (ip, tls, name, socket)): (usize, (_, _, Option<String>, Option<PathBuf>))| {
                let bind = match (socket, &tls) {
                    (Some(socket), None) => Bind::Unix(socket.join(index.to_string())),
                    _ => Bind::Tcp(std::net::SocketAddr::new(ip, 1000 + index as u16)),
                };
                Listener { bind, tls, name: name.map(|name| format!("{name}{index}")) }
            };
        all.into_iter().enumerate().map(listener).collect()
    })
}

fn server() -> impl Strategy<Value = Plan> {
    let access = prop_oneof![
        Just(Access::OwnToken),
        Just(Access::Open),
        absolute().prop_map(Access::TokenFile),
        "[A-Z]{1,8}".prop_map(Access::TokenEnv),
    ];
    let init = prop_oneof![
        any_text().prop_map(|text| InitScript::Text(format!("{text};"))),
        absolute().prop_map(InitScript::File),
    ];
    let pwsh = (prop::option::of(absolute()), prop::collection::vec(absolute(), 0..3))
        .prop_map(|(path, module_path)| Pwsh { path, module_path });
    let pool = (1usize..9, 0usize..9, 1usize..999, 1u64..9999, time(), (64u64 << 20)..(9 << 40), time())
        .prop_map(|(min, more, queue, max_calls, max_age, max_memory, start_limit)| Pool {
            min,
            max: min + more,
            queue,
            max_calls,
            max_age,
            max_memory,
            start_limit,
        });
    let limits = (time(), ttl(), ttl(), 1usize..99_999_999, 1usize..9999, time()).prop_map(
        |(deadline, write_grace, drain, max_body, max_connections, header_timeout)| Limits {
            deadline,
            write_grace,
            drain,
            max_body,
            max_connections,
            header_timeout,
        },
    );
    let pool = prop_oneof![Just(Pool::default()), pool];
    let expose = prop::collection::vec((text(), any::<bool>()), 0..3).prop_map(|all| {
        let name = |(index, (name, writable)): (usize, (String, bool))| Expose {
            vault: format!("{name}:imported {index}"),
            writable,
        };
        AutoImport { enabled: true, expose: all.into_iter().enumerate().map(name).collect() }
    });
    let auto_import = prop_oneof![Just(AutoImport { enabled: false, expose: Vec::new() }), expose];
    (listeners(), access, prop::collection::vec(init, 0..3), pwsh, pool, limits, auto_import).prop_map(
        |(listeners, access, init, pwsh, pool, limits, auto_import)| Plan {
            listeners,
            access,
            init,
            pwsh,
            pool,
            limits,
            auto_import,
            ..Plan::default()
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let vaults = (1usize..4).prop_flat_map(|count| (0..count).map(vault).collect::<Vec<_>>());
    (server(), vaults)
        .prop_flat_map(|(server, vaults)| {
            let mounts = (1usize..4).prop_flat_map(move |n| {
                (0..n).map(|i| mount(i, vaults.clone())).collect::<Vec<_>>().prop_map({
                    let vaults = vaults.clone();
                    move |mounts| (vaults.clone(), mounts)
                })
            });
            mounts.prop_map(move |(vaults, mounts)| Plan { vaults, mounts, ..server.clone() })
        })
        .prop_flat_map(|plan| {
            let routes: Vec<_> = (0..3).map(|index| route(index, &plan)).collect();
            routes.prop_map(move |routes| Plan { routes, ..plan.clone() })
        })
}

fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\\[\\]{}=\"'.,#\n a-z0-9]{0,8}",
        Just("[[routes]]\n".to_owned()),
        Just("[vaults.x]\n".to_owned()),
        Just("\"\"\"".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_written_plan_reads_back_the_same(plan in plan()) {
        let text = to_toml(&plan, false);
        let read = read(&text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        prop_assert_eq!(read, plan, "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), parts in prop::collection::vec(pieces(), 0..12)) {
        let _ = read(&text);
        let _ = read(&parts.concat());
    }

    #[test]
    fn a_damaged_good_file_gives_a_plan_or_problems_in_order(
        which in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, pieces()), 1..4),
    ) {
        let files = fixtures("good");
        let mut chars: Vec<char> = fs::read_to_string(which.get(&files)).unwrap().chars().collect();
        for (at, drop, put) in cuts {
            let at = at.index(chars.len() + 1);
            let end = (at + drop).min(chars.len());
            chars.splice(at..end, put.chars());
        }
        let text: String = chars.into_iter().collect();
        if let Err(Problems { problems, .. }) = read(&text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.is_sorted());
            let lines = text.lines().count() + 1;
            prop_assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)));
        }
    }
}

//! Properties of all files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Plan, Problems, fixtures, read, to_toml};
use crate::audit::{AuditSettings, Destination};
use crate::plan::{
    Access, Action, AutoImport, Bind, BodyLimits, Expose, Extension, InitScript, Keep, Limits, Listener,
    Mount, PoolLimits, Projection, Pwsh, Route, SecretSource, Template, Tls, Vault, VaultKind,
};
use crate::protocol::Parameters;

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
    let ways = (any::<Option<bool>>(), any::<Option<bool>>(), any::<[bool; 3]>());
    (module, parameters, unlock, ways).prop_map(
        move |(module, parameters, unlock, (parallel, verify, [renamed, keep_metadata, probe]))| {
            let registered = if renamed { format!("Real {index}") } else { format!("vault {index}") };
            let mut extension = Extension::new(registered, module);
            extension.parameters = Parameters(parameters.into_iter().collect());
            if let Some((source, interval, at_start)) = unlock {
                extension.unlock = Some(source);
                extension.unlock_interval = interval;
                extension.unlock_at_start = at_start;
            }
            extension.parallel = parallel;
            (extension.verify, extension.keep_metadata, extension.probe) = (verify, keep_metadata, probe);
            extension.probe_every =
                if probe { extension.verify.map(|_| Duration::from_secs(30)) } else { Some(Duration::ZERO) };
            VaultKind::Extension(extension)
        },
    )
}

fn vault(index: usize) -> impl Strategy<Value = Vault> {
    let local = (prop::option::of(absolute()), prop::option::of(absolute()))
        .prop_map(|(folder, key)| VaultKind::Local { folder, key });
    (prop_oneof![local.boxed(), extension(index).boxed()], ttl(), any::<[bool; 3]>()).prop_map(
        move |(kind, ttl, [read_only, exposed, repair])| {
            let keep = Keep { ttl, max_stale: ttl, refresh_ahead: ttl / 2, negative_ttl: ttl / 3 };
            let repair = repair && !matches!(kind, VaultKind::Local { .. });
            Vault { name: format!("vault {index}"), kind, keep, read_only, exposed, repair }
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
            prefetch: cache_ttl.is_some(),
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
    let files = (absolute(), absolute(), proptest::option::of(absolute()))
        .prop_map(|(certificate, key, clients)| Tls::Files { certificate, key, clients });
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
    let user = prop::option::of(("[a-z]{1,9}", prop::option::of(absolute())));
    let pwsh = (prop::option::of(absolute()), prop::collection::vec(absolute(), 0..3), user).prop_map(
        |(path, module_path, user)| {
            let (user, home) = user.map_or((None, None), |(user, home)| (Some(user), home));
            Pwsh { path, module_path, user, home }
        },
    );
    let pool = (1usize..9, 0usize..9, 1usize..999, 1u64..9999, time(), (64u64 << 20)..(9 << 40), time())
        .prop_map(|(min, more, queue, max_calls, max_age, max_memory, start_limit)| PoolLimits {
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
            max_connections_per_peer: max_connections + 1,
            first_byte_timeout: header_timeout,
            header_timeout,
            idle_timeout: header_timeout,
            body: BodyLimits {
                max_fields: max_connections,
                max_rows: max_connections,
                ..BodyLimits::default()
            },
        },
    );
    let pool = prop_oneof![Just(PoolLimits::default()), pool];
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
            audit: AuditSettings { to: Destination::File("/a.jsonl".into()), chain: auto_import.enabled },
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

//! Whatever bytes come in: no panic, no hang, no value changed on the way.
//!
//! Each target runs for `SECRETBRIDGE_FUZZ_SECONDS` (one second without it); `scripts/fuzz` runs them for
//! ten minutes each. A failure prints the smallest input that shows it.

mod door;
mod paths;

use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use secretbridge::inside::config;
use secretbridge::inside::protocol::CoreLine;
use secretbridge::inside::worker::{Message, Transport};
use secretbridge::{Bytes, Credential, SecretValue, Text};
use tokio::time::Instant;

/// Runs a target until its time is over, and says how many inputs that were.
fn fuzz<S: Strategy>(name: &str, inputs: S, target: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds = std::env::var("SECRETBRIDGE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(1));
    let mut cases = 0_u64;
    while Instant::now() < end {
        // Found inputs become tests of their own; a file of seeds would only say the same again.
        let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
        if let Err(error) = TestRunner::new(config).run(&inputs, &target) {
            panic!("{name}: {error}");
        }
        cases += 64;
    }
    eprintln!("{name}: {cases} inputs");
}

/// Text of the kinds that go wrong: empty, quotes, controls, line ends that are none, characters beyond
/// the first plane.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".*",
        "[\\x00-\\x1f\u{85}\u{2028}\u{2029}\u{feff}'\"`$(){}\\\\]{0,12}",
        Just("2026-11-23T10:00:00Z".to_owned()),
        Just("{\"t\":\"string\"}".to_owned()),
        Just(String::new()),
    ]
}

fn value() -> impl Strategy<Value = SecretValue> {
    let leaf = prop_oneof![
        text().prop_map(SecretValue::string),
        text().prop_map(|text| SecretValue::SecureString(text.into())),
        vec(any::<u8>(), 0..64).prop_map(|bytes| SecretValue::Bytes(Bytes::new(bytes))),
        (text(), text()).prop_map(|(user, password)| SecretValue::Credential(Credential {
            user,
            password: Text::from(password)
        })),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| btree_map(text(), inner, 0..6).prop_map(SecretValue::Hashtable))
}

/// Lines that are nearly protocol.
fn nearly_a_line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"{\"reply\":{\"id\":1,\"ok\":{}}}".to_vec()),
        Just(b"{\"reply\":{\"id\":1,\"fault\":{\"id\":\"x\"}}}".to_vec()),
        Just(b"{\"log\":{\"level\":\"error\",\"message\":\"m\"}}".to_vec()),
        Just(b"{\"ask\":{\"seq\":1,\"what\":{}}}".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"{\"reply\":{\"id\":-1".to_vec()),
        Just(vec![b'['; 300]),
        vec(any::<u8>(), 0..40),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn the_protocol_decoder_takes_any_bytes() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    fuzz("protocol decoder", nearly_a_line(), |bytes| {
        runtime.block_on(async {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            let mut transport = Transport::new(std::io::Cursor::new(bytes), tokio::io::sink());
            let mut messages = 0;
            while let Ok(Message::Reply(_) | Message::Ask(_) | Message::Log(_)) = transport.receive().await {
                messages += 1;
            }
            prop_assert!(messages <= lines, "a message is a whole line");
            Ok(())
        })
    });
}

#[test]
fn a_line_of_the_core_is_one_line_and_reads_back() {
    fuzz("core lines", (value(), text(), text()), |(value, vault, name)| {
        use secretbridge::inside::protocol::{CallLine, Op, Set};
        let set = Set {
            vault,
            name,
            value,
            metadata: None,
            refresh: false,
            keep_metadata: false,
            metadata_only: false,
        };
        let line =
            serde_json::to_string(&CoreLine::Call(CallLine { id: 1, op: Op::Set(set.clone()) })).unwrap();
        prop_assert!(!line.contains('\n') && !line.contains('\r'));
        let CoreLine::Call(CallLine { op: Op::Set(back), .. }) = serde_json::from_str(&line).unwrap() else {
            return Err(TestCaseError::fail("another call"));
        };
        prop_assert!(back.value == set.value && back.name == set.name && back.vault == set.vault);
        Ok(())
    });
}

#[test]
fn tagged_values_survive_and_broken_ones_show_nothing() {
    fuzz("tagged values", (value(), any::<prop::sample::Index>(), any::<u8>()), |(value, at, byte)| {
        let mut line = serde_json::to_vec(&value).unwrap();
        prop_assert!(serde_json::from_slice::<SecretValue>(&line).unwrap() == value);
        let at = at.index(line.len());
        line[at] = byte;
        let _ = serde_json::from_slice::<SecretValue>(&line);
        // A type's name and an ellipsis: nothing of the value.
        let shown = format!("{value:?}");
        prop_assert_eq!(shown, format!("{}(…)", value.kind()));
        Ok(())
    });
}

#[test]
fn the_configuration_parser_takes_any_text() {
    let good = include_str!("../../fixtures/config/good/full.toml");
    let inputs = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), text());
    fuzz("configuration", inputs, |(from, to, text)| {
        let boundary = |index: prop::sample::Index| {
            let mut at = index.index(good.len());
            while !good.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (a, b) = (boundary(from), boundary(to));
        let damaged = format!("{}{text}{}", &good[..a.min(b)], &good[a.max(b)..]);
        let base = std::path::Path::new("/base");
        if let Err(problems) = config::parse(&damaged, base) {
            let lines = damaged.lines().count() + 1;
            prop_assert!(problems.problems.iter().all(|problem| (1..=lines).contains(&problem.line)));
        }
        let _ = config::parse(&text, base);
        Ok(())
    });
}

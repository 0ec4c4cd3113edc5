//! The rules of the local vault. `processes` has those that need a second process.

mod processes;

use std::fs;
use std::path::Path;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::private_file::PrivateFileError;
use crate::protocol::MetadataValue;
use crate::secret::{Bytes, Credential, SecretType, fold};

const CANARY: &str = "canary-c41e";

/// Any value of the five types, nested.
pub(super) fn value() -> impl Strategy<Value = SecretValue> {
    let text = || prop_oneof![any::<String>(), Just(String::new()), Just("a\0b\u{2028}".to_owned())];
    let leaf = prop_oneof![
        text().prop_map(SecretValue::string),
        text().prop_map(|text| SecretValue::SecureString(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| SecretValue::Bytes(Bytes::new(bytes))),
        (text(), text()).prop_map(|(user, password)| {
            SecretValue::Credential(Credential { user, password: password.into() })
        }),
    ];
    leaf.prop_recursive(4, 12, 4, move |inner| {
        prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(SecretValue::Hashtable)
    })
}

/// Any metadata.
pub(super) fn metadata() -> impl Strategy<Value = Metadata> {
    let value = prop_oneof![
        any::<String>().prop_map(MetadataValue::String),
        any::<i64>().prop_map(MetadataValue::Int),
        any::<String>().prop_map(MetadataValue::Date),
    ];
    prop::collection::btree_map(any::<String>(), value, 0..3)
}

/// A table that many levels deep, a credential at the bottom.
pub(super) fn nested(levels: usize) -> SecretValue {
    let credential = Credential { user: "u".to_owned(), password: CANARY.into() };
    (0..levels).fold(SecretValue::Credential(credential), |inner, _| {
        SecretValue::Hashtable([("k".to_owned(), inner)].into())
    })
}

fn text(text: &str) -> SecretValue {
    SecretValue::string(text)
}

fn note(text: &str) -> Metadata {
    [("note".to_owned(), MetadataValue::String(text.to_owned()))].into()
}

fn read(vault: &LocalVault, name: &str) -> Option<SecretValue> {
    vault.get(name).unwrap().map(|(value, _)| value)
}

fn names(vault: &LocalVault) -> Vec<String> {
    vault.list().unwrap().into_iter().map(|info| info.name).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

/// A vault with one secret, `kept`, in a folder that does not exist before.
fn fresh() -> (tempfile::TempDir, LocalVault) {
    let dir = tempfile::tempdir().unwrap();
    let vault = LocalVault::open(&dir.path().join("data/vault")).unwrap();
    vault.set("kept", text(CANARY), Some(note("n"))).unwrap();
    (dir, vault)
}

/// The error, having checked that it names the file and does not tell the secret.
fn refusal<T>(outcome: Result<T, LocalError>, file: &str) -> LocalError {
    let error = outcome.err().expect("refused");
    let shown = format!("{error} {error:?}");
    assert!(error.to_string().contains(file), "{error}");
    assert!(!shown.contains(CANARY) && !shown.contains("AGE-SECRET-KEY-1Q"), "{shown}");
    error
}

#[test]
fn a_vault_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<LocalVault>();
    shared::<LocalError>();
}

#[test]
fn the_first_open_makes_the_key_and_later_ones_do_not() {
    let (_dir, vault) = fresh();
    assert!(vault.created());
    let again = LocalVault::open(vault.folder()).unwrap();
    assert!(!again.created());
    assert_eq!(files(vault.folder()), ["key.txt", "vault.age", "vault.lock", "vault.mark"]);
    assert_eq!(again.get("kept").unwrap(), Some((text(CANARY), note("n"))));
}

#[test]
fn every_type_comes_back_after_a_reopen() {
    let (_dir, vault) = fresh();
    let credential = Credential { user: String::new(), password: "p\0".into() };
    let values = [
        text(""),
        text("a\0b\u{2028}\u{feff}\"\\\n"),
        SecretValue::SecureString("2026-11-23T10:00:00Z".into()),
        SecretValue::Bytes(Bytes::new([0, 255, 10])),
        SecretValue::Bytes(Bytes::default()),
        SecretValue::Hashtable([].into()),
        SecretValue::Credential(credential),
        nested(content::MAX_DEPTH),
        text(&"é\u{1}".repeat(512 * 1024)),
    ];
    for (at, value) in values.iter().enumerate() {
        vault.set(&format!("k{at}"), value.clone(), None).unwrap();
    }
    let again = LocalVault::open(vault.folder()).unwrap();
    for (at, value) in values.iter().enumerate() {
        assert!(read(&again, &format!("K{at}")).as_ref() == Some(value), "value {at}");
    }
}

#[test]
fn names_are_compared_without_case_and_spelt_as_first_written() {
    let (_dir, vault) = fresh();
    vault.set("Straße", text("1"), None).unwrap();
    vault.set("sTRAßE", text("2"), None).unwrap();
    assert_eq!(read(&vault, "STRAßE"), Some(text("2")));
    assert_eq!(names(&vault), ["kept", "Straße"]);
    assert!(vault.remove("strAßE").unwrap());
    vault.set("STRAßE", text("3"), None).unwrap();
    assert_eq!(names(&vault), ["kept", "STRAßE"], "after a removal the name is new");
}

#[test]
fn a_set_without_metadata_keeps_it_and_one_with_replaces_it() {
    let (_dir, vault) = fresh();
    vault.set("KEPT", text("2"), None).unwrap();
    assert_eq!(vault.get("kept").unwrap(), Some((text("2"), note("n"))));
    vault.set("kept", text("3"), Some(Metadata::new())).unwrap();
    assert_eq!(vault.get("kept").unwrap(), Some((text("3"), Metadata::new())));
}

#[test]
fn a_removal_tells_whether_there_was_anything() {
    let (_dir, vault) = fresh();
    assert!(vault.remove("Kept").unwrap());
    assert!(!vault.remove("kept").unwrap());
    assert_eq!(vault.get("kept").unwrap(), None);
}

#[test]
fn the_list_is_sorted_without_case_and_tells_types_and_metadata() {
    let (_dir, vault) = fresh();
    vault.set("b", nested(1), None).unwrap();
    vault.set("A", SecretValue::Bytes(Bytes::new("x")), None).unwrap();
    let list: Vec<_> =
        vault.list().unwrap().into_iter().map(|info| (info.name, info.kind, info.metadata)).collect();
    let row = |name: &str, kind, metadata| (name.to_owned(), kind, metadata);
    let wanted = [
        row("A", SecretType::ByteArray, Metadata::new()),
        row("b", SecretType::Hashtable, Metadata::new()),
        row("kept", SecretType::String, note("n")),
    ];
    assert_eq!(list, wanted);
}

#[test]
fn what_could_not_be_read_back_is_refused_and_changes_nothing() {
    let (_dir, vault) = fresh();
    let before = fs::read(&vault.paths.vault).unwrap();
    for (name, value) in [("", text("x")), ("deep", nested(content::MAX_DEPTH + 1))] {
        let refused = vault.set(name, value, None);
        assert!(matches!(refused, Err(LocalError::Refused { .. })), "{refused:?}");
    }
    assert!(fs::read(&vault.paths.vault).unwrap() == before);
}

#[test]
fn another_handle_sees_each_write_at_once() {
    let (_dir, one) = fresh();
    let two = LocalVault::open(one.folder()).unwrap();
    for round in 0..50 {
        let (writer, reader) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        writer.set("turn", text(&format!("{round:02}")), None).unwrap();
        assert_eq!(read(reader, "turn"), Some(text(&format!("{round:02}"))));
    }
}

#[test]
fn threads_of_one_process_lose_nothing() {
    let (_dir, vault) = fresh();
    let other = LocalVault::open(vault.folder()).unwrap();
    thread::scope(|scope| {
        for writer in 0..4 {
            let vault = if writer % 2 == 0 { &vault } else { &other };
            scope.spawn(move || {
                for key in 0..25 {
                    let name = format!("k{writer}-{key}");
                    vault.set(&name, text(&name), None).unwrap();
                    assert_eq!(read(vault, &name), Some(text(&name)));
                }
            });
        }
    });
    assert_eq!(names(&vault).len(), 101);
}

#[test]
fn a_held_lock_stops_no_reader() {
    let (_dir, vault) = fresh();
    let _lock = FolderLock::acquire(&vault.paths.lock, LOCK_WAIT).unwrap();
    assert_eq!(read(&vault, "kept"), Some(text(CANARY)));
    let opened_beside = LocalVault::open(vault.folder()).unwrap();
    assert_eq!(names(&opened_beside), ["kept"]);
}

#[test]
fn the_files_tell_nothing_without_the_key() {
    let (_dir, vault) = fresh();
    let sealed = fs::read(&vault.paths.vault).unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
    for word in [CANARY, "kept", "note"] {
        assert!(!sealed.windows(word.len()).any(|bytes| bytes == word.as_bytes()), "{word}");
    }
    assert!(!format!("{vault:?}").contains(CANARY));
}

#[test]
fn a_damaged_file_is_an_error_and_left_as_it_is() {
    let (_dir, vault) = fresh();
    let sealed = fs::read(&vault.paths.vault).unwrap();
    let mut flipped = sealed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let cases =
        [vec![], b"not age".to_vec(), sealed[..sealed.len() - 1].to_vec(), sealed[..40].to_vec(), flipped];
    for damaged in cases {
        fs::write(&vault.paths.vault, &damaged).unwrap();
        for outcome in [
            vault.get("kept").map(drop),
            vault.set("kept", text("new"), None),
            LocalVault::open(vault.folder()).map(drop),
        ] {
            let error = refusal(outcome, "vault.age");
            assert!(matches!(error, LocalError::Damaged { .. }), "{error}");
        }
        assert!(fs::read(&vault.paths.vault).unwrap() == damaged);
    }
    fs::write(&vault.paths.vault, &sealed).unwrap();
    assert_eq!(read(&vault, "kept"), Some(text(CANARY)), "a restored file is read without a restart");
}

#[test]
fn a_file_of_a_newer_format_is_not_touched() {
    let (_dir, vault) = fresh();
    let encryptor =
        age::encrypt(&recipient(&vault), format!(r#"{{"format":7,"new":"{CANARY}"}}"#).as_bytes()).unwrap();
    fs::write(&vault.paths.vault, &encryptor).unwrap();
    let error = refusal(vault.set("a", text("b"), None), "vault.age");
    assert!(matches!(error, LocalError::NewerFormat { format: 7, .. }), "{error}");
    assert!(fs::read(&vault.paths.vault).unwrap() == encryptor);
}

fn recipient(vault: &LocalVault) -> age::x25519::Recipient {
    let text = fs::read_to_string(&vault.paths.key).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_missing_key_beside_a_vault_is_never_made_anew() {
    let (_dir, vault) = fresh();
    fs::remove_file(&vault.paths.key).unwrap();
    for outcome in [LocalVault::open(vault.folder()).map(drop), vault.set("a", text("b"), None)] {
        let error = refusal(outcome, "key.txt");
        assert!(matches!(error, LocalError::MissingKey { .. }), "{error}");
    }
    assert_eq!(files(vault.folder()), ["vault.age", "vault.lock", "vault.mark"]);
}

#[test]
fn another_key_is_an_error_and_writes_nothing() {
    let (_dir, vault) = fresh();
    let (_other_dir, other) = fresh();
    let sealed = fs::read(&vault.paths.vault).unwrap();
    fs::copy(&other.paths.key, &vault.paths.key).unwrap();
    let error = refusal(vault.set("a", text("b"), None), "key.txt");
    assert!(matches!(error, LocalError::KeyChanged { .. }), "{error}");
    let error = refusal(LocalVault::open(vault.folder()), "key.txt");
    assert!(matches!(error, LocalError::WrongKey { .. }), "{error}");
    assert!(fs::read(&vault.paths.vault).unwrap() == sealed);
}

#[test]
fn a_key_file_without_a_key_is_refused() {
    let (_dir, vault) = fresh();
    let key = fs::read_to_string(&vault.paths.key).unwrap();
    for bad in ["", "# only a comment\n", "AGE-SECRET-KEY-1QQQ\n", &format!("{key}{key}")] {
        fs::write(&vault.paths.key, bad).unwrap();
        let error = refusal(LocalVault::open(vault.folder()), "key.txt");
        assert!(matches!(error, LocalError::BadKey { .. }), "{error}");
    }
    fs::write(&vault.paths.key, key.replace('\n', "\r\n")).unwrap();
    LocalVault::open(vault.folder()).unwrap();
}

#[test]
fn a_vault_that_vanished_is_an_error_not_an_empty_one() {
    let (_dir, vault) = fresh();
    fs::remove_file(&vault.paths.vault).unwrap();
    for outcome in [vault.get("kept").map(drop), vault.set("a", text("b"), None), vault.remove("a").map(drop)]
    {
        let error = refusal(outcome, "vault.age");
        assert!(matches!(error, LocalError::Vanished { .. }), "{error}");
    }
    assert!(!vault.paths.vault.exists());
}

#[test]
fn a_vault_that_is_gone_at_the_start_is_reported_and_not_made_anew() {
    let (_dir, vault) = fresh();
    let folder = vault.folder().to_owned();
    vault.set("a", text("b"), None).unwrap();
    fs::remove_file(&vault.paths.vault).unwrap();
    drop(vault);
    let error = LocalVault::open(&folder).unwrap_err();
    assert!(matches!(error, LocalError::Vanished { .. }), "{error}");
    assert!(error.to_string().contains("vault.mark"), "{error}");
    assert!(!folder.join("vault.age").exists());
    fs::remove_file(folder.join("vault.mark")).unwrap();
    assert!(LocalVault::open(&folder).unwrap().list().unwrap().is_empty(), "as the message says");
}

#[test]
fn an_older_vault_file_that_was_put_back_is_reported_by_the_open_vault_and_at_the_start() {
    let (_dir, vault) = fresh();
    let folder = vault.folder().to_owned();
    vault.set("a", text("first"), None).unwrap();
    let old = fs::read(&vault.paths.vault).unwrap();
    vault.set("a", text("second"), None).unwrap();
    fs::write(&vault.paths.vault, &old).unwrap();
    for error in [vault.get("a").map(drop).unwrap_err(), LocalVault::open(&folder).map(drop).unwrap_err()] {
        assert!(
            matches!(error, LocalError::WentBack { revision, last, .. } if last == revision + 1),
            "{error}"
        );
    }
    fs::remove_file(&vault.paths.mark).unwrap();
    assert_eq!(vault.get("a").unwrap().unwrap().0, text("first"), "as the message says");
}

#[test]
fn a_first_use_that_was_cut_short_is_completed() {
    let (_dir, vault) = fresh();
    let key = fs::read(&vault.paths.key).unwrap();
    fs::remove_file(&vault.paths.vault).unwrap();
    fs::remove_file(&vault.paths.mark).unwrap();
    let again = LocalVault::open(vault.folder()).unwrap();
    assert!(!again.created());
    assert!(again.list().unwrap().is_empty());
    assert!(fs::read(&vault.paths.key).unwrap() == key, "the key is kept");
}

#[test]
fn what_crashed_writers_left_is_swept_by_the_next_write_and_nothing_else() {
    let (_dir, vault) = fresh();
    for name in [".vault-dead01.tmp", ".vault-notes", "other.tmp"] {
        fs::write(vault.folder().join(name), "torn").unwrap();
    }
    vault.set("a", text("b"), None).unwrap();
    assert_eq!(
        files(vault.folder()),
        [".vault-notes", "key.txt", "other.tmp", "vault.age", "vault.lock", "vault.mark"]
    );
}

#[test]
fn a_key_open_to_others_is_refused_with_the_command_that_mends_it() {
    let (_dir, vault) = fresh();
    crate::platform::testing::set_mode(&vault.paths.key, 0o640);
    for outcome in [LocalVault::open(vault.folder()).map(drop), vault.set("a", text("b"), None)] {
        let error = refusal(outcome, "key.txt");
        assert!(matches!(error, LocalError::Private(PrivateFileError::Exposed { .. })), "{error}");
        let command = crate::platform::command_to_close(&vault.paths.key, crate::platform::FileKind::File);
        assert!(error.to_string().contains(&command), "{error}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(String, SecretValue, Option<Metadata>),
    Remove(String),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop_oneof![Just("a".to_owned()), Just("A".to_owned()), Just("ÿ".to_owned()), ".+"];
    prop_oneof![
        4 => (name(), value(), prop::option::of(metadata())).prop_map(|(n, v, m)| Step::Set(n, v, m)),
        2 => name().prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_vault_behaves_as_a_table_with_folded_names(steps in prop::collection::vec(step(), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let mut vault = LocalVault::open(dir.path()).unwrap();
        let mut model = std::collections::BTreeMap::<String, (String, SecretValue, Metadata)>::new();
        for step in steps {
            match step {
                Step::Set(name, value, metadata) => {
                    vault.set(&name, value.clone(), metadata.clone()).unwrap();
                    let entry = model.entry(fold(&name)).or_insert((name, value.clone(), Metadata::new()));
                    entry.1 = value;
                    entry.2 = metadata.unwrap_or_else(|| entry.2.clone());
                }
                Step::Remove(name) => {
                    prop_assert_eq!(vault.remove(&name).unwrap(), model.remove(&fold(&name)).is_some());
                }
                Step::Reopen => vault = LocalVault::open(dir.path()).unwrap(),
            }
            let spelt: Vec<String> = model.values().map(|(name, ..)| name.clone()).collect();
            prop_assert_eq!(names(&vault), spelt);
            for (name, value, metadata) in model.values() {
                prop_assert!(vault.get(name).unwrap() == Some((value.clone(), metadata.clone())));
            }
        }
    }
}

//! What is seen of others' writes, and what is remembered of them.

use std::path::Path;

use super::*;

fn store(folder: &Path) -> KnownStore {
    KnownStore::over(vec![folder.join("storefile")])
}

#[test]
fn a_foreign_change_is_seen_once_and_our_own_never() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let file = folder.path().join("storefile");
    assert!(!store.foreign_change());
    std::fs::write(&file, "ours").unwrap();
    store.wrote(store.files_now());
    assert!(!store.foreign_change());
    std::fs::write(&file, "somebody else's").unwrap();
    let before = store.generation();
    assert!(store.foreign_change());
    assert!(!store.foreign_change());
    assert_eq!((store.generation(), store.foreign_changes()), (before + 1, 1));
    // By a process whose clock is behind.
    let file = std::fs::File::options().write(true).open(&file).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(store.foreign_change());
}

#[tokio::test(start_paused = true)]
async fn an_unlock_is_renewed_before_the_password_times_out() {
    let store = store(Path::new("/nowhere"));
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    assert!(!store.unlock_is_old(now, Duration::ZERO, now + second * 10_000), "no timeout is known");
    store.told(Some("Password"), Some(100));
    assert!(!store.unlock_is_old(now, Duration::ZERO, now + second * 69));
    assert!(store.unlock_is_old(now, Duration::ZERO, now + second * 70));
    assert!(store.unlock_is_old(now, second * 5, now + second * 5), "the plan's interval counts too");
    store.told(None, Some(-1));
    assert!(!store.unlock_is_old(now, Duration::ZERO, now + second * 10_000));
    store.told(None, Some(0));
    assert!(store.unlock_is_old(now, Duration::ZERO, now), "one use each");
}

#[test]
fn a_key_that_others_erased_is_named_once_until_it_is_back() {
    let store = store(Path::new("/nowhere"));
    assert!(store.note_vanished("k") && !store.note_vanished("K") && store.note_vanished("other"));
    assert_eq!(store.vanished(), ["k", "other"]);
    store.note_present(["K"].into_iter());
    assert_eq!(store.vanished(), ["other"]);
    store.ended_well("OTHER");
    assert_eq!(store.vanished(), [""; 0]);
    for n in 0..=MAX_VANISHED {
        assert!(store.note_vanished(&n.to_string()));
    }
    assert_eq!(store.vanished().len(), MAX_VANISHED, "what is remembered is bounded");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_change_is_looked_into_until_that_succeeds_and_its_failure_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (store(folder.path()), folder.path().join("storefile"));
    assert!(store.looks_changed(), "nothing is known of it yet");
    store.foreign_change();
    assert!(!store.looks_changed() && !store.take_uninspected());
    for content in ["theirs", "theirs, once more"] {
        std::fs::write(&file, content).unwrap();
        assert!(store.looks_changed() && store.foreign_change() && store.looks_changed());
        assert!(store.take_uninspected() && !store.take_uninspected());
        assert!(store.inspect_again(), "each change anew");
        assert!(store.take_uninspected());
        assert!(!store.inspect_again());
        assert!(store.take_uninspected());
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_writer_may_be_in_mid_write_for_a_moment_and_is_near_for_ten_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (store(folder.path()), folder.path().join("storefile"));
    store.foreign_change();
    assert!(!store.changed_lately() && !store.is_shared());
    std::fs::write(&file, "theirs").unwrap();
    assert!(store.foreign_change());
    let tick = Duration::from_millis(1);
    for (elapsed, lately, shared) in
        [(tick * 99, true, true), (tick, false, true), (tick * 9_899, false, true), (tick, false, false)]
    {
        tokio::time::advance(elapsed).await;
        assert_eq!((store.changed_lately(), store.is_shared()), (lately, shared), "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_change_of_the_configuration_comes_to_the_workers_within_half_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["storefile", "storeconfig"].map(|name| folder.path().join(name));
    for (number, by_our_write) in [false, true].into_iter().enumerate() {
        let store = KnownStore::over(files.to_vec());
        store.foreign_change();
        std::fs::write(&files[0], format!("theirs {number} in other words")).unwrap();
        store.wrote_secret(store.files_now(), Some(1));
        assert_eq!((store.heard_of_configuration_in(), store.foreign_changes()), (Duration::ZERO, 0));
        assert_eq!(store.last_writer(), Some(1));
        std::fs::write(&files[1], "x".repeat(number + 1)).unwrap();
        if by_our_write {
            store.wrote_secret(store.files_now(), Some(1));
        } else {
            assert!(store.foreign_change());
            assert_eq!(store.last_writer(), None);
        }
        assert_eq!(store.heard_of_configuration_in(), ECHO, "{by_our_write}");
        assert!(store.foreign_changes() == 1 && store.is_shared() && store.take_uninspected());
        tokio::time::advance(ECHO / 5).await;
        assert_eq!(store.heard_of_configuration_in(), ECHO / 5 * 4);
        tokio::time::advance(ECHO).await;
        assert_eq!(store.heard_of_configuration_in(), Duration::ZERO);
    }
}

#[test]
fn what_a_worker_told_of_the_protection_counts_until_another_tells_something_else() {
    let store = store(Path::new("/nowhere"));
    let (unknown, password, none) = (Authentication::Unknown, Authentication::Password, Authentication::None);
    for (told, expected) in
        [(None, unknown), (Some("none"), none), (None, none), (Some("Password"), password)]
    {
        store.told(told, None);
        assert_eq!((store.authentication(), store.has_no_password()), (expected, expected == none));
    }
    assert!(!store.is_configured());
    store.set_configured();
    assert!(store.is_configured());
}

#[test]
fn a_store_without_files_is_changed_by_nobody() {
    let store = KnownStore::over(Vec::new());
    store.wrote(Fingerprint::default());
    let other = Fingerprint::of(&["/nowhere".into()]);
    assert!(!store.differs(&other));
    assert_eq!(store.foreign_changes(), 0);
}

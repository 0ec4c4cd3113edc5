//! Another program writes to the store: what it changed is not served from the cache, what it erased is named,
//! and what it only overwrites is not taken for erased.

use std::path::{Path, PathBuf};

use super::*;
use crate::vault::backend::secret_store::use_folder;

/// The store's files, which another program changes.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.change("at first");
        use_folder(files.0.path());
        files
    }

    fn data(folder: &Path) -> PathBuf {
        folder.join("storefile")
    }

    fn change(&self, content: &str) {
        std::fs::write(Files::data(self.0.path()), content).unwrap();
    }
}

/// Until the change was noticed, and looked into.
async fn noticed(bridge: &Bridge) {
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bridge.health().vaults[0].foreign_changes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_kept_value_is_not_served_after_another_program_has_changed_the_store() {
    let files = Files::new();
    let disk = Disk::with(&[("k", "old")]);
    let mut plan = plan(2);
    plan.vaults[0].keep.ttl = Duration::from_secs(600);
    let bridge = over_plan(&disk, plan).await;
    assert_eq!(read(&bridge, "k").await.unwrap(), "old");
    tokio::time::sleep(Duration::from_secs(3)).await;
    disk.put("k", "theirs");
    files.change("theirs");
    assert_eq!(read(&bridge, "k").await.unwrap(), "old", "kept, so this can fail");
    noticed(&bridge).await;
    assert_eq!(read(&bridge, "k").await.unwrap(), "theirs");
}

/// A bridge that has written `k`, over a store whose list lacks it so often after the change.
async fn looked_through(lacking: usize, repair: bool) -> (Arc<Disk>, Bridge) {
    let files = Files::new();
    let disk = Disk::with(&[]);
    let lists = Arc::new(AtomicUsize::new(0));
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| {
            // A write asks about its one key.
            let is_list = call["op"].get("info").is_some_and(|info| info.get("name").is_none());
            if is_list && lists.fetch_add(1, SeqCst) < lacking {
                return Reaction::Say(vec![ok(call, &json!({ "secrets": [] }))]);
            }
            disk.serve(worker, call)
        }
    };
    let mut plan = plan(1);
    plan.vaults[0].repair = repair;
    let bridge = Bridge::start_with(plan, Arc::new(FakeLauncher::new(script))).await.unwrap();
    write(&bridge, "k", "ours").await.unwrap();
    files.change("theirs");
    if lacking > 1 {
        disk.secrets.lock().unwrap().remove("k");
    }
    noticed(&bridge).await;
    (disk, bridge)
}

/// An overwrite is a delete and an add, and the first look may come between the two.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_missing_once_is_not_said_to_be_erased() {
    let (_, bridge) = looked_through(1, false).await;
    assert_eq!(bridge.health().vaults[0].vanished, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_stays_missing_is_named_and_written_again_where_the_plan_says_so() {
    for repair in [false, true] {
        let (disk, bridge) = looked_through(2, repair).await;
        let (vanished, text) = (bridge.health().vaults[0].vanished.clone(), disk.text("k"));
        if repair {
            assert_eq!((vanished.len(), text.as_deref()), (0, Some("ours")));
        } else {
            assert_eq!((vanished, text), (vec!["k".to_owned()], None));
        }
    }
}

/// A worker may still write between the end of its call and its own.
#[tokio::test(start_paused = true)]
async fn the_last_write_of_a_worker_that_hung_in_it_is_not_taken_for_anothers() {
    let files = Files::new();
    let disk = Disk::with(&[]);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| match is(call, "set", "k") {
            true => Reaction::Hang,
            false => disk.serve(worker, call),
        }
    };
    let mut launcher = FakeLauncher::new(script);
    launcher.dying = Duration::from_secs(3);
    let bridge = Bridge::start_with(plan(2), Arc::new(launcher)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(1);
    let grace = bridge.plan().limits.write_grace;
    bridge.set("store", "k", SecretValue::string("v"), None, deadline).await.unwrap_err();
    tokio::time::sleep_until(deadline + grace + Duration::from_secs(1)).await;
    files.change("its last write");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bridge.health().vaults[0].foreign_changes, 0);
    files.change("anothers");
    noticed(&bridge).await;
}

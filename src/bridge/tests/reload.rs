//! A reload: a second bridge starts beside the first, which then ends and is taken over from.

use super::*;
use crate::vault::backend::secret_store::testing::{known, missed};

/// Workers of a second bridge over the same disk: each has a copy of its own there.
async fn second(disk: &Arc<Disk>) -> Bridge {
    let disk = disk.clone();
    bridge(1, move |worker, call: &Value| disk.serve(worker + 100, call)).await
}

#[tokio::test(start_paused = true)]
async fn what_the_old_bridge_wrote_while_the_new_one_started_is_read_by_the_new_one() {
    let disk = Disk::with(&[("k", "before")]);
    let old = over(&disk, 1).await;
    let new = second(&disk).await;
    assert_eq!(read(&new, "k").await.unwrap(), "before", "its workers have read the store");
    write(&old, "k", "while").await.unwrap();
    old.stop(Duration::from_secs(5)).await;
    new.take_over(&old);
    assert_eq!(read(&new, "k").await.unwrap(), "while");
}

#[tokio::test(start_paused = true)]
async fn what_the_old_bridge_owes_the_new_one_puts_right() {
    let disk = Disk::with(&[("k", "old")]);
    let script = {
        let disk = disk.clone();
        move |worker, call: &Value| {
            if is(call, "set", "k") {
                disk.secrets.lock().unwrap().remove("k");
                return Reaction::Say(vec![fault(call, "DiskFull")]);
            }
            disk.serve(worker, call)
        }
    };
    let old = bridge(1, script).await;
    assert!(write(&old, "k", "new").await.is_err());
    old.stop(Duration::from_secs(5)).await;
    assert_eq!(disk.text("k"), None);
    let new = second(&disk).await;
    new.take_over(&old);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(read(&new, "k").await.unwrap(), "old");
}

/// The old one's worker was killed in mid-write, and nobody has read the store since.
#[tokio::test(start_paused = true)]
async fn the_file_that_the_old_bridge_tore_the_new_one_puts_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storefile");
    std::fs::write(&file, "whole").unwrap();
    crate::vault::backend::secret_store::use_folder(folder.path());
    let disk = Disk::with(&[]);
    let (old, new) = (over(&disk, 1).await, second(&disk).await);
    old.stop(Duration::from_secs(5)).await;
    let theirs = old.vaults().get("store").unwrap();
    let store = known(&*theirs.backend);
    store.keep();
    std::fs::write(&file, "to").unwrap();
    store.wrote(store.files_now());
    new.take_over(&old);
    assert!(known(&*new.vaults().get("store").unwrap().backend).put_back("has failed"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "whole");
}

#[tokio::test(start_paused = true)]
async fn what_the_old_bridge_wrote_the_new_one_misses_when_it_is_erased() {
    let disk = Disk::with(&[]);
    let old = over(&disk, 1).await;
    write(&old, "k", "ours").await.unwrap();
    old.stop(Duration::from_secs(5)).await;
    let new = second(&disk).await;
    new.take_over(&old);
    let missed = missed(&*new.vaults().get("store").unwrap().backend);
    assert_eq!(missed.iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["k"]);
}

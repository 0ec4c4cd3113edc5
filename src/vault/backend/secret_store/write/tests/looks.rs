//! What is found where a write is looked at.

use super::*;

/// Ours was there, for all that anybody can tell.
#[tokio::test(start_paused = true)]
async fn a_write_that_somebody_else_has_overwritten_before_the_look_is_done() {
    let place = Place::new();
    *place.theirs.lock().unwrap() = Some("theirs");
    let mut worker = place.worker(|_, _| None).await;
    place.write(&mut worker).await.unwrap();
    assert_eq!((place.content().as_str(), place.count("set")), ("theirs", 1));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_wiped_the_store_in_its_first_try_is_put_back_and_done_again() {
    let place = Place::new();
    let spoiled = place.clone();
    let mut worker = place
        .worker(move |before, call| {
            if before > 0 {
                assert_eq!(fs::read_to_string(spoiled.key()).unwrap(), "key", "it is back before the second");
                return None;
            }
            fs::write(spoiled.key(), [0; 3]).unwrap();
            fs::write(spoiled.data(), "new").unwrap();
            Some(Reaction::Say(vec![ok(call, &json!({}))]))
        })
        .await;
    place.write(&mut worker).await.unwrap();
    assert_eq!((place.content().as_str(), place.count("set")), ("new", 2));
}

/// What was acknowledged and cannot be read now was acknowledged.
#[tokio::test(start_paused = true)]
async fn a_look_that_fails_after_a_write_leaves_what_the_write_has_said() {
    for (acknowledged, reads, told) in [
        (true, Reads::Failed, "done"),
        (true, Reads::Fatal, "broken"),
        (false, Reads::Failed, "Other"),
        (false, Reads::Fatal, "broken"),
    ] {
        let place = Place::new();
        *place.reads.lock().unwrap() = reads;
        let mut worker = place
            .worker(move |_, call| (!acknowledged).then(|| says(call, "GetSecretNotFound")).flatten())
            .await;
        let outcome = match acknowledged {
            true => place.write(&mut worker).await,
            false => place.remove(&mut worker).await,
        };
        let found = match outcome {
            Ok(()) => "done".to_owned(),
            Err(Trouble::Fault(fault)) => fault.id,
            Err(Trouble::Broken(_)) => "broken".to_owned(),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!((found.as_str(), place.count("set") + place.count("remove")), (told, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_says_that_it_found_nothing_and_has_removed_it_is_done() {
    let place = Place::new();
    let spoiled = place.clone();
    let mut worker = place
        .worker(move |_, call| {
            fs::write(spoiled.data(), "").unwrap();
            says(call, "GetSecretNotFound")
        })
        .await;
    place.remove(&mut worker).await.unwrap();
    assert_eq!(place.count("remove"), 1);
}

/// An unlock costs more than the write itself.
#[tokio::test(start_paused = true)]
async fn a_worker_unlocks_for_a_write_only_after_a_try_that_was_lost() {
    let place = Place::new();
    let locks = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let lost = locks.clone();
    let mut worker = place
        .worker(move |_, call| {
            lost.swap(false, std::sync::atomic::Ordering::SeqCst).then(|| says(call, LOCKED)).flatten()
        })
        .await;
    place.write(&mut worker).await.unwrap();
    for (is_lost, calls) in [(false, "info set"), (true, "info set unlock set get"), (false, "info set")] {
        // Another content each time, or the file would not look written.
        tokio::time::sleep(Duration::from_secs(1)).await;
        fs::write(place.data(), "older").unwrap();
        place.backend.store.wrote_secret(place.backend.store.files_now(), Some(worker.number()));
        let (generation, files) = (place.backend.store.generation(), place.backend.store.files_now());
        worker.notes.of::<StoreNotes>().0 =
            Some(StoreView { generation, files, unlocked: Some(Instant::now()) });
        place.calls.lock().unwrap().clear();
        locks.store(is_lost, std::sync::atomic::Ordering::SeqCst);
        place.write(&mut worker).await.unwrap();
        assert_eq!(place.calls.lock().unwrap().join(" "), calls, "{is_lost}");
    }
}

//! Writes from blocks: none after its caller was told that there is none, time to end one that has begun, and
//! nothing kept of what it may have changed.

use super::*;
use crate::script::asks::Asking;
use crate::vault::Began;
use crate::worker::{Asks as _, Worker};

#[tokio::test(start_paused = true)]
async fn a_block_whose_caller_was_told_that_nothing_is_written_writes_nothing() {
    let steps = vec![custom("c", json!({ "read": block(json!([])), "set": block(json!([])) }))];
    let running = running(script(1, "My.Vault", steps)).await;
    let (world, core) = (running.world.clone(), running.declared.core().clone());
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut worker = Worker::start(&*running.launcher, 9, deadline).await.unwrap();
    for given_up in [true, false] {
        let began = Began::default();
        if given_up {
            began.give_up();
        }
        let mut asking = Asking::with_caller(core.clone(), deadline, began, Default::default());
        for vault in ["v", "c"] {
            let ask = json!({ "do": "set", "vault": vault, "key": "k", "value": string("new") });
            let ask = serde_json::value::to_raw_value(&ask).unwrap();
            let answer = asking.answer(&ask, &mut worker).await.unwrap();
            assert_eq!(answer.is_err(), given_up, "{vault}: {answer:?}");
        }
        let written = usize::from(!given_up);
        assert_eq!((world.count(&["set"]), world.count(&["invoke", "custom", "value"])), (written, written));
    }
}

/// The deadline is 30 seconds, the grace ten more.
#[tokio::test(start_paused = true)]
async fn a_custom_write_that_has_begun_has_its_grace_and_a_read_has_none() {
    for (kind, seconds, ends) in [("set", 35, true), ("set", 45, false), ("read", 35, false)] {
        let work = json!([
            { "do": "~work", "seconds": seconds },
            { "do": "state-set", "name": "done", "value": string("yes") }
        ]);
        let blocks = json!({ "read": block(json!([])), kind: block(work) });
        let ask = json!({ "do": kind, "vault": "c", "key": "k", "value": string("new") });
        let steps = vec![custom("c", blocks), route("GET", "/", json!([ask]))];
        let running = running(script(1, "My.Vault", steps)).await;
        assert_eq!(running.get("/").await.0, 504, "{kind}");
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(running.declared.core().state.get("done").is_some(), ends, "{kind}, {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_write_to_a_custom_vault_nothing_of_it_is_kept() {
    let read = block(json!([{ "do": "state-get", "name": "n" }]));
    let set = block(json!([{ "do": "state-set", "name": "n", "value": string("new") }]));
    let kept = |key: &str| json!({ "do": "mount", "name": key, "vault": "c", "key": key, "cache_ttl": 5 });
    let steps = vec![
        custom("c", json!({ "read": read, "set": set.clone(), "remove": set })),
        kept("a"),
        kept("b"),
        route("GET", "/a", json!([get("a")])),
        route("GET", "/b", json!([get("b")])),
        route("GET", "/set", json!([update("a", "x")])),
        route("GET", "/remove", json!([{ "do": "remove", "vault": "c", "key": "a" }])),
    ];
    for write in ["/set", "/remove"] {
        let running = running(script(2, "My.Vault", steps.clone())).await;
        running.declared.core().state.set("n", serde_json::from_value(string("old")).unwrap(), Vec::new());
        for path in ["/a", "/b", "/a", "/b"] {
            assert_eq!(running.get(path).await, (200, "old".into()));
        }
        let calls = running.world.count(&["invoke", "custom"]);
        assert_eq!(calls, 2, "each was read once");
        assert_eq!(running.get(write).await.0, 200);
        for path in ["/a", "/b"] {
            assert_eq!(running.get(path).await, (200, "new".into()), "{path} after {write}");
        }
    }
}

/// The new vault has the store of the old one, by its name.
#[tokio::test(start_paused = true)]
async fn a_vault_that_takes_the_name_of_another_is_not_served_with_what_was_kept_of_that() {
    let read = block(json!([{ "do": "state-get", "name": "n" }]));
    let vault = custom("c", json!({ "read": read }));
    let steps = vec![
        vault.clone(),
        json!({ "do": "mount", "name": "a", "vault": "c", "key": "a", "cache_ttl": 5 }),
        route("GET", "/a", json!([get("a")])),
        route("GET", "/other", json!([{ "do": "vault-remove", "name": "c" }, vault])),
    ];
    let running = running(script(2, "My.Vault", steps)).await;
    let state = &running.declared.core().state;
    state.set("n", serde_json::from_value(string("old")).unwrap(), Vec::new());
    assert_eq!(running.get("/a").await, (200, "old".into()));
    state.set("n", serde_json::from_value(string("new")).unwrap(), Vec::new());
    assert_eq!(running.get("/a").await, (200, "old".into()), "it is kept");
    assert_eq!(running.get("/other").await.0, 200);
    assert_eq!(running.get("/a").await, (200, "new".into()));
}

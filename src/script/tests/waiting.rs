//! Nothing waits for good: crowds, custom vaults that read each other, deaths, deadlines.

use super::*;
use crate::error::BridgeError;

async fn crowd(threads: usize) {
    let mut steps = vec![
        custom("c", json!({ "read": block(json!([get("shared")])), "set": block(json!([get("shared")])) })),
        mount("shared", "v", "shared"),
        mount("by-block", "c", "k"),
    ];
    for n in 0..16 {
        let name = format!("m{n}");
        let key = format!("k{n}");
        let work = json!([
            { "do": "lock", "name": "all" },
            { "do": "dismount", "name": name },
            mount(&name, "v", &key),
            { "do": "unlock", "name": "all" },
            update(&name, "new"),
            get(&name),
            update("shared", &key),
            get("by-block"),
            update("by-block", "x"),
            get(&name)
        ]);
        steps.push(route("GET", &format!("/r{n}"), work));
    }
    let running = Arc::new(running(script(threads, crate::plan::SECRET_STORE, steps)).await);
    running.world.put("v", "shared", "s");
    let clients: Vec<_> = (0..16)
        .map(|n| {
            let running = running.clone();
            tokio::spawn(async move {
                for _ in 0..4 {
                    assert_eq!(running.get(&format!("/r{n}")).await, (200, "new".into()), "client {n}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let bridge = running.declared.bridge();
    assert_eq!(bridge.health().restarts, 0, "no worker was killed on the way");
}

#[tokio::test(start_paused = true)]
async fn one_worker_serves_a_crowd_that_reads_updates_and_mounts() {
    crowd(1).await;
}

#[tokio::test(start_paused = true)]
async fn four_workers_serve_a_crowd_that_reads_updates_and_mounts() {
    crowd(4).await;
}

#[tokio::test(start_paused = true)]
async fn a_custom_vault_that_reads_itself_is_refused_by_name() {
    let steps = vec![
        custom("loop", json!({ "read": block(json!([get("self")])) })),
        mount("self", "loop", "k"),
        custom("far", json!({ "read": block(json!([get("near")])) })),
        custom("near", json!({ "read": block(json!([get("far")])) })),
        mount("far", "far", "k"),
        mount("near", "near", "k"),
        route("GET", "/self", json!([get("self")])),
        route("GET", "/far", json!([get("far")])),
    ];
    let running = running(script(1, "My.Vault", steps)).await;
    running.declared.core().settings.set(protocol::ask::ServerAsk {
        status_page_exceptions: true,
        ..protocol::ask::ServerAsk::default()
    });
    for (path, names) in [("/self", "loop -> loop"), ("/far", "far -> near -> far")] {
        let reply = running.ask("GET", path, &[("accept", "application/json")], "").await;
        let page: Value = serde_json::from_slice(&reply.body).unwrap();
        let message = page["Exception"]["Message"].as_str().unwrap();
        assert!(reply.status == 500 && message.contains(names), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_custom_vaults_that_wait_for_each_other_do_not_wait_for_good() {
    // Each reads a secret of the module first, so that both are inside before either goes on.
    let steps = vec![
        mount("slow", "v", "slow"),
        custom("a", json!({ "read": block(json!([get("slow"), get("b")])) })),
        custom(
            "b",
            json!({ "read": block(json!([get("slow"), { "do": "read", "vault": "a", "key": "k" }])) }),
        ),
        mount("b", "b", "k"),
        route("GET", "/a", json!([{ "do": "read", "vault": "a", "key": "k" }])),
        route("GET", "/b", json!([{ "do": "read", "vault": "b", "key": "k" }])),
        route("GET", "/slow", json!([get("slow")])),
    ];
    let running = Arc::new(running(script(2, crate::plan::AZ_KEY_VAULT, steps)).await);
    running.world.put("v", "slow", "s");
    let began = Instant::now();
    let (a, b) = tokio::join!(running.get("/a"), running.get("/b"));
    // Both lead to a vault that uses itself in the end; what counts is that neither waits.
    assert_eq!((a.0, b.0), (500, 500));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(running.get("/slow").await, (200, "s".into()));
    assert_eq!(running.declared.bridge().health().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_frees_its_locks_its_lanes_and_its_custom_vaults() {
    let held = vec![
        custom("c", json!({ "read": block(json!([{ "do": "~die" }])), "set": block(json!([])) })),
        mount("m", "v", "k"),
        route(
            "GET",
            "/dies",
            json!([{ "do": "lock", "name": "x" }, { "do": "read", "vault": "c", "key": "k" }]),
        ),
        route(
            "GET",
            "/next",
            json!([
                { "do": "lock", "name": "x" },
                { "do": "set", "vault": "c", "key": "k", "value": string("y") },
                update("m", "new"),
                get("m")
            ]),
        ),
    ];
    let running = running(script(1, "My.Vault", held)).await;
    assert_eq!(running.get("/dies").await.0, 500);
    let began = Instant::now();
    assert_eq!(running.get("/next").await, (200, "new".into()));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_write_cut_off_inside_a_block_leaves_the_old_value() {
    let steps = vec![
        mount("m", "v", "k"),
        route("GET", "/write", json!([update("m", "new")])),
        route("GET", "/read", json!([get("m")])),
    ];
    let running = running(script(1, crate::plan::SECRET_STORE, steps)).await;
    running.world.put("v", "k", "old");
    *running.world.cut.lock().unwrap() = Some("k".into());
    assert_eq!(running.get("/write").await.0, 500);
    assert_eq!(running.get("/read").await, (200, "old".into()));
    assert_eq!(running.world.value("v", "k").as_deref(), Some("old"));
}

#[tokio::test(start_paused = true)]
async fn a_block_beyond_its_deadline_is_a_504_and_its_worker_is_replaced() {
    let steps = vec![
        route("GET", "/hangs", json!([{ "do": "~hang" }])),
        route("GET", "/well", json!([{ "do": "~value", "value": string("x") }])),
    ];
    let running = running(script(1, "My.Vault", steps)).await;
    assert_eq!(running.get("/hangs").await.0, 504);
    assert_eq!(running.get("/well").await, (200, "x".into()));
}

/// Who joins a load of a secret that is not there is told so, as who began it: a script by a look of its own, and a
/// caller without a worker by the answer of the load that it waited for.
#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_missing_for_all_who_wait_for_a_scripts_load() {
    let kept = json!({ "do": "mount", "name": "m", "vault": "v", "key": "nope", "cache_ttl": 5 });
    let steps = vec![kept, route("GET", "/read", json!([get("m")]))];
    let running = Arc::new(running(script(2, crate::plan::AZ_KEY_VAULT, steps)).await);
    let shown =
        protocol::ask::ServerAsk { status_page_exceptions: true, ..protocol::ask::ServerAsk::default() };
    running.declared.core().settings.set(shown);
    let ask = || {
        let running = running.clone();
        tokio::spawn(async move { running.ask("GET", "/read", &[("accept", "application/json")], "").await })
    };
    let first = ask();
    // Its answer comes later: the others find its load under way.
    while running.world.count(&["get"]) == 0 {
        tokio::task::yield_now().await;
    }
    let second = ask();
    let joined = running.declared.bridge().read("m", Instant::now() + Duration::from_secs(5)).await;
    assert!(
        matches!(&joined, Err(BridgeError::NotFound { vault, key }) if (vault.as_str(), key.as_str()) == ("v", "nope")),
        "{joined:?}"
    );
    for script in [first, second] {
        let reply = script.await.unwrap();
        let page: Value = serde_json::from_slice(&reply.body).unwrap();
        let message = page["Exception"]["Message"].as_str().unwrap().to_owned();
        assert!(reply.status == 500 && message.contains("nope was not found"), "{message}");
    }
    assert!(running.world.count(&["get"]) <= 2, "the caller without a worker has asked nobody");
}

//! What stops a declaration, what a check shows, and what a stop undoes.

use super::*;

fn failure(outcome: Result<Running, RunError>) -> crate::protocol::Fault {
    match outcome {
        Err(RunError::Declaration(fault)) => *fault,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was declared"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_pode_refuses_stops_the_declaration_in_its_words() {
    let again =
        json!({ "do": "vault-add", "name": "V", "type": "custom", "blocks": { "read": block(json!([])) } });
    for (step, words) in [
        (again, "A Secret Vault with the name 'V' has already been registered."),
        (mount("m", "nosuch", "k"), "No Secret Vault with the name 'nosuch' has been registered."),
        (get("nosuch"), "No Secret named 'nosuch' has been mounted."),
        (json!({ "do": "dismount", "name": "x", "remove": true }), "No Secret named 'x' has been mounted."),
        (
            json!({ "do": "vault-unlock", "name": "nosuch" }),
            "No Secret Vault with the name 'nosuch' has been registered.",
        ),
        (
            json!({ "do": "vault-add", "name": "s", "type": "secretmanagement", "module": "Microsoft.PowerShell.SecretStore" }),
            "An 'UnlockSecret' property is required",
        ),
        (
            json!({ "do": "set", "vault": "v", "key": "k", "value": { "t": "clixml", "v": "<Objs/>" } }),
            "string, SecureString, Hashtable",
        ),
        (json!({ "do": "middleware-add" }), "'middleware-add' is not served"),
        (json!({ "do": "mount", "name": 7 }), "cannot be read"),
    ] {
        let fault = failure(declared(script(1, "My.Vault", vec![step]), RunOptions::default()).await);
        assert!(fault.message.contains(words), "{}", fault.message);
    }
    let twice = vec![route("GET", "/x", json!([])), route("get", "x", json!([]))];
    let fault = failure(declared(script(1, "My.Vault", twice), RunOptions::default()).await);
    assert_eq!(fault.message, "[GET] /x: Already defined");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_stops_the_declaration_and_the_name_is_free_again() {
    let add = |password: &str| json!({ "do": "vault-add", "name": "s", "type": "secretmanagement", "module": "Microsoft.PowerShell.SecretStore", "unlock": { "t": "securestring", "v": password } });
    let steps = vec![
        route("GET", "/wrong", json!([add("wrong")])),
        route("GET", "/right", json!([add("right"), mount("m", "s", "k"), get("m")])),
    ];
    let world = Arc::new(World::default());
    *world.password.lock().unwrap() = Some("right".into());
    world.put("s", "k", "value");
    let mut all = vec![
        json!({ "do": "server", "threads": 1, "root": "/s" }),
        json!({ "do": "endpoint-add", "address": "*", "port": 8080, "protocol": "Http" }),
    ];
    all.extend(steps);
    let running = declared_in(world, all, RunOptions::default()).await.unwrap();
    running.declared.start_workers().await.unwrap();
    for _ in 0..3 {
        assert_eq!(running.get("/wrong").await.0, 500);
    }
    assert_eq!(running.get("/right").await, (200, "value".into()));
}

#[tokio::test(start_paused = true)]
async fn a_check_contacts_no_vault_and_shows_no_secret() {
    let steps = vec![
        json!({ "do": "vault-add", "name": "az", "type": "secretmanagement", "module": "Az.KeyVault",
                "parameters": { "Token": "canary" }, "init": block(json!([{ "do": "~die" }])), "unlock": { "t": "securestring", "v": "canary" } }),
        custom("c", json!({ "read": block(json!([{ "do": "~die" }])) })),
        mount("m", "az", "k"),
        mount("n", "c", "k"),
        get("n"),
        update("m", "x"),
        json!({ "do": "route-add", "methods": ["GET"], "path": "/secret", "block": block(json!([])), "lift": { "respond": { "object": [["Value", { "secret": "m" }]] } } }),
        route("POST", "/other", json!([])),
    ];
    let options = RunOptions { check: true, ..RunOptions::default() };
    let running = declared(script(2, "Microsoft.PowerShell.SecretStore", steps), options).await.unwrap();
    for way in ["register", "configure", "unlock", "get", "set"] {
        assert_eq!(running.world.count(&[way]), 0, "{way}");
    }
    assert_eq!(running.world.count(&["invoke", "custom"]), 0);
    let outline = running.declared.outline();
    let (text, json, toml) = (outline.to_text(), outline.to_json().to_string(), outline.to_toml());
    for shown in [&text, &json, &toml, &format!("{outline:?}")] {
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert!(text.contains("route      GET /secret: without a worker"), "{text}");
    assert!(toml.contains("# POST /other is not here: its block needs PowerShell"), "{toml}");
    assert!(toml.contains("# the init block of the vault az is not here"), "{toml}");
    // A password is what the reader must add.
    let (before, store) = toml.split_once("[vaults.v]").unwrap();
    let named = store.replacen("# unlock:", "unlock = { env = \"PW\" } #", 1);
    // So are the values of parameters, which are not shown.
    let toml = format!("{before}[vaults.v]{named}").replace("<fill in: ", "<filled in: ");
    let plan =
        crate::config::parse(&toml, std::path::Path::new("/s")).map_err(|problems| problems.to_string());
    let plan = plan.unwrap_or_else(|problems| panic!("{problems}\n{toml}"));
    assert_eq!((plan.routes.len(), plan.mounts.len(), plan.access), (1, 1, crate::plan::Access::Open));
    assert!(toml.contains("0.0.0.0:8080") && toml.contains("/secret"), "{toml}");
}

#[tokio::test(start_paused = true)]
async fn a_script_without_a_server_or_with_an_error_is_told_and_leaves_no_worker() {
    let world = Arc::new(World::default());
    let running = declared_in(world.clone(), vec![json!({ "do": "~die" })], RunOptions::default()).await;
    assert!(matches!(running, Err(RunError::Planning(_))));
}

#[tokio::test(start_paused = true)]
async fn a_stop_unregisters_each_vault_once_and_custom_ones_by_their_block() {
    let gone = json!([{ "do": "log", "level": "information", "message": "bye" }]);
    let steps = vec![custom("c", json!({ "read": block(json!([])), "unregister": block(gone) }))];
    let running = running(script(3, "Az.KeyVault", steps)).await;
    running.declared.stop().await;
    assert_eq!(running.world.count(&["unregister"]), 1);
    let byes = running
        .world
        .calls
        .lock()
        .unwrap()
        .iter()
        .filter(|(_, op)| op["invoke"]["custom"]["kind"] == "unregister")
        .count();
    assert_eq!((byes, running.launcher.alive.load(SeqCst)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_custom_vault_is_unlocked_once_for_all_workers_until_its_interval_is_over() {
    let vault = json!({ "do": "vault-add", "name": "c", "type": "custom", "unlock": { "t": "securestring", "v": "pw" }, "interval": 1,
        "blocks": { "read": block(json!([{ "do": "~value", "value": string("v") }])), "unlock": block(json!([])) } });
    let steps = vec![vault, mount("m", "c", "k"), route("GET", "/read", json!([get("m")]))];
    let running = running(script(1, "Az.KeyVault", steps)).await;
    let unlocks = || {
        let calls = running.world.calls.lock().unwrap();
        calls
            .iter()
            .filter(|(_, op)| op["invoke"]["custom"]["kind"] == "unlock")
            .map(|(worker, op)| (*worker, op["invoke"]["custom"]["secret"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(unlocks(), [(1, json!("pw"))], "while it was declared");
    for _ in 0..3 {
        assert_eq!(running.get("/read").await, (200, "v".into()));
    }
    assert_eq!(unlocks().len(), 1, "not again in the worker that serves");
    tokio::time::sleep(Duration::from_secs(61)).await;
    running.get("/read").await;
    running.get("/read").await;
    assert_eq!(unlocks().len(), 2, "and again when its interval is over");
}

//! Vaults that a script finds: those that it registered with SecretManagement itself, which count as the
//! user's own. (The user's registry is not looked at here.)

use super::*;
use crate::script::asks::imports::search_order;

/// A script that registered two vaults itself, with this configuration, and then does the steps.
async fn after_registering(settings: Value, more: Vec<Value>) -> Result<Running, RunError> {
    let registered =
        |name: &str| json!({ "name": name, "module": "Az.KeyVault", "parameters": { "Token": "canary" } });
    let mut steps = script(1, "Az.KeyVault", more);
    steps[0]["registered"] = json!([registered("mine"), registered("other")]);
    steps[0]["settings"] = settings;
    declared(steps, RunOptions::default()).await
}

#[tokio::test(start_paused = true)]
async fn what_a_script_registered_itself_can_be_mounted() {
    let steps = vec![mount("m", "Mine", "k"), route("GET", "/m", json!([get("m")]))];
    let running = after_registering(json!({}), steps).await.unwrap();
    running.declared.start_workers().await.unwrap();
    running.world.put("mine", "k", "value");
    assert_eq!(running.get("/m").await, (200, "value".into()));
    let outline = running.declared.outline();
    let (text, toml) = (outline.to_text(), outline.to_toml());
    assert!(
        text.contains("mine: Az.KeyVault as mine, registered by the user") && !text.contains("other"),
        "{text}"
    );
    assert!(toml.contains("[vaults.mine]") && !toml.contains("other") && !toml.contains("canary"), "{toml}");
}

#[tokio::test(start_paused = true)]
async fn auto_import_and_its_export_list_count_for_them_too() {
    let export = |name: &str| json!({ "do": "vault-export", "names": [name] });
    let off = json!({ "auto_import": false });
    let only = json!({ "export_only": true });
    for (settings, steps, is_there) in [
        (off.clone(), vec![], false),
        (off, vec![export("mine")], false),
        (only.clone(), vec![], false),
        (only.clone(), vec![export("other")], false),
        (only, vec![export("MINE")], true),
    ] {
        let shown = format!("{settings} {steps:?}");
        let steps = steps.into_iter().chain([mount("m", "mine", "k")]).collect();
        match after_registering(settings, steps).await {
            Ok(_) => assert!(is_there, "{shown}"),
            Err(RunError::Declaration(fault)) => {
                assert!(
                    !is_there && fault.message.contains("No Secret Vault with the name 'mine'"),
                    "{shown}"
                );
            }
            Err(other) => panic!("{shown}: {other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_of_pode_s_own_takes_the_name() {
    let add = json!({ "do": "vault-add", "name": "mine", "type": "secretmanagement", "module": "Az.KeyVault", "vault_name": "real" });
    let steps = vec![add, mount("m", "mine", "k"), route("GET", "/m", json!([get("m")]))];
    let running = after_registering(json!({}), steps).await.unwrap();
    running.declared.start_workers().await.unwrap();
    running.world.put("real", "k", "value");
    assert_eq!(running.get("/m").await, (200, "value".into()));
}

#[tokio::test(start_paused = true)]
async fn where_no_vault_is_named_the_default_is_first_and_the_others_follow_by_name() {
    let running =
        after_registering(json!({}), vec![custom("c", json!({ "read": block(json!([])) }))]).await.unwrap();
    let all = running.declared.bridge().vaults().all();
    let order = |default: Option<&str>| {
        search_order(&all, default).iter().map(|entry| entry.plan.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(order(None), ["mine", "other", "v"], "the first that was registered");
    assert_eq!(order(Some("OTHER")), ["other", "mine", "v"]);
    assert_eq!(order(Some("GONE")), ["mine", "other", "v"]);
}

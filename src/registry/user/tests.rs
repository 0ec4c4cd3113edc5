use serde_json::json;

use super::*;

fn entries(value: Value) -> Entries {
    value.as_object().unwrap().clone()
}

fn wanted(vault: &str, folder: &str) -> WantedVault {
    let mut extension = Extension::new(vault, "/opt/modules/Keeper");
    extension.parameters.0.insert("Folder".into(), folder.into());
    WantedVault::of(&extension).unwrap()
}

fn entry(folder: &str) -> Value {
    json!({ "ModuleName": "Keeper", "ModulePath": "/opt/modules/Keeper", "Description": "",
        "VaultParameters": { "Folder": folder }, "SetSecretSupportsMetadata": false })
}

fn noted(wanted: &WantedVault, found: Option<&Value>) -> NotedVault {
    NotedVault {
        vault: wanted.vault.clone(),
        module: wanted.module_name.clone(),
        asked: wanted.digest(),
        found: found.map(digest),
    }
}

#[test]
fn a_vault_comes_in_beside_those_of_the_user_and_never_over_one() {
    let free = placing(&wanted("v", "/a"), &entries(json!({ "w": entry("/a") })), None, &[]);
    assert_eq!(free.unwrap(), Placing::Put { replaces: false });
    let there = entries(json!({ "V": entry("/a") }));
    assert_eq!(placing(&wanted("v", "/a"), &there, None, &[]).unwrap(), Placing::Stands);
    let taken = placing(&wanted("v", "/b"), &there, None, &[]).unwrap_err();
    assert!(matches!(taken, RegistryError::Taken { module, .. } if module == "Keeper"));
}

#[test]
fn a_vault_of_another_server_is_shared_where_it_is_the_same() {
    let there = entries(json!({ "v": entry("/a") }));
    let theirs = noted(&wanted("v", "/a"), Some(&there["v"]));
    let shared = placing(&wanted("v", "/a"), &there, None, std::slice::from_ref(&theirs)).unwrap();
    assert_eq!(shared, Placing::Shared(theirs.clone()));
    assert!(placing(&wanted("v", "/b"), &there, None, &[theirs]).is_err());
}

#[test]
fn only_what_we_put_in_goes_and_only_unchanged_and_with_the_last_server() {
    let there = entries(json!({ "v": entry("/a") }));
    let ours = noted(&wanted("V", "/a"), Some(&there["v"]));
    assert!(leaving(&ours, &there, &[]));
    assert!(!leaving(&ours, &there, std::slice::from_ref(&ours)), "another server lives that has it");
    assert!(!leaving(&ours, &entries(json!({ "v": entry("/changed") })), &[]));
    assert!(!leaving(&ours, &Entries::new(), &[]));
    let begun = noted(&wanted("v", "/a"), None);
    assert!(leaving(&begun, &there, &[]), "the server died between the write and its note");
    assert!(!leaving(&begun, &entries(json!({ "v": { "ModuleName": "Other" } })), &[]));
}

#[test]
fn the_order_of_members_is_no_change() {
    let one: Value = serde_json::from_str(r#"{"a":{"x":1,"y":2},"b":3}"#).unwrap();
    let other: Value = serde_json::from_str(r#"{"b":3,"a":{"y":2,"x":1}}"#).unwrap();
    assert_eq!(digest(&one), digest(&other));
}

#[test]
fn a_store_takes_its_configuration_nowhere_else_and_the_users_own_is_not_ours() {
    let mut store = Extension::new("s", plan::SECRET_STORE);
    store.parameters.0.insert("Interaction".into(), "None".into());
    assert!(WantedVault::of(&store).unwrap().parameters.0.is_empty());
    store.imported = true;
    assert!(WantedVault::of(&store).is_none());
}

//! SecretStore's configuration, which takes the place of VaultParameters, and the rules that Pode has for it.

use serde_json::{Map, Value};

use crate::plan::Extension;
use crate::secret::fold;
use crate::vault::backend::settings::ModuleSettings;

/// See [`ModuleSettings`].
pub(super) static SETTINGS: ModuleSettings = ModuleSettings {
    title: "SecretStore",
    names: &["Authentication", "Interaction", "PasswordTimeout", "Scope"],
    password: "Password",
    no_password: ("Authentication", "None"),
    fixed: ("Interaction", "None", "a server has nobody to ask"),
    example: (
        "How Set-SecretStoreConfiguration sets it up: Authentication, PasswordTimeout, Scope.",
        "{ PasswordTimeout = 900 }",
    ),
    // Without them what is kept there would be lost.
    always_on: &["keep_metadata", "verify"],
};

/// What Pode has a store be where a script says nothing else.
const DEFAULTS: [(&str, &str); 2] = [("Authentication", "Password"), ("Interaction", "None")];

/// Its password times out so many seconds after the next unlock is due.
const BEYOND_UNLOCK: u64 = 10;

/// Seconds between unlocks where a script names none.
const UNLOCK_INTERVAL: u64 = 60;

fn spelled(parameters: &Map<String, Value>, name: &str) -> Option<String> {
    parameters.keys().find(|key| fold(key) == fold(name)).cloned()
}

/// Completes what a script says: its parameters are its configuration, and it times out a little after the next unlock.
/// An error is what the script is told.
pub(super) fn complete(extension: &mut Extension) -> Result<(), String> {
    if extension.unlock.is_none() {
        return Err(
            "An 'UnlockSecret' property is required when using Microsoft.PowerShell.SecretStore".into()
        );
    }
    if extension.unlock_interval.is_zero() {
        extension.unlock_interval = std::time::Duration::from_secs(UNLOCK_INTERVAL);
    }
    let parameters = &mut extension.parameters.0;
    if let Some(key) = spelled(parameters, "Password") {
        parameters.remove(&key);
    }
    for (name, value) in DEFAULTS {
        if spelled(parameters, name).is_none() {
            parameters.insert(name.into(), value.into());
        }
    }
    let timeout = spelled(parameters, "PasswordTimeout");
    let is_positive =
        timeout.as_ref().and_then(|key| parameters.get(key)?.as_i64()).is_some_and(|seconds| seconds > 0);
    if !is_positive {
        let seconds = extension.unlock_interval.as_secs() + BEYOND_UNLOCK;
        parameters.insert(timeout.unwrap_or_else(|| "PasswordTimeout".into()), seconds.into());
    }
    Ok(())
}

/// Takes out what [`complete`] puts in.
pub(super) fn without_defaults(extension: &mut Extension) {
    let timeout = (extension.unlock_interval.as_secs() + BEYOND_UNLOCK).to_string();
    let defaults = DEFAULTS.into_iter().chain([("PasswordTimeout", timeout.as_str())]);
    let defaults: Vec<(String, &str)> = defaults.map(|(name, value)| (fold(name), value)).collect();
    extension.parameters.0.retain(|name, value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        !defaults.contains(&(fold(name), text.as_str()))
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::plan::{SECRET_STORE, SecretSource};

    fn said(parameters: &Value, interval: u64) -> Extension {
        let mut extension = Extension::new("v", SECRET_STORE);
        extension.unlock = Some(SecretSource::Value("p".into()));
        extension.unlock_interval = Duration::from_secs(interval);
        extension.parameters.0 = parameters.as_object().cloned().unwrap();
        extension
    }

    #[test]
    fn what_a_script_says_of_a_store_is_completed_as_pode_does() {
        for (parameters, interval, expected) in [
            (
                json!({}),
                0,
                json!({ "Authentication": "Password", "Interaction": "None", "PasswordTimeout": 70 }),
            ),
            (
                json!({ "password": "p", "authentication": "None", "passwordTimeout": 0 }),
                5,
                json!({ "authentication": "None", "Interaction": "None", "passwordTimeout": 15 }),
            ),
            (
                json!({ "Interaction": "Prompt", "PasswordTimeout": 1 }),
                5,
                json!({ "Authentication": "Password", "Interaction": "Prompt", "PasswordTimeout": 1 }),
            ),
        ] {
            let mut extension = said(&parameters, interval);
            complete(&mut extension).unwrap();
            assert_eq!(Value::Object(extension.parameters.0.clone()), expected);
            let interval = if interval == 0 { UNLOCK_INTERVAL } else { interval };
            assert_eq!(extension.unlock_interval, Duration::from_secs(interval));
        }
        let without = complete(&mut Extension::new("v", SECRET_STORE)).unwrap_err();
        assert!(without.contains("'UnlockSecret' property is required"), "{without}");
    }

    #[test]
    fn a_file_says_only_what_is_not_so_by_itself() {
        for (parameters, expected) in [
            (json!({}), json!({})),
            (json!({ "authentication": "password" }), json!({ "authentication": "password" })),
            (json!({ "interaction": "None", "PASSWORDTIMEOUT": 70 }), json!({})),
            (
                json!({ "Scope": "CurrentUser", "PasswordTimeout": 71 }),
                json!({ "Scope": "CurrentUser", "PasswordTimeout": 71 }),
            ),
        ] {
            let mut extension = said(&parameters, 60);
            complete(&mut extension).unwrap();
            without_defaults(&mut extension);
            assert_eq!(Value::Object(extension.parameters.0), expected, "{parameters}");
        }
    }
}

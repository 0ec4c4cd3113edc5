//! How values are spelt in a configuration file.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::config::units::{format_duration, format_size};
use crate::plan::{Extension, InitScript, Template};
use crate::secret::fold;
use crate::vault::backend::kinds;

/// What stands for the value of a parameter that is not shown: `<fill in: NAME>`. A check refuses it.
pub(in crate::config) const PLACEHOLDER: &str = "<fill in: ";

pub(super) fn init_script(script: &InitScript) -> String {
    match script {
        InitScript::Text(text) => string(text),
        InitScript::File(file) => table([("file", path(file))].into_iter()),
    }
}

pub(super) fn parameters(extension: &Extension, redact: bool) -> String {
    // Parameters that are a module's configuration are no secrets. Those of other modules may be.
    let settings = kinds::settings_of(extension);
    let is_setting = |name: &str| {
        settings.is_some_and(|settings| settings.names.iter().any(|known| fold(known) == fold(name)))
    };
    let show = |name: &str, value: &Value| {
        if redact && !is_setting(name) { string(&format!("{PLACEHOLDER}{name}>")) } else { literal(value) }
    };
    table(extension.parameters.0.iter().map(|(name, value)| (name.as_str(), show(name, value))))
}

pub(super) fn template_value(template: &Template) -> String {
    match template {
        Template::Secret(name) => table([("secret", string(name))].into_iter()),
        Template::Literal(value) => literal(value),
        Template::List(items) => list(items.iter().map(template_value)),
        Template::Object(members) => {
            table(members.iter().map(|(name, member)| (name.as_str(), template_value(member))))
        }
    }
}

/// What TOML cannot say, or would read as something else, is written as JSON in a string.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => raw_json(value),
        Value::Object(members) if members.len() == 1 && members.keys().all(|name| is_place(name)) => {
            raw_json(value)
        }
        Value::Object(members) => {
            table(members.iter().map(|(name, member)| (name.as_str(), literal(member))))
        }
        Value::Array(items) => list(items.iter().map(literal)),
        scalar => scalar_value(scalar),
    }
}

fn is_place(name: &str) -> bool {
    name == "secret" || name == "json"
}

fn raw_json(value: &Value) -> String {
    table([("json", string(&value.to_string()))].into_iter())
}

fn scalar_value(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        // Numbers and booleans are spelt alike in both.
        other => other.to_string(),
    }
}

pub(super) fn table<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> = members.map(|(name, value)| format!("{} = {value}", key(name))).collect();
    if members.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", members.join(", ")) }
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A key as TOML, in quotes where it needs them.
pub fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { string(name) }
}

pub(super) fn path(path: &Path) -> String {
    string(&path.to_string_lossy())
}

pub(super) fn duration(duration: std::time::Duration) -> String {
    string(&format_duration(duration))
}

pub(super) fn size(size: u64) -> String {
    string(&format_size(size))
}

/// A string as TOML, on one line.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name for the variable that holds a vault's password.
pub(super) fn variable_for(vault: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!(
        "{}_PASSWORD",
        vault.chars().map(plain).collect::<String>().trim_start_matches(|c: char| c.is_ascii_digit())
    )
}

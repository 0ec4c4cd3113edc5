//! The table as a JSON Schema, draft 7, which is what editors of TOML know best.

use serde_json::{Map, Value, json};

use super::keys;
use super::shape::{Shape, TableKey};

/// A number and a unit, once or several times: `1h 30m`.
const TIME: &str = r"^\s*(0|([0-9]+\s*[A-Za-zµ]+\s*)+)$";

const SIZE: &str = r"^\s*[0-9]+\s*([KkMmGgTt][Ii]?)?[Bb]?\s*$";

/// The JSON Schema of a configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table(keys(), &[]);
    let head = [
        ("$schema", "http://json-schema.org/draft-07/schema#"),
        ("title", "secretbridge"),
        ("description", "The configuration of secretbridge."),
    ];
    let mut whole: Map<String, Value> =
        head.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    whole.append(&mut schema);
    Value::Object(whole)
}

/// The schema of a table with these keys.
#[cfg(test)]
pub(super) fn of_table(keys: &[TableKey]) -> Value {
    Value::Object(table(keys, &[]))
}

fn table(keys: &[TableKey], one_of: &[&str]) -> Map<String, Value> {
    let properties: Map<_, _> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = Map::new();
    table.insert("type".into(), "object".into());
    table.insert("properties".into(), Value::Object(properties));
    if !required.is_empty() {
        table.insert("required".into(), json!(required));
    }
    if !one_of.is_empty() {
        let any: Vec<_> = one_of.iter().map(|name| json!({ "required": [name] })).collect();
        table.insert("anyOf".into(), Value::Array(any));
    }
    table.insert("additionalProperties".into(), false.into());
    table
}

fn property(key: &TableKey) -> Value {
    let mut property = Map::from_iter([("description".to_owned(), Value::from(key.says))]);
    property.extend(shape(&key.shape));
    for (name, text) in [("default", key.default), ("examples", key.example)] {
        // Of text that is a whole value, which the tests make sure of.
        if let Some(value) = value(text) {
            property.insert(name.into(), if name == "examples" { json!([value]) } else { value });
        }
    }
    Value::Object(property)
}

fn shape(shape: &Shape) -> Map<String, Value> {
    let value = match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Time => number_or(TIME),
        Shape::Size => number_or(SIZE),
        Shape::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Words(words) => {
            let pattern: Vec<_> = words.iter().map(|word| any_case(word)).collect();
            let pattern = format!("^({})$", pattern.join("|"));
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": pattern }] })
        }
        Shape::List(of) => {
            json!({ "anyOf": [Value::Object(self::shape(of)), { "type": "array", "items": self::shape(of) }] })
        }
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(self::shape).collect::<Vec<_>>() })
        }
        Shape::Any => json!({}),
        Shape::Free => json!({ "type": "object" }),
        Shape::Table(keys) => return table(keys, &[]),
        Shape::OneOf(keys, names) => return table(keys, names),
        Shape::Tables(of) => json!({ "type": "array", "items": self::shape(of) }),
        Shape::Named(of) => json!({ "type": "object", "additionalProperties": self::shape(of) }),
    };
    let Value::Object(map) = value else { return Map::new() };
    map
}

fn number_or(pattern: &str) -> Value {
    json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": pattern }] })
}

/// A pattern that fits a word in upper and lower case: schemas have no flag for that.
fn any_case(word: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    word.chars().map(letter).collect()
}

/// A value that is written as TOML.
pub(super) fn value(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

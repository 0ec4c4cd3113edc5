//! `respond`: a JSON document with places for secrets, written in TOML.
//!
//! A table whose only key is `secret`, with a string, stands for that secret. A table whose only key is
//! `json`, with a string, stands for that JSON: it can say what TOML cannot, such as `null`, or a literal
//! that looks like a secret's place. Values of vault parameters are read the same, without secrets.

use serde_json::{Map, Number, Value};
use toml::de::{DeInteger, DeValue};

use super::reader::Node;
use crate::plan::Template;

/// Reads a template. Parts without secrets are literals.
pub(super) fn template<'t>(
    node: &Node<'t>,
    secret: &dyn Fn(&Node<'t>) -> Option<String>,
) -> Option<Template> {
    match node.value() {
        DeValue::Array(_) => {
            let items: Vec<_> = node.items()?.iter().map(|item| template(item, secret)).collect();
            Some(list(items.into_iter().collect::<Option<_>>()?))
        }
        DeValue::Table(_) => {
            let members = node.members()?;
            match members.as_slice() {
                [("secret", place)] if !place.value().is_table() => secret(place).map(Template::Secret),
                [("json", text)] if text.value().is_str() => json(text).map(Template::Literal),
                members => {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(name, member)| Some(((*name).to_owned(), template(member, secret)?)))
                        .collect();
                    Some(object(members.into_iter().collect::<Option<_>>()?))
                }
            }
        }
        _ => scalar(node).map(Template::Literal),
    }
}

/// Reads a value without places for secrets, such as a vault's parameter.
pub(super) fn to_json(node: &Node<'_>) -> Option<Value> {
    match node.value() {
        DeValue::Array(_) => {
            let items: Vec<_> = node.items()?.iter().map(to_json).collect();
            items.into_iter().collect::<Option<_>>().map(Value::Array)
        }
        DeValue::Table(_) => {
            let members = node.members()?;
            if let [("json", text)] = members.as_slice()
                && text.value().is_str()
            {
                return json(text);
            }
            let members: Vec<_> =
                members.iter().map(|(name, member)| Some(((*name).to_owned(), to_json(member)?))).collect();
            members.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        _ => scalar(node),
    }
}

fn object(members: Vec<(String, Template)>) -> Template {
    if !members.iter().all(|(_, member)| matches!(member, Template::Literal(_))) {
        return Template::Object(members);
    }
    let literals = members.into_iter().filter_map(|(name, member)| match member {
        Template::Literal(value) => Some((name, value)),
        _ => None,
    });
    Template::Literal(Value::Object(literals.collect()))
}

fn list(items: Vec<Template>) -> Template {
    if !items.iter().all(|item| matches!(item, Template::Literal(_))) {
        return Template::List(items);
    }
    let literals = items.into_iter().filter_map(|item| match item {
        Template::Literal(value) => Some(value),
        _ => None,
    });
    Template::Literal(Value::Array(literals.collect()))
}

fn json(node: &Node<'_>) -> Option<Value> {
    let value = serde_json::from_str(node.text()?);
    // The parser's error tells a position in the text and never quotes it.
    value.map_err(|error| node.refuse(format!("is not JSON: {error}"), None)).ok()
}

fn scalar(node: &Node<'_>) -> Option<Value> {
    match node.value() {
        DeValue::String(text) => Some(Value::String(text.as_ref().to_owned())),
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Datetime(datetime) => Some(Value::String(datetime.to_string())),
        DeValue::Integer(integer) => number(node, whole(integer)),
        DeValue::Float(float) => number(node, float.as_str().parse().ok().and_then(Number::from_f64)),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn whole(integer: &DeInteger<'_>) -> Option<Number> {
    let (digits, radix) = (integer.as_str(), integer.radix());
    let signed = i64::from_str_radix(digits, radix).ok().map(Number::from);
    signed.or_else(|| u64::from_str_radix(digits, radix).ok().map(Number::from))
}

fn number(node: &Node<'_>, number: Option<Number>) -> Option<Value> {
    if number.is_none() {
        node.refuse("is a number that JSON does not have, or one too large", None);
    }
    number.map(Value::Number)
}

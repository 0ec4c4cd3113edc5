//! A whole secret in a body: what a PUT writes and what a GET shows.
//!
//! The JSON form goes both ways without loss: `{"Name","Type","Value"}`, where text stands for itself,
//! bytes are base64, a credential is `{"UserName","Password"}`, and a member of a table that is not a
//! string is `{"Type","Value"}`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::HeaderMap;
use hyper::header::ACCEPT;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::body_error::BodyError;
use super::form::{self, Media};
use super::json::{self, ByName};
use crate::protocol::{Metadata, MetadataValue};
use crate::secret::{Bytes, Credential, SecretType, SecretValue, Text};

/// A secret to be written.
#[derive(Debug, PartialEq)]
pub struct Written {
    /// The value.
    pub value: SecretValue,
    /// Metadata, where the body has any; without, what is there is kept.
    pub metadata: Option<Metadata>,
}

/// How a secret is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As a JSON object.
    Json,
    /// As bare text.
    Text,
    /// As bare bytes.
    Octets,
}

// === writing ===

/// Reads the secret in a PUT's body.
pub fn written(headers: &HeaderMap, body: &[u8], name: &str) -> Result<Written, BodyError> {
    let plain = |value| Ok(Written { value, metadata: None });
    match form::media(headers)? {
        Media::None | Media::Text => {
            let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
            plain(SecretValue::string(text))
        }
        Media::Octets => plain(SecretValue::Bytes(Bytes::new(body))),
        Media::Json => whole(form::utf8(body)?, name),
        Media::Form => from_form(form::utf8(body)?, name),
        Media::Multipart | Media::Other => Err(BodyError::Media),
    }
}

/// Reads a secret from its JSON form, as a GET shows it and a PUT takes it.
pub fn parse(text: &str, name: &str) -> Result<Written, BodyError> {
    whole(text, name)
}

/// Reads the metadata in a PATCH's body: `{"Metadata":{…}}`.
pub fn patch(headers: &HeaderMap, body: &[u8]) -> Result<Metadata, BodyError> {
    if form::media(headers)? != Media::Json {
        return Err(BodyError::Media);
    }
    let members = json::object(form::utf8(body)?)?;
    if members.keys().any(|key| !key.eq_ignore_ascii_case("Metadata")) {
        return Err(BodyError::Member);
    }
    let field = || BodyError::Missing { field: "Metadata".to_owned() };
    metadata(json::find(&members, "Metadata").ok_or_else(field)?)
}

/// Reads the password in an unlock's body: none, bare text or `{"Password":"…"}`.
pub fn password(headers: &HeaderMap, body: &[u8]) -> Result<Option<Text>, BodyError> {
    if body.is_empty() {
        return Ok(None);
    }
    match form::media(headers)? {
        Media::None | Media::Text => form::utf8(body).map(|text| Some(Text::from(text))),
        Media::Json => {
            let members = json::object(form::utf8(body)?)?;
            let field = || BodyError::Missing { field: "Password".to_owned() };
            text(json::find(&members, "Password").ok_or_else(field)?).map(Some)
        }
        Media::Form => match form::form_field(form::utf8(body)?, "Password")? {
            SecretValue::String(text) => Ok(Some(text)),
            _ => Err(BodyError::Form),
        },
        Media::Octets | Media::Multipart | Media::Other => Err(BodyError::Media),
    }
}

/// Reads metadata from its JSON form.
pub fn parse_metadata(text: &str) -> Result<Metadata, BodyError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| BodyError::Metadata)?;
    metadata(raw)
}

/// What `curl -d` sends: a form with the field `Value`, or JSON under a form's media type.
fn from_form(text: &str, name: &str) -> Result<Written, BodyError> {
    if text.trim_start().starts_with('{')
        && let Ok(members) = json::object(text)
    {
        return from_object(&members, name);
    }
    match form::form_field(text, "Value") {
        Ok(value) => Ok(Written { value, metadata: None }),
        Err(BodyError::Missing { .. }) => Err(BodyError::Form),
        Err(error) => Err(error),
    }
}

fn whole(text: &str, name: &str) -> Result<Written, BodyError> {
    match json::string(text) {
        Some(text) => Ok(Written { value: SecretValue::string(text), metadata: None }),
        None => from_object(&json::object(text)?, name),
    }
}

fn from_object(members: &ByName<'_>, name: &str) -> Result<Written, BodyError> {
    const KNOWN: [&str; 4] = ["Name", "Value", "Type", "Metadata"];
    if members.keys().any(|key| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(key))) {
        return Err(BodyError::Member);
    }
    // A secret read under one name may be sent back to that name only.
    let said = json::find(members, "Name").map(|raw| json::string(raw.get()));
    if said
        .is_some_and(|said| said.is_none_or(|said| crate::secret::fold(&said) != crate::secret::fold(name)))
    {
        return Err(BodyError::Name);
    }
    let raw = json::find(members, "Value").ok_or_else(|| BodyError::Missing { field: "Value".to_owned() })?;
    let value = match json::find(members, "Type") {
        Some(kind) => typed(kind, raw)?,
        None => untyped(raw)?,
    };
    Ok(Written { value, metadata: json::find(members, "Metadata").map(metadata).transpose()? })
}

/// Text is a String, an object is a Hashtable; nothing else says by itself what it is.
fn untyped(raw: &RawValue) -> Result<SecretValue, BodyError> {
    match raw.get().as_bytes().first() {
        Some(b'"') => Ok(SecretValue::String(text(raw)?)),
        Some(b'{') => table(raw),
        Some(b'n') => Err(BodyError::Null { field: "Value".to_owned() }),
        Some(b'[') => Err(BodyError::List { field: "Value".to_owned() }),
        _ => Err(BodyError::Mismatch),
    }
}

fn typed(kind: &RawValue, raw: &RawValue) -> Result<SecretValue, BodyError> {
    let kind = json::string(kind.get()).ok_or(BodyError::Type)?;
    match kind.to_ascii_lowercase().as_str() {
        "string" => Ok(SecretValue::String(text(raw)?)),
        "securestring" => Ok(SecretValue::SecureString(text(raw)?)),
        "bytearray" => {
            // The decoder's error quotes a byte of the input, so it is not passed on.
            let bytes = BASE64.decode(text(raw)?.expose()).map_err(|_| BodyError::Mismatch)?;
            Ok(SecretValue::Bytes(Bytes::new(bytes)))
        }
        "hashtable" => table(raw),
        "pscredential" => credential(raw),
        _ => Err(BodyError::Type),
    }
}

fn text(raw: &RawValue) -> Result<Text, BodyError> {
    if !raw.get().starts_with('"') {
        return Err(BodyError::Mismatch);
    }
    json::string(raw.get())
        .map(Text::new)
        .ok_or_else(|| BodyError::Unrepresentable { field: "Value".to_owned() })
}

fn members(raw: &RawValue) -> Result<ByName<'_>, BodyError> {
    json::object(raw.get()).map_err(|_| BodyError::Mismatch)
}

fn credential(raw: &RawValue) -> Result<SecretValue, BodyError> {
    let members = members(raw)?;
    let (Some(user), Some(password), 2) =
        (json::find(&members, "UserName"), json::find(&members, "Password"), members.len())
    else {
        return Err(BodyError::Mismatch);
    };
    let user = text(user)?.expose().to_owned();
    Ok(SecretValue::Credential(Credential { user, password: text(password)? }))
}

/// Tables in tables are for the vault to judge; each level must say that it is one, so the depth of the
/// text bounds the recursion by half.
fn table(raw: &RawValue) -> Result<SecretValue, BodyError> {
    table_at(raw, 0)
}

fn table_at(raw: &RawValue, depth: usize) -> Result<SecretValue, BodyError> {
    if depth == 16 {
        return Err(BodyError::Deep { field: "Value".to_owned() });
    }
    let table: Result<BTreeMap<_, _>, BodyError> = members(raw)?
        .into_iter()
        .map(|(key, raw)| {
            let value = match raw.get().as_bytes().first() {
                Some(b'"') => SecretValue::String(text(raw)?),
                Some(b'{') => tagged(raw, depth)?,
                _ => return Err(BodyError::Mismatch),
            };
            Ok((key, value))
        })
        .collect();
    json::table_of(table?, "Value")
}

fn tagged(raw: &RawValue, depth: usize) -> Result<SecretValue, BodyError> {
    let members = members(raw)?;
    let (Some(kind), Some(value), 2) =
        (json::find(&members, "Type"), json::find(&members, "Value"), members.len())
    else {
        return Err(BodyError::Mismatch);
    };
    if json::string(kind.get()).is_some_and(|kind| kind.eq_ignore_ascii_case("Hashtable")) {
        return table_at(value, depth + 1);
    }
    typed(kind, value)
}

fn metadata(raw: &RawValue) -> Result<Metadata, BodyError> {
    let values: BTreeMap<String, Value> = serde_json::from_str(raw.get()).map_err(|_| BodyError::Metadata)?;
    values
        .into_iter()
        .map(|(key, value)| {
            let value = match value {
                Value::String(text) => MetadataValue::String(text),
                Value::Number(number) => MetadataValue::Int(number.as_i64().ok_or(BodyError::Metadata)?),
                Value::Object(date) => MetadataValue::Date(date_text(&date).ok_or(BodyError::Metadata)?),
                _ => return Err(BodyError::Metadata),
            };
            Ok((key, value))
        })
        .collect()
}

fn date_text(date: &Map<String, Value>) -> Option<String> {
    let known = date.len() == 2 && date.get("Type")?.as_str()? == "DateTime";
    let text = date.get("Value")?.as_str()?;
    let format = &time::format_description::well_known::Rfc3339;
    (known && time::OffsetDateTime::parse(text, format).is_ok()).then(|| text.to_owned())
}

// === showing ===

/// A secret's JSON form.
pub fn shown(name: &str, value: &SecretValue) -> Value {
    json!({ "Name": name, "Type": value.kind(), "Value": content(value) })
}

fn content(value: &SecretValue) -> Value {
    let SecretValue::Hashtable(members) = value else { return value.to_json() };
    let member = |value: &SecretValue| match value.kind() {
        SecretType::String => content(value),
        kind => json!({ "Type": kind, "Value": content(value) }),
    };
    Value::Object(members.iter().map(|(key, value)| (key.clone(), member(value))).collect())
}

/// Metadata's JSON form.
pub fn shown_metadata(metadata: &Metadata) -> Value {
    let one = |value: &MetadataValue| match value {
        MetadataValue::String(text) => json!(text),
        MetadataValue::Int(number) => json!(number),
        MetadataValue::Date(date) => json!({ "Type": "DateTime", "Value": date }),
    };
    Value::Object(metadata.iter().map(|(key, value)| (key.clone(), one(value))).collect())
}

/// The formats that a client accepts, best first. JSON where it does not say.
pub fn accepted(headers: &HeaderMap) -> Vec<Format> {
    let mut ranges: Vec<(f32, Format)> = Vec::new();
    let mut said = false;
    for field in headers.get_all(ACCEPT) {
        for range in field.to_str().unwrap_or_default().split(',').map(str::trim).filter(|r| !r.is_empty()) {
            said = true;
            ranges.extend(one_range(range));
        }
    }
    if !said {
        return vec![Format::Json];
    }
    ranges.retain(|(quality, _)| *quality > 0.0);
    // Stable: of two that are equally good the first named wins.
    ranges.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    ranges.into_iter().map(|(_, format)| format).collect()
}

fn one_range(range: &str) -> Option<(f32, Format)> {
    let mut parts = range.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "*/*" | "application/*" | "application/json" => Format::Json,
        "text/plain" | "text/*" => Format::Text,
        "application/octet-stream" => Format::Octets,
        _ => return None,
    };
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
    Some((quality.unwrap_or(0.0), format))
}

/// The bare form of a value, if it has one in that format.
pub fn bare(value: &SecretValue, format: Format) -> Option<Vec<u8>> {
    match (format, value) {
        (Format::Text | Format::Octets, SecretValue::String(text) | SecretValue::SecureString(text)) => {
            Some(text.expose().as_bytes().to_vec())
        }
        (Format::Octets, SecretValue::Bytes(bytes)) => Some(bytes.expose().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

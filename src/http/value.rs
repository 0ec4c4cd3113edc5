//! Whole secrets as bodies: what a PUT brings and what a GET takes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::form;
use super::message::Reply;
use super::respond;
use crate::protocol::{Metadata, MetadataValue, SecretInfo};
use crate::secret::{Bytes as SecretBytes, Credential, SecretType, SecretValue, Text};

/// A value and, where it was given, its metadata.
pub type Brought = (SecretValue, Option<Metadata>);

/// What a PUT brings, by its media type: text, bytes, JSON (a string, or `{"Value", "Type", "Metadata"}`)
/// or a form with the field `Value`. The error says what is wrong and never quotes the body.
pub async fn brought(content_type: Option<&str>, body: &Bytes) -> Result<Brought, String> {
    let media = content_type
        .unwrap_or("text/plain")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match media.as_str() {
        "application/octet-stream" => Ok((SecretValue::Bytes(SecretBytes::new(body.to_vec())), None)),
        "application/json" => match serde_json::from_slice(body) {
            Ok(Value::String(text)) => Ok((SecretValue::string(text), None)),
            Ok(Value::Object(fields)) => from_fields(&fields),
            Ok(_) => Err("the JSON is neither a string nor an object with the member 'Value'".into()),
            Err(_) => Err("the body is not JSON in UTF-8".into()),
        },
        "application/x-www-form-urlencoded" | "multipart/form-data" => {
            let value = form::field(content_type, body, "Value").await.map_err(|error| error.to_string())?;
            Ok((value, None))
        }
        media if media.starts_with("text/") => match std::str::from_utf8(body) {
            Ok(text) => Ok((SecretValue::string(text), None)),
            Err(_) => Err("the text is not UTF-8 (application/octet-stream takes bytes)".into()),
        },
        _ => Err(
            "the media type is not one of text/plain, application/octet-stream, application/json and forms"
                .into(),
        ),
    }
}

fn from_fields(fields: &Map<String, Value>) -> Result<Brought, String> {
    if let Some(name) =
        fields.keys().find(|name| !["Name", "Value", "Type", "Metadata"].contains(&name.as_str()))
    {
        return Err(format!("the member '{name}' is not one of Value, Type and Metadata"));
    }
    let value = fields.get("Value").ok_or("the member 'Value' is missing")?;
    let value = typed(value, fields.get("Type"))?;
    let metadata = fields.get("Metadata").map(metadata).transpose()?;
    Ok((value, metadata))
}

fn typed(value: &Value, kind: Option<&Value>) -> Result<SecretValue, String> {
    let Some(kind) = kind else {
        return form::from_json(value).map_err(|what| format!("the value is {what}, which no secret can be"));
    };
    let kind: SecretType = serde_json::from_value(kind.clone())
        .map_err(|_| "the type is not one of String, SecureString, ByteArray, Hashtable and PSCredential")?;
    let text = || value.as_str().ok_or_else(|| format!("a {kind} is given as a JSON string"));
    match kind {
        SecretType::String => Ok(SecretValue::string(text()?)),
        SecretType::SecureString => Ok(SecretValue::SecureString(text()?.into())),
        SecretType::ByteArray => match BASE64.decode(text()?) {
            Ok(bytes) => Ok(SecretValue::Bytes(SecretBytes::new(bytes))),
            Err(_) => Err("a ByteArray is given in base64".into()),
        },
        SecretType::PSCredential => {
            let member = |name: &str| value.get(name).and_then(Value::as_str);
            match (member("UserName"), member("Password")) {
                (Some(user), Some(password)) if !user.is_empty() => Ok(SecretValue::Credential(Credential {
                    user: user.into(),
                    password: Text::from(password),
                })),
                _ => Err("a PSCredential is given as {\"UserName\", \"Password\"}, with a user name".into()),
            }
        }
        SecretType::Hashtable => {
            let members = value.as_object().ok_or("a Hashtable is given as a JSON object")?;
            let members: Result<BTreeMap<_, _>, String> =
                members.iter().map(|(key, value)| Ok((key.clone(), member(value)?))).collect();
            Ok(SecretValue::Hashtable(members?))
        }
        SecretType::Unknown => Err("the type Unknown cannot be written".into()),
    }
}

/// A member of a table: plain, or `{"Type", "Value"}`.
fn member(value: &Value) -> Result<SecretValue, String> {
    match value.as_object().map(|fields| (fields.len(), fields.get("Type"), fields.get("Value"))) {
        Some((2, Some(kind), Some(value))) => typed(value, Some(kind)),
        _ => typed(value, None),
    }
}

fn metadata(value: &Value) -> Result<Metadata, String> {
    let members = value.as_object().ok_or("the metadata is no JSON object")?;
    members
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Value::String(text) => MetadataValue::String(text.clone()),
                Value::Number(number) => MetadataValue::Int(
                    number.as_i64().ok_or_else(|| format!("the metadata '{key}' is no whole number"))?,
                ),
                Value::Object(date) => match date.get("Date").and_then(Value::as_str) {
                    Some(date) => MetadataValue::Date(date.to_owned()),
                    None => return Err(format!("the metadata '{key}' is no text, number or {{\"Date\"}}")),
                },
                _ => return Err(format!("the metadata '{key}' is no text, number or {{\"Date\"}}")),
            };
            Ok((key.clone(), value))
        })
        .collect()
}

/// A secret for a GET: JSON, or raw where the client accepts that before anything else.
pub fn sent(name: &str, value: &SecretValue, accept: Option<&str>) -> Reply {
    let first =
        accept.unwrap_or_default().split([',', ';']).next().unwrap_or_default().trim().to_ascii_lowercase();
    match (first.as_str(), value.as_text(), value) {
        ("text/plain", Some(text), _) => {
            respond::typed(StatusCode::OK, "text/plain; charset=utf-8", text.to_owned())
        }
        ("application/octet-stream", _, SecretValue::Bytes(bytes)) => {
            respond::typed(StatusCode::OK, "application/octet-stream", bytes.expose().to_vec())
        }
        ("application/octet-stream", Some(text), _) => {
            respond::typed(StatusCode::OK, "application/octet-stream", text.to_owned())
        }
        _ => {
            let document = json!({ "Name": name, "Type": value.kind(), "Value": value.to_json() });
            respond::json(StatusCode::OK, &document)
        }
    }
}

/// A vault's names, types and metadata.
pub fn listed(secrets: &[SecretInfo]) -> Reply {
    let secrets: Vec<Value> = secrets
        .iter()
        .map(|secret| {
            let metadata: Map<String, Value> =
                secret.metadata.iter().map(|(key, value)| (key.clone(), shown(value))).collect();
            json!({ "Name": secret.name, "Type": secret.kind, "Metadata": metadata })
        })
        .collect();
    respond::json(StatusCode::OK, &json!({ "Secrets": secrets }))
}

fn shown(value: &MetadataValue) -> Value {
    match value {
        MetadataValue::String(text) => json!(text),
        MetadataValue::Int(number) => json!(number),
        MetadataValue::Date(date) => json!({ "Date": date }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn put(content_type: &str, body: &'static str) -> Result<Brought, String> {
        brought(Some(content_type), &Bytes::from_static(body.as_bytes())).await
    }

    #[tokio::test]
    async fn every_type_goes_in_and_comes_out_the_same() {
        for (body, kind) in [
            (r#"{"Value":"v"}"#, "String"),
            (r#"{"Value":"v","Type":"SecureString"}"#, "SecureString"),
            (r#"{"Value":"AAH/","Type":"ByteArray"}"#, "ByteArray"),
            (r#"{"Value":{"UserName":"u","Password":"p"},"Type":"PSCredential"}"#, "PSCredential"),
            (
                r#"{"Value":{"a":"b","c":{"Type":"SecureString","Value":"d"}},"Type":"Hashtable"}"#,
                "Hashtable",
            ),
        ] {
            let (value, _) = put("application/json", body).await.unwrap();
            assert_eq!(value.kind().to_string(), kind);
            let reply = sent("n", &value, None);
            let document: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!((&document["Name"], &document["Type"]), (&json!("n"), &json!(kind)));
        }
        let (value, _) = put("text/plain", "plain").await.unwrap();
        assert_eq!(sent("n", &value, Some("text/plain, */*")).body, "plain");
    }

    #[tokio::test]
    async fn metadata_comes_along() {
        let (_, metadata) =
            put("application/json", r#"{"Value":"v","Metadata":{"a":"b","n":3}}"#).await.unwrap();
        assert_eq!(metadata.unwrap()["n"], MetadataValue::Int(3));
    }

    #[tokio::test]
    async fn a_wrong_body_is_an_error_that_quotes_no_value() {
        for (content_type, body) in [
            ("application/json", "\"canary"),
            ("application/json", r#"{"value":"canary"}"#),
            ("application/json", r#"{"Value":"canary!","Type":"ByteArray"}"#),
            ("application/json", r#"{"Value":"canary","Type":"Number"}"#),
            ("application/json", r#"{"Value":["canary"]}"#),
            ("application/x-www-form-urlencoded", "canary"),
            ("image/png", "canary"),
        ] {
            let error = put(content_type, body).await.unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}

//! The field of an update's body: a form, a multipart form or JSON.
//!
//! The media type decides, but clients often send a wrong one (`curl -d` always says that it sends a
//! form), so a body that is one whole JSON object is read as that unless it is said to be multipart. No
//! error repeats any part of a value.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use multer::Multipart;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{fields, json};
use crate::secret::{SecretValue, Text, fold};

/// Why a body does not hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// No notice of changed secrets.
    #[error("the body names no changed secrets")]
    Notice,
    /// Not UTF-8.
    #[error("the body is not UTF-8 text")]
    NotUtf8,
    /// Said to be in another encoding.
    #[error("the body is in an encoding other than UTF-8")]
    Charset,
    /// Not JSON.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON, but no object.
    #[error("the JSON body is not an object")]
    NotObject,
    /// The field is missing.
    #[error("the body has no field '{field}'")]
    Missing {
        /// The field.
        field: String,
    },
    /// The field is null, or has a member that is.
    #[error("the field '{field}' is or holds null, which no vault can keep")]
    Null {
        /// The field.
        field: String,
    },
    /// The field is a list, or has a member that is.
    #[error("the field '{field}' is or holds a list, which no vault can keep")]
    List {
        /// The field.
        field: String,
    },
    /// Text that UTF-8 cannot hold.
    #[error("the field '{field}' holds text that is not Unicode (a lone surrogate)")]
    Unrepresentable {
        /// The field.
        field: String,
    },
    /// Objects in objects in objects.
    #[error("the field '{field}' is nested too deeply")]
    Deep {
        /// The field.
        field: String,
    },
    /// Two names of one table that a vault would take for one.
    #[error("the field '{field}' has two members whose names differ in case only")]
    TwoCases {
        /// The field.
        field: String,
    },
    /// A file in place of text.
    #[error("the field '{field}' is a file upload")]
    File {
        /// The field.
        field: String,
    },
    /// A multipart body that cannot be read.
    #[error("the multipart body is malformed")]
    Multipart,
    /// A form in which the whole secret should be, without its field.
    #[error("the body is a form without the field 'Value'")]
    Form,
    /// A media type that holds no secret.
    #[error("the body's media type is not one that can be written to a secret")]
    Media,
    /// Not one of the members that a written secret may have.
    #[error("the body has a member other than Value, Type and Metadata")]
    Member,
    /// The body's name is not the path's.
    #[error("the body's Name is not the name in the path")]
    Name,
    /// No such type.
    #[error("the body's Type is not one of the five types of secrets")]
    Type,
    /// Value and type do not go together.
    #[error("the body's Value does not go with its Type")]
    Mismatch,
    /// Metadata of a kind that vaults do not take.
    #[error("the body's Metadata has a value that is neither text, nor a whole number, nor a date")]
    Metadata,
}

// === impl BodyError ===

impl BodyError {
    /// What to send instead.
    pub fn hint(&self) -> &'static str {
        match self {
            BodyError::Notice => {
                "send {\"secrets\":[{\"vault\":\"…\",\"key\":\"…\"}]} as JSON, or Event Grid's events"
            }
            BodyError::NotUtf8 | BodyError::Charset => "send UTF-8, or bytes as application/octet-stream",
            BodyError::Missing { .. } => "send it as a form (Value=…) or as JSON ({\"Value\":\"…\"})",
            BodyError::File { .. } => "send it as text: curl -F 'Value=<file', not 'Value=@file'",
            BodyError::Multipart => "the Content-Type needs the boundary that the body uses",
            BodyError::Form => {
                "curl -d sends a form: write -d 'Value=…', or -H 'Content-Type: text/plain' --data-binary '…'"
            }
            BodyError::Media => {
                "text/plain, application/octet-stream, application/json, or a form with the field Value"
            }
            BodyError::Member | BodyError::Name => {
                "{\"Value\":…,\"Type\":…,\"Metadata\":{…}}; Type and Metadata may be missing"
            }
            BodyError::Type => "String, SecureString, ByteArray, Hashtable or PSCredential",
            BodyError::Mismatch => {
                "text for String and SecureString, base64 for ByteArray, {\"UserName\",\"Password\"} for \
                 PSCredential, for Hashtable an object of texts and {\"Type\",\"Value\"}"
            }
            BodyError::Metadata => "a date is {\"Type\":\"DateTime\",\"Value\":\"2026-11-23T10:00:00Z\"}",
            BodyError::Json { .. }
            | BodyError::NotObject
            | BodyError::Null { .. }
            | BodyError::List { .. }
            | BodyError::Unrepresentable { .. }
            | BodyError::Deep { .. }
            | BodyError::TwoCases { .. } => "a secret is text, a number, a boolean, or an object of these",
        }
    }
}

// === media types ===

/// What a body is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Form,
    Multipart,
    Text,
    Octets,
    /// Nothing said.
    None,
    Other,
}

/// The body's media type; an encoding other than UTF-8 is refused.
pub(super) fn media(headers: &HeaderMap) -> Result<Media, BodyError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Media::None) };
    let text = value.to_str().map_err(|_| BodyError::Media)?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let media = match essence.as_str() {
        "" => Media::None,
        "application/x-www-form-urlencoded" => Media::Form,
        "multipart/form-data" => Media::Multipart,
        "application/octet-stream" => Media::Octets,
        "application/json" | "text/json" => Media::Json,
        json if json.starts_with("application/") && json.ends_with("+json") => Media::Json,
        text if text.starts_with("text/") => Media::Text,
        _ => Media::Other,
    };
    let foreign = |part: &str| {
        let Some((name, set)) = part.split_once('=') else { return false };
        let set = set.trim().trim_matches('"');
        let ours = ["utf-8", "utf8", "us-ascii"].iter().any(|own| set.eq_ignore_ascii_case(own));
        name.trim().eq_ignore_ascii_case("charset") && !ours
    };
    if media != Media::Octets && parts.any(foreign) {
        return Err(BodyError::Charset);
    }
    Ok(media)
}

pub(super) fn utf8(body: &[u8]) -> Result<&str, BodyError> {
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
    // Windows editors put a mark at the start of files, which is no part of their text.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

// === the field ===

/// The field of an update's body: exact name first, then without case.
pub async fn field(headers: &HeaderMap, body: &Bytes, name: &str) -> Result<SecretValue, BodyError> {
    match media(headers)? {
        Media::Json => json_field(utf8(body)?, name),
        Media::Multipart => multipart_field(headers, body, name).await,
        _ => either_field(utf8(body)?, name),
    }
}

fn json_field(text: &str, name: &str) -> Result<SecretValue, BodyError> {
    let members = json::object(text)?;
    let raw = json::find(&members, name).ok_or_else(|| BodyError::Missing { field: name.to_owned() })?;
    json::value(raw, name)
}

/// JSON first, where it is one whole object: as a form, `{"Value":"a&Value=b"}` would have a field of
/// that name too, with the wrong value.
fn either_field(text: &str, name: &str) -> Result<SecretValue, BodyError> {
    if !text.trim_start().starts_with('{') {
        return form_field(text, name);
    }
    match json_field(text, name) {
        Err(broken @ BodyError::Json { .. }) => form_field(text, name).map_err(|_| broken),
        done => done,
    }
}

/// A field of a form.
pub(super) fn form_field(text: &str, name: &str) -> Result<SecretValue, BodyError> {
    let pairs = fields::pairs(text).map_err(|fields::NotUtf8| BodyError::NotUtf8)?;
    let written = pairs.into_iter().filter(|pair| pair.value.is_some() || !pair.name.is_empty());
    let value = |value: Option<Zeroizing<String>>| value.map(|mut value| std::mem::take(&mut *value));
    choose(written.map(|pair| (pair.name, value(pair.value).unwrap_or_default())).collect(), name)
}

/// Fields of the exact name, else of the name without case; several are joined with a comma, as Pode
/// does.
fn choose(fields: Vec<(String, String)>, name: &str) -> Result<SecretValue, BodyError> {
    let exact = fields.iter().any(|(key, _)| key == name);
    let folded = fold(name);
    let chosen: Vec<String> = fields
        .into_iter()
        .filter(|(key, _)| if exact { key == name } else { fold(key) == folded })
        .map(|(_, value)| value)
        .collect();
    if chosen.is_empty() {
        return Err(BodyError::Missing { field: name.to_owned() });
    }
    Ok(SecretValue::String(Text::new(chosen.join(","))))
}

async fn multipart_field(headers: &HeaderMap, body: &Bytes, name: &str) -> Result<SecretValue, BodyError> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(said).map_err(|_| BodyError::Multipart)?;
    let whole = stream::iter([Ok::<_, Infallible>(body.clone())]);
    let mut parts = Multipart::new(whole, boundary);
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|_| BodyError::Multipart)? {
        let Some(key) = part.name().map(str::to_owned) else { continue };
        let ours = fold(&key) == fold(name);
        if ours && part.file_name().is_some() {
            return Err(BodyError::File { field: name.to_owned() });
        }
        // Parts that are not ours are read past, so that a broken rest is still seen.
        let bytes = part.bytes().await.map_err(|_| BodyError::Multipart)?;
        if ours {
            let text = std::str::from_utf8(&bytes).map_err(|_| BodyError::NotUtf8)?;
            fields.push((key, text.to_owned()));
        }
    }
    choose(fields, name)
}

#[cfg(test)]
mod tests;

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
use zeroize::Zeroizing;

use super::body_error::BodyError;
use super::{fields, json};
use crate::secret::{SecretValue, Text, fold};

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
        // Other parts are read too, so that a form that is broken further on is still refused.
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

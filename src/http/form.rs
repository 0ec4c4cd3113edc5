//! One field of a request's body, as a secret: urlencoded, multipart or JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::secret::{SecretValue, fold};

/// Why a body gives no value. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Not what its media type says.
    #[error("the body is not {0}")]
    Malformed(&'static str),
    /// The field is not there.
    #[error("the body has no field '{0}'")]
    Missing(String),
    /// The field's value cannot be a secret.
    #[error("the field '{0}' is {1}, which no secret can be")]
    Unfit(String, &'static str),
}

/// The field of that name: the exact name first, then without case. Numbers and booleans become text, an
/// object a table; text fields that stand twice are joined with a comma, as Pode does it.
pub async fn field(content_type: Option<&str>, body: &Bytes, name: &str) -> Result<SecretValue, FormError> {
    let content_type = content_type.unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media.ends_with("/json") || media.ends_with("+json") {
        return json(body, name);
    }
    if media == "multipart/form-data" {
        return multipart(content_type, body, name).await;
    }
    // `Invoke-RestMethod` and `curl -d` call JSON text a form unless told otherwise.
    if body.trim_ascii_start().first() == Some(&b'{') {
        return json(body, name);
    }
    let pairs = pairs(body)?;
    pick(&pairs, name).map(SecretValue::string).ok_or_else(|| FormError::Missing(name.to_owned()))
}

fn json(body: &[u8], name: &str) -> Result<SecretValue, FormError> {
    // The parser's own message may quote the input.
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) else {
        return Err(FormError::Malformed("a JSON object in UTF-8"));
    };
    let folded = fold(name);
    let found = fields
        .get(name)
        .or_else(|| fields.iter().find(|(key, _)| fold(key) == folded).map(|(_, value)| value));
    from_json(found.ok_or_else(|| FormError::Missing(name.to_owned()))?)
        .map_err(|what| FormError::Unfit(name.to_owned(), what))
}

/// A JSON value as a secret.
pub fn from_json(value: &Value) -> Result<SecretValue, &'static str> {
    Ok(match value {
        Value::String(text) => SecretValue::string(text.clone()),
        Value::Number(number) => SecretValue::string(number.to_string()),
        // As PowerShell spells them.
        Value::Bool(true) => SecretValue::string("True"),
        Value::Bool(false) => SecretValue::string("False"),
        Value::Object(members) => {
            let members: Result<BTreeMap<_, _>, &str> = members
                .iter()
                .map(|(key, value)| from_json(value).map(|value| (key.clone(), value)))
                .collect();
            SecretValue::Hashtable(members?)
        }
        Value::Null => return Err("null"),
        Value::Array(_) => return Err("a list"),
    })
}

/// The pairs of an urlencoded body. Bytes that are no UTF-8 are an error, not replaced.
fn pairs(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    let decode = |part: &[u8]| {
        let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        let bytes: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
        String::from_utf8(bytes).map_err(|_| FormError::Malformed("a form in UTF-8"))
    };
    body.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            Ok((decode(&pair[..at])?, decode(pair.get(at + 1..).unwrap_or_default())?))
        })
        .collect()
}

async fn multipart(content_type: &str, body: &Bytes, name: &str) -> Result<SecretValue, FormError> {
    let malformed = || FormError::Malformed("multipart form data");
    let boundary = multer::parse_boundary(content_type).map_err(|_| malformed())?;
    let whole = body.clone();
    let stream = futures_util::stream::once(async move { Ok::<_, std::convert::Infallible>(whole) });
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut pairs = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|_| malformed())? {
        let key = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(|_| malformed())?;
        // A file that is no text is no field.
        if let Ok(text) = String::from_utf8(bytes.to_vec()) {
            pairs.push((key, text));
        }
    }
    pick(&pairs, name).map(SecretValue::string).ok_or_else(|| FormError::Missing(name.to_owned()))
}

fn pick(pairs: &[(String, String)], name: &str) -> Option<String> {
    let folded = fold(name);
    let all = |is: &dyn Fn(&str) -> bool| {
        let values: Vec<&str> =
            pairs.iter().filter(|(key, _)| is(key)).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    all(&|key| key == name).or_else(|| all(&|key| fold(key) == folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
    const JSON: Option<&str> = Some("application/json; charset=utf-8");

    async fn text(content_type: Option<&str>, body: &'static str) -> Result<String, FormError> {
        let value = field(content_type, &Bytes::from_static(body.as_bytes()), "Value").await?;
        Ok(value.as_text().unwrap_or("(no text)").to_owned())
    }

    #[tokio::test]
    async fn a_field_is_found_in_every_kind_of_body() {
        let multipart = "--b\r\nContent-Disposition: form-data; name=\"Value\"\r\n\r\na b\r\n--b--\r\n";
        for (content_type, body, expected) in [
            (FORM, "Value=a+b%26c", "a b&c"),
            (FORM, "x=1&value=low", "low"),
            (FORM, "value=low&Value=exact", "exact"),
            (FORM, "Value=1&Value=2", "1,2"),
            (FORM, "Value=", ""),
            (FORM, "{\"Value\":\"sniffed\"}", "sniffed"),
            (None, "Value=x", "x"),
            (JSON, "{\"Value\":\"2026-11-23T10:00:00Z\"}", "2026-11-23T10:00:00Z"),
            (JSON, "{\"value\":42}", "42"),
            (JSON, "{\"Value\":true}", "True"),
            (Some("multipart/form-data; boundary=b"), multipart, "a b"),
        ] {
            assert_eq!(text(content_type, body).await.as_deref(), Ok(expected), "{body}");
        }
    }

    #[tokio::test]
    async fn a_body_without_a_value_is_an_error_that_quotes_nothing() {
        for (content_type, body) in [
            (FORM, "Other=canary"),
            (FORM, ""),
            (FORM, "Value=%ff%fe"),
            (JSON, "{\"Value\":null,\"x\":\"canary\"}"),
            (JSON, "{\"Value\":[1]}"),
            (JSON, "{\"Value\":\"canary"),
            (JSON, "{\"Value\":\"\\ud800\"}"),
            (JSON, "[\"canary\"]"),
            (Some("multipart/form-data"), "canary"),
        ] {
            let error = text(content_type, body).await.unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_object_becomes_a_table_of_texts() {
        let body = Bytes::from_static(br#"{"Value":{"user":"u","port":5432}}"#);
        let value = field(JSON, &body, "Value").await.unwrap();
        assert_eq!(value.member("port").and_then(SecretValue::as_text), Some("5432"));
    }
}

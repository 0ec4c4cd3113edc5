use hyper::header::{CONTENT_TYPE, HeaderValue};
use proptest::prelude::*;

use super::*;

fn said(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !value.is_empty() {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn read(media: &str, body: impl AsRef<[u8]>) -> Result<Written, BodyError> {
    written(&said(CONTENT_TYPE, media), body.as_ref(), "key")
}

fn value(media: &str, body: impl AsRef<[u8]>) -> SecretValue {
    read(media, body).unwrap().value
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

#[test]
fn text_is_a_string_to_the_last_byte() {
    for media in ["", "text/plain", "text/plain; charset=utf-8"] {
        assert_eq!(value(media, "\u{feff}{\"Value\":1}\n"), SecretValue::string("\u{feff}{\"Value\":1}\n"));
    }
    assert_eq!(read("text/plain", b"\xff"), Err(BodyError::NotUtf8));
}

#[test]
fn octets_are_bytes() {
    assert_eq!(value("application/octet-stream", b"\xff\0"), SecretValue::Bytes(Bytes::new(*b"\xff\0")));
}

#[test]
fn a_form_needs_the_field_value() {
    assert_eq!(value(FORM, "Value=a+b"), SecretValue::string("a b"));
    assert_eq!(value(FORM, r#"{"Value":"a&Value=b"}"#), SecretValue::string("a&Value=b"));
    let error = read(FORM, "hunter2").unwrap_err();
    assert!(error.hint().contains("--data-binary"), "{error:?}");
}

#[test]
fn json_says_the_type_or_shows_it() {
    assert_eq!(value(JSON, "\"x\""), SecretValue::string("x"));
    assert_eq!(value(JSON, r#"{"Value":"x"}"#), SecretValue::string("x"));
    assert_eq!(value(JSON, r#"{"value":"x","type":"securestring"}"#), SecretValue::SecureString("x".into()));
    assert_eq!(
        value(JSON, r#"{"Value":"/w==","Type":"ByteArray"}"#),
        SecretValue::Bytes(Bytes::new(*b"\xff"))
    );
    let table = value(JSON, r#"{"Value":{"a":"x","b":{"Type":"SecureString","Value":"y"}}}"#);
    assert_eq!(table.member("b"), Some(&SecretValue::SecureString("y".into())));
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (body, error) in [
        (r#"{"Type":"String"}"#, BodyError::Missing { field: "Value".to_owned() }),
        (r#"{"Value":1}"#, BodyError::Mismatch),
        (r#"{"Value":null}"#, BodyError::Null { field: "Value".to_owned() }),
        (r#"{"Value":["x"]}"#, BodyError::List { field: "Value".to_owned() }),
        (r#"{"Value":"x","Type":"Int"}"#, BodyError::Type),
        (r#"{"Value":"x","Type":7}"#, BodyError::Type),
        (r#"{"Value":"!","Type":"ByteArray"}"#, BodyError::Mismatch),
        (r#"{"Value":{"UserName":"u"},"Type":"PSCredential"}"#, BodyError::Mismatch),
        (r#"{"Value":{"a":1}}"#, BodyError::Mismatch),
        (r#"{"Value":{"a":{"b":"c"}}}"#, BodyError::Mismatch),
        (r#"{"Value":"x","Extra":1}"#, BodyError::Member),
        (r#"{"Value":"x","Name":"other"}"#, BodyError::Name),
        (r#"{"Value":"x","Metadata":{"a":1.5}}"#, BodyError::Metadata),
        (r#"{"Value":"x","Metadata":{"a":{"Type":"DateTime","Value":"soon"}}}"#, BodyError::Metadata),
        (r#"{"Value":"\ud800"}"#, BodyError::Unrepresentable { field: "Value".to_owned() }),
        ("7", BodyError::NotObject),
    ] {
        assert_eq!(read(JSON, body), Err(error), "{body}");
    }
    assert_eq!(read("image/png", "x"), Err(BodyError::Media));
    for body in ["", "hunter2", "Other=1"] {
        assert_eq!(read(FORM, body), Err(BodyError::Form), "{body}");
    }
}

#[test]
fn metadata_comes_in_three_kinds_and_goes_out_alike() {
    let json = json!({ "text": "2026-11-23T10:00:00Z", "n": 7, "at": { "Type": "DateTime", "Value": "2026-11-23T10:00:00Z" } });
    let body = json!({ "Value": "x", "Metadata": json }).to_string();
    let metadata = read(JSON, body).unwrap().metadata.unwrap();
    assert_eq!(metadata["text"], MetadataValue::String("2026-11-23T10:00:00Z".to_owned()));
    assert_eq!(metadata["at"], MetadataValue::Date("2026-11-23T10:00:00Z".to_owned()));
    assert_eq!(metadata["n"], MetadataValue::Int(7));
    assert_eq!(shown_metadata(&metadata)["at"], json["at"]);
    assert_eq!(read(JSON, r#"{"Value":"x"}"#).unwrap().metadata, None);
}

#[test]
fn the_best_format_that_is_known_comes_first() {
    use Format::{Json, Octets, Text};
    for (accept, formats) in [
        ("", vec![Json]),
        ("*/*", vec![Json]),
        ("text/plain", vec![Text]),
        ("text/plain;q=0.5, application/octet-stream", vec![Octets, Text]),
        ("text/html, */*;q=0.8", vec![Json]),
        ("application/json;q=0, text/plain", vec![Text]),
        ("image/png", vec![]),
        ("text/plain;q=nonsense", vec![]),
    ] {
        assert_eq!(accepted(&said(ACCEPT, accept)), formats, "{accept}");
    }
}

#[test]
fn only_text_and_bytes_have_a_bare_form() {
    let (text, bytes) = (SecretValue::SecureString("x".into()), SecretValue::Bytes(Bytes::new(*b"\xff")));
    assert_eq!(bare(&text, Format::Text).unwrap(), b"x");
    assert_eq!(bare(&bytes, Format::Octets).unwrap(), b"\xff");
    assert_eq!(bare(&bytes, Format::Text), None);
    assert_eq!(bare(&SecretValue::Hashtable(BTreeMap::new()), Format::Octets), None);
}

fn leaf() -> impl Strategy<Value = SecretValue> {
    prop_oneof![
        any::<String>().prop_map(SecretValue::string),
        any::<String>().prop_map(|text| SecretValue::SecureString(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| SecretValue::Bytes(Bytes::new(bytes))),
        (any::<String>(), any::<String>()).prop_map(|(user, password)| SecretValue::Credential(Credential {
            user,
            password: password.into()
        })),
    ]
}

fn any_value() -> impl Strategy<Value = SecretValue> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        proptest::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(SecretValue::Hashtable)
    })
}

proptest! {
    #[test]
    fn what_a_get_shows_a_put_writes(value in any_value()) {
        let body = shown("KEY", &value).to_string();
        prop_assert_eq!(read(JSON, body).unwrap().value, value);
    }
}

use hyper::header::HeaderValue;
use proptest::prelude::*;

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";

async fn read(media: &str, body: impl Into<Bytes>) -> Result<SecretValue, BodyError> {
    let mut headers = HeaderMap::new();
    if !media.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(media).unwrap());
    }
    field(&headers, &body.into(), "Value").await
}

async fn text(media: &str, body: impl Into<Bytes>) -> String {
    read(media, body).await.unwrap().as_text().unwrap().to_owned()
}

#[tokio::test]
async fn a_form_field_is_decoded() {
    assert_eq!(text(FORM, "Other=1&Value=a+b%26c%C3%A9%2B").await, "a b&cé+");
    assert_eq!(text(FORM, "Value=").await, "");
    assert_eq!(text(FORM, "Value").await, "");
    assert_eq!(text(FORM, "Value=a=b").await, "a=b");
}

#[tokio::test]
async fn the_exact_name_wins_and_duplicates_are_joined() {
    for body in ["value=no&Value=yes", "Value=yes&VALUE=no"] {
        assert_eq!(text(FORM, body).await, "yes");
    }
    assert_eq!(text(FORM, "value=one&VALUE=two").await, "one,two");
    assert_eq!(text(FORM, "Value=one&Value=two").await, "one,two");
    assert_eq!(text("application/json", r#"{"value":"no","Value":"yes"}"#).await, "yes");
    assert_eq!(text("application/json", r#"{"vALUE":"yes"}"#).await, "yes");
}

#[tokio::test]
async fn a_json_object_is_known_under_any_media_type() {
    for media in [
        "",
        FORM,
        "text/plain",
        "application/x-unknown",
        "application/json; charset=UTF-8",
        "application/ld+json",
    ] {
        assert_eq!(text(media, " {\"Value\": \"a&Value=b\"}").await, "a&Value=b", "{media}");
    }
    assert_eq!(text("application/json", "\u{feff}{\"Value\":\"x\"}").await, "x");
}

#[tokio::test]
async fn a_form_is_known_without_a_media_type() {
    for media in ["", "text/plain", "application/x-unknown"] {
        assert_eq!(text(media, "Value=x").await, "x", "{media}");
    }
}

#[tokio::test]
async fn json_that_is_broken_is_said_to_be() {
    for media in ["application/json", FORM, ""] {
        assert!(matches!(read(media, "{\"Value\":").await, Err(BodyError::Json { .. })), "{media}");
    }
    assert_eq!(read("application/json", "Value=x").await, Err(BodyError::Json { line: 1, column: 1 }));
    assert_eq!(read("application/json", "[]").await, Err(BodyError::NotObject));
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let missing = Err(BodyError::Missing { field: "Value".to_owned() });
    assert_eq!(read(FORM, "Other=1").await, missing);
    assert_eq!(read("", "").await, missing);
    assert_eq!(read("application/json", "{}").await, missing);
    assert_eq!(read(FORM, r#"{"Other":1}"#).await, missing);
}

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, content) in parts {
        body.extend(format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").as_bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--XX--\r\n");
    body
}

const MULTIPART: &str = "multipart/form-data; boundary=XX";

#[tokio::test]
async fn a_multipart_field_is_taken_as_it_is() {
    let body = multipart(&[("name=\"Other\"; filename=\"f\"", b"\xff"), ("name=\"Value\"", b"a\r\n&+%41")]);
    assert_eq!(text(MULTIPART, body).await, "a\r\n&+%41");
}

#[tokio::test]
async fn a_file_bad_text_or_a_broken_multipart_body_is_refused() {
    let file = multipart(&[("name=\"Value\"; filename=\"f\"", b"x")]);
    assert_eq!(read(MULTIPART, file).await, Err(BodyError::File { field: "Value".to_owned() }));
    let bad = multipart(&[("name=\"Value\"", b"\xff")]);
    assert_eq!(read(MULTIPART, bad).await, Err(BodyError::NotUtf8));
    let mut cut = multipart(&[("name=\"Value\"", b"x")]);
    cut.truncate(cut.len() - 6);
    assert_eq!(read(MULTIPART, cut).await, Err(BodyError::Multipart));
    assert_eq!(read("multipart/form-data", "x").await, Err(BodyError::Multipart));
}

#[tokio::test]
async fn other_encodings_are_refused() {
    assert_eq!(read(FORM, "Value=%FF").await, Err(BodyError::NotUtf8));
    assert_eq!(read(FORM, &b"Value=\xff"[..]).await, Err(BodyError::NotUtf8));
    assert_eq!(read("application/json", &b"{\"Value\":\"\xe9\"}"[..]).await, Err(BodyError::NotUtf8));
    assert_eq!(read("application/json; charset=utf-16", "{}").await, Err(BodyError::Charset));
    assert!(matches!(
        read("application/json", r#"{"Value":"\ud83d"}"#).await,
        Err(BodyError::Unrepresentable { .. })
    ));
    assert_eq!(text("application/json", r#"{"Value":"\ud83d\ude00"}"#).await, "😀");
}

#[tokio::test]
async fn no_error_repeats_the_value() {
    const CANARY: &str = "canary-5f2d";
    for body in [
        format!("{{\"Value\":[\"{CANARY}\"]}}"),
        format!("{{\"Value\":\"{CANARY}"),
        format!("{{\"Value\":{{\"{CANARY}\":null}}}}"),
        format!("Other={CANARY}"),
        CANARY.to_owned(),
    ] {
        for media in ["application/json", FORM, "", MULTIPART] {
            let error = read(media, body.clone()).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_form_brings_back_what_it_was_made_of(value in ".*", other in ".*") {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let body = format!(
            "x{}=1&Value={}",
            utf8_percent_encode(&other, NON_ALPHANUMERIC),
            utf8_percent_encode(&value, NON_ALPHANUMERIC)
        );
        prop_assert_eq!(form_field(&body, "Value").unwrap(), SecretValue::string(value));
    }

    #[test]
    fn no_body_panics(media in "(application/json|multipart/form-data; boundary=XX|text/plain)?", body: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(read(&media, body));
    }
}

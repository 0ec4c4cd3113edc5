//! JSON of a request as secret values.
//!
//! Values are read from their raw text, so that a number keeps every digit that it was sent with, and
//! what is not asked for is never decoded. Errors name no part of the value.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::body_error::BodyError;
use super::fields;
use crate::secret::{SecretValue, Text, fold};

/// Tables in tables go this deep. Each level reads its text again, so it must stay small.
const MAX_DEPTH: usize = 32;

/// The members of a JSON object. Of two with one name the last counts, as in PowerShell.
pub(super) type ByName<'a> = BTreeMap<String, &'a RawValue>;

/// The document as an object.
pub(super) fn object(text: &str) -> Result<ByName<'_>, BodyError> {
    let fields::Members(members) = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => BodyError::NotObject,
        _ => BodyError::Json { line: error.line(), column: error.column() },
    })?;
    Ok(members.into_iter().collect())
}

/// The document as a string, if it is one.
pub(super) fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// A member by its exact name, else without case.
pub(super) fn find<'a>(members: &ByName<'a>, name: &str) -> Option<&'a RawValue> {
    members.get(name).copied().or_else(|| {
        let folded = fold(name);
        members.iter().find(|(key, _)| fold(key) == folded).map(|(_, raw)| *raw)
    })
}

/// A value as Pode stores it: text as text, numbers and booleans as their text, objects as tables.
pub(super) fn value(raw: &RawValue, field: &str) -> Result<SecretValue, BodyError> {
    value_at(raw, field, 0)
}

fn value_at(raw: &RawValue, field: &str, depth: usize) -> Result<SecretValue, BodyError> {
    let text = raw.get();
    let field = || field.to_owned();
    match text.as_bytes().first() {
        // Only text that UTF-8 cannot hold fails here: the document itself has been read already.
        Some(b'"') => match string(text) {
            Some(text) => Ok(SecretValue::String(Text::new(text))),
            None => Err(BodyError::Unrepresentable { field: field() }),
        },
        Some(b't') => Ok(SecretValue::string("True")),
        Some(b'f') => Ok(SecretValue::string("False")),
        Some(b'n') => Err(BodyError::Null { field: field() }),
        Some(b'[') => Err(BodyError::List { field: field() }),
        Some(b'{') if depth == MAX_DEPTH => Err(BodyError::Deep { field: field() }),
        Some(b'{') => {
            let members: ByName<'_> =
                serde_json::from_str(text).map_err(|_| BodyError::Unrepresentable { field: field() })?;
            let table = members.into_iter().map(|(key, raw)| Ok((key, value_at(raw, &field(), depth + 1)?)));
            table_of(table.collect::<Result<_, BodyError>>()?, &field())
        }
        _ => Ok(SecretValue::string(number(text))),
    }
}

/// A table whose names are told apart without case, as a Hashtable does.
pub(super) fn table_of(
    members: BTreeMap<String, SecretValue>,
    field: &str,
) -> Result<SecretValue, BodyError> {
    let mut names: Vec<String> = members.keys().map(|key| fold(key)).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(BodyError::TwoCases { field: field.to_owned() });
    }
    Ok(SecretValue::Hashtable(members))
}

/// A number's text in .NET: whole numbers keep their digits, fractions become a `double`.
fn number(text: &str) -> String {
    if !text.contains(['.', 'e', 'E']) {
        return if text == "-0" { "0".to_owned() } else { text.to_owned() };
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => double(number),
        _ => text.to_owned(),
    }
}

/// `double.ToString()` in the invariant culture: the shortest text that reads back, `1E+15` and above
/// and `1E-05` and below in exponent form.
fn double(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-5 < exponent && exponent < 15) || number == 0.0 {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}E{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SecretValue, BodyError> {
        value(object(text)?["v"], "v")
    }

    fn text_of(number: &str) -> String {
        read(&format!("{{\"v\":{number}}}")).unwrap().as_text().unwrap().to_owned()
    }

    #[test]
    fn scalars_become_the_text_that_powershell_gives_them() {
        for (json, text) in [
            ("\"a\\u0000b\\u2028\"", "a\0b\u{2028}"),
            ("\"2026-11-23T10:00:00Z\"", "2026-11-23T10:00:00Z"),
            ("42", "42"),
            ("-0", "0"),
            ("true", "True"),
            ("false", "False"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("0.0001", "0.0001"),
            ("0.00001", "1E-05"),
            ("1e14", "100000000000000"),
            ("1e15", "1E+15"),
            ("1.5E+300", "1.5E+300"),
            ("0.0", "0"),
        ] {
            assert_eq!(text_of(json), text, "{json}");
        }
    }

    #[test]
    fn an_object_is_a_table_of_texts() {
        let table = read(r#"{"v":{"user":"u","port":5432,"tls":true,"more":{"a":"b"}}}"#).unwrap();
        let text = |name| table.member(name).and_then(SecretValue::as_text).map(str::to_owned);
        assert_eq!(text("port").as_deref(), Some("5432"));
        assert_eq!(text("tls").as_deref(), Some("True"));
        assert!(matches!(table.member("more"), Some(SecretValue::Hashtable(_))));
    }

    #[test]
    fn what_a_vault_cannot_hold_is_refused() {
        assert!(matches!(read(r#"{"v":null}"#), Err(BodyError::Null { .. })));
        assert!(matches!(read(r#"{"v":[1]}"#), Err(BodyError::List { .. })));
        assert!(matches!(read(r#"{"v":{"a":null}}"#), Err(BodyError::Null { .. })));
        assert!(matches!(read(r#"{"v":"\ud800"}"#), Err(BodyError::Unrepresentable { .. })));
        assert!(matches!(read(r#"{"v":{"a":"1","A":"2"}}"#), Err(BodyError::TwoCases { .. })));
        let deep = format!("{{\"v\":{}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        assert!(matches!(read(&deep), Err(BodyError::Deep { .. })));
    }

    #[test]
    fn broken_json_is_placed_and_a_list_is_no_object() {
        assert!(matches!(object("{\"v\":\n1,}"), Err(BodyError::Json { line: 2, .. })));
        assert!(matches!(object(""), Err(BodyError::Json { .. })));
        assert!(matches!(object("{\"v\":1} x"), Err(BodyError::Json { .. })));
        assert!(matches!(object("[1]"), Err(BodyError::NotObject)));
    }

    proptest::proptest! {
        #[test]
        fn doubles_read_back_as_they_were(number: f64) {
            proptest::prop_assume!(number.is_finite());
            proptest::prop_assert_eq!(double(number).parse::<f64>().unwrap(), number);
        }
    }
}

//! JSON text as PowerShell's `ConvertTo-Json -Compress` writes it.
//!
//! The workers write simple tables by the same rules, so that an answer is the same bytes wherever it was
//! made. The rules are in `docs/script-protocol.md`, *JSON text*, and nowhere else.

use std::fmt::Write as _;

/// Appends a string with its quotes.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a literal; `false` where PowerShell might write it otherwise: numbers that are not whole.
pub fn push_literal(out: &mut String, value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => match number.as_i64() {
            Some(number) => {
                let _ = write!(out, "{number}");
            }
            None => return false,
        },
        Value::String(text) => push_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                if !push_literal(out, item) {
                    return false;
                }
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_string(out, key);
                out.push(':');
                if !push_literal(out, member) {
                    return false;
                }
            }
            out.push('}');
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_powershell_does() {
        for (text, expected) in [
            ("plain", r#""plain""#),
            (r#"a"b\c/d"#, r#""a\"b\\c/d""#),
            ("\u{8}\t\n\u{c}\r", r#""\b\t\n\f\r""#),
            ("\0\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\""),
            ("<>&'", r#""<>&'""#),
            ("é€😀", "\"é€😀\""),
            ("\u{85}\u{2028}\u{2029}", r#""\u0085\u2028\u2029""#),
        ] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn literals_are_compact_and_doubtful_numbers_are_left_to_powershell() {
        let mut out = String::new();
        assert!(push_literal(&mut out, &serde_json::json!({ "b": [1, true, null], "a": "x" })));
        assert_eq!(out, r#"{"b":[1,true,null],"a":"x"}"#);
        assert!(!push_literal(&mut String::new(), &serde_json::json!([1.5])));
    }
}

//! Where a value stands in a file, and how it is quoted there. Pure.

use crate::cli::InjectFormat;
use crate::commands::export::{dotenv, double_quoted};

/// What begins a plain reference.
const START: &str = "secretbridge://";

/// What a mark stands between: characters that no file has a use for.
const MARK: (char, char) = ('\u{f8ff5}', '\u{f8ff6}');

/// A mark for a value that a template printed.
pub(super) fn mark(index: usize) -> String {
    format!("{}{index}{}", MARK.0, MARK.1)
}

/// Every plain reference in a text.
pub(super) fn references(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(START).map(|(at, _)| reference_at(&text[at..]))
}

/// The reference that a text begins with: up to white space, a quote or a bracket.
fn reference_at(text: &str) -> &str {
    let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>(){}[],;\\".contains(c);
    let reference = &text[..text.find(ends).unwrap_or(text.len())];
    // At the end of a sentence these characters belong to the sentence.
    reference.trim_end_matches(['.', ':', '!', '?'])
}

/// What a value stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// Replaces marks and references. An error names no value.
pub(super) fn fill<'a>(
    text: &str,
    format: InjectFormat,
    mark: &dyn Fn(usize) -> Option<&'a str>,
    value: &dyn Fn(&str) -> Option<&'a str>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(next) = text[at..].find([MARK.0]).into_iter().chain(text[at..].find(START)).min() {
        let begin = at + next;
        out.push_str(&text[at..begin]);
        let rest = &text[begin..];
        let (found, length) = match rest.strip_prefix(MARK.0) {
            Some(inner) => {
                let index = inner.find(MARK.1).unwrap_or(0);
                let number = inner[..index].parse().unwrap_or(usize::MAX);
                (mark(number), MARK.0.len_utf8() + index + MARK.1.len_utf8())
            }
            None => {
                let reference = reference_at(rest);
                (value(reference), reference.len())
            }
        };
        let line = text[..begin].matches('\n').count() + 1;
        let found = found.ok_or_else(|| format!("line {line}: a reference that is none"))?;
        let quotes = quotes_before(&text[..begin], format);
        let whole = is_alone(&text[..begin], &rest[length..]);
        out.push_str(&quoted(found, format, quotes, whole).map_err(|why| format!("line {line}: {why}"))?);
        at = begin + length;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// Whether a place stands in quotes, by what is before it on its line.
fn quotes_before(before: &str, format: InjectFormat) -> Quotes {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let escapes = !matches!(format, InjectFormat::Text);
    let mut state = Quotes::None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (state, c) {
            (Quotes::Double, '\\') if escapes => _ = chars.next(),
            (Quotes::None, '"') => state = Quotes::Double,
            (Quotes::None, '\'') => state = Quotes::Single,
            (Quotes::Double, '"') | (Quotes::Single, '\'') => state = Quotes::None,
            _ => {}
        }
    }
    state
}

/// Whether nothing else is in the same value, as far as the line tells.
fn is_alone(before: &str, after: &str) -> bool {
    let before = before.rsplit('\n').next().unwrap_or_default().trim_end();
    let after = after.split('\n').next().unwrap_or_default().trim_start();
    (before.is_empty() || before.ends_with([':', '=', '-', '[', ',', '{']))
        && (after.is_empty() || after.starts_with([',', ']', '}', '#']))
}

fn quoted(text: &str, format: InjectFormat, quotes: Quotes, alone: bool) -> Result<String, String> {
    use InjectFormat::{Env, Json, Text, Toml, Yaml};
    let inside = |text: &str| {
        let json = serde_json::Value::from(text).to_string();
        json[1..json.len() - 1].to_owned()
    };
    let single = |text: &str| text.contains(['\'', '\n', '\r']);
    match (format, quotes) {
        (Text, _) => Ok(text.to_owned()),
        (Json | Yaml, Quotes::Double) => Ok(inside(text)),
        (Toml, Quotes::Double) => Ok(toml_inside(text)),
        (Env, Quotes::Double) => Ok(double_quoted(text)),
        (Yaml, Quotes::Single) if !text.contains(['\n', '\r']) => Ok(text.replace('\'', "''")),
        (Toml | Env | Yaml, Quotes::Single) if single(text) => {
            Err("the value cannot stand in single quotes; use double quotes".to_owned())
        }
        (Toml | Env | Json | Yaml, Quotes::Single) => Ok(text.to_owned()),
        (Env, Quotes::None) if alone => Ok(dotenv(text)),
        (Json | Yaml | Toml, Quotes::None) if alone && is_bare(text) => Ok(text.to_owned()),
        (Json | Yaml, Quotes::None) if alone => Ok(format!("\"{}\"", inside(text))),
        (Toml, Quotes::None) if alone => Ok(format!("\"{}\"", toml_inside(text))),
        // A part of a longer value that is not quoted.
        _ if text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@%+".contains(c)) => Ok(text.to_owned()),
        _ => Err("the value needs quotes around it here".to_owned()),
    }
}

/// JSON's escapes, which TOML has too but for the solidus; DEL must be escaped as well.
fn toml_inside(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json[1..json.len() - 1].replace('\u{7f}', "\\u007F")
}

/// A number or a truth value: without quotes it is meant as such.
fn is_bare(text: &str) -> bool {
    matches!(text, "true" | "false")
        || (text.parse::<f64>().is_ok() && serde_json::from_str::<f64>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARD: &str = "a\"b\\c\nd'e";

    fn filled(text: &str, format: InjectFormat, value: &str) -> Result<String, String> {
        fill(text, format, &|_| Some(value), &|_| Some(value))
    }

    #[test]
    fn a_value_comes_back_from_every_format() {
        let reference = "secretbridge://v/k#/m";
        for place in [format!("\"{reference}\""), reference.to_owned(), mark(0)] {
            let json = filled(&format!("{{\"a\": {place}, \"b\": 1}}"), InjectFormat::Json, HARD).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["a"], HARD);
            let toml = filled(&format!("a = {place} # why\n"), InjectFormat::Toml, HARD).unwrap();
            assert_eq!(toml.parse::<toml::Table>().unwrap()["a"].as_str(), Some(HARD));
        }
        assert_eq!(
            filled(&format!("a: {reference}\n"), InjectFormat::Yaml, HARD).unwrap(),
            "a: \"a\\\"b\\\\c\\nd'e\"\n"
        );
        assert_eq!(filled(&format!("a: '{reference}'\n"), InjectFormat::Yaml, "d'e").unwrap(), "a: 'd''e'\n");
        assert_eq!(filled(&format!("A={reference}\n"), InjectFormat::Env, "x $y").unwrap(), "A='x $y'\n");
        assert_eq!(
            filled(&format!("see {reference}."), InjectFormat::Text, HARD).unwrap(),
            format!("see {HARD}.")
        );
    }

    #[test]
    fn numbers_stay_numbers_and_parts_of_values_are_quoted_or_refused() {
        assert_eq!(
            filled("port = secretbridge://v/k\n", InjectFormat::Toml, "5432").unwrap(),
            "port = 5432\n"
        );
        assert_eq!(filled("port: secretbridge://v/k\n", InjectFormat::Yaml, "true").unwrap(), "port: true\n");
        let url = "url = \"https://u:secretbridge://v/k@host\"\n";
        assert!(references(url).next().unwrap().starts_with("secretbridge://v/k"));
        assert!(filled("a = 'secretbridge://v/k'", InjectFormat::Toml, HARD).is_err());
        let refused = filled("a: x secretbridge://v/k\n", InjectFormat::Yaml, HARD).unwrap_err();
        assert!(refused.starts_with("line 1: ") && !refused.contains("a\"b"), "{refused}");
    }
}

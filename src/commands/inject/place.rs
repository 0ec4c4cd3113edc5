//! Where a value stands in a file, and how it is quoted there. Pure.

use super::surroundings::{Surroundings, surroundings};
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
        let within = surroundings(&text[..begin], format);
        let place = Place { format, within, before: &text[..begin], after: &rest[length..] };
        out.push_str(&place.quoted(found).map_err(|why| format!("line {line}: {why}"))?);
        at = begin + length;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// Where a value is to stand.
struct Place<'a> {
    format: InjectFormat,
    within: Surroundings,
    before: &'a str,
    after: &'a str,
}

impl Place<'_> {
    /// Whether nothing else is in the same value, as far as the line tells.
    fn is_alone(&self) -> bool {
        let before = self.before.rsplit('\n').next().unwrap_or_default().trim_end();
        let after = self.after.split('\n').next().unwrap_or_default().trim_start();
        (before.is_empty() || before.ends_with([':', '=', '-', '[', ',', '{']))
            && (after.is_empty() || after.starts_with([',', ']', '}', '#']))
    }

    fn quoted(&self, text: &str) -> Result<String, String> {
        use InjectFormat::{Env, Json, Text, Toml, Yaml};
        use Surroundings::{Block, Double, Literal, Plain, Single};
        let cannot = |what: &str| Err(format!("the value cannot stand in {what}; use double quotes"));
        let lines = text.contains(['\n', '\r']);
        match (self.format, self.within) {
            (Text, _) => Ok(text.to_owned()),
            (_, Block { folded }) => self.in_block(text, folded),
            (Json | Yaml, Double) => Ok(json_inside(text)),
            (Toml, Double) => Ok(toml_inside(text)),
            (Env, Double) => Ok(double_quoted(text)),
            (Toml, Literal) if text.contains("'''") || text.ends_with('\'') || text.contains('\r') => {
                cannot("triple single quotes")
            }
            (Yaml, Single) if !lines => Ok(text.replace('\'', "''")),
            (Toml | Env | Yaml, Single) if lines || text.contains('\'') => cannot("single quotes"),
            (_, Single | Literal) => Ok(text.to_owned()),
            (Env, Plain) if self.is_alone() => Ok(dotenv(text)),
            (Json | Yaml | Toml, Plain) if self.is_alone() && is_bare(text) => Ok(text.to_owned()),
            (Json | Yaml, Plain) if self.is_alone() => Ok(format!("\"{}\"", json_inside(text))),
            (Toml, Plain) if self.is_alone() => Ok(format!("\"{}\"", toml_inside(text))),
            // A part of a longer value that is not quoted.
            _ if text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@%+".contains(c)) => {
                Ok(text.to_owned())
            }
            _ => Err("the value needs quotes around it here".to_owned()),
        }
    }

    /// Each line as deep as the first. The line break at the end of a value is the one that the file has there.
    fn in_block(&self, text: &str, folded: bool) -> Result<String, String> {
        let ends_line = self.after.starts_with(['\n', '\r']);
        let text = text.strip_suffix('\n').filter(|_| ends_line).unwrap_or(text);
        if folded && text.contains('\n') {
            return Err(
                "a value of many lines cannot stand in a folded block; begin the block with |".to_owned()
            );
        }
        let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if text.starts_with([' ', '\t', '\n']) || text.contains(is_odd) {
            return Err("the value cannot stand in a block; use double quotes".to_owned());
        }
        let line = self.before.rsplit('\n').next().unwrap_or_default();
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let deep = |line: &str| if line.is_empty() { String::new() } else { format!("{indent}{line}") };
        let (first, more) = text.split_once('\n').map_or((text, None), |(first, more)| (first, Some(more)));
        let more =
            more.map(|more| more.split('\n').map(|line| format!("\n{}", deep(line))).collect::<String>());
        Ok(format!("{first}{}", more.unwrap_or_default()))
    }
}

fn json_inside(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json[1..json.len() - 1].to_owned()
}

/// JSON's escapes, which TOML has too but for the solidus; DEL must be escaped as well.
fn toml_inside(text: &str) -> String {
    json_inside(text).replace('\u{7f}', "\\u007F")
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
    fn a_value_of_many_lines_keeps_its_lines_where_the_file_has_room_for_them() {
        let pem = "-----BEGIN KEY-----\nit's \"x\" \\n\n\n  y\n-----END KEY-----\n";
        let reference = "secretbridge://v/k";
        assert_eq!(
            filled(&format!("tls:\n  key: |\n    {reference}\n  next: 1\n"), InjectFormat::Yaml, pem)
                .unwrap(),
            "tls:\n  key: |\n    -----BEGIN KEY-----\n    it's \"x\" \\n\n\n      y\n    -----END KEY-----\n  next: 1\n"
        );
        assert!(filled(&format!("a: >\n  {reference}\n"), InjectFormat::Yaml, pem).is_err());
        for quotes in ["\"\"\"", "'''"] {
            let text = format!("# don't\na = {quotes}\n{reference}{quotes}\n");
            let toml = filled(&text, InjectFormat::Toml, pem).unwrap();
            assert_eq!(toml.parse::<toml::Table>().unwrap()["a"].as_str(), Some(pem), "{toml}");
        }
        assert!(filled(&format!("a = '''{reference}'''"), InjectFormat::Toml, "x'''y").is_err());
        let yaml = filled(&format!("a: don't\nb: {reference}\n"), InjectFormat::Yaml, pem).unwrap();
        assert_eq!(yaml, format!("a: don't\nb: {}\n", serde_json::Value::from(pem)));
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

//! What a place in a file stands in: quotes of a kind, a block of YAML, or nothing. Pure.

use crate::cli::InjectFormat;

/// What a value stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    Plain,
    /// Between `'`.
    Single,
    /// Between `"`.
    Double,
    /// Between `'''` of TOML.
    Literal,
    /// In a block of YAML: the lines below a key that ends with `|` or, folded, with `>`.
    Block {
        folded: bool,
    },
}

use Surroundings::{Block, Double, Literal, Plain, Single};

/// What the end of a text stands in.
pub(super) fn surroundings(before: &str, format: InjectFormat) -> Surroundings {
    let line = before.rsplit('\n').next().unwrap_or_default();
    match format {
        InjectFormat::Text => Plain,
        InjectFormat::Json => json(line),
        InjectFormat::Toml => toml(before),
        InjectFormat::Env => env(before),
        InjectFormat::Yaml => block(before).unwrap_or_else(|| yaml(line)),
    }
}

/// No text of JSON goes on over a line's end.
fn json(line: &str) -> Surroundings {
    let mut state = Plain;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (state, c) {
            (Double, '\\') => _ = chars.next(),
            (Double, '"') => state = Plain,
            (_, '"') => state = Double,
            _ => {}
        }
    }
    state
}

fn toml(before: &str) -> Surroundings {
    let mut rest = before;
    loop {
        let Some(at) = rest.find(['"', '\'', '#']) else { return Plain };
        rest = &rest[at..];
        let (inside, end, escapes, many_lines) = match rest {
            _ if rest.starts_with("\"\"\"") => (Double, "\"\"\"", true, true),
            _ if rest.starts_with("'''") => (Literal, "'''", false, true),
            _ if rest.starts_with('"') => (Double, "\"", true, false),
            _ if rest.starts_with('\'') => (Single, "'", false, false),
            // A comment.
            _ => (Plain, "\n", false, false),
        };
        let begin = if inside == Plain { 1 } else { end.len() };
        match end_of(&rest[begin..], end, escapes, many_lines) {
            None => return inside,
            Some(after) => rest = &rest[begin + after..],
        }
    }
}

/// Behind the end of what begins here. A text of one line ends with its line at the latest.
fn end_of(text: &str, end: &str, escapes: bool, many_lines: bool) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if text[at..].starts_with(end) {
            return Some(at + end.len());
        }
        at += c.len_utf8();
        match c {
            '\n' if !many_lines => return Some(at),
            '\\' if escapes => at += text[at..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
    }
    None
}

/// Quotes mean something at the begin of a value alone, and go on over lines.
fn env(before: &str) -> Surroundings {
    let mut rest = before;
    loop {
        let (line, more) = rest.split_once('\n').map_or((rest, None), |(line, more)| (line, Some(more)));
        let value = line.split_once('=').filter(|_| !line.trim_start().starts_with('#'));
        let value = value.map_or("", |(_, value)| value).trim_start();
        let inside = match value.chars().next() {
            Some('"') => Double,
            Some('\'') => Single,
            _ => Plain,
        };
        if inside != Plain {
            let begin = rest.len() - more.map_or(0, |more| more.len() + 1) - value.len() + 1;
            let end = if inside == Double { "\"" } else { "'" };
            let Some(after) = end_of(&rest[begin..], end, inside == Double, true) else { return inside };
            rest = &rest[begin + after..];
            match rest.split_once('\n') {
                None => return Plain,
                Some((_, more)) => rest = more,
            }
            continue;
        }
        match more {
            None => return Plain,
            Some(more) => rest = more,
        }
    }
}

/// Quotes mean something at the begin of a value alone: the apostrophe of a word is none.
fn yaml(line: &str) -> Surroundings {
    let mut state = Plain;
    // The last character that is no space.
    let mut last = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let begins = matches!(last, None | Some(':' | '-' | '[' | '{' | ',' | '?'));
        match (state, c) {
            (Double, '\\') => _ = chars.next(),
            (Single, '\'') if chars.peek() == Some(&'\'') => _ = chars.next(),
            (Double, '"') | (Single, '\'') => state = Plain,
            (Plain, '"') if begins => state = Double,
            (Plain, '\'') if begins => state = Single,
            _ => {}
        }
        if !c.is_whitespace() {
            last = Some(c);
        }
    }
    state
}

/// The block of YAML that a line is in, if one of the lines that it stands below begins one.
fn block(before: &str) -> Option<Surroundings> {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let mut lines = before.rsplit('\n');
    let mut inner = indent(lines.next()?);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if indent(line) < inner {
            inner = indent(line);
            if let Some(folded) = begins_block(line) {
                return Some(Block { folded });
            }
        }
    }
    None
}

/// Whether a line ends with what begins a block, and whether that is folded.
fn begins_block(line: &str) -> Option<bool> {
    let line = line.split(" #").next().unwrap_or_default().trim_end();
    let head = line.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    let (key, folded) = match (head.strip_suffix('|'), head.strip_suffix('>')) {
        (Some(key), _) => (key, false),
        (None, Some(key)) => (key, true),
        (None, None) => return None,
    };
    let key = key.trim_end();
    (key.ends_with(':') || key.ends_with('-')).then_some(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_by_all_that_is_before_it() {
        use InjectFormat::{Env, Json, Text, Toml, Yaml};
        for (format, before, expected) in [
            (Text, "it's \"", Plain),
            (Json, "{\"a\": \"it's ", Double),
            (Json, "{\"a\": \"x\\\"\", \"b\": ", Plain),
            (Toml, "a = 'x' # it's\nb = ", Plain),
            (Toml, "# don't\nb = \"", Double),
            (Toml, "a = \"\\\"\"\nb = '", Single),
            (Toml, "a = \"\"\"\nit's \"so\"\n", Double),
            (Toml, "a = '''\n\"\n", Literal),
            (Toml, "a = '''\n'''\nb = ", Plain),
            (Env, "A=it's\nB=", Plain),
            (Env, "# it's = 'x\nexport B=\"", Double),
            (Env, "A=\"one\ntwo\" # c\nB='", Single),
            (Env, "A=\"one\n", Double),
            (Yaml, "a: don't ", Plain),
            (Yaml, "a: 'it''s ", Single),
            (Yaml, "a: {b: \"x\", c: \"", Double),
            (Yaml, "a: |\n  ", Block { folded: false }),
            (Yaml, "- a: >-  # why\n\n    b:\n      ", Block { folded: true }),
            (Yaml, "a: |\n  text\nb: ", Plain),
            (Yaml, "a:\n  b: ", Plain),
        ] {
            assert_eq!(surroundings(before, format), expected, "{format:?}: {before}");
        }
    }
}

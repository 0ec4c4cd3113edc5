//! Stars secrets out of messages that others wrote: the values, their lines, and both in base64.
//!
//! Only whole values are starred out. Where a short password is a word of the language, masking it inside a
//! sentence would tell what it is: "the *** does not unlock". So the shorter a value is, the more must show
//! that it is the value that is meant: below 16 characters no letter or digit may stand beside it, below 8 it
//! has to stand in quotes, brackets or behind an equals sign, or be the whole message. Our own sentences hold
//! no values and are left alone altogether.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// In place of a value.
const STARS: &str = "***";

/// Shorter values are in every message.
const SHORTEST: usize = 3;

/// From this length on a value is itself wherever it stands.
const ANYWHERE: usize = 16;

/// From this length on a value is itself where no letter or digit stands beside it.
const AS_A_WORD: usize = 8;

/// Values to be starred out, in all their forms, the longest first: a short one may be a part of it, and would
/// leave the rest to be read. Wiped on drop.
pub struct Redactor(Vec<Zeroizing<String>>);

// === impl Redactor ===

impl Redactor {
    /// For these values.
    pub fn new(values: &[&str]) -> Redactor {
        let mut forms: Vec<Zeroizing<String>> = values.iter().flat_map(|value| forms(value)).collect();
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        Redactor(forms)
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in &self.0 {
            if text.contains(form.as_str()) {
                text = without(&text, form);
            }
        }
        text
    }
}

fn forms(value: &str) -> Vec<Zeroizing<String>> {
    let mut forms = Vec::new();
    let mut add = |form: String| {
        if form.chars().count() >= SHORTEST {
            forms.push(Zeroizing::new(form));
        }
    };
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= AS_A_WORD);
    for text in std::iter::once(value).chain(lines) {
        add(text.to_owned());
        let wide = Zeroizing::new(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        for bytes in [text.as_bytes(), &wide] {
            // It may or may not be followed by padding.
            add(STANDARD_NO_PAD.encode(bytes));
            add(URL_SAFE_NO_PAD.encode(bytes));
        }
    }
    forms
}

fn without(text: &str, form: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, _) in text.match_indices(form) {
        let (before, after) = (&text[..at], &text[at + form.len()..]);
        // Occurrences do not overlap, and what was copied ends before this one.
        if is_whole(before, form, after) {
            out.push_str(&text[rest..at]);
            out.push_str(STARS);
            rest = at + form.len();
        }
    }
    out.push_str(&text[rest..]);
    out
}

fn is_whole(before: &str, form: &str, after: &str) -> bool {
    let length = form.chars().count();
    let (before, after) = (before.chars().next_back(), after.chars().next());
    if length >= ANYWHERE {
        return true;
    }
    let is_apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    if length >= AS_A_WORD {
        return is_apart(before) && is_apart(after);
    }
    let encloses = |c: Option<char>| c.is_none_or(|c| "'\"`‘’“”«»()[]{}<>=".contains(c));
    let ends = |c: Option<char>| encloses(c) || c.is_some_and(|c| ",;.&".contains(c));
    encloses(before) && ends(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(value: &str, text: &str) -> String {
        Redactor::new(&[value]).hide(text)
    }

    #[test]
    fn a_short_password_is_not_given_away_by_a_sentence() {
        for (value, text) in [
            ("store", "the store does not unlock"),
            ("not", "the vault is not there"),
            ("vault", "vaults and vault"),
            ("password", "passwords differ"),
        ] {
            assert_eq!(hidden(value, text), text);
        }
    }

    #[test]
    fn a_value_that_is_meant_is_starred_out() {
        for (value, text, expected) in [
            ("abc", "bad password 'abc'", "bad password '***'"),
            ("abc", "Password=abc;Server=abcd", "Password=***;Server=abcd"),
            ("abc", "abc", "***"),
            ("hunter22", "user hunter22 is wrong", "user *** is wrong"),
            ("0123456789abcdef", "x0123456789abcdefy", "x***y"),
            ("a.b|c(d)", "got a.b|c(d)", "got ***"),
        ] {
            assert_eq!(hidden(value, text), expected, "{value}");
        }
    }

    #[test]
    fn lines_and_base64_of_a_value_are_starred_out_too() {
        let key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----";
        let text = "cannot read MIIBVgIBADANBgkq, hkiG9w0BAQEFAASC";
        assert_eq!(hidden(key, text), "cannot read ***, ***");
        use base64::engine::general_purpose::{STANDARD, URL_SAFE};
        let value = "pässword~~?>with more";
        let wide: Vec<u8> = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for coded in [STANDARD.encode(value), URL_SAFE.encode(value), STANDARD.encode(&wide)] {
            let shown = hidden(value, &format!("sent {coded} to"));
            assert!(shown.starts_with("sent ***") && shown.len() < 16, "{shown}");
        }
    }

    /// The compiled worker has the same rule, and the same cases (`src/pwsh/Redaction.cs`).
    #[test]
    fn every_case_of_the_fixture_holds() {
        #[derive(serde::Deserialize)]
        struct Case {
            rule: String,
            values: Vec<String>,
            text: String,
            hidden: String,
        }
        let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/redaction.json")).unwrap();
        assert!(cases.len() > 15);
        for case in cases {
            let values: Vec<&str> = case.values.iter().map(String::as_str).collect();
            assert_eq!(Redactor::new(&values).hide(&case.text), case.hidden, "{}", case.rule);
        }
    }

    #[test]
    fn the_longest_goes_first() {
        let both = Redactor::new(&["secret-token", "secret-token-and-more"]);
        assert_eq!(both.hide("a secret-token-and-more, a secret-token"), "a ***, a ***");
    }
}

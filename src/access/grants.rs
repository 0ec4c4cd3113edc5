//! What a caller may do: verbs on secrets, by vault and key, and on routes. Pure.
//!
//! A rule is written `verbs place`: `read,list Team/db-*`, `write /secret`. A place that begins with a slash
//! is a route as it is declared; any other is a vault and, after its first slash, a key. `*` in a place stands
//! for any characters, and case does not count. What no rule allows is refused.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::secret::fold;

/// What is done with a secret or a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantVerb {
    /// Reads a value. Of a script's routes: GET, HEAD and OPTIONS.
    Read,
    /// Writes a value. Of a script's routes: every other method.
    Write,
    /// Tells names, never values.
    List,
    /// Removes a secret. Of a script's routes: DELETE.
    Delete,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grants {
    /// Everything.
    All,
    /// What one of the rules allows.
    Some(Arc<[GrantRule]>),
    /// Nothing.
    Nothing,
}

/// One line of `allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRule {
    verbs: Vec<GrantVerb>,
    place: GrantPlace,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum GrantPlace {
    Route(Glob),
    Secret { vault: Glob, key: Glob },
}

/// Why a line is no rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is no rule: {0} (write verbs and a place, e.g. \"read,list Team/db-*\" or \"read /secret\")")]
pub struct RuleError(&'static str);

/// A pattern with `*` for any characters, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob(Vec<char>);

// === impl Grants ===

impl Grants {
    /// Those of the rules; none is nothing.
    pub fn of(rules: Vec<GrantRule>) -> Grants {
        if rules.is_empty() { Grants::Nothing } else { Grants::Some(rules.into()) }
    }

    /// Whether the verb is allowed on the route, named as it is declared.
    pub fn route(&self, verb: GrantVerb, pattern: &str) -> bool {
        self.any(|rule| match &rule.place {
            GrantPlace::Route(route) => rule.verbs.contains(&verb) && route.fits(pattern),
            GrantPlace::Secret { .. } => false,
        })
    }

    /// Whether the verb is allowed on the key of the vault. It says the same whether they are there or not.
    pub fn secret(&self, verb: GrantVerb, vault: &str, key: &str) -> bool {
        self.any(|rule| match &rule.place {
            GrantPlace::Secret { vault: vaults, key: keys } => {
                rule.verbs.contains(&verb) && vaults.fits(vault) && keys.fits(key)
            }
            GrantPlace::Route(_) => false,
        })
    }

    /// Whether the verb, or any, is allowed on some keys of the vault.
    pub fn vault(&self, verb: Option<GrantVerb>, vault: &str) -> bool {
        self.any(|rule| match &rule.place {
            GrantPlace::Secret { vault: vaults, .. } => {
                verb.is_none_or(|verb| rule.verbs.contains(&verb)) && vaults.fits(vault)
            }
            GrantPlace::Route(_) => false,
        })
    }

    fn any(&self, allows: impl Fn(&GrantRule) -> bool) -> bool {
        match self {
            Grants::All => true,
            Grants::Some(rules) => rules.iter().any(allows),
            Grants::Nothing => false,
        }
    }
}

// === impl GrantVerb ===

impl GrantVerb {
    const ALL: [GrantVerb; 4] = [GrantVerb::Read, GrantVerb::Write, GrantVerb::List, GrantVerb::Delete];

    /// What a request of that method does to a script's route.
    pub fn of_method(method: &str) -> GrantVerb {
        match method {
            "GET" | "HEAD" | "OPTIONS" => GrantVerb::Read,
            "DELETE" => GrantVerb::Delete,
            _ => GrantVerb::Write,
        }
    }

    fn parse(text: &str) -> Option<GrantVerb> {
        Some(match text {
            "read" => GrantVerb::Read,
            "write" => GrantVerb::Write,
            "list" => GrantVerb::List,
            "delete" => GrantVerb::Delete,
            _ => return None,
        })
    }
}

// === impl GrantRule ===

impl GrantRule {
    /// Whether it is about a route, not about secrets.
    pub fn is_of_route(&self) -> bool {
        matches!(self.place, GrantPlace::Route(_))
    }
}

impl FromStr for GrantRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<GrantRule, RuleError> {
        let text = text.trim();
        let (verbs, place) = text.split_once(char::is_whitespace).ok_or(RuleError("it has no place"))?;
        let verbs = match verbs {
            "*" => GrantVerb::ALL.to_vec(),
            verbs => verbs
                .split(',')
                .map(|verb| {
                    GrantVerb::parse(verb).ok_or(RuleError("its verbs are not of read, write, list, delete"))
                })
                .collect::<Result<_, _>>()?,
        };
        let place = place.trim();
        let place = match place.split_once('/') {
            Some(("", _)) => GrantPlace::Route(Glob::new(place)),
            Some((vault, key)) if !key.is_empty() => {
                GrantPlace::Secret { vault: Glob::new(vault), key: Glob::new(key) }
            }
            Some(_) => return Err(RuleError("its vault has a slash but no key")),
            None => GrantPlace::Secret { vault: Glob::new(place), key: Glob::new("*") },
        };
        Ok(GrantRule { verbs, place, text: text.to_owned() })
    }
}

impl fmt::Display for GrantRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Glob ===

impl Glob {
    fn new(pattern: &str) -> Glob {
        Glob(fold(pattern).chars().collect())
    }

    /// In time linear in the text for each star: the last star alone is gone back to.
    fn fits(&self, text: &str) -> bool {
        let text: Vec<char> = fold(text).chars().collect();
        let (mut at, mut in_text, mut star) = (0, 0, None);
        while in_text < text.len() {
            match self.0.get(at) {
                Some('*') => {
                    star = Some((at, in_text));
                    at += 1;
                }
                Some(c) if *c == text[in_text] => (at, in_text) = (at + 1, in_text + 1),
                _ => match star {
                    Some((star_at, from)) => {
                        (at, in_text) = (star_at + 1, from + 1);
                        star = Some((star_at, from + 1));
                    }
                    None => return false,
                },
            }
        }
        self.0[at..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(rules: &[&str]) -> Grants {
        Grants::of(rules.iter().map(|rule| rule.parse().unwrap()).collect())
    }

    #[test]
    fn what_no_rule_allows_is_refused() {
        let some = grants(&["read,list Team/db-*", "write Team/db-1", "read /secret"]);
        for (verb, vault, key, allowed) in [
            (GrantVerb::Read, "Team", "db-1", true),
            (GrantVerb::Read, "TEAM", "DB-1", true),
            (GrantVerb::Read, "Team", "db-", true),
            (GrantVerb::Read, "Team", "xdb-1", false),
            (GrantVerb::Read, "Other", "db-1", false),
            (GrantVerb::Write, "Team", "db-1", true),
            (GrantVerb::Write, "Team", "db-10", false),
            (GrantVerb::Delete, "Team", "db-1", false),
            (GrantVerb::List, "Team", "db-9", true),
        ] {
            assert_eq!(some.secret(verb, vault, key), allowed, "{verb:?} {vault}/{key}");
        }
        assert!(some.route(GrantVerb::Read, "/secret") && !some.route(GrantVerb::Write, "/secret"));
        assert!(!some.route(GrantVerb::Read, "/secret/x") && !some.secret(GrantVerb::Read, "", "secret"));
        assert!(some.vault(Some(GrantVerb::List), "team") && !some.vault(Some(GrantVerb::Delete), "team"));
        assert!(!Grants::Nothing.vault(None, "team") && !grants(&[]).route(GrantVerb::Read, "/"));
        assert!(Grants::All.secret(GrantVerb::Delete, "any", "thing"));
    }

    #[test]
    fn a_vault_by_itself_is_all_its_keys_and_stars_stand_anywhere() {
        let some = grants(&["* Team", "read *-prod/*-*-x"]);
        assert!(some.secret(GrantVerb::Delete, "team", "a/b"));
        assert!(
            some.secret(GrantVerb::Read, "eu-prod", "a-b-c-x")
                && !some.secret(GrantVerb::Read, "eu-prod", "a-x")
        );
        assert!(!some.secret(GrantVerb::Read, "eu-production", "a-b-x"));
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for wrong in ["", "read", "look Team", "read,look Team", "Read Team", "read Team/"] {
            assert!(wrong.parse::<GrantRule>().is_err(), "{wrong}");
        }
    }
}

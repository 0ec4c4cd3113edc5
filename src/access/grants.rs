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
pub enum Verb {
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
    Some(Arc<[Rule]>),
    /// Nothing.
    Nothing,
}

/// One line of `allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    verbs: Vec<Verb>,
    place: Place,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
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
    pub fn of(rules: Vec<Rule>) -> Grants {
        if rules.is_empty() { Grants::Nothing } else { Grants::Some(rules.into()) }
    }

    /// Whether the verb is allowed on the route, named as it is declared.
    pub fn route(&self, verb: Verb, pattern: &str) -> bool {
        self.any(|rule| match &rule.place {
            Place::Route(route) => rule.verbs.contains(&verb) && route.fits(pattern),
            Place::Secret { .. } => false,
        })
    }

    /// Whether the verb is allowed on the key of the vault. It says the same whether they are there or not.
    pub fn secret(&self, verb: Verb, vault: &str, key: &str) -> bool {
        self.any(|rule| match &rule.place {
            Place::Secret { vault: vaults, key: keys } => {
                rule.verbs.contains(&verb) && vaults.fits(vault) && keys.fits(key)
            }
            Place::Route(_) => false,
        })
    }

    /// Whether the verb, or any, is allowed on some keys of the vault.
    pub fn vault(&self, verb: Option<Verb>, vault: &str) -> bool {
        self.any(|rule| match &rule.place {
            Place::Secret { vault: vaults, .. } => {
                verb.is_none_or(|verb| rule.verbs.contains(&verb)) && vaults.fits(vault)
            }
            Place::Route(_) => false,
        })
    }

    fn any(&self, allows: impl Fn(&Rule) -> bool) -> bool {
        match self {
            Grants::All => true,
            Grants::Some(rules) => rules.iter().any(allows),
            Grants::Nothing => false,
        }
    }
}

// === impl Verb ===

impl Verb {
    const ALL: [Verb; 4] = [Verb::Read, Verb::Write, Verb::List, Verb::Delete];

    /// What a request of that method does to a script's route.
    pub fn of_method(method: &str) -> Verb {
        match method {
            "GET" | "HEAD" | "OPTIONS" => Verb::Read,
            "DELETE" => Verb::Delete,
            _ => Verb::Write,
        }
    }

    fn parse(text: &str) -> Option<Verb> {
        Some(match text {
            "read" => Verb::Read,
            "write" => Verb::Write,
            "list" => Verb::List,
            "delete" => Verb::Delete,
            _ => return None,
        })
    }
}

// === impl Rule ===

impl Rule {
    /// Whether it is about a route, not about secrets.
    pub fn is_of_route(&self) -> bool {
        matches!(self.place, Place::Route(_))
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        let text = text.trim();
        let (verbs, place) = text.split_once(char::is_whitespace).ok_or(RuleError("it has no place"))?;
        let verbs = match verbs {
            "*" => Verb::ALL.to_vec(),
            verbs => verbs
                .split(',')
                .map(|verb| {
                    Verb::parse(verb).ok_or(RuleError("its verbs are not of read, write, list, delete"))
                })
                .collect::<Result<_, _>>()?,
        };
        let place = place.trim();
        let place = match place.split_once('/') {
            Some(("", _)) => Place::Route(Glob::new(place)),
            Some((vault, key)) if !key.is_empty() => {
                Place::Secret { vault: Glob::new(vault), key: Glob::new(key) }
            }
            Some(_) => return Err(RuleError("its vault has a slash but no key")),
            None => Place::Secret { vault: Glob::new(place), key: Glob::new("*") },
        };
        Ok(Rule { verbs, place, text: text.to_owned() })
    }
}

impl fmt::Display for Rule {
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
            (Verb::Read, "Team", "db-1", true),
            (Verb::Read, "TEAM", "DB-1", true),
            (Verb::Read, "Team", "db-", true),
            (Verb::Read, "Team", "xdb-1", false),
            (Verb::Read, "Other", "db-1", false),
            (Verb::Write, "Team", "db-1", true),
            (Verb::Write, "Team", "db-10", false),
            (Verb::Delete, "Team", "db-1", false),
            (Verb::List, "Team", "db-9", true),
        ] {
            assert_eq!(some.secret(verb, vault, key), allowed, "{verb:?} {vault}/{key}");
        }
        assert!(some.route(Verb::Read, "/secret") && !some.route(Verb::Write, "/secret"));
        assert!(!some.route(Verb::Read, "/secret/x") && !some.secret(Verb::Read, "", "secret"));
        assert!(some.vault(Some(Verb::List), "team") && !some.vault(Some(Verb::Delete), "team"));
        assert!(!Grants::Nothing.vault(None, "team") && !grants(&[]).route(Verb::Read, "/"));
        assert!(Grants::All.secret(Verb::Delete, "any", "thing"));
    }

    #[test]
    fn a_vault_by_itself_is_all_its_keys_and_stars_stand_anywhere() {
        let some = grants(&["* Team", "read *-prod/*-*-x"]);
        assert!(some.secret(Verb::Delete, "team", "a/b"));
        assert!(some.secret(Verb::Read, "eu-prod", "a-b-c-x") && !some.secret(Verb::Read, "eu-prod", "a-x"));
        assert!(!some.secret(Verb::Read, "eu-production", "a-b-x"));
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for wrong in ["", "read", "look Team", "read,look Team", "Read Team", "read Team/"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}

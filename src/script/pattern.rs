//! A route's path with `:name` and `*` in it, matched in time linear in the path.
//!
//! From the path's end backwards it is noted where the rest of the pattern fits; then one walk forward takes
//! what Pode's expressions take: names as short as can be, stars as long as can be. There is no going back,
//! so two stars and a long path cost no more than one.

use crate::secret::fold;

/// A pattern. Two are equal where they match the same paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<PatternToken>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternToken {
    /// These characters, folded.
    Text(Vec<char>),
    /// One or more characters of a segment.
    Name(String),
    /// Anything, slashes too.
    Any,
}

/// A request's path, folded once for all patterns.
pub struct Subject {
    /// As decoded.
    path: Vec<char>,
    folded: Vec<char>,
}

// === impl Subject ===

impl Subject {
    /// Of a decoded path.
    pub fn new(path: &str) -> Subject {
        // Folding maps one character to one.
        Subject { path: path.chars().collect(), folded: fold(path).chars().collect() }
    }
}

// === impl Pattern ===

impl Pattern {
    /// Reads `/users/:id/*`. A name is letters, digits and underscores.
    pub fn new(path: &str) -> Pattern {
        let mut tokens = Vec::new();
        let mut text = Vec::new();
        let mut rest = path.chars().peekable();
        while let Some(c) = rest.next() {
            let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
            let token = match c {
                '*' => PatternToken::Any,
                ':' if rest.peek().is_some_and(is_name) => {
                    let mut name = String::new();
                    while let Some(c) = rest.next_if(is_name) {
                        name.push(c);
                    }
                    PatternToken::Name(name)
                }
                c => {
                    text.extend(fold(c.encode_utf8(&mut [0; 4])).chars());
                    continue;
                }
            };
            if !text.is_empty() {
                tokens.push(PatternToken::Text(std::mem::take(&mut text)));
            }
            tokens.push(token);
        }
        if !text.is_empty() {
            tokens.push(PatternToken::Text(text));
        }
        Pattern(tokens)
    }

    /// Whether it has neither names nor stars, and is this path.
    pub fn is_exactly(&self, subject: &Subject) -> bool {
        match self.0.as_slice() {
            [PatternToken::Text(text)] => *text == subject.folded,
            [] => subject.path.is_empty(),
            _ => false,
        }
    }

    /// What its names stand for in a path that it matches as a whole.
    pub fn matches(&self, subject: &Subject) -> Option<Vec<(String, String)>> {
        let folded = &subject.folded;
        // Most patterns differ in how they begin.
        if let Some(PatternToken::Text(text)) = self.0.first()
            && !folded.starts_with(text)
        {
            return None;
        }
        let fits = self.fits(folded);
        if !fits[0][0] {
            return None;
        }
        let (mut names, mut start) = (Vec::new(), 0);
        for (token, after) in self.0.iter().zip(&fits[1..]) {
            let mut ends = start..=folded.len();
            let end = match token {
                PatternToken::Text(text) => start + text.len(),
                PatternToken::Name(_) => ends.find(|end| *end > start && after[*end])?,
                PatternToken::Any => ends.rev().find(|end| after[*end])?,
            };
            if let PatternToken::Name(name) = token {
                names.push((name.clone(), subject.path[start..end].iter().collect()));
            }
            start = end;
        }
        Some(names)
    }

    /// For each token and each place in the path: whether the pattern from the token on fits the path from
    /// the place on. The last row is the pattern's end.
    fn fits(&self, path: &[char]) -> Vec<Vec<bool>> {
        let mut rows = vec![vec![false; path.len() + 1]; self.0.len() + 1];
        rows[self.0.len()][path.len()] = true;
        for (index, token) in self.0.iter().enumerate().rev() {
            let (before, after) = rows.split_at_mut(index + 1);
            let (row, after) = (&mut before[index], &after[0]);
            for at in (0..=path.len()).rev() {
                row[at] = match token {
                    PatternToken::Text(text) => {
                        after.get(at + text.len()) == Some(&true) && path[at..].starts_with(text)
                    }
                    // One more character of the segment, and then the rest or one more still.
                    PatternToken::Name(_) => {
                        at < path.len() && path[at] != '/' && (after[at + 1] || row[at + 1])
                    }
                    PatternToken::Any => after[at] || (at < path.len() && row[at + 1]),
                };
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn names(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        Pattern::new(pattern).matches(&Subject::new(path))
    }

    #[test]
    fn names_are_as_short_and_stars_as_long_as_can_be() {
        let of = |pattern, path| names(pattern, path).map(|all| all.into_iter().map(|(_, is)| is).collect());
        let some = |all: &[&str]| Some(all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        for (pattern, path, expected) in [
            ("/:a-:b", "/x-y-z", some(&["x", "y-z"])),
            ("/*-:b", "/x-y-z", some(&["z"])),
            ("/:a", "/x/y", None),
            ("/:a", "/", None),
            ("/:a/*", "/x/y/z", some(&["x"])),
            ("*", "/any/thing", some(&[])),
            ("/*/b/*", "/a/b/c/b/d", some(&[])),
            ("/*/b/:c", "/a/b/c/b/d", some(&["d"])),
            ("/a*", "/A", some(&[])),
        ] {
            assert_eq!(of(pattern, path), expected, "{pattern} {path}");
        }
    }

    /// Twice the path takes about twice the time, with however many stars: 2 µs a character and token are
    /// many times what it takes without optimisation, where a search that goes back would take hours.
    #[test]
    fn a_long_path_and_many_stars_take_linear_time() {
        for pattern in ["/*a*", "/*a*a*b", "/:a-:b-:c/*x*", "/*/*/*/*/*/*/end"] {
            let tokens = Pattern::new(pattern).0.len() as u32;
            for length in [8_000, 32_000] {
                for unit in ["a", "/", "-", "a/"] {
                    let path = format!("/{}", unit.repeat(length / unit.len()));
                    let begun = Instant::now();
                    let _ = names(pattern, &path);
                    let most = Duration::from_micros(2) * tokens * length as u32;
                    assert!(begun.elapsed() < most, "{pattern} {length} {:?}", begun.elapsed());
                }
            }
        }
    }
}

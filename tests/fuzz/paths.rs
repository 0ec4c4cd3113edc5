//! Paths and patterns: what a place stands for is what was sent, and nothing else matches.

use std::sync::Arc;

use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use secretbridge::inside::http::{Problem, Routes, Scope, Target};
use secretbridge::inside::plan::{self, Action, Route, Template};
use secretbridge::inside::script::{self as pode, IfExists, Match, Pattern, Subject};
use secretbridge::inside::secret::fold;

use super::{fuzz, text};

fn routes(pattern: &str) -> Option<Routes> {
    let action = Action::Respond(Template::Literal(serde_json::Value::Null));
    let route = Route { method: "GET".into(), path: pattern.into(), action };
    Routes::build(&plan::of(Vec::new(), vec![route], Vec::new()), true).ok()
}

#[test]
fn a_native_path_leads_to_the_very_secret_that_it_names() {
    let fixed = routes("/p").expect("a plan's own path");
    let inputs = (text(), text(), "/[a-z{}*/:%.]{0,20}", "(/[a-z%2f.*]{0,6}){0,5}|.{0,40}");
    fuzz("native paths", inputs, |(vault, key, pattern, path)| {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        if !vault.is_empty() && !key.is_empty() {
            let sent = format!("/vaults/{}/secrets/{}", encoded(&vault), encoded(&key));
            let found = fixed.find(&Method::PUT, &sent);
            let found = found.map_err(|problem| TestCaseError::fail(format!("{sent}: {problem}")))?;
            prop_assert!(matches!(found.target, Target::Put(Scope::Named)));
            prop_assert_eq!((found.vault, found.key), (Some(vault), Some(key)));
        }
        // Any pattern, any path: an answer, and of a fixed route no other name than the path's own.
        for routes in routes(&pattern).iter().chain([&fixed]) {
            match routes.find(&Method::GET, &path) {
                Ok(found) => {
                    for name in [found.vault, found.key].into_iter().flatten() {
                        let is_it =
                            |segment| percent_decode_str(segment).decode_utf8().is_ok_and(|s| s == name);
                        prop_assert!(path.split('/').any(is_it), "{name:?} is not in {path:?}");
                    }
                }
                Err(Problem::UnknownRoute | Problem::BadPath | Problem::Method { .. }) => {}
                Err(problem) => return Err(TestCaseError::fail(format!("{path}: {problem}"))),
            }
        }
        Ok(())
    });
}

/// A piece of a pattern, with what stands for it in a path.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Name(String, String),
    Star(String),
}

fn piece() -> impl Strategy<Value = Piece> {
    let segment = "[a-cA-Cäß1 .*:-]{1,5}|[^/]{1,4}";
    prop_oneof![
        3 => "[a-cA-CßÄ/.-]{1,4}".prop_map(Piece::Text),
        2 => ("[a-z]{1,3}", segment).prop_map(|(name, value)| Piece::Name(name, value)),
        1 => "[a-c/]{0,5}|.{0,4}".prop_map(Piece::Star),
    ]
}

/// The pattern, and a path that it must match. A slash parts names from the letters after them.
fn written(pieces: &[Piece]) -> (String, String) {
    let (mut pattern, mut path) = (String::from("/"), String::from("/"));
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                pattern.push_str(text);
                path.push_str(text);
            }
            Piece::Name(name, value) => {
                pattern.push_str(&format!(":{name}/"));
                path.push_str(&format!("{value}/"));
            }
            Piece::Star(value) => {
                pattern.push('*');
                path.push_str(value);
            }
        }
    }
    (pattern, path)
}

/// The path that a pattern without stars and these names make.
fn rebuilt(pattern: &str, names: &[(String, String)]) -> String {
    let (mut path, mut rest, mut names) = (String::new(), pattern, names.iter());
    while let Some(at) = rest.find(':') {
        let (before, after) = rest.split_at(at);
        path.push_str(before);
        let end =
            after[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(after.len(), |n| n + 1);
        if end == 1 {
            path.push(':');
        } else {
            path.push_str(&names.next().expect("a value for each name").1);
        }
        rest = &after[end..];
    }
    path + rest
}

#[test]
fn a_pode_pattern_matches_what_it_describes_and_takes_names_from_the_path() {
    fuzz("Pode patterns", (vec(piece(), 0..7), "/?.{0,24}", any::<bool>()), |(pieces, other, upper)| {
        let (pattern, mut path) = written(&pieces);
        if upper {
            path = fold(&path);
        }
        let parsed = Pattern::new(&pattern);
        for path in [&path, &other] {
            let Some(names) = parsed.matches(&Subject::new(path)) else {
                prop_assert!(path == &other, "{pattern:?} must match {path:?}");
                continue;
            };
            prop_assert!(names.iter().all(|(_, value)| !value.is_empty() && !value.contains('/')));
            if !pattern.contains('*') {
                prop_assert_eq!(fold(&rebuilt(&pattern, &names)), fold(path), "{:?}", pattern);
            }
        }
        // The table takes whatever is declared, and finds what it took.
        let table = pode::ScriptRoutes::default();
        let route = pode::ScriptRoute {
            method: "GET".into(),
            path: pode::normal(&other),
            endpoint: None,
            block: 1,
            arguments: Vec::new(),
            content_type: None,
            error_content_type: None,
            lift: None,
            position: None,
        };
        let declared: Arc<str> = route.path.as_str().into();
        prop_assert!(declared.starts_with('/') && !declared.contains("//"), "{declared:?}");
        prop_assert!(table.add(route, IfExists::Error));
        if !declared.contains([':', '*']) {
            prop_assert!(matches!(table.find("GET", &declared, None), Match::Route(..)), "{declared:?}");
            prop_assert!(matches!(table.find("PUT", &declared, None), Match::OtherMethods(_)));
        }
        if let Some(path) = pode::decoded(&other) {
            let _ = table.find("GET", &path, None);
        }
        Ok(())
    });
}

//! Pode's routes: which one answers a request.
//!
//! Routes for any method (`*`) come first, then those of the request's method. Among each the exact paths
//! come first, then the patterns in the order in which they were declared. Case does not count, a trailing
//! slash does. `%2F` never matches: a segment cannot hold a slash. A path that exists for other methods only
//! is answered 405, with `Allow`.

use std::sync::{Arc, PoisonError, RwLock};

use percent_encoding::percent_decode_str;

use super::pattern::{Pattern, Subject};
use super::protocol::ask::{IfExists, Lift};
use super::value::Portable;
use crate::secret::fold;

/// A route of the script.
#[derive(Debug, Clone)]
pub struct ScriptRoute {
    /// Upper-case method, or `*`.
    pub method: String,
    /// The path as declared, with its leading slash and without a query.
    pub path: String,
    /// The endpoint it belongs to, if it is one's own.
    pub endpoint: Option<String>,
    /// Its block.
    pub block: u64,
    /// Arguments of the block.
    pub arguments: Vec<Portable>,
    /// How to read the body, whatever the client says.
    pub content_type: Option<String>,
    /// How to show errors.
    pub error_content_type: Option<String>,
    /// What can be answered without a worker.
    pub lift: Option<Lift>,
    /// Script and line.
    pub position: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub enum Match {
    /// A route, and what its pattern's names stand for.
    Route(Arc<ScriptRoute>, Vec<(String, String)>),
    /// The path exists for these methods only.
    OtherMethods(Vec<String>),
    /// No such path.
    None,
}

/// The routing table. May change while the server runs.
#[derive(Default)]
pub struct ScriptRoutes(RwLock<Vec<Compiled>>);

struct Compiled {
    route: Arc<ScriptRoute>,
    pattern: Pattern,
}

/// A declared path as the table has it: one leading slash, no query.
pub fn normal(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default().trim();
    let mut normal = String::with_capacity(path.len() + 1);
    normal.push('/');
    for c in path.chars() {
        let c = if c == '\\' { '/' } else { c };
        if c != '/' || !normal.ends_with('/') {
            normal.push(c);
        }
    }
    normal
}

/// A request's path in plain text; `None` where it can match nothing: an encoded slash, or no UTF-8.
pub fn decoded(path: &str) -> Option<String> {
    let has_slash = path.as_bytes().windows(3).any(|three| three.eq_ignore_ascii_case(b"%2f"));
    if has_slash {
        return None;
    }
    percent_decode_str(path).decode_utf8().ok().map(String::from)
}

// === impl ScriptRoutes ===

impl ScriptRoutes {
    /// Adds a route; `false` where it is there already and that is an error.
    pub fn add(&self, route: ScriptRoute, if_exists: IfExists) -> bool {
        let pattern = Pattern::new(&route.path);
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &Compiled| {
            entry.route.method == route.method
                && entry.pattern == pattern
                && folded(&entry.route.endpoint) == folded(&route.endpoint)
        };
        match (entries.iter().position(same), if_exists) {
            (Some(_), IfExists::Error) => return false,
            (Some(_), IfExists::Skip) => {}
            // It keeps its place in the order.
            (Some(index), IfExists::Overwrite) => {
                entries[index] = Compiled { route: Arc::new(route), pattern }
            }
            (None, _) => entries.push(Compiled { route: Arc::new(route), pattern }),
        }
        true
    }

    /// Takes a route out, of this endpoint or of every.
    pub fn remove(&self, method: &str, path: &str, endpoint: Option<&str>) {
        let pattern = Pattern::new(&normal(path));
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| !is(entry, method, &pattern, endpoint));
    }

    /// Whether there is such a route.
    pub fn has(&self, method: &str, path: &str, endpoint: Option<&str>) -> bool {
        let pattern = Pattern::new(&normal(path));
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().any(|entry| is(entry, method, &pattern, endpoint))
    }

    /// The route of a request; `path` is decoded.
    pub fn find(&self, method: &str, path: &str, endpoint: Option<&str>) -> Match {
        let path = &Subject::new(path);
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for wanted in ["*", method] {
            let of_method = || entries.iter().filter(|entry| entry.route.method == wanted);
            let exact = best(of_method().filter(|entry| entry.pattern.is_exactly(path)), endpoint);
            if let Some(entry) = exact {
                return Match::Route(entry.route.clone(), Vec::new());
            }
            // The first pattern that fits wins. Of equal ones, a route of this endpoint goes first.
            let fits = of_method()
                .filter(|entry| serves(entry, endpoint))
                .find_map(|entry| Some((&entry.pattern, entry.pattern.matches(path)?)));
            if let Some((pattern, names)) = fits {
                let same = of_method().filter(|entry| entry.pattern == *pattern);
                if let Some(entry) = best(same, endpoint) {
                    return Match::Route(entry.route.clone(), names);
                }
            }
        }
        let others = entries
            .iter()
            .filter(|entry| serves(entry, endpoint) && entry.pattern.matches(path).is_some())
            .map(|entry| entry.route.method.clone());
        let mut others: Vec<String> = others.collect();
        others.sort();
        others.dedup();
        if others.is_empty() { Match::None } else { Match::OtherMethods(others) }
    }

    /// All of them, in order.
    pub fn all(&self) -> Vec<Arc<ScriptRoute>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|entry| entry.route.clone()).collect()
    }
}

fn folded(name: &Option<String>) -> Option<String> {
    name.as_deref().map(fold)
}

fn is(entry: &Compiled, method: &str, pattern: &Pattern, endpoint: Option<&str>) -> bool {
    entry.route.method.eq_ignore_ascii_case(method)
        && entry.pattern == *pattern
        && endpoint.is_none_or(|endpoint| folded(&entry.route.endpoint) == Some(fold(endpoint)))
}

fn serves(entry: &Compiled, endpoint: Option<&str>) -> bool {
    entry.route.endpoint.is_none() || folded(&entry.route.endpoint) == endpoint.map(fold)
}

/// The one of the endpoint's own, else the one of every endpoint.
fn best<'a>(entries: impl Iterator<Item = &'a Compiled>, endpoint: Option<&str>) -> Option<&'a Compiled> {
    let mut fallback = None;
    for entry in entries.filter(|entry| serves(entry, endpoint)) {
        if entry.route.endpoint.is_some() {
            return Some(entry);
        }
        fallback = fallback.or(Some(entry));
    }
    fallback
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str, endpoint: Option<&str>, block: u64) -> ScriptRoute {
        ScriptRoute {
            method: method.into(),
            path: normal(path),
            endpoint: endpoint.map(str::to_owned),
            block,
            arguments: Vec::new(),
            content_type: None,
            error_content_type: None,
            lift: None,
            position: None,
        }
    }

    fn table(routes: &[(&str, &str)]) -> ScriptRoutes {
        let table = ScriptRoutes::default();
        for ((method, path), block) in routes.iter().zip(1..) {
            assert!(table.add(route(method, path, None, block), IfExists::Error), "{path}");
        }
        table
    }

    /// The block found, with the names; 0 and the methods for a 405; `None` for a 404.
    fn found(table: &ScriptRoutes, method: &str, path: &str) -> Option<(u64, String)> {
        match table.find(method, &decoded(path)?, None) {
            Match::Route(route, names) => {
                let names: Vec<_> = names.iter().map(|(name, value)| format!("{name}={value}")).collect();
                Some((route.block, names.join(",")))
            }
            Match::OtherMethods(methods) => Some((0, methods.join(","))),
            Match::None => None,
        }
    }

    #[test]
    fn the_table_answers_as_pode_does() {
        let table = table(&[
            ("GET", "/secret"),
            ("POST", "/secret"),
            ("GET", "/custom/:name"),
            ("GET", "/custom"),
            ("GET", "/custom/fixed"),
            ("GET", "/a/:x/b/:y"),
            ("GET", "/files/*"),
            ("GET", "/files/:never"),
            ("*", "/any/:m"),
            ("GET", "/any/exact"),
            ("GET", "/f-:id.json"),
            ("PUT", "/ärger"),
        ]);
        for (method, path, expected) in [
            ("GET", "/secret", Some((1, ""))),
            ("POST", "/SECRET", Some((2, ""))),
            ("GET", "/secret/", None),
            ("PUT", "/secret", Some((0, "GET,POST"))),
            ("HEAD", "/secret", Some((0, "GET,POST"))),
            ("GET", "/custom/one", Some((3, "name=one"))),
            ("GET", "/custom", Some((4, ""))),
            ("GET", "/custom/fixed", Some((5, ""))),
            ("GET", "/custom/one/two", None),
            ("GET", "/custom/a%2Fb", None),
            ("GET", "/custom/a%20b", Some((3, "name=a b"))),
            ("GET", "/custom/", None),
            ("GET", "/a/1/b/2", Some((6, "x=1,y=2"))),
            ("GET", "/files/x/y", Some((7, ""))),
            ("GET", "/files/", Some((7, ""))),
            ("DELETE", "/any/x", Some((9, "m=x"))),
            ("GET", "/any/exact", Some((9, "m=exact"))),
            ("GET", "/f-7.json", Some((11, "id=7"))),
            ("GET", "/f-.json", None),
            ("PUT", "/%C3%84RGER", Some((12, ""))),
            ("PUT", "/%ff", None),
            ("GET", "/", None),
        ] {
            let expected = expected.map(|(block, names): (u64, &str)| (block, names.to_owned()));
            assert_eq!(found(&table, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_same_route_again_is_an_error_unless_said_otherwise() {
        let table = table(&[("GET", "/x"), ("GET", "/y")]);
        assert!(!table.add(route("GET", "X?q=1", None, 7), IfExists::Error));
        assert!(table.add(route("GET", "/x", None, 8), IfExists::Skip));
        assert_eq!(found(&table, "GET", "/x"), Some((1, String::new())));
        assert!(table.add(route("GET", "//x", None, 9), IfExists::Overwrite));
        assert_eq!(found(&table, "GET", "/x"), Some((9, String::new())));
        assert!(table.has("get", "/X", None) && !table.has("GET", "/x", Some("api")));
        table.remove("get", "x", None);
        assert_eq!(found(&table, "GET", "/x"), None);
    }

    #[test]
    fn an_endpoint_sees_its_own_routes_first_and_never_anothers() {
        let table = ScriptRoutes::default();
        for (path, endpoint, block) in [
            ("/x", None, 1),
            ("/x", Some("api"), 2),
            ("/own", Some("api"), 3),
            ("/p/:n", Some("web"), 4),
            ("/p/:n", None, 5),
        ] {
            assert!(table.add(route("GET", path, endpoint, block), IfExists::Error));
        }
        let block = |path: &str, endpoint| match table.find("GET", path, endpoint) {
            Match::Route(route, _) => Some(route.block),
            _ => None,
        };
        assert_eq!(
            (block("/x", Some("API")), block("/x", Some("web")), block("/x", None)),
            (Some(2), Some(1), Some(1))
        );
        assert_eq!(
            (block("/own", Some("api")), block("/own", Some("web")), block("/own", None)),
            (Some(3), None, None)
        );
        assert_eq!((block("/p/1", Some("web")), block("/p/1", Some("api"))), (Some(4), Some(5)));
    }
}

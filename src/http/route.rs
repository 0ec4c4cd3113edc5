//! Which route a request is for: pure, and built once from the plan.
//!
//! Paths are matched as sent, so that a `%2F` in a secret's name does not part it; what a `{place}`
//! caught is decoded afterwards. Beside the plan's own routes there are the fixed ones:
//!
//! | path | methods | |
//! | --- | --- | --- |
//! | `/health`, `/ready`, `/readyz`, `/livez` | GET | without a token |
//! | `/metrics` | GET | counts, for Prometheus |
//! | `/openapi.json` | GET | the routes, as OpenAPI 3.1 |
//! | `/secrets`, `/secrets/{key}` | GET; GET, PUT, PATCH, DELETE | the default vault, where there is one |
//! | `/vaults` | GET | names of the exposed vaults |
//! | `/vaults/{vault}/secrets`, `/vaults/{vault}/secrets/{key}` | GET; GET, PUT, PATCH, DELETE | exposed vaults |
//! | `/vaults/{vault}/unlock`, `/vaults/{vault}/lock` | POST | exposed vaults |
//! | `/mounts`, `/mounts/{key}` | GET; GET, PUT, PATCH, DELETE | mounted secrets |
//! | `/admin/cache/clear`, `/admin/cache/refresh` | POST | the cached values |
//! | `/status` | GET | a page, without a token; what it shows is asked for with one |
//! | `/status/events` | GET | the state, each second |

use hyper::Method;
use matchit::Router;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::problem::Problem;
use crate::audit::AuditName;
use crate::plan::{Action, Plan, Route};

/// The routes of a server.
#[derive(Debug, Clone)]
pub struct Routes {
    router: Router<PathTargets>,
    paths: Vec<PathTargets>,
}

#[derive(Debug, Clone)]
struct PathTargets {
    pattern: AuditName,
    targets: Vec<(Method, Target)>,
}

/// What a route leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A native route of the plan.
    Action(Action),
    /// That the process lives.
    Live,
    /// How the server is.
    Health,
    /// Whether it serves.
    Ready,
    /// Counts for Prometheus.
    Metrics,
    /// A description of the routes.
    OpenApi,
    /// The names of the exposed vaults.
    Vaults,
    /// The secrets of a vault.
    List(Scope),
    /// Reads a secret.
    Get(Scope),
    /// Writes a secret.
    Put(Scope),
    /// Writes a secret's metadata.
    Patch(Scope),
    /// Removes a secret.
    Delete(Scope),
    /// Unlocks a vault.
    Unlock,
    /// Locks a vault.
    Lock,
    /// Names the mounted secrets.
    Mounts,
    /// Forgets the cached values.
    ClearCache,
    /// Reads anew what has changed elsewhere.
    RefreshCache,
    /// The status page.
    StatusPage,
    /// What the status page shows, live.
    StatusEvents,
}

/// Where notices of changed secrets go.
pub const NOTICES: &str = "/admin/cache/refresh";

/// Which vault a fixed route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The default vault, under `/secrets`.
    Default,
    /// The vault named in the path, if it is exposed.
    Named,
    /// The vault behind the mounted secret named in the path.
    Mounted,
}

/// A route found.
#[derive(Debug)]
pub struct Routed<'a> {
    /// What it leads to.
    pub target: &'a Target,
    /// Its pattern, for the audit trail.
    pub pattern: &'a AuditName,
    /// The vault in the path, decoded.
    pub vault: Option<String>,
    /// The secret's name in the path, decoded.
    pub key: Option<String>,
}

/// Why the plan's routes cannot be served.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RouteError {
    /// Not a method.
    #[error("'{method}' is not an HTTP method")]
    Method {
        /// As in the plan.
        method: String,
    },
    /// Two routes for one request.
    #[error("the route {method} {path} is there twice, or is one of the server's own")]
    Twice {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// A pattern that cannot be matched, or overlaps another.
    #[error(
        "the path {path} cannot be routed: {reason} (hint: a place is a whole segment, as in /db/{{name}})"
    )]
    Pattern {
        /// The path.
        path: String,
        /// Why not.
        reason: String,
    },
}

// === impl Routes ===

impl Routes {
    /// Builds the table from the plan's routes and the fixed ones.
    pub fn build(plan: &Plan, default_vault: bool) -> Result<Routes, RouteError> {
        let mut entries = fixed(default_vault);
        for Route { method, path, action } in &plan.routes {
            let known = Method::from_bytes(method.as_bytes());
            let known = known.map_err(|_| RouteError::Method { method: method.clone() })?;
            add(&mut entries, path, known, Target::Action(action.clone()))?;
        }
        let mut router = Router::new();
        for entry in entries.iter().cloned() {
            let path = entry.pattern.to_string();
            if !path.starts_with('/') {
                return Err(RouteError::Pattern { path, reason: "it has to begin with a slash".to_owned() });
            }
            router
                .insert(path.clone(), entry)
                .map_err(|error| RouteError::Pattern { path, reason: error.to_string() })?;
        }
        Ok(Routes { router, paths: entries })
    }

    /// Every route: its pattern, its method, and what it leads to.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Method, &Target)> {
        self.paths
            .iter()
            .flat_map(|entry| entry.targets.iter().map(|(method, target)| (&*entry.pattern, method, target)))
    }

    /// Finds the route of a request. `OPTIONS` and methods that a path does not take are problems too,
    /// which carry their answer.
    pub fn find(&self, method: &Method, path: &str) -> Result<Routed<'_>, Problem> {
        let matched = self.router.at(path).map_err(|_| Problem::UnknownRoute)?;
        let entry = matched.value;
        let target = entry.target(method).ok_or_else(|| match *method {
            Method::OPTIONS => Problem::Options { allow: entry.allow() },
            _ => Problem::Method { allow: entry.allow() },
        })?;
        let decoded = |place| matched.params.get(place).map(decode).transpose();
        let (vault, key) = match target {
            Target::Action(_) => (None, None),
            _ => (decoded("vault")?, decoded("key")?),
        };
        Ok(Routed { target, pattern: &entry.pattern, vault, key })
    }
}

fn fixed(default_vault: bool) -> Vec<PathTargets> {
    let get =
        |pattern: &str, target| PathTargets { pattern: pattern.into(), targets: vec![(Method::GET, target)] };
    let post = |pattern: &str, target| PathTargets {
        pattern: pattern.into(),
        targets: vec![(Method::POST, target)],
    };
    let one = |pattern: &str, scope| PathTargets {
        pattern: pattern.into(),
        targets: vec![
            (Method::GET, Target::Get(scope)),
            (Method::PUT, Target::Put(scope)),
            (Method::PATCH, Target::Patch(scope)),
            (Method::DELETE, Target::Delete(scope)),
        ],
    };
    let mut entries = vec![
        get("/health", Target::Health),
        get("/livez", Target::Live),
        get("/ready", Target::Ready),
        get("/readyz", Target::Ready),
        get("/metrics", Target::Metrics),
        get("/openapi.json", Target::OpenApi),
        get("/vaults", Target::Vaults),
        get("/vaults/{vault}/secrets", Target::List(Scope::Named)),
        one("/vaults/{vault}/secrets/{key}", Scope::Named),
        post("/vaults/{vault}/unlock", Target::Unlock),
        post("/vaults/{vault}/lock", Target::Lock),
        get("/mounts", Target::Mounts),
        one("/mounts/{key}", Scope::Mounted),
        post("/admin/cache/clear", Target::ClearCache),
        post(NOTICES, Target::RefreshCache),
        get("/status", Target::StatusPage),
        get("/status/events", Target::StatusEvents),
    ];
    if default_vault {
        entries.push(get("/secrets", Target::List(Scope::Default)));
        entries.push(one("/secrets/{key}", Scope::Default));
    }
    entries
}

fn add(entries: &mut Vec<PathTargets>, path: &str, method: Method, target: Target) -> Result<(), RouteError> {
    let Some(entry) = entries.iter_mut().find(|entry| *entry.pattern == *path) else {
        entries.push(PathTargets { pattern: path.into(), targets: vec![(method, target)] });
        return Ok(());
    };
    if entry.targets.iter().any(|(other, _)| *other == method) {
        return Err(RouteError::Twice { method: method.to_string(), path: path.to_owned() });
    }
    entry.targets.push((method, target));
    Ok(())
}

/// What a place caught, as UTF-8 text.
fn decode(caught: &str) -> Result<String, Problem> {
    percent_decode_str(caught).decode_utf8().map(String::from).map_err(|_| Problem::BadPath)
}

// === impl PathTargets ===

impl PathTargets {
    /// HEAD is GET without its body, unless the plan says otherwise.
    fn target(&self, method: &Method) -> Option<&Target> {
        let exact = |wanted: &Method| self.targets.iter().find(|(method, _)| method == wanted);
        let found = exact(method).or_else(|| (method == Method::HEAD).then(|| exact(&Method::GET)).flatten());
        found.map(|(_, target)| target)
    }

    fn allow(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for (method, _) in &self.targets {
            names.push(method.as_str());
            if *method == Method::GET {
                names.push("HEAD");
            }
        }
        names.push("OPTIONS");
        let mut seen = Vec::new();
        names.retain(|name| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        names.join(", ")
    }
}

// === impl Target ===

impl Target {
    /// Which vault it is about, where the path does not name one alone.
    pub fn scope(&self) -> Option<Scope> {
        match self {
            Target::List(scope)
            | Target::Get(scope)
            | Target::Put(scope)
            | Target::Patch(scope)
            | Target::Delete(scope) => Some(*scope),
            _ => None,
        }
    }

    /// Whether it is answered without a token: it tells nothing but that the server is there.
    pub fn is_public(&self) -> bool {
        matches!(self, Target::Live | Target::Health | Target::Ready | Target::StatusPage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Template;

    fn respond(secret: &str) -> Action {
        Action::Respond(Template::Secret(secret.to_owned()))
    }

    fn routes(of_plan: &[(&str, &str)], default_vault: bool) -> Result<Routes, RouteError> {
        let routes = of_plan.iter().map(|(method, path)| Route {
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            action: respond(path),
        });
        Routes::build(&Plan { routes: routes.collect(), ..Plan::default() }, default_vault)
    }

    fn allow(routes: &Routes, method: Method, path: &str) -> String {
        match routes.find(&method, path) {
            Err(Problem::Method { allow } | Problem::Options { allow }) => allow,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_route_is_found_by_path_then_method() {
        let routes =
            routes(&[("GET", "/secret"), ("POST", "/secret"), ("GET", "/db/{name}")], false).unwrap();
        let found = routes.find(&Method::POST, "/secret").unwrap();
        assert_eq!((found.target, &**found.pattern), (&Target::Action(respond("/secret")), "/secret"));
        assert_eq!(routes.find(&Method::GET, "/db/main").unwrap().pattern.as_ref(), "/db/{name}");
        for unknown in ["/", "/secret/", "/SECRET", "/db", "/db/", "/db/a/b", "*", ""] {
            assert!(matches!(routes.find(&Method::GET, unknown), Err(Problem::UnknownRoute)), "{unknown}");
        }
    }

    #[test]
    fn head_is_get_and_other_methods_learn_what_is_allowed() {
        let routes = routes(&[("GET", "/a"), ("POST", "/a"), ("POST", "/b")], false).unwrap();
        assert!(routes.find(&Method::HEAD, "/a").is_ok());
        assert_eq!(allow(&routes, Method::DELETE, "/a"), "GET, HEAD, POST, OPTIONS");
        assert_eq!(allow(&routes, Method::HEAD, "/b"), "POST, OPTIONS");
        assert!(matches!(routes.find(&Method::OPTIONS, "/b"), Err(Problem::Options { .. })));
    }

    #[test]
    fn a_key_keeps_its_slash_and_every_other_character() {
        let routes = routes(&[], true).unwrap();
        for (sent, key) in
            [("a%2Fb", "a/b"), ("caf%C3%A9", "café"), ("%00", "\0"), ("a+b", "a+b"), ("%2A'", "*'")]
        {
            let path = format!("/vaults/my%20vault/secrets/{sent}");
            let found = routes.find(&Method::GET, &path).unwrap();
            assert_eq!((found.vault.as_deref(), found.key.as_deref()), (Some("my vault"), Some(key)));
            assert_eq!(routes.find(&Method::PUT, &format!("/secrets/{sent}")).unwrap().key.unwrap(), key);
        }
    }

    #[test]
    fn a_key_that_is_empty_or_no_text_is_refused() {
        let routes = routes(&[], true).unwrap();
        assert!(matches!(routes.find(&Method::GET, "/secrets/"), Err(Problem::UnknownRoute)));
        assert!(matches!(routes.find(&Method::GET, "/secrets/%ff"), Err(Problem::BadPath)));
    }

    #[test]
    fn secrets_is_a_route_only_where_there_is_a_default_vault() {
        assert!(matches!(
            routes(&[], false).unwrap().find(&Method::GET, "/secrets"),
            Err(Problem::UnknownRoute)
        ));
        assert!(routes(&[], true).unwrap().find(&Method::GET, "/secrets").is_ok());
        assert!(routes(&[("GET", "/secrets")], false).is_ok(), "the plan may have the path itself");
    }

    #[test]
    fn the_plan_cannot_take_a_fixed_route_or_one_twice() {
        for of_plan in [&[("GET", "/health")][..], &[("GET", "/a"), ("GET", "/a")]] {
            assert!(matches!(routes(of_plan, false), Err(RouteError::Twice { .. })));
        }
        assert!(matches!(
            routes(&[("GET", "/a/{x}"), ("GET", "/a/{y}")], false),
            Err(RouteError::Pattern { .. })
        ));
        assert!(matches!(routes(&[("GET", "no-slash")], false), Err(RouteError::Pattern { .. })));
        assert!(matches!(routes(&[("G T", "/a")], false), Err(RouteError::Method { .. })));
    }
}

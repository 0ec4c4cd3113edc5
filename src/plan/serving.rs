//! Where is listened, who may come, and what is answered.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Where a server listens if nobody says otherwise.
pub const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8085);

/// One listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub bind: Bind,
    /// TLS, where wanted.
    pub tls: Option<Tls>,
    /// A name that routes may refer to.
    pub name: Option<String>,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address. Port 0 takes any free port; the one taken is announced.
    Tcp(SocketAddr),
    /// A Unix socket, made with mode 0600 and removed at exit.
    Unix(PathBuf),
}

/// Certificate of a TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// PEM files.
    Files {
        /// Certificate chain, leaf first.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
        /// Authorities whose client certificates are taken, where clients may show one.
        clients: Option<PathBuf>,
    },
    /// A certificate made at start for the listener's host name, kept in memory only.
    SelfSigned,
}

/// Who may call native routes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Access {
    /// Callers that show the bearer token kept in this file, read at start (mode 0600 is checked).
    TokenFile(PathBuf),
    /// Callers that show the bearer token in this environment variable.
    TokenEnv(String),
    /// Only those that [`super::callers::Callers`] names.
    Named,
    /// Anyone that can connect. Only ever by the plan's own word.
    Open,
    /// The default: a token kept in the platform's data folder, made at first start.
    #[default]
    OwnToken,
}

/// A route of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Upper-case method.
    pub method: String,
    /// Path pattern, e.g. `/secret` or `/db/{name}`.
    pub path: String,
    /// What answers.
    pub action: Action,
}

/// What a native route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answers 200 with a JSON document in which secrets stand.
    Respond(Template),
    /// Writes a field of the request's body to a mounted secret; answers 200 with an empty body.
    Update {
        /// The mount.
        secret: String,
        /// The body's field, exact name first, then without case.
        field: String,
    },
    /// Removes a mounted secret's key from its vault; answers 200 with an empty body.
    Remove {
        /// The mount.
        secret: String,
    },
}

impl Action {
    /// The mounts that it is about, in order, as often as it names them.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Action::Respond(template) => template.secrets(),
            Action::Update { secret, .. } | Action::Remove { secret } => vec![secret],
        }
    }
}

/// A JSON document with places for secrets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// A mounted secret's value.
    Secret(String),
    /// A literal.
    Literal(serde_json::Value),
    /// An object, in order.
    Object(Vec<(String, Template)>),
    /// A list.
    List(Vec<Template>),
}

impl Template {
    /// The mounts it shows, in order, as often as it shows them.
    pub fn secrets(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit(&mut |name| names.push(name));
        names
    }

    fn visit<'a>(&'a self, each: &mut impl FnMut(&'a str)) {
        match self {
            Template::Secret(name) => each(name),
            Template::Literal(_) => {}
            Template::Object(members) => members.iter().for_each(|(_, member)| member.visit(each)),
            Template::List(items) => items.iter().for_each(|item| item.visit(each)),
        }
    }
}

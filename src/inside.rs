//! What the tests in `tests`, the fuzz targets and the stand-in for `pwsh` use of the crate's inside.
//!
//! No part of what the library promises. It is here with the feature `fake-pwsh` alone, which no release has; without
//! it, the compiler sees what nothing uses. Only what is named here is seen from outside.

/// Who calls.
pub mod access {
    pub use crate::access::{AccessPolicy, Caller, Token};
}

/// Answers of a bridge.
pub mod bridge {
    use crate::bridge::Answer;
    use crate::cache::Freshness;

    /// A value with its age.
    pub fn answer<V>(value: V, freshness: Freshness) -> Answer<V> {
        Answer { value, freshness }
    }
}

/// Configuration files.
pub mod config {
    pub use crate::config::parse;
}

/// The program's exit codes.
pub mod exit {
    pub use crate::exit::Exit;
}

/// Routes and the door.
pub mod http {
    pub use crate::access::Peer;
    pub use crate::http::Problem;
    pub use crate::http::route::{Routes, Scope, Target};
    pub use crate::http::value::Written;
    pub use crate::http::{
        Admitted, Gate, Head, Native, RefusedRequest, Reply, Request, Secrets, Service, serve_connection,
    };
}

/// Plans, made from their parts.
pub mod plan {
    pub use crate::plan::{Action, InitScript, Limits, Route, Template};
    use crate::plan::{Plan, Vault};

    /// A plan of these parts, with nothing checked.
    pub fn of(vaults: Vec<Vault>, routes: Vec<Route>, init: Vec<InitScript>) -> Plan {
        Plan { vaults, routes, init, ..Plan::default() }
    }
}

/// The protocol of workers.
pub mod protocol {
    pub use crate::protocol::*;
    use crate::secret::SecretType;

    /// A line of a list.
    pub fn secret_info(name: String, kind: SecretType, metadata: Metadata) -> SecretInfo {
        SecretInfo { name, kind, metadata }
    }
}

/// Script mode.
pub mod script {
    pub use crate::script::pattern::{Pattern, Subject};
    pub use crate::script::protocol::ask::IfExists;
    pub use crate::script::route::{Match, ScriptRoute, ScriptRoutes, decoded, normal};
}

/// Names of secrets.
pub mod secret {
    pub use crate::secret::fold;
}

/// Workers.
pub mod worker {
    pub use crate::worker::transport::{Message, Transport};
}

/// Ends this process as the kernel ends one: no exit code, nothing flushed.
pub use crate::platform::kill_self;

//! Script mode's messages between core and worker: shape only, no logic and no tables.
//!
//! They travel inside the lines of [`crate::protocol`]: an [`Invoke`] is a call's op, an [`Ask`] is what a worker
//! asks while it runs a block, an [`AskReply`] is the answer. `docs/script-protocol.md` is the prose;
//! `fixtures/protocol/script-core.jsonl` and `script-worker.jsonl` are the golden lines that this file and
//! `src/pwsh` are both tested against.
//!
//! One table names the asks, [`Ask`]. To add one: a shape in `protocol/ask.rs`, a line here, an arm in `asks.rs`, and a
//! golden line. The compiler names what is missing.
//!
//! What holds a script's source has no `Debug`: a password may be in it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::value::Portable;
use crate::protocol::{Empty, SecretInfo};

pub mod ask;
pub mod call;
pub mod shape;

pub use call::Invoke;
use shape::{GivenObject, Id, VaultShown};

/// Declares the asks: their name on the wire, their variant, and the shape of their fields.
macro_rules! asks {
    ($($(#[$doc:meta])* $name:literal => $variant:ident($body:ty),)*) => {
        /// What a worker asks: `{"do":name, …}`.
        pub enum Ask {
            $($(#[$doc])* $variant($body),)*
        }

        impl Ask {
            /// The names of all asks.
            #[cfg(test)]
            pub const NAMES: &[&str] = &[$($name),*];

            /// Reads the fields of the ask with this name.
            fn of<'de, D: Deserializer<'de>>(name: &str, fields: D) -> Result<Ask, D::Error> {
                match name {
                    $($name => Deserialize::deserialize(fields).map(Ask::$variant),)*
                    other => Err(D::Error::custom(format_args!("'{other}' is not served"))),
                }
            }

            /// Whether there is an ask of this name.
            fn is_known(name: &str) -> bool {
                matches!(name, $($name)|*)
            }
        }
    };
}

asks! {
    /// Registers, configures and unlocks a vault.
    "vault-add" => VaultAdd(Box<ask::VaultAdd>),
    /// Takes a vault out.
    "vault-remove" => VaultRemove(ask::NamedAsk),
    /// Unlocks a vault.
    "vault-unlock" => VaultUnlock(ask::VaultUnlock),
    /// Tells what is registered.
    "vault-get" => VaultGet(ask::VaultGet),
    /// Brings vaults of the user's registry in.
    "vault-export" => VaultExport(ask::Names),
    /// Lists a vault.
    "info" => Info(ask::InfoAsk),
    /// Mounts a secret.
    "mount" => Mount(ask::MountAsk),
    /// Takes a mounted secret down.
    "dismount" => Dismount(ask::Dismount),
    /// Whether a secret is mounted.
    "mount-test" => MountTest(ask::NamedAsk),
    /// Reads a mounted secret.
    "secret-get" => SecretGet(ask::NamedAsk),
    /// Writes a mounted secret.
    "secret-set" => SecretSet(ask::SecretSet),
    /// Reads a key of a vault.
    "read" => Read(ask::ReadAsk),
    /// Writes a key of a vault.
    "set" => Set(ask::SetAsk),
    /// Removes a key of a vault.
    "remove" => Remove(ask::RemoveAsk),
    /// Says what the server as a whole is like.
    "server" => Server(Box<ask::ServerAsk>),
    /// Adds an endpoint.
    "endpoint-add" => EndpointAdd(Box<ask::EndpointAdd>),
    /// Adds a route.
    "route-add" => RouteAdd(Box<ask::RouteAdd>),
    /// Removes a route.
    "route-remove" => RouteRemove(ask::RouteName),
    /// Whether there is a route.
    "route-test" => RouteTest(ask::RouteName),
    /// A function that every block sees.
    "function-add" => FunctionAdd(shape::Function),
    /// A module that every worker imports.
    "module-add" => ModuleAdd(ask::NamedAsk),
    /// A variable that every block sees.
    "variable-add" => VariableAdd(shape::Variable),
    /// Reads a value of the state.
    "state-get" => StateGet(ask::NamedAsk),
    /// Sets a value of the state.
    "state-set" => StateSet(ask::StateSet),
    /// Takes a value out of the state.
    "state-remove" => StateRemove(ask::NamedAsk),
    /// Names the values of the state.
    "state-names" => StateNames(ask::ScopeAsk),
    /// Adds a shared object.
    "shared-add" => SharedAdd(ask::SharedAdd),
    /// Gives a shared object as it is now.
    "shared-get" => SharedGet(ask::SharedGet),
    /// Says that a shared object has changed.
    "shared-set" => SharedSet(shape::ChangedObject),
    /// Takes a lock.
    "lock" => Lock(ask::LockAsk),
    /// Gives a lock back.
    "unlock" => Unlock(ask::NamedAsk),
    /// Whether a script file that is about to run is nobody else's to change.
    "trust" => Trust(ask::Trust),
    /// Turns a log on.
    "logging" => Logging(ask::LoggingAsk),
    /// Writes a line of the log.
    "log" => Log(ask::Log),
    /// Stops the server.
    "close" => Close(Empty),
}

/// Why an ask is not understood. Shows a place, never the text: it may hold a secret.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum BadAsk {
    /// There is no such ask.
    #[error("'{0}' is not served")]
    Unknown(String),
    /// A field does not fit.
    #[error(
        "the worker asked something that cannot be read: a field is missing or of the wrong type (column {0})"
    )]
    Field(usize),
    /// It is no JSON object.
    #[error("the worker asked something that cannot be read: no JSON (column {0})")]
    Json(usize),
}

/// The answer to an ask.
#[derive(Serialize)]
#[serde(untagged)]
pub enum AskReply {
    /// It is done.
    Done(Empty),
    /// The vaults that were asked for.
    Vaults {
        /// In the order of the names asked for.
        vaults: Vec<VaultShown>,
    },
    /// Whether it is mounted.
    Mounted {
        /// It is.
        mounted: bool,
    },
    /// A secret's value.
    Value {
        /// Projected, where neither of the others is given.
        value: Portable,
        /// The one member that the worker is to give.
        #[serde(skip_serializing_if = "Option::is_none")]
        expand: Option<String>,
        /// The members that the worker is to give.
        #[serde(skip_serializing_if = "Option::is_none")]
        property: Option<Vec<String>>,
    },
    /// A vault's list.
    Secrets {
        /// Names, types and metadata.
        secrets: Vec<SecretInfo>,
    },
    /// Whether it exists.
    Exists {
        /// It does.
        exists: bool,
    },
    /// A value of the state.
    State {
        /// There is one.
        found: bool,
        /// It, or null.
        value: Portable,
        /// Its scopes.
        scope: Vec<String>,
    },
    /// Names.
    Names {
        /// In order.
        names: Vec<String>,
    },
    /// A shared object's number.
    Object {
        /// Nothing where it is gone.
        id: Option<Id>,
        /// The version that the worker has.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// A shared object.
    Shared(GivenObject),
    /// Whether the lock was had.
    Locked {
        /// It was.
        locked: bool,
    },
}

impl Ask {
    /// Reads an ask: its name first, then the fields that the name has.
    pub fn read(what: &RawValue) -> Result<Ask, BadAsk> {
        #[derive(Deserialize)]
        struct Do {
            #[serde(rename = "do")]
            name: String,
        }
        let unreadable = |error: serde_json::Error| match error.is_data() {
            true => BadAsk::Field(error.column()),
            false => BadAsk::Json(error.column()),
        };
        let Do { name } = serde_json::from_str(what.get()).map_err(unreadable)?;
        if !Ask::is_known(&name) {
            return Err(BadAsk::Unknown(name));
        }
        Ask::of(&name, &mut serde_json::Deserializer::from_str(what.get())).map_err(unreadable)
    }
}

impl AskReply {
    /// There is nothing to say.
    pub fn done() -> AskReply {
        AskReply::Done(Empty {})
    }
}

#[cfg(test)]
mod tests;

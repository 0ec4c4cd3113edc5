//! The HTTP front, in layers.
//!
//! The *door* ([`Door`], [`Service`]) listens, reads requests within their limits and writes replies. It
//! knows nothing of secrets. The *gate* ([`Gate`]) is what it brings them to: it says who calls
//! ([`crate::access`]), and has a [`Site`] behind it. The *native site* ([`Native`]) finds the route and asks
//! the bridge; a script's is [`crate::script::serve`].
//!
//! ```text
//! listener ─► stream ─► server ─► gate ─► Site::permit ─► body ─► Site::answer
//!                                  │           │                       │
//!                                access      route               form, value ─► bridge ─► respond
//! ```
//!
//! What the door promises:
//!
//! - One deadline is made when a request's head has been read; body and answer share it.
//! - `admit` sees the head before one byte of the body is read.
//! - A handler that has begun runs to its end, also when its client has gone: a hang-up cancels no write.
//! - A panic in a handler is a 500 and ends nothing else.
//! - After shutdown has begun every request that was accepted is answered, within the drain limit, and
//!   the answers carry `Connection: close`.

mod body;
pub mod body_error;
pub mod bounds;
mod content;
mod credential;
mod crowd;
pub mod fields;
pub mod form;
mod gate;
mod json;
mod listener;
mod message;
pub(crate) mod metrics;
pub mod native;
mod permit;
mod problem;
pub mod respond;
pub mod route;
mod seats;
mod secrets;
mod server;
mod status;
mod stream;
#[cfg(test)]
mod testing;
mod tls;
pub mod value;
mod wiped;

pub use gate::{Gate, Site};
pub use listener::{BindError, BindErrorKind, BoundAddress, Certificates, Door};
pub use message::{Admitted, BoxFuture, Head, RefusedRequest, Reply, Request, Service};
pub use native::Native;
#[cfg(feature = "fake-pwsh")]
pub use native::Secrets;
pub use problem::Problem;
#[cfg(test)]
pub(crate) use respond::of_bridge as problem_of;
pub use server::Drained;
#[cfg(feature = "fake-pwsh")]
pub use server::serve_connection;
pub use tls::TlsError;
pub use tls::check as check_tls;

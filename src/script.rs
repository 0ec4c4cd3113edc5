//! Script mode: a PowerShell script written for Pode's Secrets feature, served.
//!
//! A worker runs the script, which declares what is to be served. All of that is kept here, once: vaults and mounts in
//! the [`crate::bridge::Bridge`], blocks in the [`session`], routes, endpoints, state and locks in their tables. Workers
//! ask ([`asks`]) and hold nothing. [`protocol`] has the shapes of what they say.
//!
//! ```text
//! door ─► serve ─► route ─► lift ─► bridge
//!                    └────► task ─► worker ─► asks ─► vault, in that same worker
//! ```
//!
//! What is promised:
//!
//! - A script block never waits for another worker to be free: what it asks for is cached, or done by its
//!   own worker. What it may wait for are lanes and locks, and a circle of those is refused by name.
//! - A mount, route or vault that a block adds is seen by every worker from the next question on.
//! - Whatever a block leaves behind (locks, a write cut off half-way) is put in order when its call ends.

pub mod asks;
mod core;
mod custom;
pub mod endpoint;
mod expiry;
pub mod json;
pub mod lift;
mod live;
mod locks;
mod logging;
mod noted;
pub mod outline;
pub mod page;
pub mod pattern;
pub mod protocol;
mod renewal;
pub mod route;
pub mod run;
mod seen;
pub mod serve;
pub mod session;
pub mod settings;
mod shared;
mod state;
pub mod task;
mod value;

pub(crate) use core::STEP_LIMIT;
pub use core::{Core, CoreOptions};

#[cfg(test)]
mod tests;

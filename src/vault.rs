//! Vaults: which there are, how workers are set up for them, and the verbs.
//!
//! # Theory of operation
//!
//! The [`VaultTable`] says which vaults there are; it is made before the workers are. A [`Verb`] on an [`Entry`] is
//! refused by the [`rules`], done in this process by the embedded vault, or becomes a task of the pool. The task, or a
//! script that has a worker of its own, holds the store's lane and runs an [`act::Act`]:
//!
//! ```text
//! Vaults::perform ─► rules ─► task ─┐                    ┌─ module ─ azure
//!                                   ├─► act ─► backend ─►├─ secret_store
//!            script's own worker ───┘     └─► turn ◄─────┘
//! ```
//!
//! - The act makes the worker ready ([`set_up`]), reads what a write may destroy, begins, writes, and settles: it
//!   has the [`backend`] note the write, has the cache drop the key, and only then tells the caller.
//! - What a write finds and makes is a `change`; what it left half done when it broke, `restore` puts right.
//! - The [`backend`] is the kind of the vault. It alone knows how a call is made and when its answer is believed. What it
//!   has to do for itself, which no caller can ask for, is a [`Chore`]: done by an act as a verb is.
//! - The [`turn::Turn`] is what all kinds share in a worker: unlocking, the lock-out, what the worker has seen.
//!
//! What is promised of writes:
//!
//! - Either the write begins, or its caller gives up, whichever comes first ([`Began`]): a caller who was told that
//!   nothing is written can rely on it.
//! - A write that is cut off leaves the old value or the new one. Where an overwrite is two steps the old value is put
//!   back by a fresh worker before anybody else has the lane. Where that fails it is owed: the backend keeps it, reads of
//!   the key say so, and it is tried again every second.
//! - A worker that broke inside a write is gone before the lane is free.
//!
//! A change of a store's files by another process is noticed within a second. Keys that it erased are named, or written
//! again.
//!
//! Words for what is put right after a write was cut off:
//!
//! - The act *mends* at once, in the same worker, after an error. `restore` does it in a fresh worker, after a crash.
//! - Both ask the backend to *recover* the key. It writes the old value again, or *undoes* the write by the store's files of
//!   before it.
//! - What could not be put right is *owed*, and *repaid* by a [`Chore`].

pub mod act;
pub mod backend;
mod began;
mod change;
pub mod condition;
mod entry;
mod facts;
mod fingerprint;
mod init;
mod job;
pub mod lane;
mod noted;
mod restore;
pub mod rules;
pub mod set_up;
mod store;
mod table;
mod task;
pub mod turn;
mod vaults;
mod verb;

pub use began::Began;
pub use entry::{Entry, Means};
pub use facts::Hooks;
pub use init::run_init;
pub use job::Chore;
pub use table::VaultTable;
pub use vaults::{Performs, Vaults};
pub use verb::{Outcome, Verb};

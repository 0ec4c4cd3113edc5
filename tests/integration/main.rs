//! Tests of the built binary, in one program: against the stand-in pwsh, and against a real one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod audit;
mod caching;
mod callers;
mod canary;
mod cli;
mod credentials;
mod disks;
mod docs;
mod door;
mod extensions;
mod fake;
mod faults;
mod hardening;
mod imports;
mod kinds;
mod lifecycle;
mod local;
mod logs;
mod messages;
mod monitoring;
mod other_user;
mod prepare;
mod real;
mod registry;
mod reliability;
mod renewal;
mod script;
mod states;
mod status_page;
mod stores;
mod supervision;
mod support;
mod systemd;
mod throttling;
mod tracing;
mod trusted;

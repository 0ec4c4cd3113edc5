//! Tests of the built binary, in one program: against the stand-in pwsh, and against a real one.

mod canary;
mod fake;
mod faults;
mod lifecycle;
mod local;
mod real;
mod supervision;
mod support;

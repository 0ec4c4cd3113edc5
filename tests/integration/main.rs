//! Tests of the built binary, in one program: against the stand-in pwsh, and against a real one.

mod fake;
mod real;
mod reliability;
mod supervision;
mod support;

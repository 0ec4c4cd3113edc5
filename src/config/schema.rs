//! What a configuration may say, as a table: the JSON Schema that editors understand and the comments of a new file
//! come from it.
//!
//! A test holds it against the reader: both know the same keys in the same tables.

mod json;
mod keys;
mod shape;

pub use json::schema;
pub use shape::{Shape, TableKey};

/// The keys of the file itself.
#[must_use]
pub fn keys() -> &'static [TableKey] {
    keys::ROOT
}

#[cfg(test)]
mod tests;

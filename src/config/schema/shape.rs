//! A key, and what may stand there.

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct TableKey {
    /// Its name.
    pub name: &'static str,
    /// What may stand there.
    pub shape: Shape,
    /// What it means, in a sentence or two.
    pub says: &'static str,
    /// What counts without it, as TOML; empty where nothing does, or where it depends.
    pub default: &'static str,
    /// A value to try, as TOML; empty where the default will do.
    pub example: &'static str,
    /// Whether it must be there.
    pub required: bool,
}

/// What may stand for a key.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A string that says something.
    Text,
    /// `true` or `false`.
    Flag,
    /// A time, or whole seconds.
    Time,
    /// A size, or whole bytes.
    Size,
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// One of these words, in upper or lower case.
    Words(&'static [&'static str]),
    /// One of these, or a list of them.
    List(&'static Shape),
    /// One of these shapes.
    Either(&'static [Shape]),
    /// Anything.
    Any,
    /// A table whose keys are the user's own, with anything in it.
    Free,
    /// A table.
    Table(&'static [TableKey]),
    /// A table, and at least one of these keys in it.
    OneOf(&'static [TableKey], &'static [&'static str]),
    /// A list of tables.
    Tables(&'static Shape),
    /// Tables by names of the user's own.
    Named(&'static Shape),
}

/// A key by its name, what may stand there, and what it means.
pub(super) const fn key(name: &'static str, shape: Shape, says: &'static str) -> TableKey {
    TableKey { name, shape, says, default: "", example: "", required: false }
}

impl TableKey {
    pub(super) const fn default(mut self, default: &'static str) -> TableKey {
        self.default = default;
        self
    }

    pub(super) const fn example(mut self, example: &'static str) -> TableKey {
        self.example = example;
        self
    }

    pub(super) const fn required(mut self) -> TableKey {
        self.required = true;
        self
    }
}

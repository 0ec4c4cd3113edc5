//! Reads a spanned TOML document, going on after each mistake.
//!
//! A [`Table`] hands out the keys that a section asks for, and refuses the others when the section has
//! been read: what is not asked for is not known, so the code of a section is its list of fields. A
//! [`Node`] is a value with its place; its readers give `None` once they have told what is wrong.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Report, quoted, suggest};
use super::units;

/// A value of the document, and where it stands.
#[derive(Clone)]
pub(super) struct Node<'t> {
    report: &'t Report<'t>,
    value: &'t Spanned<DeValue<'t>>,
    key_at: usize,
    path: String,
}

/// A table of the document while its keys are asked for.
pub(super) struct Table<'t> {
    report: &'t Report<'t>,
    entries: &'t DeTable<'t>,
    at: usize,
    path: String,
    known: Vec<&'static str>,
}

// === impl Table ===

impl<'t> Table<'t> {
    /// Reads the document itself.
    pub fn root<T>(
        report: &'t Report<'t>,
        entries: &'t DeTable<'t>,
        read: impl FnOnce(&mut Table<'t>) -> T,
    ) -> T {
        Table { report, entries, at: 0, path: String::new(), known: Vec::new() }.scope(read)
    }

    /// The value of a key, if it is there.
    pub fn get(&mut self, key: &'static str) -> Option<Node<'t>> {
        self.known.push(key);
        let (name, value) = self.entries.get_key_value(key)?;
        Some(self.node(name, value))
    }

    /// Reads a key that may be missing.
    pub fn read<T>(&mut self, key: &'static str, read: impl FnOnce(&Node<'t>) -> Option<T>) -> Option<T> {
        self.get(key).and_then(|node| read(&node))
    }

    /// Reads a key that must be there.
    pub fn need<T>(&mut self, key: &'static str, read: impl FnOnce(&Node<'t>) -> Option<T>) -> Option<T> {
        match self.get(key) {
            Some(node) => read(&node),
            None => {
                self.lacks(&format!("'{key}' is missing"), None);
                None
            }
        }
    }

    /// Refuses the table for something that it lacks.
    pub fn lacks(&self, message: &str, hint: Option<&str>) {
        if !self.report.is_damaged() {
            self.report.add(self.at, &self.path, message, hint.map(str::to_owned));
        }
    }

    /// Of several keys that exclude each other, the one present. More than one is a mistake.
    pub fn one_of(&mut self, keys: &[&'static str]) -> Option<(&'static str, Node<'t>)> {
        let mut present: Vec<_> = keys.iter().filter_map(|key| Some((*key, self.get(key)?))).collect();
        present.sort_by_key(|(_, node)| node.key_at);
        for (_, node) in present.iter().skip(1) {
            node.refuse_key(format!("cannot stand beside '{}'", present[0].0), None);
        }
        (!present.is_empty()).then(|| present.swap_remove(0))
    }

    /// Refuses keys that make no sense here.
    pub fn exclude(&mut self, keys: &[&'static str], message: &str, hint: Option<&str>) {
        for key in keys {
            if let Some(node) = self.get(key) {
                node.refuse_key(message, hint);
            }
        }
    }

    fn scope<T>(mut self, read: impl FnOnce(&mut Table<'t>) -> T) -> T {
        let out = read(&mut self);
        for (name, value) in self.entries {
            if !self.known.contains(&name.get_ref().as_ref()) {
                let hint = suggest(name.get_ref(), "known here", self.known.iter().copied());
                self.node(name, value).refuse_key("unknown key", hint.as_deref());
            }
        }
        out
    }

    fn node(&self, name: &'t Spanned<toml::de::DeString<'t>>, value: &'t Spanned<DeValue<'t>>) -> Node<'t> {
        let path = join(&self.path, name.get_ref());
        Node { report: self.report, value, key_at: name.span().start, path }
    }
}

// === impl Node ===

impl<'t> Node<'t> {
    /// Refuses the value.
    pub fn refuse(&self, message: impl Into<String>, hint: Option<&str>) {
        self.report.add(self.value.span().start, &self.path, message, hint.map(str::to_owned));
    }

    /// Refuses the key, whatever its value.
    pub fn refuse_key(&self, message: impl Into<String>, hint: Option<&str>) {
        self.report.add(self.key_at, &self.path, message, hint.map(str::to_owned));
    }

    /// The bare value.
    pub fn value(&self) -> &'t DeValue<'t> {
        self.value.get_ref()
    }

    /// The line of the key.
    pub fn line(&self) -> usize {
        self.report.line(self.key_at)
    }

    /// Whether the document has all its parts, so that it makes sense to look for what a name refers to.
    pub fn is_whole(&self) -> bool {
        !self.report.is_damaged()
    }

    /// A table, read by a function that asks for its keys.
    pub fn table<T>(&self, read: impl FnOnce(&mut Table<'t>) -> T) -> Option<T> {
        let DeValue::Table(entries) = self.value() else { return self.expected("a table") };
        // An inline table's first byte is its brace, a section's the bracket of its header.
        let at = self.value.span().start;
        let table = Table { report: self.report, entries, at, path: self.path.clone(), known: Vec::new() };
        Some(table.scope(read))
    }

    /// The members of a table whose keys are the user's own, in the order of the file.
    pub fn members(&self) -> Option<Vec<(&'t str, Node<'t>)>> {
        let DeValue::Table(entries) = self.value() else { return self.expected("a table") };
        let mut members: Vec<_> = entries
            .iter()
            .map(|(name, value)| {
                let path = join(&self.path, name.get_ref());
                let node = Node { report: self.report, value, key_at: name.span().start, path };
                (name.get_ref().as_ref(), node)
            })
            .collect();
        members.sort_by_key(|(_, node)| node.key_at);
        Some(members)
    }

    /// The items of an array.
    pub fn items(&self) -> Option<Vec<Node<'t>>> {
        let items = match self.value() {
            DeValue::Array(items) => items,
            DeValue::Table(_) => {
                let hint = format!("write [[{}]] for each", self.path);
                self.refuse("expected a list, found a table", Some(&hint));
                return None;
            }
            _ => return self.expected("a list"),
        };
        let node = |(index, value): (usize, &'t Spanned<DeValue<'t>>)| Node {
            report: self.report,
            value,
            key_at: value.span().start,
            path: format!("{}[{index}]", self.path),
        };
        Some(items.iter().enumerate().map(node).collect())
    }

    /// The items of an array, or the value itself as the only one.
    pub fn items_or_one(&self) -> Vec<Node<'t>> {
        if matches!(self.value(), DeValue::Array(_)) {
            self.items().unwrap_or_default()
        } else {
            vec![self.clone()]
        }
    }

    /// A string, which may be empty.
    pub fn text(&self) -> Option<&'t str> {
        match self.value() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.expected("a string"),
        }
    }

    /// A name of something: not empty, without control characters.
    pub fn name(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.refuse("is empty", None);
            return None;
        }
        if text.chars().any(char::is_control) {
            self.refuse("has control characters", None);
            return None;
        }
        Some(text.to_owned())
    }

    /// `true` or `false`.
    pub fn flag(&self) -> Option<bool> {
        match self.value() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.expected("true or false"),
        }
    }

    /// A whole number in a range.
    pub fn count<N: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Option<N> {
        let DeValue::Integer(number) = self.value() else { return self.expected("a whole number") };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let inside = number.filter(|number| range.contains(number)).and_then(|n| N::try_from(n).ok());
        if inside.is_none() {
            self.refuse(format!("must be from {} to {}", range.start(), range.end()), None);
        }
        inside
    }

    /// A time such as `"90s"` or `"1h 30m"`, or whole seconds.
    pub fn duration(&self) -> Option<Duration> {
        let read = match self.value() {
            DeValue::String(text) => units::parse_duration(text),
            DeValue::Integer(number) => units::parse_seconds(number.as_str(), number.radix()),
            _ => return self.expected("a time such as \"30s\" or a number of seconds"),
        };
        read.map_err(|error| self.refuse(error, Some("write a time such as \"30s\", \"5m\" or \"12h\""))).ok()
    }

    /// A time that is not zero.
    pub fn some_duration(&self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.refuse("must be more than zero", None);
            return None;
        }
        Some(duration)
    }

    /// A size such as `"8MiB"`, or whole bytes.
    pub fn size(&self, at_least: u64) -> Option<u64> {
        let read = match self.value() {
            DeValue::String(text) => units::parse_size(text),
            DeValue::Integer(number) => units::parse_bytes(number.as_str(), number.radix()),
            _ => return self.expected("a size such as \"8MiB\" or a number of bytes"),
        };
        match read {
            Ok(size) if size < at_least => {
                self.refuse(format!("must be at least {}", units::format_size(at_least)), None);
                None
            }
            Ok(size) => Some(size),
            Err(error) => {
                self.refuse(error, Some("write a size such as \"512KiB\", \"8MiB\" or \"1GB\""));
                None
            }
        }
    }

    /// Refuses the value for its type.
    pub fn expected<T>(&self, what: &str) -> Option<T> {
        let found = match self.value() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.refuse(format!("expected {what}, found {found}"), None);
        None
    }
}

fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

//! What a write finds, and what it makes of it.

use std::sync::Arc;

use crate::protocol::{GetReply, Metadata};
use crate::secret::SecretValue;

/// What a key holds, as far as it is known.
#[derive(Debug, Clone)]
pub enum Present {
    /// It was not read, or could not be.
    Unknown,
    /// Nothing.
    Missing,
    /// Something whose value was not read: what keeps the store can put it back.
    Unread(UnreadValue),
    /// This.
    There(GetReply),
}

/// What is known of a value that was not read.
#[derive(Debug, Clone)]
pub struct UnreadValue {
    /// Its metadata.
    pub metadata: Metadata,
    /// It may be a table, which is written member by member.
    pub table: bool,
}

impl Present {
    /// The value and its metadata, if they were read.
    pub fn reply(&self) -> Option<&GetReply> {
        match self {
            Present::There(reply) => Some(reply),
            Present::Unknown | Present::Missing | Present::Unread(_) => None,
        }
    }

    /// Whether there is something.
    pub fn is_there(&self) -> bool {
        matches!(self, Present::Unread(_) | Present::There(_))
    }

    /// Its metadata, as far as that was read.
    pub fn metadata(&self) -> Option<&Metadata> {
        match self {
            Present::There(reply) => Some(&reply.metadata),
            Present::Unread(unread) => Some(&unread.metadata),
            Present::Unknown | Present::Missing => None,
        }
    }
}

impl From<Option<GetReply>> for Present {
    fn from(read: Option<GetReply>) -> Present {
        read.map_or(Present::Missing, Present::There)
    }
}

/// What a write makes of what.
#[derive(Debug, Clone)]
pub struct Change {
    /// What was there, where the store overwrites in more than one step.
    pub before: Before,
    /// The whole value, with its metadata, that is to be there; nothing for a removal.
    pub after: Option<(Arc<SecretValue>, Option<Metadata>)>,
}

/// What was there before a write, as far as it can be put back.
#[derive(Debug, Clone)]
pub enum Before {
    /// Nothing, or it was not looked at.
    Nothing,
    /// This, which a set puts back.
    Value(GetReply),
    /// A value that was not read: the store's file of before has it.
    Unread {
        /// It may be a table.
        table: bool,
    },
}

impl Change {
    pub(super) fn new(before: &Present, after: Option<(Arc<SecretValue>, Option<Metadata>)>) -> Change {
        let before = match before {
            Present::There(reply) => Before::Value(reply.clone()),
            Present::Unread(unread) => Before::Unread { table: unread.table },
            Present::Missing | Present::Unknown => Before::Nothing,
        };
        Change { before, after }
    }

    /// Whether what is there now is what was there before or what was to be there.
    pub fn is_whole(&self, now: Option<&SecretValue>) -> bool {
        match (now, &self.before, &self.after) {
            (None, Before::Nothing, _) | (None, _, None) => true,
            (None, _, Some(_)) => false,
            (Some(now @ SecretValue::Hashtable(_)), before, after) => {
                matches!(before, Before::Value(before) if now.looks_like(&before.value))
                    || after.as_ref().is_some_and(|(after, _)| now.looks_like(after))
            }
            (Some(_), _, _) => true,
        }
    }

    /// Whether a write that was cut off may have left neither of the two.
    pub(super) fn may_be_half_done(&self) -> bool {
        let is_table = |value: &SecretValue| matches!(value, SecretValue::Hashtable(_));
        match (&self.before, &self.after) {
            (Before::Nothing, None) => false,
            (Before::Nothing, Some((after, _))) => is_table(after),
            (_, Some(_)) => true,
            (Before::Value(before), None) => is_table(&before.value),
            (Before::Unread { table }, None) => *table,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> SecretValue {
        SecretValue::string(text)
    }

    fn table(members: &[(&str, &str)]) -> SecretValue {
        SecretValue::Hashtable(
            members.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
        )
    }

    fn there(value: &SecretValue) -> Present {
        Present::There(GetReply { value: value.clone(), metadata: Metadata::new() })
    }

    fn unread(table: bool) -> Present {
        Present::Unread(UnreadValue { metadata: Metadata::new(), table })
    }

    fn change(before: &Present, after: Option<&SecretValue>) -> Change {
        Change::new(before, after.map(|value| (Arc::new(value.clone()), None)))
    }

    #[test]
    fn only_a_write_of_more_than_one_step_may_be_half_done() {
        let (flat, whole) = (text("v"), table(&[("a", "1")]));
        for (before, after, half) in [
            // A first write of a value, or a removal of one, is one step.
            (&Present::Missing, Some(&flat), false),
            (&Present::Unknown, Some(&flat), false),
            (&Present::Missing, None, false),
            (&there(&flat), None, false),
            (&unread(false), None, false),
            // A table is written and removed by member, and an overwrite deletes first.
            (&Present::Missing, Some(&whole), true),
            (&there(&whole), None, true),
            (&unread(true), None, true),
            (&there(&flat), Some(&flat), true),
            (&unread(false), Some(&flat), true),
        ] {
            assert_eq!(change(before, after).may_be_half_done(), half, "{before:?} to {after:?}");
        }
    }

    #[test]
    fn what_is_there_is_whole_if_it_is_what_was_there_or_was_to_be_there() {
        let (old, new) = (table(&[("a", "1"), ("b", "1")]), table(&[("a", "2"), ("b", "2")]));
        let half = table(&[("b", "2")]);
        for (before, after, now, whole) in [
            (&there(&old), Some(&new), Some(&old), true),
            (&there(&old), Some(&new), Some(&new), true),
            (&there(&old), Some(&new), Some(&half), false),
            (&there(&old), Some(&new), None, false),
            (&there(&old), None, None, true),
            (&there(&old), None, Some(&half), false),
            (&Present::Missing, Some(&new), None, true),
            (&Present::Missing, Some(&new), Some(&half), false),
            (&there(&text("old")), Some(&text("new")), Some(&text("either")), true),
        ] {
            assert_eq!(change(before, after).is_whole(now), whole, "{before:?} to {after:?}: {now:?}");
        }
    }
}

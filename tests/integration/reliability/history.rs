//! What was written to a key, and which values a read may find.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// A write that was not acknowledged may take effect so long after its answer: the plan's `write_grace`,
/// and time to look whether it destroyed something.
const AFTERMATH: Duration = Duration::from_secs(3);

/// The writes to all keys; every value is written once. A removal is a write of nothing, and each key begins
/// with one that was acknowledged.
#[derive(Debug, Default)]
pub struct History(Mutex<HashMap<String, Vec<Write>>>);

#[derive(Debug, Clone)]
struct Write {
    value: Option<String>,
    sent: Instant,
    /// When it can no longer take effect, and whether it was acknowledged.
    over: Option<(Instant, bool)>,
}

impl History {
    /// Notes that a write is about to be sent.
    pub fn sent(&self, key: &str, value: &str) {
        self.note(key, Some(value));
    }

    /// Notes that a removal is about to be sent.
    pub fn removing(&self, key: &str) {
        self.note(key, None);
    }

    /// Notes the answer to the write of this value.
    pub fn answered(&self, key: &str, value: &str, acknowledged: bool) {
        self.end(key, Some(value), acknowledged);
    }

    /// Notes the answer to the removal. One client at a time removes a key.
    pub fn removed(&self, key: &str, acknowledged: bool) {
        self.end(key, None, acknowledged);
    }

    /// Whether a write of this key was acknowledged by now, so that the key must be there.
    pub fn must_exist(&self, key: &str) -> bool {
        let acknowledged = |write: &Write| matches!(write.over, Some((_, true)));
        self.writes().get(key).is_some_and(|all| all.iter().any(acknowledged))
    }

    /// Whether no write of any key can still take effect.
    pub fn is_quiet(&self) -> bool {
        let now = Instant::now();
        let over = |write: &Write| matches!(write.over, Some((over, _)) if over <= now);
        self.writes().values().all(|all| all.iter().all(over))
    }

    /// What is wrong with a read that began at `begun` and found this; nothing if it may.
    pub fn fault_of(&self, key: &str, found: Option<&str>, begun: Instant) -> Option<String> {
        let writes = self.writes();
        let all = writes.get(key).map_or(&[][..], Vec::as_slice);
        // Something that began after that moment, and was acknowledged before the read began.
        let newer_than = |moment: Option<Instant>| {
            all.iter().rfind(|newer| {
                moment.is_none_or(|moment| newer.sent > moment)
                    && matches!(newer.over, Some((over, true)) if over <= begun)
            })
        };
        let mut newer: Option<&Write> = None;
        if found.is_none() {
            newer = Some(newer_than(None)?);
        }
        for write in all.iter().filter(|write| write.value.as_deref() == found) {
            newer = Some(newer_than(Some(write.over?.0))?);
        }
        let when = |write: &Write| match write.over {
            Some((over, true)) => {
                format!("acknowledged {:.2?} before", begun.saturating_duration_since(over))
            }
            Some(_) => "not acknowledged".to_owned(),
            None => "under way".to_owned(),
        };
        let held = all.iter().rfind(|write| found.is_some() && write.value.as_deref() == found);
        let found = match (found, held) {
            (Some(found), Some(held)) => format!("'{found}' ({})", when(held)),
            (found, _) => found.map_or("nothing".to_owned(), |found| format!("'{found}'")),
        };
        match newer {
            Some(newer) => {
                let what =
                    newer.value.as_ref().map_or("its removal".to_owned(), |value| format!("'{value}'"));
                Some(format!("{key} holds {found}, older than {what} ({})", when(newer)))
            }
            None => Some(format!("{key} holds {found}, which nobody wrote to it")),
        }
    }

    fn note(&self, key: &str, value: Option<&str>) {
        let write = Write { value: value.map(str::to_owned), sent: Instant::now(), over: None };
        self.writes().entry(key.to_owned()).or_default().push(write);
    }

    fn end(&self, key: &str, value: Option<&str>, acknowledged: bool) {
        let over = if acknowledged { Instant::now() } else { Instant::now() + AFTERMATH };
        let mut writes = self.writes();
        let mut all = writes.get_mut(key).into_iter().flatten().rev();
        let write = all.find(|write| write.value.as_deref() == value && write.over.is_none());
        write.expect("it was sent").over = Some((over, acknowledged));
    }

    fn writes(&self) -> MutexGuard<'_, HashMap<String, Vec<Write>>> {
        self.0.lock().expect("nothing panics in here")
    }
}

mod tests {
    use super::*;

    #[test]
    fn a_read_may_find_the_newest_or_what_overlapped_it() {
        let history = History::default();
        for value in ["one", "two"] {
            history.sent("k", value);
            history.answered("k", value, true);
        }
        let now = Instant::now();
        assert_eq!(history.fault_of("k", Some("two"), now), None);
        assert!(history.fault_of("k", Some("one"), now).is_some_and(|fault| fault.contains("older")));
        assert!(history.fault_of("k", Some("three"), now).is_some_and(|fault| fault.contains("nobody")));
        assert!(history.fault_of("k", None, now).is_some_and(|fault| fault.contains("nothing, older")));
        history.sent("k", "four");
        assert_eq!(history.fault_of("k", Some("four"), now), None, "under way");
        assert_eq!(history.fault_of("k", Some("two"), now), None, "not yet overwritten");
    }

    #[test]
    fn a_write_that_failed_may_have_left_old_or_new_and_never_neither() {
        let history = History::default();
        history.sent("k", "old");
        history.answered("k", "old", true);
        history.sent("k", "new");
        history.answered("k", "new", false);
        let now = Instant::now();
        assert_eq!(history.fault_of("k", Some("old"), now), None);
        assert_eq!(history.fault_of("k", Some("new"), now), None);
        assert!(history.fault_of("k", None, now).is_some());
    }

    #[test]
    fn a_key_is_gone_after_its_removal_and_back_after_the_next_write() {
        let history = History::default();
        let fault = |found| history.fault_of("k", found, Instant::now());
        assert_eq!(fault(None), None, "nothing was written yet");
        history.sent("k", "one");
        assert_eq!(fault(None), None, "under way");
        history.answered("k", "one", true);
        assert!(fault(None).is_some());
        history.removing("k");
        assert_eq!((fault(None), fault(Some("one"))), (None, None), "under way");
        assert!(!history.is_quiet());
        history.removed("k", true);
        assert_eq!(fault(None), None);
        assert!(fault(Some("one")).is_some_and(|fault| fault.contains("removal")));
        history.sent("k", "two");
        history.answered("k", "two", true);
        assert_eq!(fault(Some("two")), None);
        assert!(fault(None).is_some(), "removed earlier, and written since");
        assert!(history.is_quiet());
    }
}

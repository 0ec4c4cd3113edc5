//! What was written to a key, and which values a read may find.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// A write that was not acknowledged may take effect so long after its answer: the plan's `write_grace`,
/// and time to look whether it destroyed something.
const AFTERMATH: Duration = Duration::from_secs(3);

/// The writes to all keys, by value; every value is written once.
#[derive(Debug, Default)]
pub struct History(Mutex<HashMap<String, Vec<Write>>>);

#[derive(Debug, Clone)]
struct Write {
    value: String,
    sent: Instant,
    /// When it can no longer take effect, and whether it was acknowledged.
    over: Option<(Instant, bool)>,
}

impl History {
    /// Notes that a write is about to be sent.
    pub fn sent(&self, key: &str, value: &str) {
        let write = Write { value: value.to_owned(), sent: Instant::now(), over: None };
        self.writes().entry(key.to_owned()).or_default().push(write);
    }

    /// Notes its answer.
    pub fn answered(&self, key: &str, value: &str, acknowledged: bool) {
        let over = if acknowledged { Instant::now() } else { Instant::now() + AFTERMATH };
        let mut writes = self.writes();
        let write = writes.get_mut(key).and_then(|all| all.iter_mut().rfind(|write| write.value == value));
        write.expect("it was sent").over = Some((over, acknowledged));
    }

    /// Whether a write of this key was acknowledged by now, so that the key must be there.
    pub fn must_exist(&self, key: &str) -> bool {
        let acknowledged = |write: &Write| matches!(write.over, Some((_, true)));
        self.writes().get(key).is_some_and(|all| all.iter().any(acknowledged))
    }

    /// What is wrong with a read that began at `begun` and found this; nothing if it may.
    pub fn fault_of(&self, key: &str, found: Option<&str>, begun: Instant) -> Option<String> {
        let writes = self.writes();
        let all = writes.get(key).map_or(&[][..], Vec::as_slice);
        let done_before =
            |write: &&Write, moment: Instant| matches!(write.over, Some((over, true)) if over <= moment);
        let Some(found) = found else {
            let lost = all.iter().find(|write| done_before(write, begun))?;
            return Some(format!("{key} is missing, and '{}' was acknowledged", lost.value));
        };
        let Some(write) = all.iter().find(|write| write.value == found) else {
            return Some(format!("{key} holds '{found}', which nobody wrote to it"));
        };
        let (over, _) = write.over?;
        // Something that began after it was over, and was acknowledged before the read began.
        let newer = all.iter().find(|newer| newer.sent > over && done_before(newer, begun))?;
        Some(format!("{key} holds '{found}', older than '{}', which was acknowledged", newer.value))
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
        assert!(history.fault_of("k", None, now).is_some_and(|fault| fault.contains("missing")));
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
}

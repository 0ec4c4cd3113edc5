//! Whether a write has begun, for its caller and for who does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether a verb has begun to write. Shared with the caller, who may stop waiting: of the two, the one that
/// comes first decides.
#[derive(Clone, Default)]
pub struct Began(Arc<AtomicU8>);

/// Neither has come.
const OPEN: u8 = 0;

/// The write has begun.
const WRITING: u8 = 1;

/// The caller was told that nothing was written.
const GIVEN_UP: u8 = 2;

impl Began {
    /// Whether the write has begun.
    pub fn is_writing(&self) -> bool {
        self.0.load(Ordering::Acquire) == WRITING
    }

    /// Notes that it has, unless the caller has given up before.
    #[must_use]
    pub fn note(&self) -> bool {
        let noted = self.0.compare_exchange(OPEN, WRITING, Ordering::AcqRel, Ordering::Acquire);
        noted != Err(GIVEN_UP)
    }

    /// The caller waits no longer: a write that has not begun will not. Tells whether it has.
    pub fn give_up(&self) -> bool {
        self.0.compare_exchange(OPEN, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) == Err(WRITING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_that_writes_is_known_to_its_caller() {
        let began = Began::default();
        let caller = began.clone();
        assert!(began.note());
        assert!(caller.is_writing() && caller.give_up());
    }

    #[test]
    fn a_caller_who_was_told_that_nothing_is_written_is_right() {
        let began = Began::default();
        assert!(!began.clone().give_up());
        assert!(!began.note(), "so it does not begin");
        assert!(!began.is_writing());
    }
}

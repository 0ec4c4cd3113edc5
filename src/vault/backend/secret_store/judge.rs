//! What an answer of SecretStore means: functions of what it says and of what was seen around it.

use crate::protocol::Fault;
use crate::vault::turn::{is_locked, is_not_found};

/// How often a doubtful answer is asked again while the files go on changing.
const DOUBTS: u32 = 8;

/// How often a write is done that is acknowledged and not kept while somebody else writes too.
const BESIDE_ANOTHER: u32 = 2;

/// What an error says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    /// There is no such secret.
    pub not_found: bool,
    /// The store wants a password.
    pub locked: bool,
    /// The password is refused.
    pub refused: bool,
}

/// What a failed unlock means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnlockRefusal {
    /// The password is wrong, which counts for the lock-out.
    LockOut,
    /// It proves nothing: it is tried again after a while.
    Wait,
    /// It failed for another reason.
    Fail,
}

/// What was seen around a call that gave an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    /// The worker had read the file just before.
    pub fresh: bool,
    /// An unlock would have it read the file.
    pub can_refresh: bool,
    /// Somebody else is writing to the file, or has just done so.
    pub moving: bool,
    /// How often it was asked, this time included.
    pub doubts: u32,
}

/// What becomes of a call that gave an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is so.
    Believe,
    /// It is so, and counts for the lock-out.
    LockOut,
    /// It is asked again, with the copy refreshed.
    Again,
    /// The same, once a write that is under way has had time to end.
    Wait,
}

/// What an attempt to write came to, and what was seen around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// Which try it was, from 1.
    pub tries: u32,
    /// Its error; nothing where it was acknowledged.
    pub error: Option<Complaint>,
    /// Nobody else can have made SecretStore read its file again beside it.
    pub alone: bool,
    /// Somebody else changed the configuration meanwhile, at which SecretStore drops what it has open.
    pub reconfigured: bool,
    /// The data file is as it was.
    pub changed_nothing: bool,
    /// Somebody else writes too.
    pub shared: bool,
    /// The key of the store is another than before.
    pub wiped: bool,
    /// It is a removal.
    pub removes: bool,
    /// The key was there before.
    pub was_there: bool,
    /// An unlock has the worker read the file.
    pub can_refresh: bool,
}

/// What becomes of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterWrite {
    /// It is done.
    Done,
    /// Its error is believed.
    Failed,
    /// It is not there: once more, unless this was the last try.
    Again,
    /// The store was wiped beside it: what was there before is put back, and then as [`AfterWrite::Again`].
    PutBack,
    /// Only a look can tell ([`Attempt::after_look`]).
    Look,
}

impl Complaint {
    pub(super) fn of(fault: &Fault) -> Complaint {
        Complaint {
            not_found: is_not_found(fault),
            locked: is_locked(fault),
            refused: is_refused_unlock(fault),
        }
    }
}

/// The store refused the password.
fn is_refused_unlock(fault: &Fault) -> bool {
    fault.id == "SecretStoreUnlockFailed"
        || fault.kind == "System.Security.Authentication.AuthenticationException"
}

/// What an error of a read means.
pub(super) fn read(says: Complaint, seen: Observation) -> Judgement {
    // With its default Interaction a locked store may say that it could not ask, by other ids.
    let may_be_locked = says.locked || !says.not_found;
    // A change of its configuration by somebody else locks it between the unlock and the read.
    let locked_again = says.locked && seen.doubts <= 2;
    let unlock_helps = seen.can_refresh && may_be_locked && (!seen.fresh || locked_again);
    // Once proves nothing: a foreign write may stand still for as long as the unlock takes.
    let once_refused = says.refused && seen.doubts == 1;
    let doubtful = says.refused || says.locked || says.not_found;
    if unlock_helps || once_refused || (doubtful && seen.moving && seen.doubts < DOUBTS) {
        return if seen.moving || once_refused { Judgement::Wait } else { Judgement::Again };
    }
    if says.refused { Judgement::LockOut } else { Judgement::Believe }
}

/// What a failed unlock means.
pub(super) fn unlock(refused: bool, doubts: u32, moving: bool) -> UnlockRefusal {
    match refused {
        false => UnlockRefusal::Fail,
        true if doubts == DOUBTS || (doubts > 1 && !moving) => UnlockRefusal::LockOut,
        true => UnlockRefusal::Wait,
    }
}

impl Attempt {
    /// Whether a write that this try did not do is given up.
    pub(super) fn is_last(&self) -> bool {
        let locked = self.error.is_some_and(|says| says.locked);
        // The cause is persistent; do not retry.
        let in_vain = self.tries > 1 && self.changed_nothing && !locked && !self.shared;
        // Who erases it once, with a stale copy or in a tight loop, does so again.
        let beside_another = self.tries == BESIDE_ANOTHER && self.error.is_none() && self.shared;
        self.tries == DOUBTS || in_vain || beside_another
    }

    /// What is to be done about it.
    pub(super) fn judge(&self) -> AfterWrite {
        let first = self.tries == 1;
        if (self.reconfigured || (first && !self.alone)) && self.wiped {
            return AfterWrite::PutBack;
        }
        let Some(says) = self.error else {
            return if self.alone { AfterWrite::Done } else { AfterWrite::Look };
        };
        if says.not_found && self.removes {
            return match (self.was_there, self.can_refresh) {
                (false, _) => AfterWrite::Failed,
                // From memory it would be gone whatever the file has.
                (true, true) => AfterWrite::Look,
                (true, false) => AfterWrite::Failed,
            };
        }
        // With its default Interaction it may say by other ids that it is locked.
        let may_be_locked = says.locked || (self.changed_nothing && first);
        if may_be_locked && self.can_refresh { AfterWrite::Again } else { AfterWrite::Failed }
    }

    /// What is to be done after the look that [`AfterWrite::Look`] asked for. `kept`: whether the store has what was
    /// written; nothing where it cannot be read now. `last`: what [`Attempt::is_last`] said before the look.
    pub(super) fn after_look(&self, kept: Option<bool>, last: bool) -> AfterWrite {
        match (self.error, kept) {
            (_, Some(true)) => AfterWrite::Done,
            (Some(_), Some(false)) => AfterWrite::Again,
            // A foreign writer erased it; report it as vanished.
            (None, Some(false)) if last && self.shared && !self.was_there => AfterWrite::Done,
            (None, Some(false)) => AfterWrite::Again,
            // It was acknowledged.
            (None, None) => AfterWrite::Done,
            (Some(_), None) => AfterWrite::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_FOUND: Complaint = Complaint { not_found: true, locked: false, refused: false };
    const LOCKED: Complaint = Complaint { not_found: false, locked: true, refused: false };
    const REFUSED: Complaint = Complaint { not_found: false, locked: false, refused: true };
    const OTHER: Complaint = Complaint { not_found: false, locked: false, refused: false };

    fn seen(fresh: bool, can_refresh: bool, moving: bool, doubts: u32) -> Observation {
        Observation { fresh, can_refresh, moving, doubts }
    }

    #[test]
    fn every_error_of_a_read_has_its_meaning() {
        use Judgement::{Again, Believe, LockOut, Wait};
        // The copy: old, fresh; then the same while somebody writes. At the first and the last time of asking.
        let situations = |doubts| {
            [
                seen(false, true, false, doubts),
                seen(true, true, false, doubts),
                seen(false, true, true, doubts),
                seen(true, true, true, doubts),
            ]
        };
        for (says, doubts, expected) in [
            (NOT_FOUND, 1, [Believe, Believe, Wait, Wait]),
            (NOT_FOUND, DOUBTS, [Believe; 4]),
            (LOCKED, 1, [Again, Again, Wait, Wait]),
            (LOCKED, 3, [Again, Believe, Wait, Wait]),
            (LOCKED, DOUBTS, [Again, Believe, Wait, Believe]),
            (REFUSED, 1, [Wait; 4]),
            (REFUSED, 2, [Again, LockOut, Wait, Wait]),
            (REFUSED, DOUBTS, [Again, LockOut, Wait, LockOut]),
            (OTHER, 1, [Again, Believe, Wait, Believe]),
            (OTHER, DOUBTS, [Again, Believe, Wait, Believe]),
        ] {
            assert_eq!(situations(doubts).map(|seen| read(says, seen)), expected, "{says:?}, {doubts}");
        }
        for says in [NOT_FOUND, LOCKED, OTHER] {
            assert_eq!(read(says, seen(false, false, false, 1)), Believe, "no unlock helps: {says:?}");
        }
    }

    #[test]
    fn one_refusal_of_a_password_proves_nothing_and_the_second_does_where_nobody_writes() {
        assert_eq!(unlock(false, 1, true), UnlockRefusal::Fail);
        for (doubts, moving, expected) in [
            (1, false, UnlockRefusal::Wait),
            (1, true, UnlockRefusal::Wait),
            (2, false, UnlockRefusal::LockOut),
            (2, true, UnlockRefusal::Wait),
            (DOUBTS, true, UnlockRefusal::LockOut),
        ] {
            assert_eq!(unlock(true, doubts, moving), expected, "{doubts}, {moving}");
        }
    }

    /// The first try of an overwrite that was acknowledged beside nobody.
    const WELL: Attempt = Attempt {
        tries: 1,
        error: None,
        alone: true,
        reconfigured: false,
        changed_nothing: false,
        shared: false,
        wiped: false,
        removes: false,
        was_there: true,
        can_refresh: true,
    };

    #[test]
    fn every_attempt_to_write_has_its_judgement() {
        let removal = Attempt { removes: true, ..WELL };
        let failed = |says| Attempt { error: Some(says), changed_nothing: true, ..WELL };
        for (attempt, expected) in [
            (WELL, AfterWrite::Done),
            (Attempt { alone: false, ..WELL }, AfterWrite::Look),
            (Attempt { wiped: true, ..WELL }, AfterWrite::Done),
            (Attempt { wiped: true, alone: false, ..WELL }, AfterWrite::PutBack),
            (Attempt { wiped: true, alone: false, tries: 2, ..WELL }, AfterWrite::Look),
            (Attempt { wiped: true, reconfigured: true, tries: 2, ..WELL }, AfterWrite::PutBack),
            (failed(LOCKED), AfterWrite::Again),
            (Attempt { tries: 5, ..failed(LOCKED) }, AfterWrite::Again),
            (Attempt { can_refresh: false, ..failed(LOCKED) }, AfterWrite::Failed),
            (failed(OTHER), AfterWrite::Again),
            (Attempt { tries: 2, ..failed(OTHER) }, AfterWrite::Failed),
            (Attempt { changed_nothing: false, ..failed(OTHER) }, AfterWrite::Failed),
            (failed(NOT_FOUND), AfterWrite::Again),
            (Attempt { error: Some(NOT_FOUND), ..removal }, AfterWrite::Look),
            (Attempt { error: Some(NOT_FOUND), was_there: false, ..removal }, AfterWrite::Failed),
            (Attempt { error: Some(NOT_FOUND), can_refresh: false, ..removal }, AfterWrite::Failed),
        ] {
            assert_eq!(attempt.judge(), expected, "{attempt:?}");
        }
    }

    #[test]
    fn a_look_decides_and_where_it_cannot_be_had_the_acknowledgement_does() {
        let acknowledged = Attempt { alone: false, ..WELL };
        let beside = Attempt { shared: true, tries: BESIDE_ANOTHER, was_there: false, ..acknowledged };
        let refused = Attempt { error: Some(NOT_FOUND), removes: true, ..WELL };
        for (attempt, kept, expected) in [
            (acknowledged, Some(true), AfterWrite::Done),
            (acknowledged, Some(false), AfterWrite::Again),
            (acknowledged, None, AfterWrite::Done),
            (beside, Some(false), AfterWrite::Done),
            (Attempt { was_there: true, ..beside }, Some(false), AfterWrite::Again),
            (Attempt { tries: 1, ..beside }, Some(false), AfterWrite::Again),
            (refused, Some(true), AfterWrite::Done),
            (refused, Some(false), AfterWrite::Again),
            (refused, None, AfterWrite::Failed),
        ] {
            assert_eq!(attempt.after_look(kept, attempt.is_last()), expected, "{attempt:?}, {kept:?}");
        }
    }

    #[test]
    fn a_write_is_given_up_where_the_cause_lasts() {
        let nothing = Attempt { error: Some(OTHER), changed_nothing: true, ..WELL };
        for (attempt, last) in [
            (nothing, false),
            (Attempt { tries: 2, ..nothing }, true),
            (Attempt { tries: 2, shared: true, ..nothing }, false),
            (Attempt { tries: 2, error: Some(LOCKED), ..nothing }, false),
            (Attempt { tries: 2, shared: true, ..WELL }, true),
            (Attempt { tries: DOUBTS, ..WELL }, true),
        ] {
            assert_eq!(attempt.is_last(), last, "{attempt:?}");
        }
    }
}

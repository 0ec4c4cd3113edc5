//! What an answer of SecretStore means: functions of what it says and of what was seen around it.

use crate::protocol::Fault;
use crate::vault::turn::{STILL_THERE, Trouble, is_locked, is_not_found};

/// How often a doubtful answer is asked again while the files go on changing.
const DOUBTS: u32 = 8;

/// How often a write is tried that is acknowledged but not kept, while another program writes too.
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

/// What is to be done about a worker's copy of the store before it is relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyUse {
    /// Nothing.
    AsItIs,
    /// An unlock has the worker read the file.
    Refresh,
    /// Only a fresh worker can read the file.
    AnotherWorker,
}

/// What a failed unlock means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnlockRefusal {
    /// The password is wrong, which counts for the lock-out.
    LockOut,
    /// The file was torn, and is back: it is tried again at once.
    Again,
    /// It proves nothing: it is tried again after a while.
    Wait,
    /// It failed for another reason.
    Fail,
}

/// What was seen around a call that gave an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    /// The file was torn by a write of ours, and what was there before is back.
    pub torn: bool,
    /// The worker had read the file just before.
    pub fresh: bool,
    /// An unlock would have it read the file.
    pub can_refresh: bool,
    /// Somebody else is writing to the file, or has just done so.
    pub moving: bool,
    /// How often it was asked of a file that was not torn, this time included.
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

/// What is to be done after an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterWrite {
    /// Nothing: it has ended.
    End(WriteEnd),
    /// The store was wiped beside it: what was there before is put back ([`Attempt::after_put_back`]).
    PutBack,
    /// Only a look can tell ([`Attempt::after_look`]).
    Look,
}

/// What a call that writes shows of the files around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenFiles {
    /// This worker wrote last before it too.
    pub again: bool,
    /// The store's configuration has changed beside it.
    pub reconfigured: bool,
    /// The file with the secrets is as it was.
    pub changed_nothing: bool,
    /// Other programs use the store.
    pub shared: bool,
    /// The worker can read the file again.
    pub refreshes: bool,
}

impl WrittenFiles {
    /// Whether nobody else can have written between this worker's last read and the call.
    pub(super) fn is_alone(self) -> bool {
        self.again && !self.reconfigured && !self.changed_nothing && !self.shared
    }

    /// Whether the worker's copy is that of the file then. One that cannot read the file again has to be taken for it.
    pub(super) fn is_seen(self) -> bool {
        !self.reconfigured && (self.again || !self.refreshes)
    }
}

/// What an attempt to write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteEnd {
    /// The store has it.
    Done,
    /// It failed for good.
    Failed,
    /// The store does not have it, and another try may help.
    Again,
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

/// What is to be done about a worker's copy. `is_old`: it is older than our last write or than the files; `is_due`: its
/// unlock is; `has_no_password`: nothing has a worker read the file anew.
pub(super) fn copy(is_old: bool, is_due: bool, can_refresh: bool, has_no_password: bool) -> CopyUse {
    match can_refresh {
        true if is_old || is_due => CopyUse::Refresh,
        false if is_old && has_no_password => CopyUse::AnotherWorker,
        _ => CopyUse::AsItIs,
    }
}

/// What an error of a read means.
pub(super) fn read(says: Complaint, seen: Observation) -> Judgement {
    // A worker that cannot unlock may say not-found of a file that it cannot read.
    if seen.torn {
        return Judgement::Again;
    }
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

/// What a failed unlock means. `torn`, `doubts` and `moving` as in an [`Observation`].
pub(super) fn unlock(refused: bool, torn: bool, doubts: u32, moving: bool) -> UnlockRefusal {
    match refused {
        false => UnlockRefusal::Fail,
        // SecretStore also refuses the right password if a write was cut off.
        true if torn => UnlockRefusal::Again,
        true if doubts == DOUBTS || (doubts > 1 && !moving) => UnlockRefusal::LockOut,
        true => UnlockRefusal::Wait,
    }
}

impl Attempt {
    /// Whether a write that this try did not do is given up.
    fn is_last(&self) -> bool {
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
            return if self.alone { AfterWrite::End(WriteEnd::Done) } else { AfterWrite::Look };
        };
        if says.not_found && self.removes {
            return match (self.was_there, self.can_refresh) {
                (false, _) => AfterWrite::End(WriteEnd::Failed),
                // From memory it would be gone whatever the file has.
                (true, true) => AfterWrite::Look,
                (true, false) => AfterWrite::End(WriteEnd::Failed),
            };
        }
        // With its default Interaction it may say by other ids that it is locked.
        let may_be_locked = says.locked || (self.changed_nothing && first);
        AfterWrite::End(if may_be_locked && self.can_refresh { self.once_more() } else { WriteEnd::Failed })
    }

    /// What it came to by the look that [`AfterWrite::Look`] asked for. `kept`: whether the store has what was
    /// written; nothing where it cannot be read now. `shared`: whether somebody else writes too, after the look.
    pub(super) fn after_look(&self, kept: Option<bool>, shared: bool) -> WriteEnd {
        match (self.error, kept) {
            (_, Some(true)) => WriteEnd::Done,
            (Some(_), Some(false)) => self.once_more(),
            // A foreign writer erased it; report it as vanished.
            (None, Some(false)) if self.is_last() && shared && !self.was_there => WriteEnd::Done,
            (None, Some(false)) => self.once_more(),
            // It was acknowledged.
            (None, None) => WriteEnd::Done,
            (Some(_), None) => WriteEnd::Failed,
        }
    }

    /// What it came to once what was there before is back.
    pub(super) fn after_put_back(&self) -> WriteEnd {
        self.once_more()
    }

    fn once_more(&self) -> WriteEnd {
        if self.is_last() { WriteEnd::Failed } else { WriteEnd::Again }
    }
}

/// What the caller is told of a write that could not be tried again. `lost`: the error of the try before. It is told
/// in place of the new trouble: that try may have left something half done, and only an error of a write has it put right.
pub(super) fn given_up(lost: Option<Box<Fault>>, trouble: Trouble) -> Trouble {
    match lost {
        Some(fault) if !is_locked(&fault) => Trouble::Fault(fault),
        _ => trouble,
    }
}

/// The error of a write that failed. SecretStore calls whatever keeps it from a write, or from the removal of what is
/// there, not found.
pub(super) fn write_fault(mut fault: Box<Fault>, removes: bool, was_there: bool) -> Box<Fault> {
    if is_not_found(&fault) && (was_there || !removes) {
        STILL_THERE.clone_into(&mut fault.kind);
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_alone_and_its_copy_is_that_of_the_file_only_where_nobody_else_can_have_written() {
        let files = |[again, reconfigured, changed_nothing, shared, refreshes]: [bool; 5]| WrittenFiles {
            again,
            reconfigured,
            changed_nothing,
            shared,
            refreshes,
        };
        let (o, x) = (false, true);
        for (seen, alone, is_seen) in [
            ([x, o, o, o, x], true, true),
            ([x, o, o, o, o], true, true),
            ([x, x, o, o, x], false, false),
            ([x, o, x, o, x], false, true),
            ([x, o, o, x, x], false, true),
            ([o, o, o, o, x], false, false),
            ([o, o, o, o, o], false, true),
            ([o, x, o, o, o], false, false),
        ] {
            let files = files(seen);
            assert_eq!((files.is_alone(), files.is_seen()), (alone, is_seen), "{files:?}");
        }
    }

    const NOT_FOUND: Complaint = Complaint { not_found: true, locked: false, refused: false };
    const LOCKED: Complaint = Complaint { not_found: false, locked: true, refused: false };
    const REFUSED: Complaint = Complaint { not_found: false, locked: false, refused: true };
    const OTHER: Complaint = Complaint { not_found: false, locked: false, refused: false };

    fn seen(fresh: bool, can_refresh: bool, moving: bool, doubts: u32) -> Observation {
        Observation { torn: false, fresh, can_refresh, moving, doubts }
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
        for says in [NOT_FOUND, LOCKED, REFUSED, OTHER] {
            let torn = Observation { torn: true, ..seen(true, false, false, DOUBTS) };
            assert_eq!(read(says, torn), Again, "the file is another now: {says:?}");
        }
    }

    #[test]
    fn one_refusal_of_a_password_proves_nothing_and_the_second_does_where_nobody_writes() {
        assert_eq!(unlock(false, false, 1, true), UnlockRefusal::Fail);
        assert_eq!(unlock(true, true, DOUBTS, true), UnlockRefusal::Again);
        for (doubts, moving, expected) in [
            (1, false, UnlockRefusal::Wait),
            (1, true, UnlockRefusal::Wait),
            (2, false, UnlockRefusal::LockOut),
            (2, true, UnlockRefusal::Wait),
            (DOUBTS, true, UnlockRefusal::LockOut),
        ] {
            assert_eq!(unlock(true, false, doubts, moving), expected, "{doubts}, {moving}");
        }
    }

    #[test]
    fn a_copy_that_is_old_is_refreshed_or_another_worker_is_asked() {
        use CopyUse::{AnotherWorker, AsItIs, Refresh};
        // Old and due; with a password, with one that may not be used now, and without one.
        for (is_old, is_due, expected) in [
            (false, false, [AsItIs, AsItIs, AsItIs]),
            (false, true, [Refresh, AsItIs, AsItIs]),
            (true, false, [Refresh, AsItIs, AnotherWorker]),
            (true, true, [Refresh, AsItIs, AnotherWorker]),
        ] {
            let kinds = [(true, false), (false, false), (false, true)];
            assert_eq!(
                kinds.map(|(can, none)| copy(is_old, is_due, can, none)),
                expected,
                "{is_old}, {is_due}"
            );
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
        let [done, again, ended] = [WriteEnd::Done, WriteEnd::Again, WriteEnd::Failed].map(AfterWrite::End);
        for (attempt, expected) in [
            (WELL, done),
            (Attempt { alone: false, ..WELL }, AfterWrite::Look),
            (Attempt { wiped: true, ..WELL }, done),
            (Attempt { wiped: true, alone: false, ..WELL }, AfterWrite::PutBack),
            (Attempt { wiped: true, alone: false, tries: 2, ..WELL }, AfterWrite::Look),
            (Attempt { wiped: true, reconfigured: true, tries: 2, ..WELL }, AfterWrite::PutBack),
            (failed(LOCKED), again),
            (Attempt { tries: 5, ..failed(LOCKED) }, again),
            (Attempt { tries: DOUBTS, ..failed(LOCKED) }, ended),
            (Attempt { can_refresh: false, ..failed(LOCKED) }, ended),
            (failed(OTHER), again),
            (Attempt { tries: 2, ..failed(OTHER) }, ended),
            (Attempt { changed_nothing: false, ..failed(OTHER) }, ended),
            (failed(NOT_FOUND), again),
            (Attempt { error: Some(NOT_FOUND), ..removal }, AfterWrite::Look),
            (Attempt { error: Some(NOT_FOUND), was_there: false, ..removal }, ended),
            (Attempt { error: Some(NOT_FOUND), can_refresh: false, ..removal }, ended),
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
            (acknowledged, Some(true), WriteEnd::Done),
            (acknowledged, Some(false), WriteEnd::Again),
            (Attempt { tries: DOUBTS, ..acknowledged }, Some(false), WriteEnd::Failed),
            (acknowledged, None, WriteEnd::Done),
            (beside, Some(false), WriteEnd::Done),
            (Attempt { was_there: true, ..beside }, Some(false), WriteEnd::Failed),
            (Attempt { tries: 1, ..beside }, Some(false), WriteEnd::Again),
            (refused, Some(true), WriteEnd::Done),
            (refused, Some(false), WriteEnd::Again),
            (refused, None, WriteEnd::Failed),
        ] {
            assert_eq!(attempt.after_look(kept, attempt.shared), expected, "{attempt:?}, {kept:?}");
        }
        // The other writer was seen only by the look, or is not seen any more: its erasure is not taken for the end.
        let alone_before = Attempt { shared: false, ..beside };
        assert_eq!(alone_before.after_look(Some(false), true), WriteEnd::Again);
        assert_eq!(beside.after_look(Some(false), false), WriteEnd::Failed);
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
            let end = if last { WriteEnd::Failed } else { WriteEnd::Again };
            assert_eq!(attempt.after_put_back(), end, "{attempt:?}");
        }
    }

    fn fault(id: &str) -> Box<Fault> {
        Box::new(Fault { id: id.into(), ..Fault::default() })
    }

    #[test]
    fn a_write_that_may_have_left_something_half_done_says_so_and_not_why_it_was_not_tried_again() {
        const LOCKED: &str = "Microsoft.PowerShell.SecretStore.PasswordRequiredException";
        for (lost, kept) in [(None, false), (Some(LOCKED), false), (Some("Other"), true)] {
            let told = given_up(lost.map(fault), Trouble::OldCopy);
            assert_eq!(matches!(told, Trouble::OldCopy), !kept, "{lost:?}");
            assert_eq!(matches!(told, Trouble::Fault(fault) if fault.id == "Other"), kept, "{lost:?}");
        }
    }

    #[test]
    fn not_found_is_believed_only_of_the_removal_of_what_was_not_there() {
        for (removes, was_there, believed) in
            [(true, false, true), (true, true, false), (false, true, false), (false, false, false)]
        {
            let told = write_fault(fault("GetSecretNotFound"), removes, was_there);
            assert_eq!(told.kind != STILL_THERE, believed, "{removes}, {was_there}");
        }
        assert_eq!(write_fault(fault("Other"), false, true).kind, "");
    }
}

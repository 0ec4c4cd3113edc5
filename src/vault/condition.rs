//! What a vault's last real calls showed. Nothing here is planned or assumed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::clock;
use crate::error::{BridgeError, FileTrouble};
use crate::protocol::Fault;

/// The status with which an HTTP service asks its clients to come later.
const TOO_MANY_REQUESTS: u16 = 429;

/// Longest time for which a vault is not called after it answered "later" (it throttles).
const LONGEST: Duration = Duration::from_secs(3600);

/// Longest time for which it is not called where it does not say how long.
const LONGEST_GUESS: Duration = Duration::from_secs(60);

/// How a vault is, by its last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VaultState {
    /// It was not called yet.
    #[default]
    Unknown,
    /// It answered.
    Ok,
    /// It is locked and could not be unlocked.
    Locked,
    /// Its password was refused several times; the next try waits.
    LockedOut,
    /// It throttles: it asked its callers to wait.
    Throttled,
    /// It did not answer within the deadline.
    Hung,
    /// There is no room on its disk.
    DiskFull,
    /// Its files are not what was written, or are gone.
    Damaged,
    /// It, or the worker that called it, failed.
    Failing,
}

impl VaultState {
    /// All of them.
    pub const ALL: [VaultState; 9] = [
        VaultState::Unknown,
        VaultState::Ok,
        VaultState::Locked,
        VaultState::LockedOut,
        VaultState::Throttled,
        VaultState::Hung,
        VaultState::DiskFull,
        VaultState::Damaged,
        VaultState::Failing,
    ];

    /// As it is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            VaultState::Unknown => "unknown",
            VaultState::Ok => "ok",
            VaultState::Locked => "locked",
            VaultState::LockedOut => "locked_out",
            VaultState::Throttled => "throttled",
            VaultState::Hung => "hung",
            VaultState::DiskFull => "disk_full",
            VaultState::Damaged => "damaged",
            VaultState::Failing => "failing",
        }
    }

    /// Whether it was found by a read or write that failed, and not by how the vault says it is.
    #[must_use]
    pub fn fails_at_work(self) -> bool {
        matches!(self, VaultState::Failing | VaultState::DiskFull | VaultState::Damaged)
    }

    /// Whether nothing is known to be wrong.
    #[must_use]
    pub fn serves(self) -> bool {
        matches!(self, VaultState::Unknown | VaultState::Ok)
    }
}

impl std::fmt::Display for VaultState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A vault's last calls.
#[derive(Debug)]
pub struct Condition {
    calls: Mutex<LastCalls>,
    born: Instant,
}

#[derive(Debug, Default)]
struct LastCalls {
    state: VaultState,
    /// Failures since the last success.
    failures: u32,
    last_success: Option<OffsetDateTime>,
    last_error: Option<LastError>,
    last_call: Option<Instant>,
    throttled: Option<Instant>,
}

/// The last error of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LastError {
    /// When, in UTC.
    #[serde(serialize_with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The error's code, e.g. `vault_failed`.
    pub code: &'static str,
    /// What PowerShell calls it, e.g. `GetSecretInvalidOperation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What is shown of a vault's last calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct ShownCondition {
    /// By the last call.
    pub state: VaultState,
    /// Failures since the last success.
    pub failures: u32,
    /// When it last answered, in UTC.
    #[serde(serialize_with = "maybe_rfc3339", skip_serializing_if = "Option::is_none")]
    pub last_success: Option<OffsetDateTime>,
    /// Its last error, also where it has answered since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

/// What a call's outcome says of the vault; `None` where it says nothing, because the vault was not at fault or not
/// asked.
pub fn judge<T>(outcome: &Result<T, BridgeError>) -> Option<VaultState> {
    match outcome {
        Ok(_) | Err(BridgeError::NotFound { .. } | BridgeError::NoMember { .. }) => Some(VaultState::Ok),
        Err(BridgeError::Locked { .. }) => Some(VaultState::Locked),
        Err(BridgeError::Throttled { .. }) => Some(VaultState::Throttled),
        Err(BridgeError::Deadline { .. }) => Some(VaultState::Hung),
        Err(BridgeError::Vault { fault, .. }) if is_disk_full(fault) => Some(VaultState::DiskFull),
        Err(BridgeError::Local { trouble: FileTrouble::DiskFull, .. }) => Some(VaultState::DiskFull),
        Err(BridgeError::Local { trouble: FileTrouble::Damaged, .. }) => Some(VaultState::Damaged),
        Err(BridgeError::Vault { .. } | BridgeError::Worker { .. } | BridgeError::Local { .. }) => {
            Some(VaultState::Failing)
        }
        Err(
            BridgeError::UnknownMount { .. }
            | BridgeError::UnknownVault { .. }
            | BridgeError::Refused { .. }
            | BridgeError::ReadOnly { .. }
            | BridgeError::Saturated
            | BridgeError::NotReady { .. },
        ) => None,
    }
}

impl Default for Condition {
    fn default() -> Condition {
        Condition { calls: Mutex::default(), born: Instant::now() }
    }
}

impl Condition {
    /// Refuses a call while the vault throttles.
    pub fn admit(&self, vault: &str, now: Instant) -> Result<(), BridgeError> {
        match self.left_alone(now) {
            Some(retry_after) => Err(BridgeError::Throttled { vault: vault.to_owned(), retry_after }),
            None => Ok(()),
        }
    }

    /// How long the vault asked its callers to wait, if it did.
    pub fn left_alone(&self, now: Instant) -> Option<Duration> {
        let until = self.calls().throttled.filter(|until| *until > now)?;
        Some(until.saturating_duration_since(now))
    }

    /// Refuses the calls that wait already, from the moment that a call was answered with "later": whoever made it
    /// tells what it came to only after the next has begun.
    pub fn heed(&self, fault: &Fault, now: Instant) {
        let mut calls = self.calls();
        if is_throttled(fault) {
            calls.throttled = Some(now + wait(fault, calls.failures));
        }
    }

    /// Takes in what a call came to, and gives it back; a vault's "later" in its own words becomes ours.
    pub fn note<T>(
        &self,
        vault: &str,
        outcome: Result<T, BridgeError>,
        now: Instant,
    ) -> Result<T, BridgeError> {
        let mut calls = self.calls();
        let outcome = match outcome {
            Err(BridgeError::Vault { fault, .. }) if is_throttled(&fault) => {
                let wait = wait(&fault, calls.failures);
                calls.throttled = Some(now + wait);
                tracing::warn!(vault, seconds = wait.as_secs(), "the vault asks to be called later");
                Err(BridgeError::Throttled { vault: vault.to_owned(), retry_after: wait })
            }
            outcome => outcome,
        };
        let Some(state) = judge(&outcome) else { return outcome };
        calls.last_call = Some(now);
        calls.state = state;
        match &outcome {
            Ok(_) | Err(BridgeError::NotFound { .. } | BridgeError::NoMember { .. }) => {
                calls.failures = 0;
                calls.throttled = None;
                calls.last_success = Some(clock::now());
            }
            Err(error) => {
                calls.failures = calls.failures.saturating_add(1);
                let id = match error {
                    BridgeError::Vault { fault, .. } => Some(fault.id.clone()),
                    _ => None,
                };
                calls.last_error = Some(LastError { at: clock::now(), code: error.code(), id });
            }
        }
        outcome
    }

    /// The state by the last call.
    pub fn state(&self) -> VaultState {
        self.calls().state
    }

    /// Time since the last call, since the last look at it, or since the vault is known.
    pub fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.calls().last_call.unwrap_or(self.born))
    }

    /// Somebody is about to look at it.
    pub fn begin_look(&self, now: Instant) {
        self.calls().last_call = Some(now);
    }

    /// What is shown of it.
    pub fn shown(&self) -> ShownCondition {
        let calls = self.calls();
        ShownCondition {
            state: calls.state,
            failures: calls.failures,
            last_success: calls.last_success,
            last_error: calls.last_error.clone(),
        }
    }

    fn calls(&self) -> MutexGuard<'_, LastCalls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service behind the vault has answered that it gets too many requests.
pub fn is_throttled(fault: &Fault) -> bool {
    fault.status == Some(TOO_MANY_REQUESTS) || fault.more.iter().any(is_throttled)
}

fn is_disk_full(fault: &Fault) -> bool {
    fault.disk_full || fault.more.iter().any(is_disk_full)
}

/// How long it is not called: as long as it says, else longer each time.
fn wait(fault: &Fault, failures: u32) -> Duration {
    let said = |fault: &Fault| fault.retry_after.filter(|seconds| *seconds > 0);
    match said(fault).or_else(|| fault.more.iter().find_map(said)) {
        Some(seconds) => Duration::from_secs(seconds).min(LONGEST),
        None => Duration::from_secs(1 << failures.min(6)).min(LONGEST_GUESS),
    }
}

fn rfc3339<S: serde::Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.format(&Rfc3339).unwrap_or_default())
}

fn maybe_rfc3339<S: serde::Serializer>(
    at: &Option<OffsetDateTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(fault: Fault) -> Result<(), BridgeError> {
        Err(BridgeError::Vault { vault: "v".into(), fault: Box::new(fault), outcome_unknown: false })
    }

    fn throttled(retry_after: Option<u64>) -> Result<(), BridgeError> {
        failed(Fault { status: Some(429), retry_after, ..Fault::default() })
    }

    fn wait_of(outcome: Result<(), BridgeError>) -> Duration {
        match outcome {
            Err(BridgeError::Throttled { retry_after, .. }) => retry_after,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_shows_what_it_shows() {
        let (v, k) = (|| "v".to_owned(), || "k".to_owned());
        let second = Duration::from_secs(1);
        let local =
            |trouble| Err(BridgeError::Local { vault: "v".to_owned(), reason: "r".to_owned(), trouble });
        let table: [(Result<(), BridgeError>, Option<VaultState>); 13] = [
            (local(FileTrouble::Other), Some(VaultState::Failing)),
            (local(FileTrouble::DiskFull), Some(VaultState::DiskFull)),
            (local(FileTrouble::Damaged), Some(VaultState::Damaged)),
            (failed(Fault { disk_full: true, ..Fault::default() }), Some(VaultState::DiskFull)),
            (Ok(()), Some(VaultState::Ok)),
            (Err(BridgeError::NotFound { vault: v(), key: k() }), Some(VaultState::Ok)),
            (
                Err(BridgeError::Locked { vault: v(), reason: k(), retry_after: second }),
                Some(VaultState::Locked),
            ),
            (Err(BridgeError::Throttled { vault: v(), retry_after: second }), Some(VaultState::Throttled)),
            (Err(BridgeError::Deadline { outcome_unknown: false }), Some(VaultState::Hung)),
            (failed(Fault::default()), Some(VaultState::Failing)),
            (Err(BridgeError::Worker { reason: k(), outcome_unknown: false }), Some(VaultState::Failing)),
            (Err(BridgeError::Refused { vault: v(), reason: k() }), None),
            (Err(BridgeError::Saturated), None),
        ];
        for (outcome, state) in table {
            assert_eq!(judge(&outcome), state, "{outcome:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_says_nothing_of_the_vault_changes_nothing() {
        let (condition, now) = (Condition::default(), Instant::now());
        condition.note("v", failed(Fault { id: "Broken".into(), ..Fault::default() }), now).unwrap_err();
        condition.note::<()>("v", Err(BridgeError::Saturated), now).unwrap_err();
        let shown = condition.shown();
        assert_eq!((shown.state, shown.failures), (VaultState::Failing, 1));
        assert_eq!(shown.last_error.unwrap().id.as_deref(), Some("Broken"));
        condition.note("v", Ok(()), now).unwrap();
        let shown = condition.shown();
        assert_eq!((shown.state, shown.failures), (VaultState::Ok, 0));
        assert!(shown.last_error.is_some() && shown.last_success.is_some(), "the last error is still told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_vault_that_says_later_is_left_alone_for_as_long_as_it_says() {
        let (condition, now) = (Condition::default(), Instant::now());
        assert_eq!(wait_of(condition.note("v", throttled(Some(7)), now)), Duration::from_secs(7));
        assert!(matches!(
            condition.admit("v", now + Duration::from_secs(6)),
            Err(BridgeError::Throttled { retry_after, .. }) if retry_after == Duration::from_secs(1)
        ));
        condition.admit("v", now + Duration::from_secs(7)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn where_it_does_not_say_how_long_each_wait_is_longer_up_to_a_minute() {
        let (condition, now) = (Condition::default(), Instant::now());
        let waits: Vec<u64> =
            (0..8).map(|_| wait_of(condition.note("v", throttled(None), now)).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        condition.note("v", Ok(()), now).unwrap();
        condition.admit("v", now).unwrap();
        assert_eq!(wait_of(condition.note("v", throttled(None), now)).as_secs(), 1, "a success ends it");
        assert_eq!(wait_of(condition.note("v", throttled(Some(u64::MAX)), now)), LONGEST);
        condition.note("v", Ok(()), now).unwrap();
        assert_eq!(wait_of(condition.note("v", throttled(Some(0)), now)).as_secs(), 1, "nothing is not said");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_already_are_refused_from_the_answer_that_said_later() {
        let (condition, now) = (Condition::default(), Instant::now());
        condition.heed(&Fault { id: "Broken".into(), ..Fault::default() }, now);
        condition.admit("v", now).unwrap();
        let inner = Fault { status: Some(429), retry_after: Some(7), ..Fault::default() };
        condition.heed(&Fault { more: vec![inner], ..Fault::default() }, now);
        assert_eq!(condition.left_alone(now), Some(Duration::from_secs(7)));
        assert_eq!(condition.left_alone(now + Duration::from_secs(7)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_vault_is_idle_since_its_last_call_or_look_or_since_it_is_known() {
        let (condition, now) = (Condition::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(condition.idle(now + second * 5), second * 5);
        condition.note("v", Ok(()), now + second * 2).unwrap();
        assert_eq!(condition.idle(now + second * 5), second * 3);
        condition.begin_look(now + second * 4);
        assert_eq!(condition.idle(now + second * 5), second);
    }

    #[test]
    fn every_state_has_its_word_and_says_what_it_was_found_by() {
        // The state, its word, whether it serves, whether a read or write found it.
        let table = [
            (VaultState::Unknown, "unknown", true, false),
            (VaultState::Ok, "ok", true, false),
            (VaultState::Locked, "locked", false, false),
            (VaultState::LockedOut, "locked_out", false, false),
            (VaultState::Throttled, "throttled", false, false),
            (VaultState::Hung, "hung", false, false),
            (VaultState::DiskFull, "disk_full", false, true),
            (VaultState::Damaged, "damaged", false, true),
            (VaultState::Failing, "failing", false, true),
        ];
        assert_eq!(table.map(|(state, ..)| state), VaultState::ALL);
        for (state, word, serves, at_work) in table {
            assert_eq!(
                (state.to_string().as_str(), state.serves(), state.fails_at_work()),
                (word, serves, at_work)
            );
            assert_eq!(serde_json::to_value(state).unwrap(), word);
        }
    }
}

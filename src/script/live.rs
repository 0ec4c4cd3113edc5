//! What the core keeps of a script's vault beside its plan: its table, and its unlocks.
//!
//! A vault is unlocked once for all workers. What its init and unlock blocks leave that cannot leave their
//! process (an open connection) makes them run again in each worker that needs it, for that alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::protocol::shape::Id;
use crate::plan::BlockKind;

/// How long a vault is not unlocked again after an unlock of it failed.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// A vault of a script.
#[derive(Default)]
pub struct Live {
    /// Its table, the first argument of its blocks; none is `$null`.
    pub table: Option<Id>,
    /// Kinds of blocks whose syntax shows that they only read the table.
    reads: BTreeSet<BlockKind>,
    state: Mutex<LiveState>,
}

#[derive(Default)]
struct LiveState {
    /// Kinds of blocks that each worker runs for itself: they leave what cannot travel.
    local: BTreeSet<BlockKind>,
    /// Things that were named in the log.
    named: BTreeSet<String>,
    /// How often it was unlocked.
    unlocks: u64,
    /// When the next unlock is due.
    next: Option<Instant>,
    /// Until when it is unlocked, in round-trip form.
    expiry: Option<String>,
    /// When a module's vault was unlocked.
    since: Option<OffsetDateTime>,
}

/// The vaults of a script, by their entries' numbers.
#[derive(Default)]
pub struct Lives(Mutex<HashMap<u64, Arc<Live>>>);

impl Live {
    /// A vault whose table is this, with blocks of `reads` that only read it, and blocks of `local` that
    /// change their process too.
    pub fn new(table: Option<Id>, reads: BTreeSet<BlockKind>, local: BTreeSet<BlockKind>) -> Live {
        Live { table, reads, state: Mutex::new(LiveState { local, ..LiveState::default() }) }
    }

    /// Whether a block of this kind only reads.
    pub fn only_reads(&self, kind: BlockKind) -> bool {
        self.reads.contains(&kind)
    }

    /// Whether each worker runs the block of this kind for itself.
    pub fn is_local(&self, kind: BlockKind) -> bool {
        self.state().local.contains(&kind)
    }

    /// A block of this kind left things that cannot travel; those that were not yet named.
    pub fn leaves(&self, kind: BlockKind, things: Vec<String>) -> Vec<String> {
        let mut state = self.state();
        if !things.is_empty() {
            state.local.insert(kind);
        }
        things.into_iter().filter(|thing| state.named.insert(thing.clone())).collect()
    }

    /// Whether its time is over.
    pub fn is_due(&self, now: Instant) -> bool {
        self.state().next.is_some_and(|next| next <= now)
    }

    /// Whether a worker that has seen so many unlocks lacks what the unlock block leaves in each.
    pub fn lacks_unlock(&self, seen: u64) -> bool {
        let state = self.state();
        state.unlocks > seen && state.local.contains(&BlockKind::Unlock)
    }

    /// It was unlocked, until then: how often now.
    pub fn unlocked(&self, next: Option<Instant>, expiry: Option<String>) -> u64 {
        let mut state = self.state();
        state.unlocks += 1;
        (state.next, state.expiry) = (next, expiry);
        state.unlocks
    }

    /// Its unlock failed, when it was due: it is tried again a while later.
    pub fn not_unlocked(&self, now: Instant) {
        let mut state = self.state();
        state.next = state.next.map(|next| next.max(now + RETRY_AFTER));
    }

    /// How often it was unlocked.
    pub fn unlocks(&self) -> u64 {
        self.state().unlocks
    }

    /// Until when it is unlocked.
    pub fn expiry(&self) -> Option<String> {
        self.state().expiry.clone()
    }

    /// A module's vault was unlocked just now; it is unlocked again each time that the interval has passed.
    pub fn unlocked_since(&self, now: OffsetDateTime) {
        self.state().since = Some(now);
    }

    /// When a module's vault is unlocked again, as Pode shows it.
    pub fn next_unlock(&self, interval: Duration, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let since = self.state().since.filter(|_| !interval.is_zero())?;
        let passed = Duration::try_from(now - since).unwrap_or_default();
        let times = passed.as_secs() / interval.as_secs().max(1) + 1;
        Some(since + interval.saturating_mul(u32::try_from(times).ok()?))
    }

    fn state(&self) -> MutexGuard<'_, LiveState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lives {
    /// Adds the vault whose entry `add` makes. Nobody sees the entry without it.
    pub fn adding<T, E>(&self, live: Arc<Live>, add: impl FnOnce() -> Result<(u64, T), E>) -> Result<T, E> {
        let mut lives = self.lives();
        let (number, entry) = add()?;
        lives.insert(number, live);
        Ok(entry)
    }

    /// The vault of an entry.
    pub fn get(&self, number: u64) -> Arc<Live> {
        self.lives().get(&number).cloned().unwrap_or_default()
    }

    pub fn remove(&self, number: u64) -> Option<Arc<Live>> {
        self.lives().remove(&number)
    }

    fn lives(&self) -> MutexGuard<'_, HashMap<u64, Arc<Live>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_unlock_holds_for_all_workers_until_its_time_is_over() {
        let live = Live::default();
        assert!(!live.is_due(Instant::now()), "what was never unlocked is unlocked when it is asked for");
        let next = Instant::now() + Duration::from_secs(5);
        assert_eq!(live.unlocked(Some(next), Some("then".into())), 1);
        assert_eq!((live.is_due(Instant::now()), live.expiry().as_deref()), (false, Some("then")));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(live.is_due(Instant::now()));
        live.not_unlocked(Instant::now());
        assert!(!live.is_due(Instant::now()), "a failed one is not tried at every call");
        tokio::time::advance(RETRY_AFTER).await;
        assert!(live.is_due(Instant::now()));
    }

    #[test]
    fn the_next_unlock_of_a_modules_vault_is_always_to_come() {
        let (live, minute) = (Live::default(), Duration::from_secs(60));
        let then = OffsetDateTime::UNIX_EPOCH;
        let after = |seconds| then + Duration::from_secs(seconds);
        assert_eq!(live.next_unlock(minute, then), None, "it was never unlocked");
        live.unlocked_since(then);
        assert_eq!(live.next_unlock(Duration::ZERO, then), None);
        for (passed, next) in [(0, 60), (59, 60), (60, 120), (3601, 3660)] {
            assert_eq!(live.next_unlock(minute, after(passed)), Some(after(next)));
        }
    }

    #[test]
    fn a_worker_runs_again_what_leaves_things_that_cannot_travel() {
        let live = Live::new(None, BTreeSet::new(), BTreeSet::from([BlockKind::Init]));
        assert!(live.is_local(BlockKind::Init) && !live.is_local(BlockKind::Unlock));
        live.unlocked(None, None);
        assert!(!live.lacks_unlock(0), "a token travels");
        assert_eq!(live.leaves(BlockKind::Unlock, vec!["Connection".into()]), ["Connection"]);
        assert!(live.leaves(BlockKind::Unlock, vec!["Connection".into()]).is_empty(), "named once");
        assert!(live.lacks_unlock(0) && !live.lacks_unlock(1));
    }
}

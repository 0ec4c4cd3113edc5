//! Locks that scripts wait for, with circles refused.
//!
//! `Lock-PodeObject` and custom vaults (one call at a time, as Pode locks them) share one table, because
//! they can wait for each other. Whoever would close a circle of waits is refused: nothing waits for good.
//! A new circle always goes through the newest wait, so looking when a wait begins finds every one.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What is locked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LockKey {
    /// A lock of `Lock-PodeObject`, its name folded.
    Object(String),
    /// A custom vault, by its entry's number.
    Vault(u64),
}

/// Who locks: one call of a worker.
pub type LockOwner = u64;

/// Why a lock was not had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Waiting for it would close a circle.
    Circle,
    /// The time is over.
    Late,
}

/// The table of locks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Locks(Arc<SharedLocks>);

#[derive(Default)]
struct SharedLocks {
    tables: Mutex<LockTables>,
    changed: Notify,
}

#[derive(Default)]
struct LockTables {
    held: HashMap<LockKey, LockHolder>,
    waits: HashMap<LockOwner, LockKey>,
    next_owner: LockOwner,
}

/// Who holds a lock: one owner alone, or several that only read.
struct LockHolder {
    /// Each with how often it has it.
    owners: Vec<(LockOwner, usize)>,
    shared: bool,
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Alone.
    Alone,
    /// Beside others who ask for the same.
    Shared,
}

impl Locks {
    /// A new owner.
    pub fn owner(&self) -> LockOwner {
        let mut tables = self.tables();
        tables.next_owner += 1;
        tables.next_owner
    }

    /// Takes a lock, which its owner may have already. Cancel safe.
    pub async fn take(&self, key: LockKey, owner: LockOwner, until: Option<Instant>) -> Result<(), Refused> {
        self.take_as(key, owner, LockMode::Alone, until).await
    }

    /// As [`Locks::take`], alone or beside others. An owner that has it alone has it for both; one that has it
    /// beside others is refused to have it alone, since two of those would wait for each other.
    pub async fn take_as(
        &self,
        key: LockKey,
        owner: LockOwner,
        mode: LockMode,
        until: Option<Instant>,
    ) -> Result<(), Refused> {
        let wait = LockWait { locks: self, owner };
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut tables = self.tables();
                if tables.try_take(&key, owner, mode) {
                    return Ok(());
                }
                if tables.circle(&key, owner) {
                    return Err(Refused::Circle);
                }
                tables.waits.insert(wait.owner, key.clone());
            }
            match until {
                Some(until) => timeout_at(until, changed).await.map_err(|_| Refused::Late)?,
                None => changed.await,
            }
        }
    }

    /// Gives a lock back once.
    pub fn give_back(&self, key: &LockKey, owner: LockOwner) {
        let mut tables = self.tables();
        if let Some(held) = tables.held.get_mut(key) {
            if let Some((_, times)) = held.owners.iter_mut().find(|(present, _)| *present == owner) {
                *times -= 1;
            }
            held.owners.retain(|(_, times)| *times > 0);
            if held.owners.is_empty() {
                tables.held.remove(key);
            }
        }
        drop(tables);
        self.0.changed.notify_waiters();
    }

    /// Gives all locks of an owner back.
    pub fn give_all_back(&self, owner: LockOwner) {
        self.tables().held.retain(|_, held| {
            held.owners.retain(|(present, _)| *present != owner);
            !held.owners.is_empty()
        });
        self.0.changed.notify_waiters();
    }

    fn tables(&self) -> MutexGuard<'_, LockTables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LockTables {
    fn try_take(&mut self, key: &LockKey, owner: LockOwner, mode: LockMode) -> bool {
        let shared = mode == LockMode::Shared;
        let held = self.held.entry(key.clone()).or_insert(LockHolder { owners: Vec::new(), shared });
        let others = held.owners.iter().any(|(present, _)| *present != owner);
        let has = held.owners.iter_mut().find(|(present, _)| *present == owner);
        match has {
            Some((_, times)) if shared || !held.shared => *times += 1,
            // Nothing is changed while others read it.
            None if !others || (held.shared && shared) => held.owners.push((owner, 1)),
            _ => return false,
        }
        self.waits.remove(&owner);
        true
    }

    /// Whether one of the lock's owners waits, by way of others, for this owner.
    fn circle(&self, key: &LockKey, owner: LockOwner) -> bool {
        let (mut keys, mut seen) = (vec![key], HashSet::new());
        while let Some(key) = keys.pop() {
            for (holder, _) in self.held.get(key).into_iter().flat_map(|held| &held.owners) {
                if *holder == owner {
                    return true;
                }
                if seen.insert(*holder) {
                    keys.extend(self.waits.get(holder));
                }
            }
        }
        false
    }
}

/// Takes the wait out again, however it ends.
struct LockWait<'a> {
    locks: &'a Locks,
    owner: LockOwner,
}

impl Drop for LockWait<'_> {
    fn drop(&mut self) {
        self.locks.tables().waits.remove(&self.owner);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> LockKey {
        LockKey::Object(name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_may_take_a_lock_again_and_others_wait() {
        let locks = Locks::default();
        let (a, b) = (locks.owner(), locks.owner());
        let soon = || Some(Instant::now() + Duration::from_secs(1));
        locks.take(key("x"), a, None).await.unwrap();
        locks.take(key("x"), a, None).await.unwrap();
        locks.give_back(&key("x"), a);
        assert_eq!(locks.take(key("x"), b, soon()).await, Err(Refused::Late));
        locks.give_back(&key("x"), b);
        assert_eq!(locks.take(key("x"), b, soon()).await, Err(Refused::Late), "only the owner gives it back");
        locks.give_back(&key("x"), a);
        assert_eq!(locks.take(key("x"), b, soon()).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn readers_share_a_lock_and_a_writer_has_it_alone() {
        let locks = Locks::default();
        let (a, b, c) = (locks.owner(), locks.owner(), locks.owner());
        let soon = || Some(Instant::now() + Duration::from_secs(1));
        let take = |owner, mode| locks.take_as(key("x"), owner, mode, soon());
        assert_eq!(take(a, LockMode::Shared).await, Ok(()));
        assert_eq!(take(b, LockMode::Shared).await, Ok(()), "readers stand beside each other");
        assert_eq!(take(c, LockMode::Alone).await, Err(Refused::Late), "a writer waits for both");
        assert_eq!(take(a, LockMode::Alone).await, Err(Refused::Circle), "no reader becomes a writer");
        locks.give_back(&key("x"), a);
        assert_eq!(take(c, LockMode::Alone).await, Err(Refused::Late), "one reader is left");
        locks.give_back(&key("x"), b);
        assert_eq!(take(c, LockMode::Alone).await, Ok(()));
        assert_eq!(take(a, LockMode::Shared).await, Err(Refused::Late), "a reader waits for the writer");
        assert_eq!(take(c, LockMode::Shared).await, Ok(()), "whoever has it alone may read");
        locks.give_all_back(c);
        assert_eq!(take(a, LockMode::Shared).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_circle_through_one_of_several_readers_is_refused() {
        let locks = Locks::default();
        let (a, b, c) = (locks.owner(), locks.owner(), locks.owner());
        for reader in [a, b] {
            locks.take_as(key("x"), reader, LockMode::Shared, None).await.unwrap();
        }
        locks.take(key("y"), c, None).await.unwrap();
        let waits = {
            let locks = locks.clone();
            tokio::spawn(async move { locks.take(key("y"), b, None).await })
        };
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(locks.take(key("x"), c, None).await, Err(Refused::Circle));
        locks.give_all_back(c);
        assert_eq!(waits.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_circle_of_three_is_refused_and_the_others_go_on() {
        let locks = Locks::default();
        let owners = [locks.owner(), locks.owner(), locks.owner()];
        let names = ["x", "y", "z"];
        for (owner, name) in owners.iter().zip(names) {
            locks.take(key(name), *owner, None).await.unwrap();
        }
        let waiting: Vec<_> = [(0, "y"), (1, "z")]
            .map(|(index, name)| {
                let (locks, owner) = (locks.clone(), owners[index]);
                tokio::spawn(async move {
                    let outcome = locks.take(key(name), owner, None).await;
                    locks.give_all_back(owner);
                    outcome
                })
            })
            .into();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(locks.take(key("x"), owners[2], None).await, Err(Refused::Circle));
        locks.give_all_back(owners[2]);
        for outcome in waiting {
            assert_eq!(outcome.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_given_up_leaves_no_trace() {
        let locks = Locks::default();
        let (a, b) = (locks.owner(), locks.owner());
        locks.take(key("x"), a, None).await.unwrap();
        locks.take(key("y"), b, None).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(1), locks.take(key("x"), b, None)).await;
        assert!(waited.is_err());
        let soon = Some(Instant::now() + Duration::from_secs(1));
        assert_eq!(locks.take(key("y"), a, soon).await, Err(Refused::Late), "no circle: b waits no more");
    }
}

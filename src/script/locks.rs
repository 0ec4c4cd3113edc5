//! Locks that scripts wait for, with circles refused.
//!
//! `Lock-PodeObject` and custom vaults (one call at a time, as Pode locks them) share one table, because
//! they can wait for each other. Whoever would close a circle of waits is refused: nothing waits for good.
//! A new circle always goes through the newest wait, so looking when a wait begins finds every one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What is locked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A lock of `Lock-PodeObject`, its name folded.
    Object(String),
    /// A custom vault, by its entry's number.
    Vault(u64),
}

/// Who locks: one call of a worker.
pub type Owner = u64;

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
pub struct Locks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    tables: Mutex<Tables>,
    changed: Notify,
}

#[derive(Default)]
struct Tables {
    held: HashMap<Key, Held>,
    waits: HashMap<Owner, Key>,
    next_owner: Owner,
}

struct Held {
    owner: Owner,
    /// How often the owner has it.
    times: usize,
}

impl Locks {
    /// A new owner.
    pub fn owner(&self) -> Owner {
        let mut tables = self.tables();
        tables.next_owner += 1;
        tables.next_owner
    }

    /// Takes a lock, which its owner may have already. Cancel safe.
    pub async fn take(&self, key: Key, owner: Owner, until: Option<Instant>) -> Result<(), Refused> {
        let wait = Wait { locks: self, owner };
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut tables = self.tables();
                if tables.try_take(&key, owner) {
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
    pub fn give_back(&self, key: &Key, owner: Owner) {
        let mut tables = self.tables();
        if let Some(held) = tables.held.get_mut(key).filter(|held| held.owner == owner) {
            held.times -= 1;
            if held.times == 0 {
                tables.held.remove(key);
            }
        }
        drop(tables);
        self.0.changed.notify_waiters();
    }

    /// Gives all locks of an owner back.
    pub fn give_all_back(&self, owner: Owner) {
        self.tables().held.retain(|_, held| held.owner != owner);
        self.0.changed.notify_waiters();
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn try_take(&mut self, key: &Key, owner: Owner) -> bool {
        match self.held.get_mut(key) {
            Some(held) if held.owner == owner => held.times += 1,
            Some(_) => return false,
            None => {
                self.held.insert(key.clone(), Held { owner, times: 1 });
            }
        }
        self.waits.remove(&owner);
        true
    }

    /// Whether the lock's owner waits, by way of others, for this owner.
    fn circle(&self, key: &Key, owner: Owner) -> bool {
        let mut key = key;
        // No longer than there are waits, since each has one owner.
        for _ in 0..=self.waits.len() {
            let Some(held) = self.held.get(key) else { return false };
            if held.owner == owner {
                return true;
            }
            let Some(next) = self.waits.get(&held.owner) else { return false };
            key = next;
        }
        false
    }
}

/// Takes the wait out again, however it ends.
struct Wait<'a> {
    locks: &'a Locks,
    owner: Owner,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.locks.tables().waits.remove(&self.owner);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> Key {
        Key::Object(name.into())
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

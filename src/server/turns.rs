//! Turns: any number of requests at a time, or one exchange alone.
//!
//! As a read-write lock that prefers writers, but without a lock that all requests would share: a request
//! adds one to a number when it begins, and takes one away when it ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Set while somebody waits for, or has, the turn alone.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Who has a turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How many have one, and whether there are more.
    inside: AtomicUsize,
    emptied: Notify,
    opened: Notify,
}

/// One of many turns.
pub(super) struct SharedTurn<'a>(&'a Turns);

/// The turn alone. Dropping it lets requests in again.
pub(super) struct Alone<'a>(&'a Turns);

// === impl Turns ===

impl Turns {
    /// A turn beside others, if nobody waits to be alone.
    pub(super) fn at_once(&self) -> Option<SharedTurn<'_>> {
        let before = self.inside.fetch_add(1, Ordering::SeqCst);
        let turn = SharedTurn(self);
        (before & CLOSED == 0).then_some(turn)
    }

    /// A turn beside others. Waits while somebody waits to be alone.
    pub(super) async fn one_of_many(&self) -> SharedTurn<'_> {
        loop {
            let mut opened = std::pin::pin!(self.opened.notified());
            opened.as_mut().enable();
            if let Some(turn) = self.at_once() {
                return turn;
            }
            // It was opened again before anybody was told that it was closed.
            if self.inside.load(Ordering::SeqCst) & CLOSED != 0 {
                opened.await;
            }
        }
    }

    /// The turn alone, once all others have ended. There is one who asks for it at a time.
    pub(super) async fn alone(&self) -> Alone<'_> {
        self.inside.fetch_or(CLOSED, Ordering::SeqCst);
        // When the caller stops waiting, other requests are let in again.
        let alone = Alone(self);
        while self.inside.load(Ordering::SeqCst) != CLOSED {
            self.emptied.notified().await;
        }
        alone
    }
}

impl Drop for SharedTurn<'_> {
    fn drop(&mut self) {
        if self.0.inside.fetch_sub(1, Ordering::SeqCst) == CLOSED + 1 {
            self.0.emptied.notify_one();
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_and(!CLOSED, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_wants_to_be_alone_waits_for_all_and_goes_before_the_next() {
        let turns = Turns::default();
        let (first, second) = (turns.one_of_many().await, turns.one_of_many().await);
        let mut alone = Box::pin(turns.alone());
        assert!(alone.as_mut().now_or_never().is_none());
        let mut next = Box::pin(turns.one_of_many());
        assert!(next.as_mut().now_or_never().is_none());
        drop((first, second));
        let held = alone.await;
        assert!(next.as_mut().now_or_never().is_none());
        drop(held);
        next.await;
    }

    #[tokio::test]
    async fn whoever_gives_up_lets_the_others_in() {
        let turns = Turns::default();
        let first = turns.one_of_many().await;
        assert!(turns.alone().now_or_never().is_none());
        assert!(turns.one_of_many().now_or_never().is_some());
        drop(first);
        assert!(turns.alone().now_or_never().is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_is_beside_the_one_who_is_alone() {
        let (turns, alone) = (Arc::new(Turns::default()), Arc::new(AtomicBool::new(false)));
        let many: Vec<_> = (0..8)
            .map(|_| {
                let (turns, alone) = (turns.clone(), alone.clone());
                tokio::spawn(async move {
                    for _ in 0..2000 {
                        let _turn = turns.one_of_many().await;
                        assert!(!alone.load(Ordering::SeqCst));
                        tokio::task::yield_now().await;
                        assert!(!alone.load(Ordering::SeqCst));
                    }
                })
            })
            .collect();
        for _ in 0..50 {
            let _held = turns.alone().await;
            alone.store(true, Ordering::SeqCst);
            tokio::task::yield_now().await;
            alone.store(false, Ordering::SeqCst);
        }
        for one in many {
            tokio::time::timeout(Duration::from_secs(60), one).await.unwrap().unwrap();
        }
    }
}

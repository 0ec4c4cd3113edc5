//! A verb as a task of the pool.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::act::Act;
use super::turn::Trouble;
use super::verb::Outcome;
use crate::error::BridgeError;
use crate::pool::lanes::Crew;
use crate::pool::{Task, TaskPermit, WorkerVerdict};
use crate::worker::{BoxFuture, Worker};

/// One verb, with the caller that waits for it.
pub(super) struct VaultTask {
    pub(super) act: Act,
    /// Who may do it.
    pub(super) crew: Crew,
    /// It was handed on to a fresh worker already.
    pub(super) fresh_worker: bool,
    pub(super) reply: oneshot::Sender<Result<Outcome, BridgeError>>,
}

impl Task for VaultTask {
    fn run<'a>(
        mut self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<TaskPermit>,
    ) -> BoxFuture<'a, WorkerVerdict> {
        Box::pin(async move {
            let done = self.act.run(worker).await;
            let permit = match permit {
                Some(permit) if wants_a_fresh_worker(&done.outcome, self.fresh_worker) => {
                    self.fresh_worker = true;
                    let crew = self.crew.clone();
                    permit.park(self, crew);
                    return WorkerVerdict::Replace;
                }
                permit => permit,
            };
            let late = Instant::now() > self.act.deadline;
            let VaultTask { act, reply, .. } = *self;
            let (outcome, ending) = act.settle(worker, done, permit);
            let _ = reply.send(outcome);
            ending.finish(worker).await;
            verdict(worker.broken().is_some(), late)
        })
    }

    fn is_dead(&self) -> bool {
        self.reply.is_closed() || Instant::now() >= self.act.deadline
    }
}

/// Whether the act is handed on: the worker's copy of the store is old, and no other worker was asked before.
fn wants_a_fresh_worker(outcome: &Result<Outcome, Trouble>, was_handed_on: bool) -> bool {
    matches!(outcome, Err(Trouble::OldCopy)) && !was_handed_on
}

/// What becomes of the worker. One that answered after the deadline is slow: one that is not takes its place.
fn verdict(broken: bool, late: bool) -> WorkerVerdict {
    if broken || late { WorkerVerdict::Replace } else { WorkerVerdict::Keep }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{Extension, Vault};
    use crate::vault::entry::Entry;
    use crate::vault::verb::Verb;

    #[tokio::test(start_paused = true)]
    async fn a_task_is_dead_when_its_caller_has_gone_or_its_deadline_has_passed() {
        let limit = Duration::from_secs(3);
        let task = || {
            let entry = Entry::bare(Vault::new("v", Extension::new("v", "My.Vault")));
            let (reply, answer) = oneshot::channel();
            let act = Act::bare(entry, Verb::List, Instant::now() + limit);
            (VaultTask { act, crew: Crew::Shared, fresh_worker: false, reply }, answer)
        };
        let (waited_for, _caller) = task();
        assert!(!waited_for.is_dead());
        let (left, caller) = task();
        drop(caller);
        assert!(left.is_dead());
        tokio::time::advance(limit).await;
        assert!(waited_for.is_dead());
    }

    #[test]
    fn an_act_is_handed_on_once_and_only_for_an_old_copy() {
        let old_copy = Err(Trouble::OldCopy);
        assert!(wants_a_fresh_worker(&old_copy, false));
        assert!(!wants_a_fresh_worker(&old_copy, true), "the second worker's answer is the caller's");
        assert!(!wants_a_fresh_worker(&Err(Trouble::Owed), false));
        assert!(!wants_a_fresh_worker(&Ok(Outcome::Done), false));
    }

    #[test]
    fn a_broken_worker_and_a_late_one_are_replaced() {
        for (broken, late, replaced) in
            [(false, false, false), (true, false, true), (false, true, true), (true, true, true)]
        {
            let verdict = verdict(broken, late);
            assert_eq!(matches!(verdict, WorkerVerdict::Replace), replaced, "broken {broken}, late {late}");
        }
    }
}

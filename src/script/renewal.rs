//! Unlocks a script's custom vaults again when their time is over, also where nobody asks for a secret, as Pode's
//! timer does: an unlock block that renews a login, or that counts, is seen to run.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::Core;
use super::asks::Asking;
use crate::pool::lanes::Crew;
use crate::pool::{Task, TaskPermit, WorkerVerdict};
use crate::vault::Entry;
use crate::worker::{BoxFuture, Worker};

/// How often it is looked whether an unlock is due. Pode looks once a minute.
const TICK: Duration = Duration::from_secs(5);

struct ScriptRenewal {
    core: Arc<Core>,
    entry: Arc<Entry>,
    deadline: Instant,
    /// Dropped when it is over.
    _done: oneshot::Sender<()>,
}

/// Goes on until the script's server stops.
pub async fn renew_unlocks(core: Weak<Core>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(core) = core.upgrade() else { return };
        let bridge = &core.bridge;
        if bridge.is_stopping() {
            return;
        }
        let now = Instant::now();
        let is_due = |entry: &Arc<Entry>| {
            entry.is_scripts_own() && entry.may_unlock() && core.lives.get(entry.number).is_due(now)
        };
        let due: Vec<_> = bridge.vaults().all().into_iter().filter(is_due).collect();
        join_all(due.into_iter().map(|entry| renew(&core, entry))).await;
    }
}

async fn renew(core: &Arc<Core>, entry: Arc<Entry>) {
    let Some(pool) = core.bridge.vaults().pool() else { return };
    let deadline = Instant::now() + core.options.limits.deadline;
    let (_done, done) = oneshot::channel();
    let task = ScriptRenewal { core: core.clone(), entry, deadline, _done };
    // If the queue is full, the first request in it that needs the vault unlocks it.
    if pool.submit(Box::new(task), Crew::Shared, None).is_ok() {
        let _ = timeout_at(deadline, done).await;
    }
}

impl Task for ScriptRenewal {
    fn run<'a>(
        self: Box<Self>,
        worker: &'a mut Worker,
        _permit: Option<TaskPermit>,
    ) -> BoxFuture<'a, WorkerVerdict> {
        Box::pin(async move {
            let mut asking = Asking::new(self.core.clone(), self.deadline);
            if let Err(fault) = asking.renew_unlock(worker, &self.entry).await {
                tracing::debug!(vault = %self.entry.plan.name, "its unlock was not renewed: {fault}");
            }
            match worker.broken() {
                Some(_) => WorkerVerdict::Replace,
                None => WorkerVerdict::Keep,
            }
        })
    }

    fn is_dead(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

//! The end of a bridge, within one limit.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Bridge;
use crate::plan::Registry;
use crate::vault::set_up::unregister;

/// At most so much of a drain limit, and at most a quarter of it, is kept for the stop itself.
const LAST_PART: Duration = Duration::from_secs(3);

impl Bridge {
    /// Takes no more vault work, waits for what is under way, unregisters what was registered, and ends the
    /// workers. Takes no longer than `limit`, of which half, three seconds at most, is kept for unregistering and
    /// the workers' end: what is under way by then is killed.
    pub async fn stop(&self, limit: Duration) {
        self.0.stopping.cancel();
        let Some(pool) = self.vaults().pool() else { return };
        let registered: Vec<_> = self.vaults().all();
        let is_private = self.0.plan.registry == Registry::Private;
        pool.stop(Instant::now() + limit, move |worker, until| {
            Box::pin(async move {
                for entry in registered {
                    if let Some(hooks) = &entry.hooks
                        && let Err(error) = hooks.after(worker, until).await
                    {
                        tracing::warn!(vault = %entry.plan.name, "taking the vault out failed: {error}");
                    }
                    if let Some(extension) =
                        entry.plan.extension().filter(|extension| is_private && !extension.imported)
                    {
                        unregister(worker, &entry, extension, until).await;
                    }
                }
            })
        })
        .await;
    }

    /// Waits until `answering` is done, and stops; both within `limit`, which `answering` keeps by itself. A
    /// quarter of it, three seconds at most, is kept for the stop: where `answering` is not done by then, it goes
    /// on beside the stop, which kills the calls that hang, so that whoever waits for them has an answer.
    pub async fn stop_after<T>(&self, answering: impl Future<Output = T>, limit: Duration) -> T {
        let end = Instant::now() + limit;
        let mut answering = pin!(answering);
        let answered = timeout_at(end - LAST_PART.min(limit / 4), answering.as_mut()).await;
        let stopped = self.stop(end.saturating_duration_since(Instant::now()));
        match answered {
            Ok(answered) => {
                stopped.await;
                answered
            }
            Err(_) => tokio::join!(answering, stopped).0,
        }
    }
}

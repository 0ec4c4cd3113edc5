//! The time in which a server serves: it stops when it is told to, and reads again what has changed.

use std::fmt;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::signals::Wish;
use super::watch::Looks;
use super::{Server, dump};
use crate::bridge::Bridge;
use crate::platform::{self, ServiceNotice};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a server can read again while it serves.
pub trait Renewable {
    /// Why a reload is refused.
    type Error: fmt::Display;

    /// What stays in force when a reload is refused, for the log.
    const REFUSED: &'static str;

    /// The files whose change is a reason, as they looked when they were read.
    fn looks(&mut self) -> &mut Looks;

    /// What a state that is asked for is told of.
    fn bridge(&self) -> Option<Bridge>;

    /// Reads everything, and then puts all of it in force or nothing. Says what came of it. It is dropped where a signal
    /// says stop meanwhile.
    async fn reload(&mut self, why: &Why) -> Result<String, Self::Error>;
}

/// Why something is read again.
#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// A signal asks for it.
    Asked,
    /// These files look different.
    Changed(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Asked => f.write_str("SIGHUP"),
            Why::Changed(files) => write!(f, "a change of {files}"),
        }
    }
}

impl Server {
    /// Serves until a signal says stop, or until `closing`. Meanwhile it reloads, on SIGHUP or when a file changes.
    pub async fn serve_until_stopped<R: Renewable>(
        &mut self,
        renewable: &mut R,
        closing: &CancellationToken,
    ) {
        while let Some(why) = self.next_reload(renewable, closing).await {
            platform::notify(ServiceNotice::Reloading);
            tracing::info!("the reload begins, because of {why}");
            match self.unless_stopped(renewable.reload(&why)).await {
                Some(Ok(what)) => tracing::info!("the reload is done: {what}"),
                Some(Err(error)) => tracing::error!("the reload is refused: {}: {error}", R::REFUSED),
                None => return,
            }
            platform::notify(ServiceNotice::Ready);
        }
    }

    /// The next reason to reload; nothing where it is over.
    async fn next_reload<R: Renewable>(
        &mut self,
        renewable: &mut R,
        closing: &CancellationToken,
    ) -> Option<Why> {
        loop {
            tokio::select! {
                wish = self.signals.next() => match wish {
                    Wish::Stop => return None,
                    Wish::Reload => {
                        self.reopen_logs();
                        return Some(Why::Asked);
                    }
                    Wish::Dump => dump(renewable.bridge().as_ref()),
                },
                () = sleep(LOOK) => {
                    if let Some(changed) = renewable.looks().news() {
                        return Some(Why::Changed(changed));
                    }
                }
                () = closing.cancelled() => return None,
            }
        }
    }
}

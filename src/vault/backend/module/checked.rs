//! Writes by modules other than SecretStore. They differ in how they report a failure: by an error before or
//! after the change, by a warning, by `$false`, which `Set-Secret` discards. So what a write came to is read.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::judge::is_own;
use super::session::ModuleTurn;
use crate::protocol::{Empty, Fault, GetReply, Op};
use crate::secret::SecretValue;
use crate::vault::change::Present;
use crate::vault::noted::about;
use crate::vault::turn::{STILL_THERE, Trouble, is_locked, is_not_found, not_kept};
use crate::worker::CallError;

/// A vault that acknowledged a write and does not show it is read once more after so long.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// A write that is to be checked.
#[derive(Clone, Copy)]
pub(super) struct Checked<'a> {
    pub key: &'a str,
    pub before: &'a Present,
    /// Nothing for a removal.
    pub after: Option<&'a SecretValue>,
    /// The caller sent metadata, which is not read back.
    pub with_metadata: bool,
}

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteVerdict {
    /// What was to be there is there.
    Written,
    /// What was there before is there.
    Refused,
    /// Neither of the two is known.
    Unknown,
}

/// What a write came to, by what was there before and is there now.
///
/// `failed`: the module reported an error. `believed`: the module reports every failure, and its writes are
/// one step, so that an error with another value there now changed nothing.
pub fn verdict(
    before: &Present,
    now: &Present,
    after: Option<&SecretValue>,
    failed: bool,
    believed: bool,
) -> WriteVerdict {
    let is = |now: &GetReply, value: &SecretValue| now.value.looks_like(value);
    match (now, after) {
        (Present::Unknown | Present::Unread(_), _) => WriteVerdict::Unknown,
        (Present::Missing, None) => WriteVerdict::Written,
        (Present::There(now), Some(after)) if is(now, after) => WriteVerdict::Written,
        (Present::Missing, Some(_)) if matches!(before, Present::Missing) || (failed && believed) => {
            WriteVerdict::Refused
        }
        (Present::There(now), _) => match before {
            Present::There(before) if is(now, &before.value) => WriteVerdict::Refused,
            Present::Unknown if after.is_none() || (failed && believed) => WriteVerdict::Refused,
            _ => WriteVerdict::Unknown,
        },
        (Present::Missing, Some(_)) => WriteVerdict::Unknown,
    }
}

/// What the caller of a write is told, by what it came to and the error that the module reported for it. A write that is
/// done all the same gives that error back.
fn conclusion(
    write: &Checked<'_>,
    verdict: WriteVerdict,
    fault: Option<Box<Fault>>,
) -> Result<Option<Box<Fault>>, Trouble> {
    let Some(mut fault) = fault else {
        return match verdict {
            WriteVerdict::Written => Ok(None),
            WriteVerdict::Refused => Err(Trouble::Fault(not_kept("a read finds what was there before"))),
            WriteVerdict::Unknown => {
                Err(Trouble::Unknown(not_kept("a read finds something else, or cannot be done")))
            }
        };
    };
    let nothing_there = matches!(write.before, Present::Missing) || is_not_found(&fault);
    if write.after.is_none() && verdict == WriteVerdict::Written && nothing_there {
        // There was nothing to remove.
        "GetSecretNotFound".clone_into(&mut fault.id);
        return Err(Trouble::Fault(fault));
    }
    if is_not_found(&fault) {
        // The key is there. For the caller this is a write that was refused, not a key that is missing.
        "WriteRefused".clone_into(&mut fault.id);
        STILL_THERE.clone_into(&mut fault.kind);
    }
    match verdict {
        WriteVerdict::Written if write.with_metadata => Err(Trouble::Unknown(fault)),
        WriteVerdict::Written => Ok(Some(fault)),
        WriteVerdict::Refused => Err(Trouble::Fault(fault)),
        WriteVerdict::Unknown => Err(Trouble::Unknown(fault)),
    }
}

impl ModuleTurn<'_, '_> {
    /// What is there before a write. It is read only if the outcome of the write will be read too. An error of this read
    /// does not stop the write, unless the vault is not ready for any call.
    pub(super) async fn present(&mut self, key: &str) -> Result<Present, Trouble> {
        if !self.is_verified() {
            self.renew_old_unlock().await?;
            return Ok(Present::Unknown);
        }
        match self.get(key, false).await {
            Ok(reply) => Ok(Present::There(reply)),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => Ok(Present::Missing),
            Err(Trouble::Fault(fault)) if is_locked(&fault) || !self.turn.is_ready().await? => {
                Err(Trouble::Fault(fault))
            }
            Err(Trouble::Fault(_)) => Ok(Present::Unknown),
            Err(trouble) => Err(trouble),
        }
    }

    /// Writes, and finds out what came of it. A write that is shown to have changed nothing because the vault
    /// had locked itself is done once more.
    pub(super) async fn write_checked(&mut self, op: Op, write: &Checked<'_>) -> Result<(), Trouble> {
        let mut first = true;
        loop {
            let fault =
                match self.turn.worker.call::<Empty>(op.clone(), self.turn.until + self.turn.grace).await {
                    Ok(Empty {}) if !self.is_verified() => return Ok(()),
                    Ok(Empty {}) => None,
                    Err(CallError::Fault(fault)) if is_own(&fault) => return Err(Trouble::Fault(fault)),
                    Err(CallError::Fault(fault)) => Some(fault),
                    Err(broken) => return Err(broken.into()),
                };
            let renewals = about(self.turn.worker).renewals;
            let now = self.seen_after(write, fault.is_some()).await?;
            let believed = !self.is_verified() && self.module.quirks.reports_failures;
            let verdict = verdict(write.before, &now, write.after, fault.is_some(), believed);
            if verdict == WriteVerdict::Refused && first && about(self.turn.worker).renewals != renewals {
                first = false;
                continue;
            }
            if let Some(fault) = conclusion(write, verdict, fault)? {
                let vault = self.turn.vault.plan.name.as_str();
                tracing::warn!(vault, key = write.key, id = %fault.id, "the module reported an error for a write that a read finds done");
            }
            return Ok(());
        }
    }

    /// What is there after a write; unknown where it cannot be read, or not in time.
    async fn seen_after(&mut self, write: &Checked<'_>, failed: bool) -> Result<Present, Trouble> {
        let now = self.look(write.key).await?;
        if failed || verdict(write.before, &now, write.after, failed, false) != WriteVerdict::Refused {
            return Ok(now);
        }
        sleep(SECOND_LOOK.min(self.turn.until.saturating_duration_since(Instant::now()))).await;
        self.look(write.key).await
    }

    /// What is there; unknown where it cannot be read, or not in time.
    pub async fn look(&mut self, key: &str) -> Result<Present, Trouble> {
        if Instant::now() >= self.turn.until {
            return Ok(Present::Unknown);
        }
        match self.get(key, false).await {
            Ok(reply) => Ok(Present::There(reply)),
            Err(Trouble::Fault(fault)) if is_not_found(&fault) => Ok(Present::Missing),
            Err(Trouble::Broken(broken)) => Err(Trouble::Broken(broken)),
            Err(_) => Ok(Present::Unknown),
        }
    }

    fn is_verified(&self) -> bool {
        let said = self.turn.vault.plan.extension().and_then(|extension| extension.verify);
        // A module that is known to report every failure needs no read, which may go over a network.
        said.unwrap_or(!self.module.quirks.reports_failures)
    }
}

#[cfg(test)]
mod tests;

//! What the backend of a SecretStore does for itself, in a worker and in the store's lane.

use std::sync::Arc;

use super::ledger::{Acknowledged, Ledger};
use super::session::StoreTurn;
use super::state::KnownStore;
use crate::protocol::Metadata;
use crate::secret::SecretValue;
use crate::vault::facts::VaultFacts;
use crate::vault::job::{Chore, ChoreStep};
use crate::vault::turn::{Trouble, Turn};
use crate::worker::BoxFuture;

/// Writes a value that somebody else erased, if the key is still missing then: a client may have written it anew.
pub(super) struct WriteAgain {
    pub(super) store: Arc<KnownStore>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) line: Acknowledged,
    /// The value to be there again, and its metadata.
    pub(super) value: (Arc<SecretValue>, Option<Metadata>),
}

/// Puts right what a failed write of ours has left, if that is still to be done: a client may have written the key
/// anew, or removed it.
pub(super) struct Repay {
    pub(super) store: Arc<KnownStore>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) key: String,
}

impl Chore for WriteAgain {
    fn key(&self) -> &str {
        &self.line.key
    }

    fn step<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Option<ChoreStep>, Trouble>> {
        Box::pin(async move {
            let before = StoreTurn { turn, store: &self.store }.read_before_write(self.key()).await?;
            let (value, metadata) = self.value.clone();
            Ok((!before.is_there()).then_some(ChoreStep::Write { before, value, metadata }))
        })
    }

    fn done(&self, vault: &VaultFacts) {
        self.store.ended_well(self.key());
        self.ledger.note_written_again(vault, self.key(), self.value.clone());
    }
}

impl Chore for Repay {
    fn key(&self) -> &str {
        &self.key
    }

    fn step<'a>(&'a self, _turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Option<ChoreStep>, Trouble>> {
        let step = self.ledger.owes(&self.key).map(ChoreStep::Recover);
        Box::pin(async { Ok(step) })
    }

    fn done(&self, _vault: &VaultFacts) {
        self.store.ended_well(&self.key);
        self.ledger.repaid(&self.key);
    }
}

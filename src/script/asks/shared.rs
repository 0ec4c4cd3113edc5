//! Asks about objects that a script's blocks share.

use serde::Deserialize;
use serde_json::json;

use super::{Answer, Asking, refusal};
use crate::script::shared::{Changed, Given, Id};
use crate::secret::Text;
use crate::worker::Worker;

#[derive(Deserialize)]
pub(super) struct Add {
    value: Text,
}

#[derive(Deserialize)]
pub(super) struct Get {
    id: Id,
}

impl Asking {
    /// The asking worker has the object itself.
    pub(super) fn shared_add(&self, add: Add, worker: &mut Worker) -> Answer {
        let id = self.core.shared.add(add.value);
        worker.copies.insert(id, 1);
        Ok(json!({ "id": id, "version": 1 }))
    }

    pub(super) fn shared_get(&self, get: &Get, worker: &mut Worker) -> Answer {
        given(self.core.shared.give(get.id, &mut worker.copies))
    }

    pub(super) fn shared_set(&self, changed: Changed, worker: &mut Worker) -> Answer {
        given(self.core.shared.change(changed, &mut worker.copies))
    }
}

fn given(given: Option<Given>) -> Answer {
    let given = given.ok_or_else(|| refusal("SharedGone", "the vault was unregistered meanwhile"))?;
    serde_json::to_value(given).map_err(|_| refusal("BadAsk", "the answer does not encode"))
}

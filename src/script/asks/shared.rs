//! Asks about objects that a script's blocks share, and about the state, which holds some.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asking, refusal};
use crate::script::shared::{Changed, Given, Id};
use crate::script::value::Portable;
use crate::secret::Text;
use crate::worker::Worker;

/// A new object, or one that is there already.
#[derive(Deserialize)]
pub(super) struct Add {
    #[serde(default)]
    value: Option<Text>,
    #[serde(default)]
    id: Option<Id>,
}

/// A value, or an object: by its number where the worker knows one, and by its text where that is gone.
#[derive(Deserialize)]
pub(super) struct StateSet {
    name: String,
    #[serde(default)]
    scope: Vec<String>,
    #[serde(default)]
    value: Option<Portable>,
    #[serde(default)]
    shared: Option<Id>,
    #[serde(default)]
    text: Option<Text>,
}

#[derive(Deserialize)]
pub(super) struct StateName {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Get {
    id: Id,
}

impl Asking {
    /// The asking worker has the object itself.
    pub(super) fn shared_add(&self, add: Add, worker: &mut Worker) -> Answer {
        if let Some(id) = add.id {
            return Ok(json!({ "id": self.core.shared.keep(id).then_some(id) }));
        }
        let text = add.value.ok_or_else(|| refusal("BadAsk", "an object without a text"))?;
        let id = self.core.shared.add(text);
        worker.copies.insert(id, 1);
        Ok(json!({ "id": id, "version": 1 }))
    }

    pub(super) fn state_set(&self, set: StateSet, worker: &mut Worker) -> Answer {
        let (state, shared) = (&self.core.state, &self.core.shared);
        let old = state.get(&set.name).and_then(|(value, _)| value.shared());
        let known = set.shared.and_then(|id| Some((id, shared.version(id)?)));
        let (value, answer) = match (set.value, set.text) {
            (Some(value), _) => (value, json!({})),
            (None, Some(text)) => {
                // What several names have stays that of the others.
                let alone = old.filter(|old| state.holders(*old) == 1);
                let (id, version) = known.unwrap_or_else(|| shared.put(alone, text, &mut worker.copies));
                (Portable::of_shared(id), json!({ "id": id, "version": version }))
            }
            (None, None) => return Err(refusal("BadAsk", "a state without a value")),
        };
        state.set(&set.name, value, set.scope);
        self.drop_unheld(old);
        Ok(answer)
    }

    pub(super) fn state_remove(&self, named: &StateName) -> Value {
        let old = self.core.state.remove(&named.name);
        self.drop_unheld(old.and_then(|value| value.shared()));
        json!({})
    }

    fn drop_unheld(&self, id: Option<Id>) {
        if let Some(id) = id.filter(|id| self.core.state.holders(*id) == 0) {
            self.core.shared.drop_loose(id);
        }
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

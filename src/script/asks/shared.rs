//! Asks about objects that a script's blocks share, and about the state, which holds some.

use super::{AskOutcome, Asking, refusal};
use crate::script::noted::about;
use crate::script::protocol::AskReply;
use crate::script::protocol::ask::{NamedAsk, SharedAdd, SharedGet, StateSet};
use crate::script::protocol::shape::{ChangedObject, GivenObject, Id};
use crate::script::value::Portable;
use crate::worker::Worker;

impl Asking {
    /// The asking worker has the object itself.
    pub(super) fn shared_add(&self, add: SharedAdd, worker: &mut Worker) -> AskOutcome {
        if let Some(id) = add.id {
            return Ok(AskReply::Object { id: self.core.shared.keep(id).then_some(id), version: None });
        }
        let text = add.value.ok_or_else(|| refusal("BadAsk", "an object without a text"))?;
        let id = self.core.shared.add(text);
        about(worker).copies.insert(id, 1);
        Ok(AskReply::Object { id: Some(id), version: Some(1) })
    }

    pub(super) fn state_set(&self, set: StateSet, worker: &mut Worker) -> AskOutcome {
        let (state, shared) = (&self.core.state, &self.core.shared);
        let old = state.get(&set.name).and_then(|(value, _)| value.shared());
        let known = set.shared.and_then(|id| Some((id, shared.version(id)?)));
        let (value, answer) = match (set.value, set.text) {
            (Some(value), _) => (value, AskReply::done()),
            (None, Some(text)) => {
                // An object that other names still refer to is kept for them.
                let alone = old.filter(|old| state.holders(*old) == 1);
                let (id, version) =
                    known.unwrap_or_else(|| shared.put(alone, text, &mut about(worker).copies));
                (Portable::of_shared(id), AskReply::Object { id: Some(id), version: Some(version) })
            }
            (None, None) => return Err(refusal("BadAsk", "a state without a value")),
        };
        state.set(&set.name, value, set.scope);
        self.drop_unheld(old);
        Ok(answer)
    }

    pub(super) fn state_remove(&self, named: &NamedAsk) -> AskReply {
        let old = self.core.state.remove(&named.name);
        self.drop_unheld(old.and_then(|value| value.shared()));
        AskReply::done()
    }

    pub(super) fn state_get(&self, named: &NamedAsk) -> AskReply {
        let found = self.core.state.get(&named.name);
        let is_found = found.is_some();
        let (value, scope) = found.unwrap_or_else(|| (Portable::null(), Vec::new()));
        AskReply::State { found: is_found, value, scope }
    }

    fn drop_unheld(&self, id: Option<Id>) {
        if let Some(id) = id.filter(|id| self.core.state.holders(*id) == 0) {
            self.core.shared.drop_loose(id);
        }
    }

    pub(super) fn shared_get(&self, get: &SharedGet, worker: &mut Worker) -> AskOutcome {
        given(self.core.shared.give(get.id, &mut about(worker).copies))
    }

    pub(super) fn shared_set(&self, changed: ChangedObject, worker: &mut Worker) -> AskOutcome {
        given(self.core.shared.change(changed, &mut about(worker).copies))
    }
}

fn given(given: Option<GivenObject>) -> AskOutcome {
    let given = given.ok_or_else(|| refusal("SharedGone", "the vault was unregistered meanwhile"))?;
    Ok(AskReply::Shared(given))
}

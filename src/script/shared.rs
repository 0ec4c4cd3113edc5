//! Objects that a script's blocks share: one of each, here, with the number of its version.
//!
//! In Pode all blocks see one object in one process. Here a worker has a copy; it is given the object
//! again before a block only where its copy is old, and gives back what the block changed. Nobody but a
//! worker looks into an object's text.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::protocol::shape::{ChangedObject, GivenObject, Id};
use crate::secret::Text;

/// The objects.
#[derive(Default)]
pub struct SharedObjects(Mutex<Objects>);

#[derive(Default)]
struct Objects {
    last: Id,
    all: HashMap<Id, SharedObject>,
}

struct SharedObject {
    version: u64,
    text: Text,
    /// A vault or a block has it for good.
    kept: bool,
}

/// The versions that a worker has, by the objects' numbers.
pub type Copies = HashMap<Id, u64>;

impl SharedObjects {
    /// Takes an object in, with version 1.
    pub fn add(&self, text: Text) -> Id {
        let mut objects = self.objects();
        objects.last += 1;
        let id = objects.last;
        objects.all.insert(id, SharedObject { version: 1, text, kept: true });
        id
    }

    /// Puts a new object in the place of one that nobody has for good, or beside it; for a worker that has
    /// the new one. Gives its number and version.
    pub fn put(&self, old: Option<Id>, text: Text, copies: &mut Copies) -> (Id, u64) {
        let mut objects = self.objects();
        let old = old.filter(|old| objects.all.get(old).is_some_and(|object| !object.kept));
        let id = old.unwrap_or(objects.last + 1);
        objects.last = objects.last.max(id);
        let version = objects.all.get(&id).map_or(1, |object| object.version + 1);
        objects.all.insert(id, SharedObject { version, text, kept: false });
        copies.insert(id, version);
        (id, version)
    }

    /// A vault or a block has the object from now on, if it is there.
    pub fn keep(&self, id: Id) -> bool {
        self.objects().all.get_mut(&id).map(|object| object.kept = true).is_some()
    }

    /// The version of an object, if it is there.
    pub fn version(&self, id: Id) -> Option<u64> {
        self.objects().all.get(&id).map(|object| object.version)
    }

    /// Takes an object out that nobody has for good.
    pub fn drop_loose(&self, id: Id) {
        let mut objects = self.objects();
        if objects.all.get(&id).is_some_and(|object| !object.kept) {
            objects.all.remove(&id);
        }
    }

    /// An object for a worker that has these versions; from now on it has this one.
    pub fn give(&self, id: Id, copies: &mut Copies) -> Option<GivenObject> {
        let objects = self.objects();
        let object = objects.all.get(&id)?;
        let known = copies.insert(id, object.version) == Some(object.version);
        Some(GivenObject { id, version: object.version, value: (!known).then(|| object.text.clone()) })
    }

    /// Puts a changed object in the place of the version that it was made from. If that is not the latest any
    /// more, the latest is given, to be merged with; either way the worker has what is there now.
    pub fn change(&self, changed: ChangedObject, copies: &mut Copies) -> Option<GivenObject> {
        let mut objects = self.objects();
        let object = objects.all.get_mut(&changed.id)?;
        let fits = object.version == changed.version;
        if fits {
            object.version += 1;
            object.text = changed.value;
        }
        copies.insert(changed.id, object.version);
        let value = (!fits).then(|| object.text.clone());
        Some(GivenObject { id: changed.id, version: object.version, value })
    }

    /// Takes an object out.
    pub fn remove(&self, id: Id) {
        self.objects().all.remove(&id);
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(given: Option<GivenObject>) -> Option<String> {
        given.unwrap().value.map(|text| text.expose().to_owned())
    }

    #[test]
    fn a_worker_is_given_an_object_only_where_its_copy_is_old() {
        let shared = SharedObjects::default();
        let id = shared.add("a".into());
        let (mut one, mut two) = (Copies::new(), Copies::new());
        assert_eq!(text(shared.give(id, &mut one)).as_deref(), Some("a"));
        assert_eq!(text(shared.give(id, &mut one)), None);
        let changed = ChangedObject { id, version: 1, value: "b".into() };
        assert_eq!(text(shared.change(changed, &mut two)), None);
        assert_eq!(text(shared.give(id, &mut two)), None, "whoever changed it has it");
        assert_eq!(text(shared.give(id, &mut one)).as_deref(), Some("b"));
        shared.remove(id);
        assert!(shared.give(id, &mut one).is_none());
    }

    #[test]
    fn a_change_of_an_old_version_changes_nothing_and_is_told_the_latest() {
        let shared = SharedObjects::default();
        let id = shared.add("a".into());
        let (mut one, mut two) = (Copies::new(), Copies::new());
        shared.change(ChangedObject { id, version: 1, value: "b".into() }, &mut one).unwrap();
        let refused = shared.change(ChangedObject { id, version: 1, value: "c".into() }, &mut two);
        assert_eq!(refused, Some(GivenObject { id, version: 2, value: Some("b".into()) }));
        assert_eq!(text(shared.change(ChangedObject { id, version: 2, value: "bc".into() }, &mut two)), None);
        assert_eq!(text(shared.give(id, &mut one)).as_deref(), Some("bc"));
    }

    #[test]
    fn a_new_value_of_a_name_takes_the_place_of_the_old_one_unless_that_is_kept() {
        let shared = SharedObjects::default();
        let (mut one, mut two) = (Copies::new(), Copies::new());
        let (id, version) = shared.put(None, "a".into(), &mut one);
        assert_eq!((version, text(shared.give(id, &mut two)).as_deref()), (1, Some("a")));
        assert_eq!(shared.put(Some(id), "b".into(), &mut one), (id, 2));
        assert_eq!(text(shared.give(id, &mut two)).as_deref(), Some("b"));
        let kept = shared.add("kept".into());
        assert_ne!(shared.put(Some(kept), "c".into(), &mut one).0, kept);
        shared.drop_loose(kept);
        assert_eq!(shared.version(kept), Some(1), "what is kept stays");
        shared.drop_loose(id);
        assert_eq!(shared.version(id), None);
    }
}

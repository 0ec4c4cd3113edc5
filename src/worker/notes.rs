//! What the layers above keep with a worker: each has a type of its own, and the worker knows none of them.

use std::any::{Any, TypeId};
use std::collections::HashMap;

/// Notes about one worker, which are gone with it.
#[derive(Default)]
pub struct WorkerNotes(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl WorkerNotes {
    /// The notes of this type, if there are any.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// The notes of this type; empty ones, where there are none yet.
    pub fn of<T: Any + Default + Send + Sync>(&mut self) -> &mut T {
        let kept = self.0.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        kept.downcast_mut().expect("what is kept under a type is of that type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_own_notes() {
        let mut notes = WorkerNotes::default();
        assert_eq!(notes.get::<u64>(), None);
        *notes.of::<u64>() += 2;
        notes.of::<Vec<&str>>().push("x");
        *notes.of::<u64>() += 3;
        assert_eq!((notes.get(), notes.get()), (Some(&5_u64), Some(&vec!["x"])));
    }
}

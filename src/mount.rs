//! Mounted secrets: names for keys of vaults, and what of a value they show.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use crate::plan::{Mount, PlanError, Projection};
use crate::secret::{SecretValue, fold};

/// Mounts by name, compared without case. May change while the server runs.
#[derive(Debug, Default)]
pub struct Mounts(RwLock<HashMap<String, Arc<Mount>>>);

impl Mounts {
    /// A table of these.
    pub fn new(mounts: impl IntoIterator<Item = Mount>) -> Mounts {
        let table = mounts.into_iter().map(|mount| (fold(&mount.name), Arc::new(mount))).collect();
        Mounts(RwLock::new(table))
    }

    /// The mount of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Mount>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&fold(name)).cloned()
    }

    /// Adds a mount, unless its name is taken.
    pub fn add(&self, mount: Mount) -> Result<(), PlanError> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match table.entry(fold(&mount.name)) {
            std::collections::hash_map::Entry::Occupied(_) => Err(PlanError::TwoMounts(mount.name)),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Arc::new(mount));
                Ok(())
            }
        }
    }

    /// Takes a mount out.
    pub fn remove(&self, name: &str) -> Option<Arc<Mount>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&fold(name))
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Mount>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = table.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// What a projection shows of a value; the missing member's name where it shows nothing.
pub fn project(value: &SecretValue, projection: &Projection) -> Result<SecretValue, String> {
    match projection {
        Projection::Whole => Ok(value.clone()),
        Projection::Member(name) => value.member(name).cloned().ok_or_else(|| name.clone()),
        Projection::Members(names) => {
            let mut members = BTreeMap::new();
            for name in names {
                members.insert(name.clone(), value.member(name).cloned().ok_or_else(|| name.clone())?);
            }
            Ok(SecretValue::Hashtable(members))
        }
    }
}

/// The whole value that an update of one member makes: its siblings are kept. What is no table becomes one.
pub fn merge(whole: Option<&SecretValue>, member: &str, value: SecretValue) -> SecretValue {
    let mut members = match whole {
        Some(SecretValue::Hashtable(members)) => members.clone(),
        _ => BTreeMap::new(),
    };
    let folded = fold(member);
    let present = members.keys().find(|key| fold(key) == folded).cloned();
    members.insert(present.unwrap_or_else(|| member.to_owned()), value);
    SecretValue::Hashtable(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SecretValue {
        let members = [("User", "u"), ("Pass", "p")];
        SecretValue::Hashtable(members.map(|(k, v)| (k.to_owned(), SecretValue::string(v))).into())
    }

    fn mount(name: &str) -> Mount {
        Mount {
            name: name.into(),
            vault: "v".into(),
            key: "k".into(),
            projection: Projection::Whole,
            cache_ttl: None,
            prefetch: false,
        }
    }

    #[test]
    fn names_are_taken_without_case() {
        let mounts = Mounts::new([mount("One")]);
        assert_eq!(mounts.add(mount("ONE")), Err(PlanError::TwoMounts("ONE".into())));
        assert_eq!(mounts.add(mount("Two")), Ok(()));
        assert_eq!(mounts.all().len(), 2);
        assert!(mounts.remove("one").is_some());
        assert!(mounts.get("One").is_none());
    }

    #[test]
    fn a_projection_shows_members_and_names_the_missing() {
        assert_eq!(project(&table(), &Projection::Member("pass".into())).unwrap().as_text(), Some("p"));
        assert_eq!(project(&table(), &Projection::Member("nope".into())).unwrap_err(), "nope");
        let some = project(&table(), &Projection::Members(vec!["User".into()])).unwrap();
        assert!(some.member("User").is_some() && some.member("Pass").is_none());
    }

    #[test]
    fn an_update_of_a_member_keeps_its_siblings() {
        let merged = merge(Some(&table()), "pass", SecretValue::string("new"));
        assert_eq!(merged.member("Pass").and_then(SecretValue::as_text), Some("new"));
        assert_eq!(merged.member("User").and_then(SecretValue::as_text), Some("u"));
        let SecretValue::Hashtable(members) = merged else { panic!("a table stays one") };
        assert_eq!(members.len(), 2);
    }
}

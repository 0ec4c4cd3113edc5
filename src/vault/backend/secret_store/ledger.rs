//! What we wrote and had acknowledged, so that a foreign writer's damage can be named.
//!
//! A process with an old copy of a SecretStore erases what it has not read. Nobody can prevent that; after
//! a foreign change the store's names are compared with this ledger. Values are kept only for vaults
//! whose plan says `repair = true`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::Metadata;
use crate::secret::{SecretValue, fold};
use crate::vault::backend::WholeSecret;
use crate::vault::change::Change;
use crate::vault::facts::VaultFacts;
use crate::vault::verb::Verb;

/// A key that we wrote.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The vault it was written through.
    pub vault: String,
    /// The key.
    pub key: String,
    /// What to write again, where the plan says so.
    pub value: Option<(Arc<SecretValue>, Option<Metadata>)>,
    /// Its place among all that was noted.
    number: u64,
}

/// Keys written and acknowledged.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<LedgerLines>);

#[derive(Debug, Default)]
struct LedgerLines {
    /// How many writes were noted.
    noted: u64,
    written: HashMap<String, Acknowledged>,
    /// What a write of ours has destroyed, and nobody could put back yet.
    owed: HashMap<String, Debt>,
}

/// A key that a failed write of ours has left with neither its old nor its new value.
#[derive(Debug, Clone)]
pub struct Debt {
    /// The vault it was written through.
    pub vault: String,
    /// The key.
    pub key: String,
    change: Change,
}

/// Everything noted before a moment.
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

impl Ledger {
    /// Notes a verb that was done, by a caller that still holds the store's lane: so the order of notes is
    /// that of the writes, and a write whose caller has gone is noted too.
    ///
    /// `after` is the whole value that is there now, with its metadata.
    pub fn note(&self, vault: &VaultFacts, verb: &Verb, after: Option<(Arc<SecretValue>, Option<Metadata>)>) {
        let lines = &mut *self.lines();
        if let Some(key) = verb.key() {
            lines.owed.remove(&fold(key));
        }
        lines.noted += 1;
        let (number, written) = (lines.noted, &mut lines.written);
        match verb {
            Verb::Set { key, .. } | Verb::SetInfo { key, .. } => {
                let value = after.filter(|_| vault.plan.repair);
                let line = Acknowledged { vault: vault.plan.name.clone(), key: key.clone(), value, number };
                written.insert(fold(key), line);
            }
            Verb::Remove { key } => {
                written.remove(&fold(key));
            }
            Verb::Get { .. } | Verb::List | Verb::Probe | Verb::Unlock | Verb::UnlockWith { .. } => {}
        }
    }

    /// Notes that a value that somebody had erased is there again, in the lane as well.
    pub fn note_written_again(&self, vault: &VaultFacts, key: &str, value: WholeSecret) {
        let lines = &mut *self.lines();
        lines.owed.remove(&fold(key));
        lines.noted += 1;
        let (vault, value, number) = (&vault.plan, vault.plan.repair.then_some(value), lines.noted);
        let line = Acknowledged { vault: vault.name.clone(), key: key.to_owned(), value, number };
        // A newer write may have found the key missing before us; its value counts.
        lines.written.entry(fold(key)).or_insert(line);
    }

    /// Nothing is to be put right at this key any more.
    pub fn repaid(&self, key: &str) {
        self.lines().owed.remove(&fold(key));
    }

    /// Takes over what another ledger holds: a new bridge's, of the one before.
    pub fn take_from(&self, other: &Ledger) {
        let theirs = std::mem::take(&mut *other.lines());
        let mut lines = self.lines();
        lines.noted = lines.noted.max(theirs.noted);
        for (key, line) in theirs.written {
            lines.written.entry(key).or_insert(line);
        }
        for (key, debt) in theirs.owed {
            lines.owed.entry(key).or_insert(debt);
        }
    }

    /// Forgets a key that was removed, for all that is known.
    pub fn forget(&self, key: &str) {
        self.lines().written.remove(&fold(key));
    }

    /// Notes what a failed write may have destroyed; the next write of the key settles it.
    pub fn owe(&self, vault: &VaultFacts, key: &str, change: &Change) {
        let debt = Debt { vault: vault.plan.name.clone(), key: key.to_owned(), change: change.clone() };
        self.lines().owed.insert(fold(key), debt);
    }

    /// What is still to be put right at a key, if anything is.
    pub fn owes(&self, key: &str) -> Option<Change> {
        Some(self.lines().owed.get(&fold(key))?.change.clone())
    }

    /// All that is still to be put right.
    pub fn owed(&self) -> Vec<Debt> {
        self.lines().owed.values().cloned().collect()
    }

    /// Whether anything was written to the store.
    pub fn has_any(&self) -> bool {
        !self.lines().written.is_empty()
    }

    /// The moment before a store's names are listed.
    pub fn mark(&self) -> Mark {
        Mark(self.lines().noted)
    }

    /// Whether something was written before the mark and is not among `names`, which were listed after it.
    /// What was written later may be missing from the list without any harm.
    pub fn misses(&self, mark: Mark, names: &HashSet<String>) -> bool {
        !self.lines().missing(mark, names).is_empty()
    }

    /// Takes out and gives what [`Ledger::misses`] finds missing.
    pub fn vanished(&self, mark: Mark, names: &HashSet<String>) -> Vec<Acknowledged> {
        let mut all = self.lines();
        let gone = all.missing(mark, names);
        let mut vanished: Vec<_> = gone.iter().filter_map(|key| all.written.remove(key)).collect();
        vanished.sort_by(|a, b| a.key.cmp(&b.key));
        vanished
    }

    /// Takes a line in again that could not be put back yet, unless the key was written anew.
    pub fn keep(&self, line: Acknowledged) {
        self.lines().written.entry(fold(&line.key)).or_insert(line);
    }

    fn lines(&self) -> MutexGuard<'_, LedgerLines> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LedgerLines {
    /// Keys, folded.
    fn missing(&self, mark: Mark, names: &HashSet<String>) -> Vec<String> {
        let names: HashSet<String> = names.iter().map(|name| fold(name)).collect();
        let is_gone = |(key, line): &(&String, &Acknowledged)| line.number <= mark.0 && !names.contains(*key);
        self.written.iter().filter(is_gone).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Extension, SECRET_STORE, Vault, VaultKind};
    use crate::vault::change::Before;
    use crate::vault::entry::Entry;

    fn entry() -> Entry {
        let mut plan = Vault::new("v", VaultKind::Extension(Extension::new("v", SECRET_STORE)));
        plan.repair = true;
        Entry::bare(plan)
    }

    fn value(text: &str) -> Arc<SecretValue> {
        Arc::new(SecretValue::String(text.into()))
    }

    fn after(text: &str) -> Option<(Arc<SecretValue>, Option<Metadata>)> {
        Some((value(text), None))
    }

    fn set(key: &str, text: &str) -> Verb {
        Verb::Set { key: key.into(), value: value(text), metadata: None, member: None }
    }

    #[test]
    fn what_was_written_after_the_list_began_is_not_missed() {
        let (ledger, entry) = (Ledger::default(), entry());
        for key in ["there", "erased", "again", "removed"] {
            ledger.note(&entry, &set(key, "1"), after("1"));
        }
        let mark = ledger.mark();
        ledger.note(&entry, &set("later", "1"), after("1"));
        ledger.note(&entry, &set("again", "2"), after("2"));
        ledger.note(&entry, &Verb::Remove { key: "removed".into() }, None);
        let gone = ledger.vanished(mark, &HashSet::from(["THERE".to_owned()]));
        assert_eq!(gone.iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["erased"]);
    }

    #[test]
    fn a_new_bridge_takes_over_what_was_written_and_what_is_owed_and_its_own_counts() {
        let (old, new, entry) = (Ledger::default(), Ledger::default(), entry());
        let change = || Change { before: Before::Nothing, after: after("x") };
        for key in ["both", "old"] {
            old.note(&entry, &set(key, "old"), after("old"));
            old.owe(&entry, &format!("owed {key}"), &change());
        }
        new.note(&entry, &set("both", "new"), after("new"));
        new.take_from(&old);
        let all = new.vanished(new.mark(), &HashSet::new());
        let values = all.iter().map(|line| (line.key.as_str(), line.value.clone().map(|(value, _)| value)));
        assert_eq!(values.collect::<Vec<_>>(), [("both", Some(value("new"))), ("old", Some(value("old")))]);
        assert_eq!((new.owed().len(), old.owed().len()), (2, 0));
        assert!(!old.has_any());
    }

    #[test]
    fn a_value_put_back_does_not_hide_a_newer_one() {
        let (ledger, entry) = (Ledger::default(), entry());
        ledger.note(&entry, &set("k", "new"), after("new"));
        ledger.note_written_again(&entry, "K", (value("old"), None));
        let gone = ledger.vanished(ledger.mark(), &HashSet::new());
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].value.as_ref().map(|(value, _)| value.clone()), Some(value("new")));
    }

    #[test]
    fn a_line_that_could_not_be_put_back_is_kept_unless_its_key_was_written_anew() {
        let (ledger, entry) = (Ledger::default(), entry());
        ledger.note(&entry, &set("k", "old"), after("old"));
        let missing = |ledger: &Ledger| ledger.vanished(ledger.mark(), &HashSet::new());
        let line = missing(&ledger).remove(0);
        assert!(!ledger.has_any());
        ledger.keep(line.clone());
        assert_eq!(missing(&ledger).len(), 1);
        ledger.note(&entry, &set("K", "new"), after("new"));
        ledger.keep(line);
        let kept = missing(&ledger).remove(0);
        assert_eq!(kept.value.map(|(value, _)| value), Some(value("new")));
        ledger.note(&entry, &set("k", "v"), after("v"));
        ledger.forget("K");
        assert!(!ledger.has_any());
    }

    #[test]
    fn what_is_owed_is_settled_by_any_write_of_the_key_and_by_nothing_else() {
        let (ledger, entry) = (Ledger::default(), entry());
        let change = Change { before: Before::Nothing, after: after("x") };
        let settles: [fn(&Ledger, &Entry); 4] = [
            |ledger, entry| ledger.note(entry, &set("K", "1"), after("1")),
            |ledger, entry| ledger.note(entry, &Verb::Remove { key: "K".into() }, None),
            |ledger, entry| ledger.note_written_again(entry, "K", (value("1"), None)),
            |ledger, _| ledger.repaid("K"),
        ];
        for settles in settles {
            ledger.owe(&entry, "k", &change);
            assert!(ledger.owes("K").is_some() && ledger.owes("other").is_none());
            ledger.note(&entry, &set("other", "1"), after("1"));
            ledger.repaid("other");
            assert_eq!(ledger.owed().iter().map(|debt| debt.key.as_str()).collect::<Vec<_>>(), ["k"]);
            settles(&ledger, &entry);
            assert!(ledger.owes("k").is_none() && ledger.owed().is_empty());
        }
    }

    #[test]
    fn values_are_kept_only_where_the_plan_has_them_put_back() {
        let ledger = Ledger::default();
        for repair in [true, false] {
            let mut plan = Vault::new("v", VaultKind::Extension(Extension::new("v", SECRET_STORE)));
            plan.repair = repair;
            let entry = Entry::bare(plan);
            ledger.note(&entry, &set("a", "1"), after("1"));
            ledger.note_written_again(&entry, "b", (value("1"), None));
            let info = Verb::SetInfo { key: "c".into(), metadata: Metadata::new() };
            ledger.note(&entry, &info, after("1"));
            let kept = ledger.vanished(ledger.mark(), &HashSet::new());
            assert_eq!(kept.iter().map(|line| line.value.is_some()).collect::<Vec<_>>(), [repair; 3]);
        }
    }

    #[test]
    fn a_key_is_missed_where_it_was_noted_before_the_mark_and_is_not_listed() {
        let (ledger, entry) = (Ledger::default(), entry());
        let before = ledger.mark();
        ledger.note(&entry, &set("k", "1"), after("1"));
        let (there, nothing) = (HashSet::from(["K".to_owned()]), HashSet::new());
        assert!(!ledger.misses(before, &nothing), "written since");
        assert!(ledger.misses(ledger.mark(), &nothing) && !ledger.misses(ledger.mark(), &there));
        assert!(ledger.has_any(), "asking takes nothing out");
    }
}

//! A vault of the table, with all that is known of it.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::backend::{Backend, InWorker, ServedBy};
use super::condition::Condition;
use super::facts::{Hooks, VaultFacts};
use super::turn::Trouble;
use crate::error::BridgeError;
use crate::metrics::Calls;
use crate::plan::{InitScript, Vault};
use crate::secret::Text;

/// The word for a probe in what is counted.
const PROBE: &str = "probe";

/// A vault, ready for use.
pub struct Entry {
    facts: VaultFacts,
    /// What serves its store, by the kind that it is of.
    pub backend: Arc<dyn Backend>,
    /// What its last calls showed.
    pub condition: Condition,
    /// What was asked of it, how often, and how long that took.
    pub calls: Arc<Calls>,
    /// Somebody has locked it: it answers nothing until somebody unlocks it.
    closed: AtomicBool,
}

/// A call that a vault was open to.
#[must_use = "what it comes to is to be noted"]
pub struct VaultCall<'a> {
    entry: &'a Entry,
    action: &'static str,
    begun: Instant,
}

/// What a vault needs beside the plan's word.
#[derive(Default)]
pub struct Means {
    /// The unlock password.
    pub password: Option<Text>,
    /// What a script does for it.
    pub hooks: Option<Arc<dyn Hooks>>,
}

impl Deref for Entry {
    type Target = VaultFacts;

    fn deref(&self) -> &VaultFacts {
        &self.facts
    }
}

impl Entry {
    /// A vault of the table. No other vault is ever given its `number`.
    pub fn new(
        number: u64,
        plan: Vault,
        backend: Arc<dyn Backend>,
        means: Means,
        login: Arc<[InitScript]>,
    ) -> Entry {
        let Means { password, hooks } = means;
        let facts = VaultFacts {
            number,
            unlockable: AtomicBool::new(plan.unlock_at_start()),
            plan,
            store: backend.store().clone(),
            hooks,
            login,
            has_secret_parameters: backend.has_secret_parameters(),
            given: password,
            learned: Mutex::default(),
        };
        Entry {
            facts,
            backend,
            condition: Condition::default(),
            calls: Arc::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Lets a call in, unless the vault asks its callers to wait. `action` is its name in what is counted.
    pub fn admit(&self, action: &'static str) -> Result<VaultCall<'_>, BridgeError> {
        let begun = Instant::now();
        self.condition.admit(&self.plan.name, begun)?;
        Ok(VaultCall { entry: self, action, begun })
    }

    /// Takes in what a call that began at this moment came to, for the vault's state and for what is counted; what was
    /// refused because the vault throttles was no call.
    fn noted<T>(
        &self,
        action: &'static str,
        outcome: Result<T, BridgeError>,
        begun: Instant,
    ) -> Result<T, BridgeError> {
        if matches!(outcome, Err(BridgeError::Throttled { .. })) {
            return outcome;
        }
        // That the vault is not locked does not show that its reads and writes succeed again.
        if action == PROBE && outcome.is_ok() && self.condition.state().fails_at_work() {
            self.calls.note(action, "ok", begun.elapsed());
            return outcome;
        }
        let outcome = self.condition.note(&self.plan.name, outcome, Instant::now());
        let word = outcome.as_ref().map_or_else(BridgeError::code, |_| "ok");
        self.calls.note(action, word, begun.elapsed());
        outcome
    }

    /// The calls that a worker makes of it.
    pub fn calls(&self) -> Result<&dyn InWorker, Trouble> {
        match self.backend.served_by() {
            ServedBy::Worker(calls) => Ok(calls),
            ServedBy::ThisProcess(_) | ServedBy::Script => Err(Trouble::NotInWorker),
        }
    }

    /// Whether only a script can call it, by blocks of its own.
    pub fn is_scripts_own(&self) -> bool {
        matches!(self.backend.served_by(), ServedBy::Script)
    }

    /// Whether its calls can be made in any worker. Those of a vault in this process need none, and some stores have one
    /// worker to themselves.
    pub fn takes_any_worker(&self) -> bool {
        matches!(self.backend.served_by(), ServedBy::Worker(_)) && !self.backend.has_one_worker()
    }

    /// Whether the vault was not called for so long that it is time to ask how it is.
    pub fn is_probe_due(&self, now: Instant) -> bool {
        let planned = self.plan.extension().and_then(|extension| extension.probe_every);
        let every = planned.or_else(|| self.backend.probes());
        let asked = every.filter(|every| !every.is_zero());
        asked.is_some_and(|every| self.condition.idle(now) >= every)
            && self.condition.left_alone(now).is_none()
            && self.store.lockout(now).is_none()
            && !self.is_closed()
    }

    /// Somebody locks it: nothing is answered, and no password used of our own accord, until somebody opens
    /// it. A password that it was told meanwhile is forgotten.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.forbid_unlock();
    }

    /// Ends [`Entry::close`].
    pub fn open(&self) {
        self.closed.store(false, Ordering::Release);
        self.allow_unlock();
    }

    /// Whether somebody has locked it.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl VaultCall<'_> {
    /// Takes in what it came to.
    pub fn ended<T>(self, outcome: Result<T, BridgeError>) -> Result<T, BridgeError> {
        self.entry.noted(self.action, outcome, self.begun)
    }
}

#[cfg(test)]
impl Entry {
    /// An entry of SecretStore over a backend of a test's own.
    pub fn over(backend: Arc<dyn Backend>, password: &str) -> Entry {
        let extension = crate::plan::Extension::new("v", crate::plan::SECRET_STORE);
        let plan = Vault::new("v", extension);
        let means = Means { password: Some(password.into()), ..Means::default() };
        Entry::new(0, plan, backend, means, Arc::default())
    }

    /// An entry without a pool or a password.
    pub fn bare(plan: Vault) -> Entry {
        let backend = super::backend::kinds::of(&plan).open(&plan);
        Entry::new(0, plan, backend, Means::default(), Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{AZ_KEY_VAULT, Extension, SECRET_STORE, VaultKind};
    use crate::protocol::Fault;
    use crate::vault::condition::VaultState;
    use crate::vault::fingerprint::Fingerprint;

    const EVERY: Duration = Duration::from_secs(30);

    fn entry(module: &str, probe_every: Option<Duration>) -> Entry {
        let mut extension = Extension::new("v", module);
        extension.probe_every = probe_every;
        Entry::bare(Vault::new("v", VaultKind::Extension(extension)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_vault_that_nobody_calls_is_asked_how_it_is_at_the_plans_interval_or_its_kinds() {
        let now = Instant::now();
        for (module, planned, every) in [
            (SECRET_STORE, None, Some(EVERY)),
            (SECRET_STORE, Some(EVERY * 2), Some(EVERY * 2)),
            (SECRET_STORE, Some(Duration::ZERO), None),
            // Each call may be billed.
            (AZ_KEY_VAULT, None, None),
            ("My.Vault", Some(EVERY), Some(EVERY)),
        ] {
            let entry = entry(module, planned);
            let second = Duration::from_secs(1);
            match every {
                Some(every) => {
                    assert!(!entry.is_probe_due(now + every - second), "{module}, {planned:?}");
                    assert!(entry.is_probe_due(now + every), "{module}, {planned:?}");
                }
                None => assert!(!entry.is_probe_due(now + EVERY * 1000), "{module}, {planned:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vault_that_is_locked_by_request_locked_out_or_throttles_is_not_asked_how_it_is() {
        let (now, later) = (Instant::now(), Instant::now() + EVERY);
        let closed = entry(SECRET_STORE, None);
        closed.close();
        assert!(closed.is_closed() && !closed.is_probe_due(later));
        closed.open();
        assert!(!closed.is_closed() && closed.is_probe_due(later));

        let throttles = entry(SECRET_STORE, None);
        let said = Fault { status: Some(429), retry_after: Some(60), ..Fault::default() };
        throttles.condition.heed(&said, now);
        assert!(!throttles.is_probe_due(later));
        assert!(throttles.is_probe_due(now + Duration::from_secs(60)));

        let locked_out = entry("My.Vault", Some(EVERY));
        for _ in 0..2 {
            locked_out.store.unlock_failed("wrong", Fingerprint::default(), later);
        }
        assert!(!locked_out.is_probe_due(later));
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_is_locked_by_request_its_password_is_not_used_and_one_that_it_learned_is_forgotten() {
        let plan = Vault::new("v", VaultKind::Extension(Extension::new("v", "My.Vault")));
        let backend = crate::vault::backend::kinds::of(&plan).open(&plan);
        let means = Means { password: Some("given".into()), ..Means::default() };
        let entry = Entry::new(0, plan, backend, means, Arc::default());
        entry.learn("learned".into());
        let password = |entry: &Entry| entry.password().map(|text| text.expose().to_owned());
        assert_eq!((password(&entry).as_deref(), entry.may_unlock()), (Some("learned"), true));
        entry.close();
        assert_eq!((password(&entry).as_deref(), entry.may_unlock()), (Some("given"), false));
        entry.open();
        assert!(entry.may_unlock());
        assert!(!self::entry("My.Vault", None).may_unlock(), "there is nothing to unlock it with");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_finds_it_open_does_not_hide_that_its_reads_fail() {
        let (entry, now) = (entry(SECRET_STORE, None), Instant::now());
        let fault = Box::new(Fault::default());
        let failed = || {
            Err::<(), _>(BridgeError::Vault {
                vault: "v".into(),
                fault: fault.clone(),
                outcome_unknown: false,
            })
        };
        entry.noted("get", failed(), now).unwrap_err();
        entry.noted(PROBE, Ok(()), now).unwrap();
        assert_eq!(entry.condition.state(), VaultState::Failing);
        entry.noted("get", Ok(()), now).unwrap();
        assert_eq!(entry.condition.state(), VaultState::Ok);
        let locked = BridgeError::Locked { vault: "v".into(), reason: "r".into(), retry_after: EVERY };
        entry.noted::<()>(PROBE, Err(locked), now).unwrap_err();
        entry.noted(PROBE, Ok(()), now).unwrap();
        assert_eq!(entry.condition.state(), VaultState::Ok, "what a probe found a probe ends");
    }

    #[test]
    fn a_vault_takes_any_worker_unless_it_needs_none_or_has_one_to_itself() {
        use crate::plan::Custom;
        let local = Entry::bare(Vault::new("v", VaultKind::local(None, None)));
        let custom = Entry::bare(Vault::new("v", Custom::default()));
        let store = entry(SECRET_STORE, None);
        let found = [&local, &custom, &store, &entry("My.Vault", None)].map(Entry::takes_any_worker);
        assert_eq!(found, [false, false, true, true]);
        crate::vault::backend::secret_store::testing::known(&*store.backend).told(Some("None"), None);
        assert!(!store.takes_any_worker());
    }
}

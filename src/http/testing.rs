//! Made-up requests, and a bridge in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Version};
use tokio::sync::Barrier;
use tokio::time::Instant;

use super::message::{Admitted, Head, Request};
use super::native::Secrets;
use crate::access::{Caller, Peer};
use crate::bridge::{Answer, Health, Reading};
use crate::cache::Freshness;
use crate::error::BridgeError;
use crate::plan::Plan;
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::{SecretValue, Text, fold};
use crate::vault::{Entry, Verb, rules};

/// A head with these fields, from a client on this machine.
pub(super) fn head(method: &str, path: &str, fields: &[(&'static str, &str)]) -> Head {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let received = Instant::now();
    Head {
        id: 7,
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: path.to_owned(),
        query: Some("query-canary".to_owned()),
        headers,
        version: Version::HTTP_11,
        peer: Peer::Tcp("127.0.0.1:50000".parse().unwrap()),
        certificate: None,
        holder: None,
        listener: 0,
        received,
        deadline: received + Duration::from_secs(30),
    }
}

pub(super) fn request(head: Head, body: impl Into<Bytes>) -> Request {
    let admitted = Admitted::new(Caller::Anyone, None);
    Request { head: Arc::new(head), body: body.into(), admitted }
}

/// Name as written, value, metadata.
type Kept = (String, SecretValue, Metadata);

/// Vaults in memory under one plan; mounts are never projected.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Inner>);

#[derive(Default)]
struct Inner {
    plan: Plan,
    ready: bool,
    /// By folded vault and key.
    kept: Mutex<BTreeMap<(String, String), Kept>>,
    /// Answers in place of a vault's own, by folded key.
    faults: Mutex<HashMap<String, BridgeError>>,
    /// What an administrator asked for.
    administered: Mutex<Vec<String>>,
    /// Reads of mounts wait for each other here.
    barrier: Option<Barrier>,
    /// What was to be read anew.
    renewed: Mutex<Vec<(String, String)>>,
    /// How old the values are, by folded key.
    ages: Mutex<HashMap<String, Freshness>>,
}

impl Memory {
    pub(super) fn new(plan: Plan) -> Memory {
        Memory(Arc::new(Inner { plan, ready: true, ..Inner::default() }))
    }

    /// One whose mounts are read by so many at once, or never.
    pub(super) fn with_barrier(plan: Plan, readers: usize) -> Memory {
        Memory(Arc::new(Inner {
            plan,
            ready: true,
            barrier: Some(Barrier::new(readers)),
            ..Inner::default()
        }))
    }

    pub(super) fn starting(plan: Plan) -> Memory {
        Memory(Arc::new(Inner { plan, ..Inner::default() }))
    }

    pub(super) fn put(&self, vault: &str, key: &str, value: SecretValue, metadata: Metadata) {
        let place = (fold(vault), fold(key));
        self.0.kept.lock().unwrap().insert(place, (key.to_owned(), value, metadata));
    }

    pub(super) fn kept(&self, vault: &str, key: &str) -> Option<(SecretValue, Metadata)> {
        let kept = self.0.kept.lock().unwrap();
        kept.get(&(fold(vault), fold(key))).map(|(_, value, metadata)| (value.clone(), metadata.clone()))
    }

    pub(super) fn fail(&self, key: &str, error: BridgeError) {
        self.0.faults.lock().unwrap().insert(fold(key), error);
    }

    /// From now on a key's value comes from a cache, unless the caller wants a new one.
    pub(super) fn age(&self, key: &str, freshness: Freshness) {
        self.0.ages.lock().unwrap().insert(fold(key), freshness);
    }

    pub(super) fn administered(&self) -> Vec<String> {
        std::mem::take(&mut self.0.administered.lock().unwrap())
    }

    pub(super) fn renewed(&self) -> Vec<(String, String)> {
        self.0.renewed.lock().unwrap().clone()
    }

    fn fault(&self, key: &str) -> Result<(), BridgeError> {
        self.0.faults.lock().unwrap().get(&fold(key)).map_or(Ok(()), |error| Err(error.clone()))
    }

    /// What the vault layer refuses is refused here too, by its own rule.
    fn check(&self, vault: &str, verb: &Verb) -> Result<(), BridgeError> {
        let unknown = || BridgeError::UnknownVault { name: vault.to_owned() };
        let plan = self.0.plan.vault(vault).ok_or_else(unknown)?;
        rules::check(&Entry::bare(plan.clone()), verb)
    }

    fn mount(&self, name: &str) -> Result<(String, String), BridgeError> {
        let mount = self.0.plan.mounts.iter().find(|mount| fold(&mount.name) == fold(name));
        let mount = mount.ok_or_else(|| BridgeError::UnknownMount { name: name.to_owned() })?;
        Ok((mount.vault.clone(), mount.key.clone()))
    }
}

impl Secrets for Memory {
    async fn read(&self, mount: &str, reading: Reading, deadline: Instant) -> Result<Answer, BridgeError> {
        let (vault, key) = self.mount(mount)?;
        if let Some(barrier) = &self.0.barrier {
            barrier.wait().await;
        }
        self.get(&vault, &key, reading, deadline).await
    }

    async fn update(&self, mount: &str, value: SecretValue, deadline: Instant) -> Result<(), BridgeError> {
        let (vault, key) = self.mount(mount)?;
        self.set(&vault, &key, value, None, deadline).await
    }

    async fn remove_mounted(&self, mount: &str, deadline: Instant) -> Result<(), BridgeError> {
        let (vault, key) = self.mount(mount)?;
        self.remove(&vault, &key, deadline).await
    }

    async fn get(&self, vault: &str, key: &str, reading: Reading, _: Instant) -> Result<Answer, BridgeError> {
        self.fault(key)?;
        let missing = BridgeError::NotFound { vault: vault.to_owned(), key: key.to_owned() };
        let age = self.0.ages.lock().unwrap().get(&fold(key)).copied();
        let freshness = age.filter(|_| reading == Reading::Kept).unwrap_or_default();
        self.kept(vault, key).map(|(value, _)| Answer { value, freshness }).ok_or(missing)
    }

    async fn set(
        &self,
        vault: &str,
        key: &str,
        value: SecretValue,
        metadata: Option<Metadata>,
        _: Instant,
    ) -> Result<(), BridgeError> {
        self.fault(key)?;
        let (whole, metadata) = (Arc::new(value.clone()), metadata.unwrap_or_default());
        let set =
            Verb::Set { key: key.to_owned(), value: whole, metadata: Some(metadata.clone()), member: None };
        self.check(vault, &set)?;
        self.put(vault, key, value, metadata);
        Ok(())
    }

    async fn set_member(
        &self,
        vault: &str,
        key: &str,
        member: String,
        value: SecretValue,
        metadata: Option<Metadata>,
        _: Instant,
    ) -> Result<(), BridgeError> {
        let before = self.kept(vault, key).map(|(value, _)| value);
        let whole = crate::mount::merge(before.as_ref(), &member, value);
        self.put(vault, key, whole, metadata.unwrap_or_default());
        Ok(())
    }

    async fn set_metadata(
        &self,
        vault: &str,
        key: &str,
        metadata: Metadata,
        deadline: Instant,
    ) -> Result<(), BridgeError> {
        let answer = self.get(vault, key, Reading::Kept, deadline).await?;
        self.put(vault, key, answer.value, metadata);
        Ok(())
    }

    async fn unlock(&self, vault: &str, password: Option<Text>, _: Instant) -> Result<(), BridgeError> {
        let told = password.map_or("its own".to_owned(), |password| password.expose().to_owned());
        self.0.administered.lock().unwrap().push(format!("unlock {vault} with {told}"));
        Ok(())
    }

    fn lock(&self, vault: &str) -> Result<(), BridgeError> {
        self.0.administered.lock().unwrap().push(format!("lock {vault}"));
        Ok(())
    }

    fn clear_cache(&self) {
        self.0.administered.lock().unwrap().push("clear the cache".to_owned());
    }

    async fn remove(&self, vault: &str, key: &str, _: Instant) -> Result<(), BridgeError> {
        self.fault(key)?;
        self.check(vault, &Verb::Remove { key: key.to_owned() })?;
        let missing = BridgeError::NotFound { vault: vault.to_owned(), key: key.to_owned() };
        self.0.kept.lock().unwrap().remove(&(fold(vault), fold(key))).map(|_| ()).ok_or(missing)
    }

    async fn list(&self, vault: &str, _: Instant) -> Result<Vec<SecretInfo>, BridgeError> {
        let kept = self.0.kept.lock().unwrap();
        let ours = kept.iter().filter(|((of, _), _)| *of == fold(vault));
        let info = ours.map(|(_, (name, value, metadata))| SecretInfo {
            name: name.clone(),
            kind: value.kind(),
            metadata: metadata.clone(),
        });
        Ok(info.collect())
    }

    fn renew(&self, vault: &str, key: &str) -> Result<bool, BridgeError> {
        self.0.renewed.lock().unwrap().push((vault.to_owned(), key.to_owned()));
        Ok(self.kept(vault, key).is_some())
    }

    fn over_azure(&self, name: &str) -> Vec<String> {
        if name == "in-azure" { vec!["Open".to_owned()] } else { Vec::new() }
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn plan(&self) -> &Plan {
        &self.0.plan
    }

    fn health(&self) -> Health {
        Health { ready: self.0.ready, ..Health::default() }
    }
}

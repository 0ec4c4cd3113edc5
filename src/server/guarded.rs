//! A site behind the rule who may call it.

use std::sync::Arc;

use super::Starting;
use super::front::Front;
use crate::access::{AccessPolicy, CallCounter};
use crate::bridge::Bridge;
use crate::http::{Gate, Site};

/// What a server's listeners serve. Site, bridge and rule can be renewed; a request meets all of one moment.
pub struct GuardedSite {
    front: Arc<Front>,
    access: Arc<AccessPolicy>,
    counter: Arc<CallCounter>,
    site: Option<Arc<dyn Site>>,
}

impl GuardedSite {
    /// Tells that it starts, until there is something to serve.
    pub fn new(access: AccessPolicy, starting: Arc<Starting>) -> GuardedSite {
        let (access, counter) = (Arc::new(access), Arc::<CallCounter>::default());
        let gate = Gate::new(access.clone(), starting).counting(counter.clone());
        GuardedSite { front: Arc::new(Front::new(Arc::new(gate))), access, counter, site: None }
    }

    /// What listeners are opened with.
    pub fn front(&self) -> Arc<Front> {
        self.front.clone()
    }

    /// Whether everybody may call it.
    pub fn is_open(&self) -> bool {
        self.access.is_open()
    }

    /// Serves this from now on; the bridge before it is ended.
    pub async fn replace(&mut self, bridge: Bridge, site: Arc<dyn Site>, access: Option<AccessPolicy>) {
        self.access = access.map_or_else(|| self.access.clone(), Arc::new);
        let gate = self.gate(&site);
        self.site = Some(site);
        // The front has the only handle: a replaced bridge must go, with its folder and its cache.
        self.front.replace(bridge, gate).await;
    }

    /// Another rule, from this moment on. Says whether it differs.
    pub fn renew(&mut self, access: AccessPolicy) -> bool {
        if access == *self.access {
            return false;
        }
        self.access = Arc::new(access);
        if let Some(site) = &self.site {
            self.front.put(self.gate(site));
        }
        true
    }

    fn gate(&self, site: &Arc<dyn Site>) -> Arc<Gate> {
        Arc::new(Gate::new(self.access.clone(), site.clone()).counting(self.counter.clone()))
    }
}

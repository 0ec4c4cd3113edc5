//! The service behind the door, which a reload replaces without dropping a request.
//!
//! Two bridges must never write to one store at the same time: each knows only its own lanes. So after
//! the exchange new requests wait, within their deadlines, until the old bridge has finished its own.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::bridge::Bridge;
use crate::http::{BoxFuture, DoorFault, Head, Reply, Request, Service};

/// How long the old bridge may take to finish before what is left of it is killed.
const HAND_OVER: Duration = Duration::from_secs(5);

/// The bridge in force and its service.
pub(super) struct Front {
    current: RwLock<Current>,
    /// False while an old bridge is finishing.
    open: watch::Sender<bool>,
}

#[derive(Clone)]
struct Current {
    bridge: Bridge,
    service: Arc<dyn Service>,
}

impl Front {
    pub(super) fn new(bridge: Bridge, service: Arc<dyn Service>) -> Front {
        Front { current: RwLock::new(Current { bridge, service }), open: watch::Sender::new(true) }
    }

    pub(super) fn bridge(&self) -> Bridge {
        self.current().bridge
    }

    /// Puts another bridge in force and ends the old one.
    pub(super) async fn replace(&self, bridge: Bridge, service: Arc<dyn Service>) {
        self.open.send_replace(false);
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Current { bridge, service })
        };
        old.bridge.stop(HAND_OVER).await;
        self.open.send_replace(true);
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Service for Front {
    fn admit(&self, head: &Head) -> Result<(), Box<Reply>> {
        self.current().service.admit(head)
    }

    fn answer(&self, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            if !*self.open.borrow() {
                let mut open = self.open.subscribe();
                // At the deadline the service itself says what is to be said.
                let _ = timeout_at(request.head.deadline, open.wait_for(|open| *open)).await;
            }
            let service = self.current().service;
            service.answer(request).await
        })
    }

    fn fault(&self, head: &Head, fault: DoorFault) -> Reply {
        self.current().service.fault(head, fault)
    }
}

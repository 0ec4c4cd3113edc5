//! The service behind the door, which a reload replaces without dropping a request.
//!
//! Two bridges must never write to one store at the same time: each knows only its own lanes. So a bridge
//! is replaced while no request is under way; those that come meanwhile wait, within their deadlines.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{timeout, timeout_at};

use crate::bridge::Bridge;
use crate::http::{BoxFuture, DoorFault, Head, Reply, Request, Service};

/// How long requests under way may take to finish before what is left of them is killed; and then the old
/// bridge's own work beside them, such as a write in its grace.
const HAND_OVER: Duration = Duration::from_secs(5);

/// How long the old bridge's idle workers have for their goodbye, where others have to be killed.
const LAST: Duration = Duration::from_secs(1);

/// The bridge in force and its service.
pub(super) struct Front {
    current: RwLock<Current>,
    /// Each request holds it for reading, a replacement for writing.
    gate: tokio::sync::RwLock<()>,
}

#[derive(Clone)]
struct Current {
    bridge: Bridge,
    service: Arc<dyn Service>,
}

impl Front {
    pub(super) fn new(bridge: Bridge, service: Arc<dyn Service>) -> Front {
        Front { current: RwLock::new(Current { bridge, service }), gate: tokio::sync::RwLock::default() }
    }

    pub(super) fn bridge(&self) -> Bridge {
        self.current().bridge
    }

    /// Puts another bridge in force and ends the old one.
    pub(super) async fn replace(&self, bridge: Bridge, service: Arc<dyn Service>) {
        let old = self.bridge();
        let closed = match timeout(HAND_OVER, self.gate.write()).await {
            Ok(closed) => closed,
            Err(_) => {
                // Their answers come when there is nothing left to wait for.
                old.stop(LAST).await;
                self.gate.write().await
            }
        };
        old.stop(HAND_OVER).await;
        bridge.take_over();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current { bridge, service };
        drop(closed);
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
            // At the deadline the service itself says what is to be said, and does nothing.
            let _open = timeout_at(request.head.deadline, self.gate.read()).await;
            let service = self.current().service;
            service.answer(request).await
        })
    }

    fn fault(&self, head: &Head, fault: DoorFault) -> Reply {
        self.current().service.fault(head, fault)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use hyper::{HeaderMap, Method, StatusCode, Version};
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;
    use crate::bridge::Options;
    use crate::http::Peer;
    use crate::plan::Plan;

    /// Answers with its number once it is let, and counts the answers under way in all of them.
    struct Slow {
        number: u16,
        release: Arc<Notify>,
        others: Arc<AtomicUsize>,
    }

    impl Service for Slow {
        fn admit(&self, _: &Head) -> Result<(), Box<Reply>> {
            Ok(())
        }

        fn answer(&self, _: Request) -> BoxFuture<'_, Reply> {
            Box::pin(async move {
                assert_eq!(self.others.fetch_add(1, SeqCst), 0, "two at once");
                self.release.notified().await;
                self.others.fetch_sub(1, SeqCst);
                let status = StatusCode::from_u16(self.number).unwrap();
                Reply { status, headers: HeaderMap::new(), body: bytes::Bytes::new() }
            })
        }

        fn fault(&self, _: &Head, _: DoorFault) -> Reply {
            unreachable!("no door is here")
        }
    }

    fn request() -> Request {
        let received = Instant::now();
        let head = Head {
            id: 1,
            method: Method::GET,
            path: "/".into(),
            query: None,
            headers: HeaderMap::new(),
            version: Version::HTTP_11,
            peer: Peer::Unix { uid: None, pid: None },
            listener: 0,
            listener_name: None,
            received,
            deadline: received + Duration::from_secs(30),
        };
        Request { head: Arc::new(head), body: bytes::Bytes::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_bridge_answers_nothing_while_the_old_one_does() {
        let (release, others) = (Arc::new(Notify::new()), Arc::default());
        let slow = |number| -> Arc<dyn Service> {
            Arc::new(Slow { number, release: release.clone(), others: Arc::clone(&others) })
        };
        let bridge =
            || async { Bridge::start(Plan::default(), &Options::default(), |_, _| {}).await.unwrap() };
        let front = Arc::new(Front::new(bridge().await, slow(201)));
        let ask = || {
            let front = front.clone();
            tokio::spawn(async move { front.answer(request()).await.status.as_u16() })
        };
        let before = ask();
        tokio::task::yield_now().await;
        let (next, service) = (bridge().await, slow(202));
        let replacing = tokio::spawn({
            let front = front.clone();
            async move { front.replace(next, service).await }
        });
        tokio::task::yield_now().await;
        let after = ask();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!replacing.is_finished() && !before.is_finished());
        release.notify_one();
        assert_eq!(before.await.unwrap(), 201);
        replacing.await.unwrap();
        release.notify_one();
        assert_eq!(after.await.unwrap(), 202);
    }
}

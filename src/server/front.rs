//! The service behind the door, which a reload replaces without dropping a request.
//!
//! Two bridges must never write to one store at the same time: each knows only its own lanes. So at the
//! exchange new requests wait, within their deadlines, until the old bridge has finished its own.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::time::{Instant, timeout, timeout_at};

use super::turns::Turns;
use crate::bridge::Bridge;
use crate::http::{Admitted, BoxFuture, Head, Problem, RefusedRequest, Reply, Request, Service};

/// How long the old bridge may take to finish before what is left of it is killed.
const HAND_OVER: Duration = Duration::from_secs(5);

/// How long the old bridge has after that to unregister its vaults and end its workers.
const LAST: Duration = Duration::from_secs(3);

/// The service in force and the bridge behind it.
pub struct Front {
    current: ArcSwap<CurrentService>,
    /// Each request holds it for reading, so that none is under way with a bridge that is replaced. Who
    /// comes while the writer waits, waits behind it.
    turn: Turns,
}

struct CurrentService {
    /// None while the server starts.
    bridge: Option<Bridge>,
    service: Arc<dyn Service>,
}

impl Front {
    /// Begins with a service that needs no bridge.
    pub fn new(service: Arc<dyn Service>) -> Front {
        let current = CurrentService { bridge: None, service };
        Front { current: ArcSwap::from_pointee(current), turn: Turns::default() }
    }

    /// The bridge in force, once there is one.
    pub fn bridge(&self) -> Option<Bridge> {
        self.current().bridge.clone()
    }

    /// Puts a bridge in force and ends the one before it.
    pub async fn replace(&self, bridge: Bridge, service: Arc<dyn Service>) {
        let until = Instant::now() + HAND_OVER;
        let mut turn = pin!(self.turn.alone());
        let mut held = timeout_at(until, turn.as_mut()).await.ok();
        if let Some(old) = self.bridge() {
            // Writes may still be under way although their callers have gone.
            old.stop(until.saturating_duration_since(Instant::now()) + LAST).await;
            if held.is_none() {
                // Requests whose workers were killed are answered at once. The others do not write to a store.
                held = timeout(HAND_OVER, turn).await.ok();
            }
            bridge.take_over(&old);
        }
        let current = CurrentService { bridge: Some(bridge), service };
        self.current.store(Arc::new(current));
        drop(held);
    }

    /// Puts another rule in front of the bridge in force. Requests under way that were let in by the old one
    /// and are not answered yet are judged again.
    pub fn put(&self, service: Arc<dyn Service>) {
        self.current
            .rcu(|current| CurrentService { bridge: current.bridge.clone(), service: service.clone() });
    }

    fn current(&self) -> Guard<Arc<CurrentService>> {
        self.current.load()
    }
}

impl Service for Front {
    fn admit(&self, head: &Head) -> Result<Admitted, Box<RefusedRequest>> {
        let service = self.current().service.clone();
        let mut admitted = service.admit(head)?;
        admitted.by = Some(service);
        Ok(admitted)
    }

    fn answer(&self, mut request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let _turn = match self.turn.at_once() {
                Some(turn) => Some(turn),
                // At the deadline the service itself makes the answer.
                None => timeout_at(request.head.deadline, self.turn.one_of_many()).await.ok(),
            };
            let service = self.current().service.clone();
            let same = request.admitted.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, &service));
            if !same {
                // The service may have been replaced since. The new one decides by its own rule whether this caller may go on.
                match service.admit(&request.head) {
                    Ok(admitted) => request.admitted = admitted,
                    Err(refused) => return refused.answer().await,
                }
            }
            service.answer(request).await
        })
    }

    fn refuse(&self, head: &Head, problem: &Problem) -> Reply {
        self.current().service.refuse(head, problem)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::{HeaderMap, Method, StatusCode, Version};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::access::Caller;
    use crate::access::Peer;
    use crate::bridge::Options;
    use crate::plan::Plan;

    /// Answers with its status, when it may.
    struct Held {
        status: StatusCode,
        asked: Semaphore,
        leave: Semaphore,
    }

    impl Held {
        fn new(status: StatusCode) -> Arc<Held> {
            Arc::new(Held { status, asked: Semaphore::new(0), leave: Semaphore::new(0) })
        }
    }

    impl Service for Held {
        fn admit(&self, _: &Head) -> Result<Admitted, Box<RefusedRequest>> {
            Ok(Admitted::new(Caller::Anyone, None))
        }

        fn answer(&self, _request: Request) -> BoxFuture<'_, Reply> {
            Box::pin(async {
                self.asked.add_permits(1);
                let _leave = self.leave.acquire().await;
                Reply::new(self.status, HeaderMap::new(), Bytes::new())
            })
        }

        fn refuse(&self, _: &Head, _: &Problem) -> Reply {
            unreachable!("nothing is sent")
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
            peer: Peer::Unix { uid: None, gid: None, pid: None },
            certificate: None,
            holder: None,
            listener: 0,
            received,
            deadline: received + Duration::from_secs(30),
        };
        Request { head: Arc::new(head), body: Bytes::new(), admitted: Admitted::new(Caller::Anyone, None) }
    }

    async fn bridge() -> Bridge {
        let mut plan = Plan::default();
        plan.auto_import.enabled = false;
        Bridge::start(plan, &Options::default(), |_, _| {}).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_those_of_the_old_bridge_and_is_answered_by_the_new_one() {
        let (old, new) = (Held::new(StatusCode::OK), Held::new(StatusCode::CREATED));
        let front = Arc::new(Front::new(old.clone()));
        front.replace(bridge().await, old.clone()).await;
        let ask = |front: &Arc<Front>| {
            let front = front.clone();
            tokio::spawn(async move { front.answer(request()).await.status })
        };
        let first = ask(&front);
        old.asked.acquire().await.unwrap().forget();
        let replacing = tokio::spawn({
            let (front, new) = (front.clone(), new.clone());
            let bridge = bridge().await;
            async move { front.replace(bridge, new).await }
        });
        tokio::task::yield_now().await;
        let second = ask(&front);
        tokio::task::yield_now().await;
        assert!(!replacing.is_finished() && !second.is_finished());
        assert_eq!(new.asked.available_permits(), 0, "nothing reaches the new one yet");
        old.leave.add_permits(9);
        new.leave.add_permits(9);
        replacing.await.unwrap();
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (StatusCode::OK, StatusCode::CREATED));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_ends_holds_a_reload_up_for_a_bounded_time() {
        let (old, new) = (Held::new(StatusCode::OK), Held::new(StatusCode::CREATED));
        let front = Arc::new(Front::new(old.clone()));
        front.replace(bridge().await, old.clone()).await;
        let stuck = tokio::spawn({
            let front = front.clone();
            async move { front.answer(request()).await.status }
        });
        old.asked.acquire().await.unwrap().forget();
        new.leave.add_permits(9);
        timeout(HAND_OVER * 3, front.replace(bridge().await, new)).await.unwrap();
        assert_eq!(front.answer(request()).await.status, StatusCode::CREATED);
        stuck.abort();
    }
}

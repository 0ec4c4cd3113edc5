//! The gate in front of every listener and mode: who calls is judged before anything else of a request.

use std::sync::Arc;

use super::message::{Admitted, BoxFuture, Head, Reply, Request, Service};
use super::respond::Problem;
use crate::access::{Access, Caller};

/// What is behind the gate: routes and their answers.
pub trait Site: Send + Sync + 'static {
    /// Whether a stranger may have the answer too: it tells nothing but that the server is there.
    fn is_public(&self, head: &Head) -> bool;

    /// Whether there is such a route, and whether the caller may use it. Before the body is read.
    fn permit(&self, head: &Head, caller: &Caller) -> Result<(), Problem>;

    /// As [`Service::answer`].
    fn answer(&self, request: Request) -> BoxFuture<'_, Reply>;

    /// The answer to a request that goes no further.
    fn refuse(&self, head: &Head, caller: &Caller, problem: &Problem) -> Reply;
}

/// A site behind the rule who may call it. Both are in force together, and replaced together.
#[derive(Clone)]
pub struct Gate {
    access: Arc<Access>,
    site: Arc<dyn Site>,
}

impl Gate {
    /// Puts the rule in front of the site.
    pub fn new(access: Arc<Access>, site: Arc<dyn Site>) -> Gate {
        Gate { access, site }
    }

    fn judge(&self, head: &Head) -> Result<Admitted, (Caller, Problem)> {
        let caller = match self.access.identify(&head.headers, head.peer.is_local()) {
            Ok(caller) => caller,
            Err(_) if self.site.is_public(head) => Caller::Stranger,
            Err(refusal) => return Err((Caller::Stranger, refusal.into())),
        };
        match self.site.permit(head, &caller) {
            Ok(()) => Ok(Admitted::new(caller)),
            Err(problem) => Err((caller, problem)),
        }
    }
}

impl Service for Gate {
    fn admit<'a>(&'a self, head: &'a Head) -> BoxFuture<'a, Result<Admitted, Box<Reply>>> {
        Box::pin(async move {
            let judged = self.judge(head);
            judged.map_err(|(caller, problem)| {
                let mut reply = self.site.refuse(head, &caller, &problem);
                reply.note.code = problem.code();
                reply.note.who = Some(caller);
                Box::new(reply)
            })
        })
    }

    fn answer(&self, request: Request) -> BoxFuture<'_, Reply> {
        self.site.answer(request)
    }

    fn refuse(&self, head: &Head, problem: &Problem) -> Reply {
        let mut reply = self.site.refuse(head, &Caller::Stranger, problem);
        reply.note.code = problem.code();
        reply
    }
}

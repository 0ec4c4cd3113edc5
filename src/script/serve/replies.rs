//! Answers without a block's own body: error pages, and what all answers have.

use hyper::http::header::{ACCEPT, CONTENT_TYPE, HOST, SERVER};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::exchange::Exchange;
use crate::http::{Problem, Reply, respond};
use crate::script::page::{Form, Page, Wishes};
use crate::script::protocol::call::Exception;
use crate::script::route::ScriptRoute;

/// The name that a script's clients saw.
const SERVER_NAME: HeaderValue = HeaderValue::from_static("Pode");

/// Unique for each request.
pub(super) const CONTEXT_ID: HeaderName = HeaderName::from_static("x-pode-contextid");

impl Exchange<'_> {
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(SERVER, SERVER_NAME);
        if let Ok(context) = HeaderValue::from_str(&self.context) {
            headers.insert(CONTEXT_ID, context);
        }
        headers
    }

    /// What was asked for, as Pode's pages show it.
    fn url(&self) -> String {
        let listener = self.core.endpoints.listeners().into_iter().nth(self.head.listener);
        let protocol = if listener.is_some_and(|listener| listener.tls.is_some()) { "https" } else { "http" };
        format!("{protocol}://{}{}", self.header(HOST).unwrap_or_default(), self.path)
    }

    /// A page in place of an answer.
    pub(super) fn refusal(&self, problem: &Problem) -> Reply {
        let mut reply = self.page(status_of(problem));
        respond::fields(problem, &mut reply.headers);
        reply.note.code = problem.code();
        reply
    }

    pub(super) fn page(&self, status: StatusCode) -> Reply {
        self.full_page(status, None, None, None, None)
    }

    pub(super) fn full_page(
        &self,
        status: StatusCode,
        description: Option<&str>,
        explicit: Option<&str>,
        route: Option<&ScriptRoute>,
        exception: Option<&Exception>,
    ) -> Reply {
        let settings = self.core.settings.pages();
        let wishes = Wishes {
            explicit,
            route: route.and_then(|route| route.error_content_type.as_deref()),
            path: &self.path,
            content_type: self.header(CONTENT_TYPE),
            accept: self.header(ACCEPT),
        };
        let form = Form::choose(&settings, wishes);
        let exception = exception.filter(|_| settings.show_exceptions);
        let page = Page { status, description, url: &self.url(), exception };
        let mut headers = self.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        Reply::new(status, headers, page.render(form))
    }
}

/// The status of a problem as Pode's clients know it: that a block failed is a 500, whatever it failed of.
pub(super) fn status_of(problem: &Problem) -> StatusCode {
    match (problem, problem.status()) {
        (Problem::Bridge(_), status @ (StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)) => {
            status
        }
        (Problem::Bridge(_), _) => StatusCode::INTERNAL_SERVER_ERROR,
        (_, status) => status,
    }
}

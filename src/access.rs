//! Who may call: the bearer token, and the guard against web pages where nobody shows one.
//!
//! Pure, but for the reading of token files: it is given a request's header fields and its peer, and says
//! who calls or why they may not. [`crate::http`] asks it before anything else of a request is looked at.

mod caller;
mod guard;
mod token;

pub use caller::Caller;
pub use token::{MIN_TOKEN, Token, TokenError};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use thiserror::Error;

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No bearer token.
    #[error("a bearer token is needed")]
    NoToken,
    /// Not the token.
    #[error("the bearer token is not right")]
    WrongToken,
    /// A web page without a token.
    #[error("requests from web pages are refused without a token")]
    Browser,
}

/// Who may call.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Without one anyone who can connect may call, but no web page of another origin.
    token: Option<Token>,
}

impl Access {
    /// Anyone who can connect, but no web page of another origin.
    pub fn open() -> Access {
        Access::default()
    }

    /// Whoever shows the token.
    pub fn token(token: Token) -> Access {
        Access { token: Some(token) }
    }

    /// Whether anyone who can connect may call.
    pub fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// Says who calls, or why they may not. `local`: the peer is on this machine.
    pub fn identify(&self, headers: &HeaderMap, local: bool) -> Result<Caller, Refusal> {
        let from_page = guard::is_from_page(headers) || local && guard::is_rebound(headers);
        match (&self.token, shown(headers)) {
            (Some(token), Some(shown)) if token.matches(shown) => Ok(Caller::Token),
            (Some(_), Some(_)) => Err(Refusal::WrongToken),
            (Some(_), None) if guard::is_from_page(headers) => Err(Refusal::Browser),
            (Some(_), None) => Err(Refusal::NoToken),
            (None, _) if from_page => Err(Refusal::Browser),
            (None, _) => Ok(Caller::Anyone),
        }
    }
}

impl Refusal {
    /// A short stable word.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NoToken => "token_missing",
            Refusal::WrongToken => "token_wrong",
            Refusal::Browser => "browser_refused",
        }
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Refusal::NoToken | Refusal::WrongToken => {
                "send 'Authorization: Bearer TOKEN'; the server's start says where the token is kept"
            }
            Refusal::Browser => "call it from a program, under localhost or an IP address, or set a token",
        }
    }
}

/// The bearer token of a request. Several `Authorization` fields are as good as none.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (field, None) = (fields.next()?.as_bytes(), fields.next()) else { return None };
    let (scheme, rest) = field.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests;

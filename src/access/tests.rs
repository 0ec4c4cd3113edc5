use hyper::header::{HeaderName, HeaderValue};

use super::*;

const GOOD: &str = "0123456789abcdef";

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn check_with(token: Option<&str>, fields: &[(&'static str, &str)]) -> Result<Caller, Refusal> {
    let access = token.map_or_else(Access::open, |text| Access::token(Token::from_text(text).unwrap()));
    access.identify(&headers(fields), true)
}

#[test]
fn the_right_token_is_let_in_whatever_the_schemes_case() {
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let shown = format!("{scheme} {GOOD}");
        assert_eq!(check_with(Some(GOOD), &[("authorization", &shown)]).unwrap(), Caller::Token);
    }
}

#[test]
fn a_wrong_token_is_told_from_a_missing_one() {
    for wrong in ["Bearer 0123456789abcdeX", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "Bearer "]
    {
        assert!(
            matches!(check_with(Some(GOOD), &[("authorization", wrong)]), Err(Refusal::WrongToken)),
            "{wrong}"
        );
    }
    for missing in ["Basic 0123456789abcdef", "Bearer", "", GOOD] {
        assert!(
            matches!(check_with(Some(GOOD), &[("authorization", missing)]), Err(Refusal::NoToken)),
            "{missing}"
        );
    }
    assert!(matches!(check_with(Some(GOOD), &[]), Err(Refusal::NoToken)));
}

#[test]
fn two_authorization_fields_are_as_good_as_none() {
    let right = format!("Bearer {GOOD}");
    let both = [("authorization", right.as_str()), ("authorization", right.as_str())];
    assert!(matches!(check_with(Some(GOOD), &both), Err(Refusal::NoToken)));
}

#[test]
fn a_browser_without_a_token_is_refused_and_one_with_it_is_not() {
    let origin = ("origin", "https://evil.example");
    assert!(matches!(check_with(None, &[origin]), Err(Refusal::Browser)));
    assert!(matches!(check_with(Some(GOOD), &[origin]), Err(Refusal::Browser)));
    // A token that nobody asks for proves nothing.
    let shown = format!("Bearer {GOOD}");
    assert!(matches!(check_with(None, &[origin, ("authorization", &shown)]), Err(Refusal::Browser)));
    assert_eq!(check_with(Some(GOOD), &[origin, ("authorization", &shown)]).unwrap(), Caller::Token);
}

#[test]
fn without_a_token_a_local_caller_must_use_a_local_name() {
    for own in
        ["localhost", "LocalHost:8085", "127.0.0.1:8085", "[::1]:8085", "[::1]", "a.localhost", "10.1.2.3"]
    {
        assert_eq!(check_with(None, &[("host", own)]).unwrap(), Caller::Anyone, "{own}");
    }
    for foreign in ["evil.example", "evil.example:8085", "localhost.evil.example"] {
        assert!(matches!(check_with(None, &[("host", foreign)]), Err(Refusal::Browser)), "{foreign}");
    }
    let remote = headers(&[("host", "server.example")]);
    assert_eq!(Access::open().identify(&remote, false).unwrap(), Caller::Anyone);
}

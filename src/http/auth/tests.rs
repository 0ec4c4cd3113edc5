use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::http::testing::head;

const GOOD: &str = "0123456789abcdef";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn check_with(token: Option<&str>, fields: &[(&'static str, &str)]) -> Result<Caller, Problem> {
    let token = token.map(|text| Token::from_text(text).unwrap());
    check(token.as_ref(), &head("GET", "/x", fields))
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
            matches!(check_with(Some(GOOD), &[("authorization", wrong)]), Err(Problem::WrongToken)),
            "{wrong}"
        );
    }
    for missing in ["Basic 0123456789abcdef", "Bearer", "", GOOD] {
        assert!(
            matches!(check_with(Some(GOOD), &[("authorization", missing)]), Err(Problem::NoToken)),
            "{missing}"
        );
    }
    assert!(matches!(check_with(Some(GOOD), &[]), Err(Problem::NoToken)));
}

#[test]
fn two_authorization_fields_are_as_good_as_none() {
    let right = format!("Bearer {GOOD}");
    let both = [("authorization", right.as_str()), ("authorization", right.as_str())];
    assert!(matches!(check_with(Some(GOOD), &both), Err(Problem::NoToken)));
}

#[test]
fn a_browser_without_a_token_is_refused_and_one_with_it_is_not() {
    let origin = ("origin", "https://evil.example");
    assert!(matches!(check_with(None, &[origin]), Err(Problem::Browser)));
    assert!(matches!(check_with(Some(GOOD), &[origin]), Err(Problem::Browser)));
    // A token that nobody asks for proves nothing.
    let shown = format!("Bearer {GOOD}");
    assert!(matches!(check_with(None, &[origin, ("authorization", &shown)]), Err(Problem::Browser)));
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
        assert!(matches!(check_with(None, &[("host", foreign)]), Err(Problem::Browser)), "{foreign}");
    }
    let mut remote = head("GET", "/x", &[("host", "server.example")]);
    remote.peer = crate::http::Peer::Tcp("192.0.2.7:1000".parse().unwrap());
    assert_eq!(check(None, &remote).unwrap(), Caller::Anyone);
}

#[test]
fn a_token_is_made_once_private_and_strong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/token");
    let (token, created) = Token::load_or_create(&path).unwrap();
    assert!(created);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(text.trim_end()).unwrap().len(), 32);
    let (again, created) = Token::load_or_create(&path).unwrap();
    assert!(
        !created && again.matches(text.trim_end().as_bytes()) && token.matches(text.trim_end().as_bytes())
    );
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn many_that_start_at_once_use_one_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let made: Vec<(Token, bool)> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Token::load_or_create(&path).unwrap())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let text = fs::read_to_string(&path).unwrap();
    assert!(made.iter().all(|(token, _)| token.matches(text.trim_end().as_bytes())));
    assert_eq!(made.iter().filter(|(_, created)| *created).count(), 1);
}

#[test]
fn a_token_that_others_may_read_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, GOOD).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let text = Token::load_or_create(&path).unwrap_err().to_string();
    assert!(
        text.contains("mode 0640") && text.contains(&format!("chmod 600 '{}'", path.display())),
        "{text}"
    );
}

#[test]
fn short_tokens_and_those_a_header_cannot_carry_are_refused() {
    assert!(matches!(Token::from_text("0123456789abcde"), Err(TokenError::Short { length: 15 })));
    assert!(matches!(Token::from_text("0123456789 abcdef"), Err(TokenError::Characters)));
    assert!(matches!(Token::from_text("0123456789abcdé0f"), Err(TokenError::Characters)));
    assert!(Token::from_text(&format!("  {GOOD}\r\n")).unwrap().matches(GOOD.as_bytes()));
}

#[test]
fn a_file_whose_content_is_no_token_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "short").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let error = Token::load(&path).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()) && error.contains("5 characters"), "{error}");
}

#[test]
fn debug_and_errors_never_show_the_token() {
    let token = Token::from_text(GOOD).unwrap();
    assert_eq!(format!("{token:?}"), "Token(…)");
    let error = Token::from_text("canary 5f2d canary 5f2d").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
}

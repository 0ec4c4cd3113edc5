use std::fs;

use super::*;
use crate::platform;
use crate::platform::testing::{mode, set_mode};

const GOOD: &str = "0123456789abcdef";

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
        !created
            && again.hash().matches(&Hash::of(text.trim_end().as_bytes()))
            && token.hash().matches(&Hash::of(text.trim_end().as_bytes()))
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
    assert!(made.iter().all(|(token, _)| token.hash().matches(&Hash::of(text.trim_end().as_bytes()))));
    assert_eq!(made.iter().filter(|(_, created)| *created).count(), 1);
}

#[test]
fn a_token_that_others_may_read_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, GOOD).unwrap();
    set_mode(&path, 0o640);
    let text = Token::load_or_create(&path).unwrap_err().to_string();
    let (shown, command) = (
        platform::access_at(&path).unwrap().shown,
        platform::command_to_close(&path, platform::FileKind::File),
    );
    assert!(text.contains(&shown) && text.contains(&command), "{text}");
}

#[test]
fn short_tokens_and_those_a_header_cannot_carry_are_refused() {
    assert!(matches!(Token::from_text("0123456789abcde"), Err(TokenError::Short { length: 15 })));
    assert!(matches!(Token::from_text("0123456789 abcdef"), Err(TokenError::Characters)));
    assert!(matches!(Token::from_text("0123456789abcdé0f"), Err(TokenError::Characters)));
    let spaced = Token::from_text(&format!("  {GOOD}\r\n")).unwrap();
    assert_eq!(spaced.hash(), Hash::of(GOOD.as_bytes()));
}

#[test]
fn a_file_whose_content_is_no_token_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "short").unwrap();
    set_mode(&path, 0o600);
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

#[test]
fn a_hash_is_written_and_read_and_tells_tokens_apart() {
    let hash = Token::from_text(GOOD).unwrap().hash();
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert!(hash.to_string().starts_with("sha256:9f9f5111f7b27a781f1f1ddde5ebc2dd"), "{hash}");
    assert!(!hash.matches(&Hash::of(b"0123456789abcdeF")));
    for wrong in ["", "sha256:", "sha256:00", &hash.to_string()[7..], "sha512:00"] {
        assert_eq!(wrong.parse::<Hash>(), Err(HashError), "{wrong}");
    }
}

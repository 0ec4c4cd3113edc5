//! `set`: a value from standard input, a file or a hidden prompt into a vault.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use zeroize::{Zeroize as _, Zeroizing};

use super::outcome::{CommandOutcome, with_reach};
use crate::cli::{Global, SetArgs, ValueType};
use crate::exit::Exit;
use crate::http::value;
use crate::protocol::Metadata;
use crate::reach::{Failure, WantedVaults};
use crate::secret::{Bytes, Credential, SecretValue, Text};

/// A vault takes no larger value by far.
const MAX_VALUE: u64 = 64 * 1024 * 1024;

pub(super) async fn set(arguments: &SetArgs, global: &Global) -> CommandOutcome {
    let name = arguments.name.clone().with_member(arguments.property.as_ref());
    let metadata: Metadata =
        arguments.metadata.iter().map(|entry| (entry.name.clone(), entry.value.clone())).collect();
    let wanted = WantedVaults::Names(vec![name.clone()]);
    if arguments.only_metadata {
        let done = async |reach: &crate::reach::Reach| reach.set_metadata(&name, metadata).await;
        return with_reach(&arguments.connect, global, wanted, done).await.map(|()| Exit::Ok);
    }
    // Standard input is read before anything is opened: a prompt of something else would read the secret.
    let value = value_of(arguments, &read(arguments)?)?;
    let metadata = (!arguments.metadata.is_empty()).then_some(metadata);
    let done = async |reach: &crate::reach::Reach| reach.set(&name, value, metadata).await;
    with_reach(&arguments.connect, global, wanted, done).await.map(|()| Exit::Ok)
}

/// The bytes of the value, from where the arguments say.
fn read(arguments: &SetArgs) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match arguments.file.as_deref() {
        Some(path) if path == Path::new("-") => from(io::stdin().lock(), "standard input"),
        Some(path) => {
            let place = path.display().to_string();
            let file = std::fs::File::open(path);
            from(file.map_err(|error| Failure::usage(format!("cannot read {place}: {error}")))?, &place)
        }
        None if io::stdin().is_terminal() => {
            let what = if arguments.user.is_some() { "password" } else { "value" };
            hidden(&format!("{what} of {}: ", arguments.name))
                .map(|text| Zeroizing::new(text.as_bytes().to_vec()))
        }
        None => {
            let mut bytes = from(io::stdin().lock(), "standard input")?;
            if arguments.r#type != ValueType::Bytes {
                drop_newline(&mut bytes);
            }
            Ok(bytes)
        }
    }
}

fn from(source: impl io::Read, place: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let failed = |error| Failure::usage(format!("cannot read {place}: {error}"));
    source.take(MAX_VALUE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_VALUE {
        return Err(Failure::usage(format!(
            "{place} holds more than {MAX_VALUE} bytes, which no secret does"
        )));
    }
    Ok(bytes)
}

/// Asks on the terminal and shows nothing of what is typed.
pub(super) fn hidden(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(prompt);
    let typed = typed.map_err(|error| Failure::usage(format!("nothing could be asked for: {error}")))?;
    Ok(Zeroizing::new(typed))
}

/// What `echo` adds is not the secret's.
pub(super) fn drop_newline(bytes: &mut Vec<u8>) {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
}

fn value_of(arguments: &SetArgs, bytes: &[u8]) -> Result<SecretValue, Failure> {
    let is_not = |what: &str| Failure::usage(format!("the value of {} is not {what}", arguments.name));
    let text = || {
        std::str::from_utf8(bytes)
            .map(Text::from)
            .map_err(|_| is_not("UTF-8 text").hint("--type bytes keeps any bytes"))
    };
    if arguments.user.is_some() && arguments.r#type != ValueType::Credential {
        return Err(Failure::usage("--user goes with --type credential"));
    }
    match arguments.r#type {
        ValueType::String => Ok(SecretValue::String(text()?)),
        ValueType::Securestring => Ok(SecretValue::SecureString(text()?)),
        ValueType::Bytes => Ok(SecretValue::Bytes(Bytes::new(bytes))),
        ValueType::Hashtable => {
            from_json("Hashtable", text()?.expose()).map_err(|_| is_not("a JSON object of texts"))
        }
        ValueType::Credential => match &arguments.user {
            Some(user) => Ok(SecretValue::Credential(Credential { user: user.clone(), password: text()? })),
            None => from_json("PSCredential", text()?.expose()).map_err(|_| {
                is_not(r#"{"UserName":"…","Password":"…"}"#)
                    .hint("or name the user with --user and give the password alone")
            }),
        },
    }
}

/// As the server reads it, so that the two take the same.
fn from_json(kind: &str, text: &str) -> Result<SecretValue, crate::http::body_error::BodyError> {
    let mut body = format!(r#"{{"Type":"{kind}","Value":{text}}}"#);
    let read = value::parse(&body, "");
    body.zeroize();
    read.map(|written| written.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_goes() {
        for (given, kept) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("\n", ""), ("", "")]
        {
            let mut bytes = given.as_bytes().to_vec();
            drop_newline(&mut bytes);
            assert_eq!(bytes, kept.as_bytes());
        }
    }

    #[test]
    fn tables_and_credentials_are_read_from_json() {
        let table = from_json("Hashtable", r#"{"a":"1","b":{"Type":"ByteArray","Value":"AQ=="}}"#).unwrap();
        assert_eq!(table.member("A").and_then(SecretValue::as_text), Some("1"));
        assert!(from_json("Hashtable", "[1]").is_err());
        assert!(from_json("PSCredential", r#"{"UserName":"u","Password":"p"}"#).is_ok());
        assert!(from_json("PSCredential", r#"{"UserName":"u"}"#).is_err());
        // A value cannot change the JSON object around it.
        assert!(
            from_json("Hashtable", r#"{"a":"1"},"Metadata":{"x":"y"}"#)
                .is_ok_and(|value| value.member("x").is_none())
        );
    }
}

//! `unlock`, `lock` and `cache clear`: what only a running server can do.

use std::io::{self, IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use super::outcome::CommandOutcome;
use super::set::{drop_newline, hidden};
use crate::cli::{Connect, LockArgs, UnlockArgs};
use crate::exit::Exit;
use crate::private_file::read_private;
use crate::reach::{Failure, Reach};
use crate::secret::Text;

pub(super) async fn unlock(arguments: &UnlockArgs) -> CommandOutcome {
    let server = Reach::needs_server(&arguments.connect).await?;
    let password = password(arguments)?;
    server.unlock(&arguments.vault, password).await.map(|()| Exit::Ok)
}

pub(super) async fn lock(arguments: &LockArgs) -> CommandOutcome {
    let server = Reach::needs_server(&arguments.connect).await?;
    server.lock(&arguments.vault).await.map(|()| Exit::Ok)
}

pub(super) async fn clear_cache(connect: &Connect) -> CommandOutcome {
    Reach::needs_server(connect).await?.clear_cache().await.map(|()| Exit::Ok)
}

/// The password, or nothing where the server is to use its own.
fn password(arguments: &UnlockArgs) -> Result<Option<Text>, Failure> {
    if arguments.configured {
        return Ok(None);
    }
    let mut bytes = match &arguments.password_file {
        Some(path) => read_private(path).map_err(|error| Failure::usage(format!("the password: {error}")))?,
        None if io::stdin().is_terminal() => {
            let typed = hidden(&format!("password of {}: ", arguments.vault))?;
            Zeroizing::new(typed.as_bytes().to_vec())
        }
        None => {
            let mut bytes = Zeroizing::new(Vec::new());
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
            bytes
        }
    };
    drop_newline(&mut bytes);
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::usage("the password is not UTF-8 text"))?;
    if text.is_empty() {
        return Err(Failure::usage("the password is empty").hint("--configured uses the server's own"));
    }
    Ok(Some(text.into()))
}

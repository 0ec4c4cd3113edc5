//! The socket that a server listens on beside its other addresses, so that the command line finds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Server;
use crate::http::{BoundAddress, Service};
use crate::plan::{Bind, Limits, Listener};
use crate::platform;
use crate::private_file::create_private_dir;

/// The note about the socket that tells the command line where the token is. Removed with its holder.
pub struct SocketNote(PathBuf);

/// Listens there too and adds it to the addresses, where that is safe and the place is free; says why not
/// where it is not, because a server that listens elsewhere is of use without it.
pub fn listen(
    server: &mut Server,
    service: Arc<dyn Service>,
    limits: &Limits,
    addresses: &mut Vec<BoundAddress>,
    token_file: Option<&Path>,
    say: impl FnOnce(String),
) -> Option<SocketNote> {
    let socket = platform::own_socket()?;
    let listener = Listener { bind: Bind::Unix(socket.clone()), tls: None, name: None };
    if addresses.iter().any(|address| address.bind == listener.bind) {
        return None;
    }
    let refused = match note_of(&socket).parent().map(create_private_dir) {
        Some(Err(error)) => error.to_string(),
        _ => match server.open(&[listener], service, limits) {
            Ok(more) => {
                addresses.extend(more);
                return note(&socket, token_file);
            }
            Err(error) => error.kind.to_string(),
        },
    };
    say(format!("not listening on {} for the command line: {refused}", socket.display()));
    None
}

fn note(socket: &Path, token_file: Option<&Path>) -> Option<SocketNote> {
    let path = note_of(socket);
    let file = std::path::absolute(token_file?).ok()?;
    // Without it the command line asks for the token's file by name.
    std::fs::write(&path, file.as_os_str().as_encoded_bytes()).ok()?;
    Some(SocketNote(path))
}

/// Where the note about a socket is: beside it, or where it would be if it were a file.
pub fn note_of(socket: &Path) -> PathBuf {
    platform::own_folder().join(socket.file_name().unwrap_or_default()).with_extension("token-file")
}

impl Drop for SocketNote {
    fn drop(&mut self) {
        // A note that stays behind names a file that its reader may read anyway.
        let _ = std::fs::remove_file(&self.0);
    }
}

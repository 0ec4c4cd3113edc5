//! Another user of this machine that workers run as, and whose vaults are served then.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::OnceLock;

use tokio::process::Command;

use super::{FileAccess, FileOwner, system};

/// Another user, as which this program may start programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherUser(system::OtherUser);

impl OtherUser {
    /// Looks the user up. `home` stands in place of the one that the system's database of users has. An error says
    /// why no program can be started as that user, and what to do about it.
    pub fn find(name: &str, home: Option<&Path>) -> Result<OtherUser, String> {
        system::OtherUser::find(name, home).map(OtherUser)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Where the user's files are.
    pub fn home(&self) -> &Path {
        self.0.home()
    }

    /// Whether a file or folder is this user's.
    pub fn owns(&self, access: &FileAccess) -> bool {
        matches!(&access.owner, FileOwner::Other(owner) if *owner == self.0.number())
    }

    /// Has the program run as this user, in all of the user's groups, with the user's home and no capability of
    /// ours. [`spawn`](super::spawn) it after that.
    pub fn run(&self, command: &mut Command) {
        self.0.run(command);
    }

    /// Makes a file or folder the user's own. Its mode stays.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        self.0.give(path)
    }

    /// Lets the user, and nobody else, read a file or enter a folder of ours. It stays ours to change.
    pub fn let_in(&self, path: &Path) -> io::Result<()> {
        self.0.let_in(path)
    }

    /// Does something with files as this user would: what the user may not do fails, and what is made is the user's.
    pub fn act<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.act(act)
    }
}

/// Whose vaults this process serves, once that is known: nothing for those of the user that it runs as.
static VAULTS_OF: OnceLock<Option<OtherUser>> = OnceLock::new();

/// Says whose vaults this process serves. The first word stands for as long as it runs: false for another one.
pub fn serve_vaults_of(user: Option<OtherUser>) -> bool {
    *VAULTS_OF.get_or_init(|| user.clone()) == user
}

/// The other user whose vaults this process serves, if it does.
pub fn vaults_of() -> Option<&'static OtherUser> {
    VAULTS_OF.get().and_then(Option::as_ref)
}

/// Does something with the files of vaults, as the user whose vaults they are.
pub fn with_files_of_vaults<T>(act: impl FnOnce() -> T) -> T {
    match vaults_of() {
        Some(user) => user.act(act),
        None => act(),
    }
}

/// What a regular file of a vault holds, as the user whose vaults they are may read it. A pipe in its place is not
/// waited for.
pub fn read_of_vaults(path: &Path) -> io::Result<Vec<u8>> {
    with_files_of_vaults(|| {
        let mut file = super::open_without_waiting(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(content)
    })
}

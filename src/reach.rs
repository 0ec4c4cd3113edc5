//! Where the command line reaches secrets: a running server or, where none runs, the vaults themselves.
//!
//! Both answer in the same terms, so that a command does not know which of them it talks to.
//!
//! ```text
//! command ─► Reach ─┬─► server: client ─► a running server's routes
//!                   └─► own: a bridge of our own ─► the vaults of the plan
//! ```

use crate::cli::{Connect, Global};
use crate::client::ServerAddress;
use crate::config;
use crate::exit::Exit;
use crate::plan::Bind;
use crate::platform;
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::{SecretValue, Text, is_same_name};
pub use error::Failure;
pub use name::{SecretName, SecretPlace};
use own::Own;
pub use own::plan;
pub use server::CLOSED;
use server::RunningServer;
pub use terms::{Secret, VaultLine, WantedVaults};

mod error;
pub(crate) mod name;
mod own;
mod server;
mod similar;
mod terms;

/// A way to secrets.
pub enum Reach {
    /// Over a running server's routes.
    Server(RunningServer),
    /// With a bridge of our own.
    Own(Box<Own>),
}

impl Reach {
    /// Finds a server, or opens what is wanted.
    pub async fn find(connect: &Connect, global: &Global, wanted: &WantedVaults) -> Result<Reach, Failure> {
        match Reach::server(connect).await? {
            Some(server) => Ok(Reach::Server(server)),
            None => Ok(Reach::Own(Box::new(Own::open(connect, global, wanted).await?))),
        }
    }

    /// What can be looked at while somebody types: a server or, of the vaults themselves, the wanted one if it is a local
    /// vault that is there. Nothing else is opened or made, so that no worker starts.
    pub async fn at_hand(connect: &Connect, global: &Global, vault: Option<&str>) -> Result<Reach, Failure> {
        if let Some(server) = Reach::server(connect).await? {
            return Ok(Reach::Server(server));
        }
        let wanted = vault.filter(|vault| own::is_local_and_there(connect, vault));
        let wanted = wanted.map_or(WantedVaults::Nothing, |vault| WantedVaults::Vault(vault.to_owned()));
        Ok(Reach::Own(Box::new(Own::open(connect, global, &wanted).await?)))
    }

    /// Finds a server, and says where none was found.
    pub async fn needs_server(connect: &Connect) -> Result<RunningServer, Failure> {
        if connect.direct {
            return Err(Failure::usage("this needs a running server, and --direct asks none"));
        }
        Reach::server(connect).await?.ok_or_else(|| {
            let looked = sockets(connect).unwrap_or_default();
            let looked: Vec<_> = looked.iter().map(ToString::to_string).collect();
            let place = if looked.is_empty() {
                "there is no socket to look for".to_owned()
            } else {
                format!("nobody listens on {}", looked.join(", "))
            };
            Failure::new(Exit::Unreachable, format!("no server of yours runs: {place}"))
                .hint("start one with `secretbridge serve`, or name it with --url or SECRETBRIDGE_ADDR")
        })
    }

    /// A server of this user's, whatever configuration it serves.
    pub async fn any_server(connect: &Connect) -> Result<Option<RunningServer>, Failure> {
        if let Some(server) = Reach::server(connect).await? {
            return Ok(Some(server));
        }
        let Some(socket) = platform::own_socket_to_call().filter(|_| connect.url().is_none()) else {
            return Ok(None);
        };
        let server = RunningServer::new(ServerAddress::Unix(socket), connect)?;
        Ok(server.is_reachable().await.then_some(server))
    }

    async fn server(connect: &Connect) -> Result<Option<RunningServer>, Failure> {
        if connect.direct {
            return Ok(None);
        }
        if let Some(url) = connect.url() {
            let address: ServerAddress = url
                .parse()
                .map_err(|error: crate::client::ServerAddressError| Failure::usage(error.to_string()))?;
            return RunningServer::new(address, connect).map(Some);
        }
        for address in sockets(connect)? {
            let server = RunningServer::new(address, connect)?;
            if server.is_reachable().await {
                return Ok(Some(server));
            }
        }
        Ok(None)
    }

    /// Reads a secret, and of it the members that its name names.
    pub async fn get(&self, name: &SecretName) -> Result<Secret, Failure> {
        let read = match self {
            Reach::Server(server) => server.get(name).await,
            Reach::Own(own) => own.get(name).await,
        };
        let mut secret = match read {
            Err(failure) => return Err(self.with_similar(failure, name).await),
            Ok(secret) => secret,
        };
        for member in &name.members {
            secret.value = member_of(&secret.value, member).ok_or_else(|| no_member(name, member))?;
        }
        Ok(secret)
    }

    /// Writes a secret, or the member that its name names.
    pub async fn set(
        &self,
        name: &SecretName,
        value: SecretValue,
        metadata: Option<Metadata>,
    ) -> Result<(), Failure> {
        if name.members.len() > 1 {
            return Err(Failure::usage(format!(
                "{name}: only a member of the outermost table can be written"
            )));
        }
        match self {
            Reach::Server(server) => server.set(name, value, metadata).await,
            Reach::Own(own) => own.set(name, value, metadata).await,
        }
    }

    /// Writes metadata and leaves the value as it is.
    pub async fn set_metadata(&self, name: &SecretName, metadata: Metadata) -> Result<(), Failure> {
        match self {
            Reach::Server(server) => server.set_metadata(name, metadata).await,
            Reach::Own(own) => own.set_metadata(name, metadata).await,
        }
    }

    /// Removes a secret.
    pub async fn remove(&self, name: &SecretName) -> Result<(), Failure> {
        let removed = match self {
            Reach::Server(server) => server.remove(name).await,
            Reach::Own(own) => own.remove(name).await,
        };
        match removed {
            Err(failure) => Err(self.with_similar(failure, name).await),
            Ok(()) => Ok(()),
        }
    }

    /// A failure with the name that was perhaps meant, where nothing has the one that was asked for. Names come only from
    /// what the caller may list.
    pub async fn with_similar(&self, failure: Failure, name: &SecretName) -> Failure {
        let SecretPlace::Key { vault, key } = &name.place else { return failure };
        if failure.exit != Exit::NotFound {
            return failure;
        }
        let hint = |meant: String| failure.clone().hint(format!("did you mean '{meant}'?"));
        match self.list(vault).await {
            Ok(secrets) => {
                let keys = secrets.iter().map(|secret| secret.name.as_str());
                similar::most_similar(key, keys).map(|key| hint(format!("{vault}/{key}")))
            }
            Err(_) => {
                let vaults = self.vaults().await.unwrap_or_default();
                let others = vaults.iter().map(|vault| vault.name.as_str());
                let names = others.filter(|name| !is_same_name(name, vault));
                similar::most_similar(vault, names).map(|vault| hint(format!("{vault}/{key}")))
            }
        }
        .unwrap_or_else(|| failure.clone())
    }

    /// Names, types and metadata of a vault's secrets.
    pub async fn list(&self, vault: &str) -> Result<Vec<SecretInfo>, Failure> {
        match self {
            Reach::Server(server) => server.list(vault).await,
            Reach::Own(own) => own.list(vault).await,
        }
    }

    /// What a secret's name leads to: its vault and its key there.
    pub async fn resolve(&self, name: &SecretName) -> Result<(String, String), Failure> {
        match (&name.place, self) {
            (SecretPlace::Key { vault, key }, _) => Ok((vault.clone(), key.clone())),
            (SecretPlace::Bare(bare), Reach::Server(server)) => server.resolve(bare).await,
            (SecretPlace::Bare(bare), Reach::Own(own)) => own.resolve(bare),
        }
    }

    /// The vaults.
    pub async fn vaults(&self) -> Result<Vec<VaultLine>, Failure> {
        match self {
            Reach::Server(server) => server.vaults().await,
            Reach::Own(own) => Ok(own.vaults()),
        }
    }

    /// The names of the mounted secrets.
    pub async fn mounts(&self) -> Result<Vec<String>, Failure> {
        match self {
            Reach::Server(server) => server.mounts().await,
            Reach::Own(own) => Ok(own.mounts()),
        }
    }

    /// Ends what was opened, in good order.
    pub async fn close(self) {
        if let Reach::Own(own) = self {
            own.close().await;
        }
    }
}

/// The sockets on which a server of this user may listen. Those of a configuration that was named come
/// alone, because the server of another one has other vaults.
fn sockets(connect: &Connect) -> Result<Vec<ServerAddress>, Failure> {
    let own = || platform::own_socket_to_call();
    let Some(config) = connect.config() else {
        return Ok(own().into_iter().map(ServerAddress::Unix).collect());
    };
    let plan = config::load(&config)?;
    let sockets = plan.listeners.into_iter().filter_map(|listener| match listener.bind {
        Bind::Unix(path) => Some(ServerAddress::Unix(path)),
        Bind::Tcp(_) => None,
    });
    Ok(sockets.collect())
}

/// A member of a table, or a part of a credential.
fn member_of(value: &SecretValue, member: &str) -> Option<SecretValue> {
    match value {
        SecretValue::Credential(credential) if member.eq_ignore_ascii_case("UserName") => {
            Some(SecretValue::String(Text::new(credential.user.clone())))
        }
        SecretValue::Credential(credential) if member.eq_ignore_ascii_case("Password") => {
            Some(SecretValue::SecureString(credential.password.clone()))
        }
        _ => value.member(member).cloned(),
    }
}

fn no_member(name: &SecretName, member: &str) -> Failure {
    let whole = SecretName { members: Vec::new(), ..name.clone() };
    Failure::new(Exit::NotFound, format!("the secret {whole} has no member '{member}'"))
        .hint("a table has the members it was written with; a credential has UserName and Password")
}

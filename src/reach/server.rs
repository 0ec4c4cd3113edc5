//! A running server's routes, in the terms of the command line.

use hyper::Method;
use serde_json::{Value, json};

use super::error::Failure;
use super::name::{SecretName, SecretPlace, encode};
use super::terms::{Secret, VaultLine};
use crate::cli::Connect;
use crate::client::{Client, ClientError, Sent, ServerAddress, ServerAnswer};
use crate::exit::Exit;
use crate::http::value;
use crate::local;
use crate::private_file::{PrivateFileError, read_private};
use crate::protocol::{Metadata, SecretInfo};
use crate::secret::{SecretType, SecretValue, Text, fold};

/// The state of a vault that somebody has locked, whatever it was before.
pub const CLOSED: &str = "locked by hand";

const JSON: &str = "application/json";

/// A server that runs somewhere.
pub struct RunningServer {
    client: Client,
}

impl RunningServer {
    /// Nothing is sent yet.
    pub fn new(address: ServerAddress, connect: &Connect) -> Result<RunningServer, Failure> {
        let token = token(&address, connect)?;
        let client = Client::new(address, token, connect.ca_file().as_deref(), connect.timeout);
        Ok(RunningServer { client: client.map_err(|error| Failure::usage(error.to_string()))? })
    }

    /// Whether somebody listens there.
    pub async fn is_reachable(&self) -> bool {
        self.client.is_reachable().await
    }

    /// Where it is.
    pub fn address(&self) -> &ServerAddress {
        self.client.address()
    }

    pub(super) async fn get(&self, name: &SecretName) -> Result<Secret, Failure> {
        let answer = self.on_secret(Method::GET, name, "", None).await?;
        let said: Value = parsed(&answer)?;
        let text = utf8(&answer)?;
        let own_name = said["Name"].as_str().unwrap_or(name.last()).to_owned();
        let written =
            value::parse(text, &own_name).map_err(|_| Failure::failed("the server's answer is no secret"))?;
        Ok(Secret { name: own_name, value: written.value })
    }

    pub(super) async fn set(
        &self,
        name: &SecretName,
        value: SecretValue,
        metadata: Option<Metadata>,
    ) -> Result<(), Failure> {
        let mut body = value::shown(name.last(), &value);
        if let (Some(metadata), Value::Object(members)) = (&metadata, &mut body) {
            members.insert("Metadata".to_owned(), value::shown_metadata(metadata));
        }
        let query =
            name.members.first().map_or_else(String::new, |member| format!("?property={}", encode(member)));
        self.on_secret(Method::PUT, name, &query, Some(body)).await.map(drop)
    }

    pub(super) async fn set_metadata(&self, name: &SecretName, metadata: Metadata) -> Result<(), Failure> {
        let body = json!({ "Metadata": value::shown_metadata(&metadata) });
        self.on_secret(Method::PATCH, name, "", Some(body)).await.map(drop)
    }

    pub(super) async fn remove(&self, name: &SecretName) -> Result<(), Failure> {
        self.on_secret(Method::DELETE, name, "", None).await.map(drop)
    }

    pub(super) async fn list(&self, vault: &str) -> Result<Vec<SecretInfo>, Failure> {
        let answer = self.send(Method::GET, &format!("/vaults/{}/secrets", encode(vault)), None).await?;
        let said: Value = parsed(&answer)?;
        let secrets = said["Secrets"].as_array().cloned().unwrap_or_default();
        Ok(secrets.iter().filter_map(info).collect())
    }

    pub(super) async fn vaults(&self) -> Result<Vec<VaultLine>, Failure> {
        let said = self.json("/vaults").await?;
        let health = self.health().await.unwrap_or_default();
        let state = |name: &str| {
            let vaults = health["vaults"].as_array()?;
            let vault = vaults
                .iter()
                .find(|vault| vault["name"].as_str().is_some_and(|of| fold(of) == fold(name)))?;
            if vault["closed"] == true {
                Some(CLOSED.to_owned())
            } else {
                vault["state"].as_str().map(str::to_owned)
            }
        };
        let line = |vault: &Value| {
            let name = vault["Name"].as_str()?.to_owned();
            Some(VaultLine { read_only: vault["ReadOnly"].as_bool()?, state: state(&name), name })
        };
        Ok(said["Vaults"].as_array().map(|all| all.iter().filter_map(line).collect()).unwrap_or_default())
    }

    /// The vault and key behind a name without a vault.
    pub(super) async fn resolve(&self, bare: &str) -> Result<(String, String), Failure> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mounts = self.json("/mounts").await?;
        let is_it = |mount: &&Value| mount["Name"].as_str().is_some_and(|name| fold(name) == fold(bare));
        let mount = mounts["Mounts"].as_array().and_then(|all| all.iter().find(is_it));
        if let Some(place) = mount.and_then(|mount| Some((text(&mount["Vault"])?, text(&mount["Key"])?))) {
            return Ok(place);
        }
        let vaults = self.json("/vaults").await?;
        let default =
            vaults["Vaults"].as_array().and_then(|all| all.iter().find(|vault| vault["Default"] == true));
        let vault = default.and_then(|vault| text(&vault["Name"])).ok_or_else(|| no_place(bare))?;
        Ok((vault, bare.to_owned()))
    }

    pub(super) async fn mounts(&self) -> Result<Vec<String>, Failure> {
        let said = self.json("/mounts").await?;
        let name = |mount: &Value| mount["Name"].as_str().map(str::to_owned);
        Ok(said["Mounts"].as_array().map(|all| all.iter().filter_map(name).collect()).unwrap_or_default())
    }

    /// How the server is, in its own JSON.
    pub async fn health(&self) -> Result<Value, Failure> {
        self.json("/health").await
    }

    /// Unlocks a vault, with the server's own password where none is given.
    pub async fn unlock(&self, vault: &str, password: Option<Text>) -> Result<(), Failure> {
        let body = password.map(|password| json!({ "Password": password.expose() }));
        self.send(Method::POST, &format!("/vaults/{}/unlock", encode(vault)), body).await.map(drop)
    }

    /// Locks a vault.
    pub async fn lock(&self, vault: &str) -> Result<(), Failure> {
        self.send(Method::POST, &format!("/vaults/{}/lock", encode(vault)), None).await.map(drop)
    }

    /// Makes the server forget the values that it keeps.
    pub async fn clear_cache(&self) -> Result<(), Failure> {
        self.send(Method::POST, "/admin/cache/clear", None).await.map(drop)
    }

    async fn json(&self, path: &str) -> Result<Value, Failure> {
        parsed(&self.send(Method::GET, path, None).await?)
    }

    async fn on_secret(
        &self,
        method: Method,
        name: &SecretName,
        query: &str,
        body: Option<Value>,
    ) -> Result<ServerAnswer, Failure> {
        let key = encode(name.last());
        let SecretPlace::Key { vault, .. } = &name.place else {
            let mount = self.send(method.clone(), &format!("/mounts/{key}{query}"), body.clone()).await;
            return match mount {
                Err(error) if error.exit == Exit::NotFound => {
                    let of_default = self.send(method, &format!("/secrets/{key}{query}"), body).await;
                    // A server without a default vault has no such route.
                    of_default.map_err(|other| {
                        if other.message.contains("route") { no_place(name.last()) } else { other }
                    })
                }
                outcome => outcome,
            };
        };
        self.send(method, &format!("/vaults/{}/secrets/{key}{query}", encode(vault)), body).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<ServerAnswer, Failure> {
        let sent = Sent {
            content_type: body.as_ref().map(|_| JSON),
            accept: Some(JSON),
            body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        };
        let answer = self.client.send(method, path, sent).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let part = |name: &str| said["error"][name].as_str().unwrap_or_default();
        let status = answer.status.as_u16();
        Err(match part("message") {
            "" => {
                Failure::failed(format!("{} answered {status}, and not as secretbridge does", self.address()))
            }
            message => Failure::said(status, part("code"), message, hint_for(status, part("hint"))),
        })
    }
}

/// What a person at the command line can do, where the server's own hint is for those who write programs.
fn hint_for(status: u16, hint: &str) -> &str {
    match status {
        401 => "name the file with the server's token with --token-file or SECRETBRIDGE_TOKEN_FILE",
        _ => hint,
    }
}

pub(super) fn no_place(name: &str) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("no secret named '{name}' has been mounted, and there is no default vault"),
    )
    .hint("write vault/key; `secretbridge vaults` lists the vaults")
}

fn info(secret: &Value) -> Option<SecretInfo> {
    let kind: SecretType = serde_json::from_value(secret["Type"].clone()).unwrap_or(SecretType::Unknown);
    let metadata = value::parse_metadata(&secret["Metadata"].to_string()).unwrap_or_default();
    Some(SecretInfo { name: secret["Name"].as_str()?.to_owned(), kind, metadata })
}

fn parsed<T: serde::de::DeserializeOwned>(answer: &ServerAnswer) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|_| Failure::failed("the server's answer is not JSON"))
}

fn utf8(answer: &ServerAnswer) -> Result<&str, Failure> {
    std::str::from_utf8(&answer.body).map_err(|_| Failure::failed("the server's answer is not text"))
}

/// The token named, or for a server on this machine the one that `serve` makes.
fn token(address: &ServerAddress, connect: &Connect) -> Result<Option<Text>, Failure> {
    let read = |path: &std::path::Path| -> Result<Text, PrivateFileError> {
        let bytes = read_private(path)?;
        Ok(Text::new(String::from_utf8_lossy(&bytes).trim()))
    };
    if let Some(path) = connect.token_file() {
        return read(&path).map(Some).map_err(|error| Failure::usage(format!("the token file: {error}")));
    }
    if let ServerAddress::Unix(socket) = address
        && let Ok(noted) = std::fs::read_to_string(crate::server::own::note_of(socket))
    {
        return Ok(read(std::path::Path::new(&noted)).ok());
    }
    let Some(own) = local::default_folder().map(|folder| folder.join("token")).filter(|path| path.is_file())
    else {
        return Ok(None);
    };
    // The token of a local server is sent to this machine only.
    if is_here(address) { Ok(read(&own).ok()) } else { Ok(None) }
}

fn is_here(address: &ServerAddress) -> bool {
    match address {
        ServerAddress::Unix(_) => true,
        ServerAddress::Tcp { host, .. } => {
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let hint = match &error {
            ClientError::Connect { .. } => "is the server running, and is that its address?",
            ClientError::Handshake { .. } => {
                "name its authority with --ca-file, or use http:// if it has no certificate"
            }
            ClientError::Timeout { .. } => "give it more time with --timeout",
            _ => "is that a secretbridge server, and do both speak TLS or neither?",
        };
        let exit = match &error {
            ClientError::Request { .. } => Exit::Usage,
            ClientError::Large { .. } => Exit::Failure,
            _ => Exit::Unreachable,
        };
        Failure::new(exit, error.to_string()).hint(hint)
    }
}

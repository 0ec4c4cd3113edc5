//! The user's own vault registry, written where the plan asks for it.
//!
//! Vaults are put in so that other shells of the user see them, and taken out at the end. What a server that
//! crashed had put in, the next one takes out. Nothing else is touched: no vault that the user registered, and none
//! of ours that the user has changed since.
//!
//! The change itself is made by SecretManagement's own cmdlets, in a process that lives only for it: SecretManagement
//! reads the registry when it is loaded and writes it whole, so a process that has lived longer would write what has
//! become of it since away. Servers take turns ([`note`](super::note)).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use super::error::RegistryError;
use super::note::{NotedVault, Notes, ServerNote};
use crate::plan::{self, Extension, Plan, Registry};
use crate::platform;
use crate::protocol::{Empty, Op, Parameters, Register, RegisterReply, VaultName};
use crate::pwsh::{self, Folder, compiled};
use crate::secret::fold;
use crate::vault::backend::kinds;
use crate::worker::process::{Environment, PwshLauncher};
use crate::worker::{CallError, Worker};

/// How long a change may take: pwsh starts, a module is imported.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a vault is put in again that another program's write took out at the same moment.
const TRIES: usize = 3;

/// A vault to be put in.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedVault {
    /// Its name in the registry.
    pub vault: String,
    /// Its module, by name or path.
    pub module: String,
    /// The bare name of its module.
    pub module_name: String,
    /// Its VaultParameters.
    pub parameters: Parameters,
}

/// What the process that writes needs.
#[derive(Debug, Clone, Default)]
pub struct RegistryMeans {
    /// `--pwsh`.
    pub pwsh: Option<PathBuf>,
    /// What the plan says of it.
    pub plan: plan::Pwsh,
    /// Environment variables with secrets, which it does not get.
    pub removed: Vec<String>,
}

/// What this server has put into the user's registry. Cheap to clone.
#[derive(Clone)]
pub struct UserRegistry(Arc<Mutex<RegistryState>>);

struct RegistryState {
    means: RegistryMeans,
    notes: Notes,
    /// There from the first vault on.
    note: Option<ServerNote>,
}

type Entries = Map<String, Value>;

// === impl WantedVault ===

impl WantedVault {
    /// The vaults that a plan wants there: none, unless it says so.
    pub fn of_plan(plan: &Plan) -> Vec<WantedVault> {
        if plan.registry == Registry::Private {
            return Vec::new();
        }
        plan.vaults.iter().filter_map(|vault| WantedVault::of(vault.extension()?)).collect()
    }

    /// One vault; none, if the user had registered it.
    pub fn of(extension: &Extension) -> Option<WantedVault> {
        if extension.imported {
            return None;
        }
        // SecretStore's are its configuration, and no business of the registry.
        let is_configuration = kinds::settings_of(extension).is_some();
        let parameters = if is_configuration { Parameters::default() } else { extension.parameters.clone() };
        Some(WantedVault {
            vault: extension.registered.clone(),
            module: extension.module.clone(),
            module_name: extension.module_name().to_owned(),
            parameters,
        })
    }

    fn digest(&self) -> String {
        let mut asked = Map::new();
        asked.insert("module".into(), fold(&self.module).into());
        asked.insert("parameters".into(), Value::Object(self.parameters.0.clone()));
        digest(&Value::Object(asked))
    }

    /// Whether what stands there is what we would write.
    fn is(&self, entry: &Value) -> bool {
        let parameters = entry.get("VaultParameters").and_then(Value::as_object).cloned().unwrap_or_default();
        fold(module_of(entry)) == fold(&self.module_name)
            && digest(&Value::Object(parameters)) == digest(&Value::Object(self.parameters.0.clone()))
    }
}

// === impl UserRegistry ===

impl UserRegistry {
    /// Nothing is put in yet.
    pub fn new(means: RegistryMeans) -> UserRegistry {
        let registry = platform::vault_registry();
        // Beside the registry, so that all servers that see it agree.
        let folder =
            registry.parent().and_then(|folder| folder.parent()).unwrap_or(&registry).join("secretbridge");
        UserRegistry(Arc::new(Mutex::new(RegistryState { means, notes: Notes::at(folder), note: None })))
    }

    /// From the next change on, another pwsh.
    pub async fn use_means(&self, means: RegistryMeans) {
        self.0.lock().await.means = means;
    }

    /// Takes out what servers that crashed had put in. That it cannot is no reason not to start.
    pub async fn sweep(&self) {
        let mut state = self.0.lock().await;
        if !state.notes.any() {
            return;
        }
        if let Err(error) = state.change(&[], Vec::new()).await {
            tracing::warn!("what a server that crashed left in your vault registry stays there: {error}");
        }
    }

    /// Whether a plan's vaults can be put in; changes nothing.
    pub async fn check(&self, wanted: &[WantedVault]) -> Result<(), RegistryError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let state = self.0.lock().await;
        let _turn = state.notes.turn().await?;
        let (gone, mut others) = state.notes.of_others(state.note.as_ref());
        others.extend(gone.into_iter().flat_map(|note| note.vaults));
        let entries = read()?;
        wanted.iter().try_for_each(|one| placing(one, &entries, state.note.as_ref(), &others).map(drop))
    }

    /// Makes these the vaults that this server has there, and no others.
    pub async fn sync(&self, wanted: Vec<WantedVault>) -> Result<(), RegistryError> {
        let mut state = self.0.lock().await;
        let is_wanted = |noted: &&NotedVault| wanted.iter().any(|one| fold(&one.vault) == fold(&noted.vault));
        let noted = state.note.iter().flat_map(|note| &note.vaults);
        let out: Vec<_> = noted.filter(|noted| !is_wanted(noted)).map(|noted| noted.vault.clone()).collect();
        if out.is_empty() && wanted.is_empty() {
            return Ok(());
        }
        state.change(&out, wanted).await
    }

    /// Puts one more in.
    pub async fn add(&self, wanted: WantedVault) -> Result<(), RegistryError> {
        self.0.lock().await.change(&[], vec![wanted]).await
    }

    /// Takes one out, if this server put it in.
    pub async fn remove(&self, vault: &str) -> Result<(), RegistryError> {
        let mut state = self.0.lock().await;
        if state.note.as_ref().is_none_or(|note| note.of(vault).is_none()) {
            return Ok(());
        }
        state.change(&[vault.to_owned()], Vec::new()).await
    }

    /// Whether this server has anything there.
    pub async fn holds_any(&self) -> bool {
        self.0.lock().await.note.as_ref().is_some_and(|note| !note.vaults.is_empty())
    }

    /// Takes out all that this server has there. What stays, the next start takes out.
    pub async fn end(&self, limit: Duration) {
        match tokio::time::timeout(limit, self.sync(Vec::new())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("your vault registry still has vaults of this server: {error}"),
            Err(_) => {
                tracing::warn!("your vault registry still has vaults of this server: there was no time left")
            }
        }
        if let Some(note) = self.0.lock().await.note.take_if(|note| note.vaults.is_empty()) {
            note.end();
        }
    }
}

impl std::fmt::Debug for UserRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserRegistry(…)")
    }
}

impl RegistryState {
    /// Takes out what crashed servers had put in and what is named, and puts in what is wanted.
    async fn change(&mut self, out: &[String], wanted: Vec<WantedVault>) -> Result<(), RegistryError> {
        let _turn = self.notes.turn().await?;
        let (gone, living) = self.notes.of_others(self.note.as_ref());
        let mut entries = read()?;
        let mut writer = None;
        for note in gone {
            match clear(&self.means, &note, &living, &mut writer, &mut entries).await {
                Ok(()) => note.end(),
                Err(error) => {
                    tracing::warn!(
                        "what a server that crashed left in your vault registry stays there: {error}"
                    );
                }
            }
        }
        for vault in out {
            self.take_out(vault, &living, &mut writer, &mut entries).await?;
        }
        for one in wanted {
            match placing(&one, &entries, self.note.as_ref(), &living)? {
                Placing::Stands => {
                    tracing::info!(
                        vault = one.vault,
                        "your vault registry has this vault already; it stays yours"
                    );
                }
                Placing::Ours => {}
                Placing::Shared(noted) => self.note()?.say(noted)?,
                Placing::Put { replaces } => {
                    if replaces {
                        self.take_out(&one.vault, &living, &mut writer, &mut entries).await?;
                    }
                    self.put_in(&one, &mut writer, &mut entries).await?;
                }
            }
        }
        Ok(())
    }

    async fn take_out(
        &mut self,
        vault: &str,
        living: &[NotedVault],
        writer: &mut Option<RegistryWriter>,
        entries: &mut Entries,
    ) -> Result<(), RegistryError> {
        let Some(note) = &mut self.note else { return Ok(()) };
        let Some(noted) = note.of(vault).cloned() else { return Ok(()) };
        if leaving(&noted, entries, living) {
            unregister(&self.means, writer, &noted.vault, entries).await?;
        }
        Ok(note.forget(vault)?)
    }

    async fn put_in(
        &mut self,
        wanted: &WantedVault,
        writer: &mut Option<RegistryWriter>,
        entries: &mut Entries,
    ) -> Result<(), RegistryError> {
        let mut noted = NotedVault {
            vault: wanted.vault.clone(),
            module: wanted.module_name.clone(),
            asked: wanted.digest(),
            found: None,
        };
        // Before it is there, so that a crash in between leaves nothing that nobody knows of.
        self.note()?.say(noted.clone())?;
        for _ in 0..TRIES {
            let registered = register(&self.means, writer, wanted).await;
            *entries = read()?;
            if let Some(entry) = entry_of(entries, &wanted.vault) {
                registered?;
                noted.module = module_of(entry).to_owned();
                noted.found = Some(digest(entry));
                return Ok(self.note()?.say(noted)?);
            }
            if let Err(error) = registered {
                self.note()?.forget(&wanted.vault)?;
                return Err(error);
            }
            // Another program wrote at the same moment; one that has read its file says what is there now.
            *writer = None;
        }
        self.note()?.forget(&wanted.vault)?;
        Err(RegistryError::NotWritten { vault: wanted.vault.clone(), path: platform::vault_registry() })
    }

    fn note(&mut self) -> Result<&mut ServerNote, RegistryError> {
        match &mut self.note {
            Some(note) => Ok(note),
            none => Ok(none.insert(self.notes.begin()?)),
        }
    }
}

// === what is right ===

/// How a wanted vault comes to stand in the registry.
#[derive(Debug, PartialEq)]
enum Placing {
    /// The user has it already.
    Stands,
    /// We have put it in.
    Ours,
    /// Another server has put it in: it stays until both are gone.
    Shared(NotedVault),
    /// It is put in.
    Put {
        /// In place of one that we put in before.
        replaces: bool,
    },
}

fn placing(
    wanted: &WantedVault,
    entries: &Entries,
    own: Option<&ServerNote>,
    others: &[NotedVault],
) -> Result<Placing, RegistryError> {
    let Some(entry) = entry_of(entries, &wanted.vault) else { return Ok(Placing::Put { replaces: false }) };
    if let Some(noted) = own.and_then(|own| own.of(&wanted.vault))
        && is_as_noted(noted, entry)
    {
        let same = noted.asked == wanted.digest() && noted.found.is_some();
        return Ok(if same { Placing::Ours } else { Placing::Put { replaces: true } });
    }
    let of_another =
        others.iter().find(|noted| fold(&noted.vault) == fold(&wanted.vault) && is_as_noted(noted, entry));
    if let Some(noted) = of_another.filter(|noted| noted.asked == wanted.digest()) {
        return Ok(Placing::Shared(noted.clone()));
    }
    if wanted.is(entry) {
        return Ok(Placing::Stands);
    }
    Err(RegistryError::Taken { vault: wanted.vault.clone(), module: module_of(entry).to_owned() })
}

/// Whether a vault that was put in is to be taken out: it is there, nobody has changed it, and no other server
/// that lives has it there too.
fn leaving(noted: &NotedVault, entries: &Entries, living: &[NotedVault]) -> bool {
    let Some(entry) = entry_of(entries, &noted.vault) else { return false };
    if !is_as_noted(noted, entry) {
        tracing::info!(vault = noted.vault, "it stays in your vault registry: it was changed there");
        return false;
    }
    !living.iter().any(|other| fold(&other.vault) == fold(&noted.vault) && is_as_noted(other, entry))
}

fn is_as_noted(noted: &NotedVault, entry: &Value) -> bool {
    match &noted.found {
        Some(found) => *found == digest(entry),
        // The vault was about to be added under a name that was free.
        None => fold(module_of(entry)) == fold(&noted.module),
    }
}

fn entry_of<'a>(entries: &'a Entries, vault: &str) -> Option<&'a Value> {
    let folded = fold(vault);
    entries.iter().find(|(name, _)| fold(name) == folded).map(|(_, entry)| entry)
}

fn module_of(entry: &Value) -> &str {
    entry.get("ModuleName").and_then(Value::as_str).unwrap_or_default()
}

/// A digest that the order of members does not change. Parameters may be secrets, so no more is kept of them.
fn digest(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    let hash = Sha256::digest(sorted.to_string());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands in the registry. SecretManagement deletes one that it cannot read, so such a one is never written.
fn read() -> Result<Entries, RegistryError> {
    let path = platform::vault_registry();
    super::entries(&path).map_err(|problem| RegistryError::Unreadable { path, problem })
}

// === the process that writes ===

/// A pwsh whose registry is the user's.
struct RegistryWriter {
    worker: Worker,
    /// The worker's death signal is tied to it.
    _launcher: PwshLauncher,
    until: Instant,
}

impl RegistryWriter {
    async fn start(means: &RegistryMeans) -> Result<RegistryWriter, RegistryError> {
        let program = pwsh::find(means.pwsh.as_deref(), means.plan.path.as_deref())?;
        let folder = Arc::new(Folder::create().map_err(RegistryError::Folder)?);
        let environment = Environment {
            removed: means.removed.clone(),
            module_path: means.plan.module_path.clone(),
            registry: platform::home(),
            ..Environment::default()
        };
        compiled::provide(&program, &folder, &environment).await?;
        let launcher = PwshLauncher::new(program, folder, environment).map_err(RegistryError::Folder)?;
        let until = Instant::now() + LIMIT;
        let worker = Worker::start(&launcher, 0, until).await?;
        Ok(RegistryWriter { worker, _launcher: launcher, until })
    }
}

async fn register(
    means: &RegistryMeans,
    writer: &mut Option<RegistryWriter>,
    wanted: &WantedVault,
) -> Result<(), RegistryError> {
    let RegistryWriter { worker, until, .. } = started(means, writer).await?;
    let op = Op::Register(Register {
        vault: wanted.vault.clone(),
        module: wanted.module.clone(),
        parameters: wanted.parameters.clone(),
        new: true,
    });
    let done = worker.call::<RegisterReply>(op, *until).await;
    done.map(drop).map_err(|error| failed(&wanted.vault, error))
}

/// Takes out what a server had put in that is gone.
async fn clear(
    means: &RegistryMeans,
    note: &ServerNote,
    living: &[NotedVault],
    writer: &mut Option<RegistryWriter>,
    entries: &mut Entries,
) -> Result<(), RegistryError> {
    for noted in &note.vaults {
        if leaving(noted, entries, living) {
            unregister(means, writer, &noted.vault, entries).await?;
            tracing::info!(
                vault = noted.vault,
                "taken out of your vault registry: a server that crashed had left it"
            );
        }
    }
    Ok(())
}

/// It is out afterwards, or an error says why not. An extension's own hook that fails is only told.
async fn unregister(
    means: &RegistryMeans,
    writer: &mut Option<RegistryWriter>,
    vault: &str,
    entries: &mut Entries,
) -> Result<(), RegistryError> {
    let RegistryWriter { worker, until, .. } = started(means, writer).await?;
    let done = worker.call::<Empty>(Op::Unregister(VaultName { vault: vault.to_owned() }), *until).await;
    *entries = read()?;
    match done.map_err(|error| failed(vault, error)) {
        Err(error) if entry_of(entries, vault).is_some() => Err(error),
        Err(error) => {
            tracing::warn!(vault, "taken out of your vault registry, with an error: {error}");
            Ok(())
        }
        Ok(_) if entry_of(entries, vault).is_some() => {
            Err(RegistryError::NotWritten { vault: vault.to_owned(), path: platform::vault_registry() })
        }
        Ok(_) => Ok(()),
    }
}

async fn started<'a>(
    means: &RegistryMeans,
    writer: &'a mut Option<RegistryWriter>,
) -> Result<&'a mut RegistryWriter, RegistryError> {
    match writer {
        Some(writer) => Ok(writer),
        none => Ok(none.insert(RegistryWriter::start(means).await?)),
    }
}

fn failed(vault: &str, error: CallError) -> RegistryError {
    let vault = vault.to_owned();
    match error {
        CallError::Fault(fault) => RegistryError::Fault { vault, fault },
        CallError::Broken(broken) => RegistryError::Broken { vault, broken },
    }
}

#[cfg(test)]
mod tests;

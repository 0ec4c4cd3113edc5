//! What every worker must have before it runs a block: variables, functions, modules, blocks.
//!
//! Each thing carries the version at which it came. A worker remembers the version it has
//! ([`LoadedSession`]) and is given what is newer before its next call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::noted::{LoadedSession, about};
use super::protocol::Invoke;
use super::protocol::call::{Load, NumberedBlock, SetVariable};
use super::protocol::shape::{Block, Function, Variable};
use super::value::Portable;
use crate::protocol::{Empty, Op};
use crate::secret::fold;
use crate::worker::{CallError, Worker};

/// What every worker must have.
#[derive(Default)]
pub struct Session(Mutex<SentTables>);

#[derive(Default)]
struct SentTables {
    version: u64,
    /// Version, and the thing.
    origin: Option<(u64, Origin)>,
    config: Option<(u64, Portable)>,
    environment: Vec<(u64, SetVariable)>,
    variables: Vec<(u64, Variable)>,
    modules: Vec<(u64, String)>,
    functions: Vec<(u64, Function)>,
    blocks: Vec<(u64, Block)>,
    known_blocks: HashMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    root: String,
    script: String,
}

impl Session {
    /// Environment variables that the script has changed; as with Pode every block sees them.
    pub fn set_environment(&self, changed: Vec<SetVariable>) {
        let mut tables = self.tables();
        for variable in changed {
            let version = tables.next();
            tables.environment.push((version, variable));
        }
    }

    /// The root folder, and where the script is; without a word of it, where it was.
    pub fn set_origin(&self, root: &str, script: Option<&str>) {
        let mut tables = self.tables();
        let known = tables.origin.as_ref().map(|(_, origin)| origin.script.clone());
        let script = script.map(str::to_owned).or(known).unwrap_or_default();
        let origin = Origin { root: root.to_owned(), script };
        if tables.origin.as_ref().is_none_or(|(_, present)| *present != origin) {
            let version = tables.next();
            tables.origin = Some((version, origin));
        }
    }

    /// The root folder.
    pub fn root(&self) -> Option<String> {
        self.tables().origin.as_ref().map(|(_, origin)| origin.root.clone())
    }

    /// What `Get-PodeConfig` gives.
    pub fn set_config(&self, config: Portable) {
        let mut tables = self.tables();
        let version = tables.next();
        tables.config = Some((version, config));
    }

    /// A script parameter, or another value that every block sees.
    pub fn set_variable(&self, variable: Variable) {
        let mut tables = self.tables();
        let folded = fold(&variable.name);
        if tables.variables.iter().any(|(_, present)| *present == variable) {
            return;
        }
        let version = tables.next();
        tables.variables.retain(|(_, present)| fold(&present.name) != folded);
        tables.variables.push((version, variable));
    }

    /// A function; the last one of a name counts.
    pub fn set_function(&self, function: Function) {
        let mut tables = self.tables();
        let folded = fold(&function.name);
        if tables.functions.iter().any(|(_, present)| *present == function) {
            return;
        }
        let version = tables.next();
        tables.functions.retain(|(_, present)| fold(&present.name) != folded);
        tables.functions.push((version, function));
    }

    /// A module, by name or path; imported in order.
    pub fn add_module(&self, module: String) {
        let mut tables = self.tables();
        if !tables.modules.iter().any(|(_, present)| *present == module) {
            let version = tables.next();
            tables.modules.push((version, module));
        }
    }

    /// Takes a block in and gives its number; the same block has the same number.
    pub fn add_block(&self, block: Block) -> u64 {
        let mut tables = self.tables();
        // Strings and objects of strings always encode.
        let key = serde_json::to_string(&block).unwrap_or_default();
        if let Some(id) = tables.known_blocks.get(&key) {
            return *id;
        }
        let version = tables.next();
        tables.blocks.push((version, block));
        let id = tables.blocks.len() as u64;
        tables.known_blocks.insert(key, id);
        id
    }

    /// Where a block stands, and whether its text mentions secrets.
    pub fn describe(&self, id: u64) -> Option<(Option<String>, u32, bool)> {
        let tables = self.tables();
        let (_, block) = tables.blocks.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
        let names_secrets = block.text.to_ascii_lowercase().contains("secret");
        Some((block.file.clone(), block.line, names_secrets))
    }

    /// Gives a worker what it lacks.
    pub async fn load(&self, worker: &mut Worker, until: Instant) -> Result<(), CallError> {
        let Some((load, version)) = self.lacking(about(worker).loaded) else { return Ok(()) };
        worker.call::<Empty>(load, until).await?;
        about(worker).loaded.version = version;
        Ok(())
    }

    fn lacking(&self, loaded: LoadedSession) -> Option<(Op, u64)> {
        let tables = self.tables();
        if loaded.version == tables.version {
            return None;
        }
        let load = tables.newer_than(loaded.version, loaded.declares);
        Some((Invoke::Load(load).op()?, tables.version))
    }

    fn tables(&self) -> MutexGuard<'_, SentTables> {
        // Nothing in here panics half-way; a poisoned lock holds whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SentTables {
    fn next(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn newer_than(&self, version: u64, blocks_only: bool) -> Load<'_> {
        let wanted = |came: u64| came > version && !blocks_only;
        let origin = self.origin.as_ref().filter(|(came, _)| wanted(*came)).map(|(_, origin)| origin);
        let blocks = self.blocks.iter().zip(1u64..).filter(|((came, _), _)| *came > version);
        Load {
            root: origin.map(|origin| origin.root.as_str()),
            script: origin.map(|origin| origin.script.as_str()),
            config: self.config.as_ref().filter(|(came, _)| wanted(*came)).map(|(_, config)| config),
            environment: newer(&self.environment, wanted).collect(),
            variables: newer(&self.variables, wanted).collect(),
            modules: newer(&self.modules, wanted).map(String::as_str).collect(),
            functions: newer(&self.functions, wanted).collect(),
            blocks: blocks.map(|((_, block), id)| NumberedBlock { id, block }).collect(),
        }
    }
}

fn newer<T>(list: &[(u64, T)], wanted: impl Fn(u64) -> bool) -> impl Iterator<Item = &T> {
    list.iter().filter(move |(came, _)| wanted(*came)).map(|(_, thing)| thing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        Block { text: text.into(), file: Some("/s.ps1".into()), line: 3, using: Vec::new() }
    }

    fn function(name: &str, text: &str) -> Function {
        Function { name: name.into(), text: text.into(), file: None, line: 1 }
    }

    fn delta(session: &Session, version: u64, blocks_only: bool) -> serde_json::Value {
        serde_json::to_value(session.tables().newer_than(version, blocks_only)).unwrap()
    }

    #[test]
    fn a_worker_is_given_only_what_is_newer_than_what_it_has() {
        let session = Session::default();
        session.set_origin("/root", Some("/root/s.ps1"));
        session.set_function(function("f", "1"));
        assert_eq!(session.add_block(block("a")), 1);
        let had = session.tables().version;
        assert_eq!(session.add_block(block("b")), 2);
        session.set_function(function("F", "2"));
        let all = delta(&session, 0, false);
        assert_eq!(all["root"], "/root");
        assert_eq!(all["functions"].as_array().unwrap().len(), 1, "the last of a name counts");
        assert_eq!(all["blocks"][0]["id"], 1);
        let newer = delta(&session, had, false);
        assert_eq!((newer.get("root"), &newer["blocks"][0]["id"]), (None, &serde_json::json!(2)));
        assert_eq!(newer["functions"][0]["text"], "2");
        let blocks = delta(&session, 0, true);
        assert_eq!(
            (blocks["functions"].as_array().unwrap().len(), blocks["blocks"][1]["text"].as_str()),
            (0, Some("b"))
        );
    }

    #[test]
    fn what_is_there_already_makes_no_new_version() {
        let session = Session::default();
        session.add_module("Az".into());
        session.set_function(function("f", "1"));
        let (id, version) = (session.add_block(block("a")), session.tables().version);
        session.add_module("Az".into());
        session.set_function(function("f", "1"));
        assert_eq!((session.add_block(block("a")), session.tables().version), (id, version));
    }
}

//! A vault that a script asks: one that is called as for everybody else, or one of the script's own blocks. Which of both it
//! is, is decided here alone.

use std::sync::Arc;

use super::{AskFailure, Asking, refusal};
use crate::bridge::value_of;
use crate::cache::LoadResult;
use crate::clock;
use crate::error::BridgeError;
use crate::plan::BlockKind;
use crate::protocol::Metadata;
use crate::script::protocol::call::CustomCall;
use crate::script::value::Portable;
use crate::secret::{SecretValue, Text};
use crate::vault::{Entry, Verb};
use crate::worker::Worker;

/// A vault that a script asks.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// It is called.
    Called(&'a Arc<Entry>),
    /// The script's blocks are run.
    Blocks(&'a Arc<Entry>),
}

/// What a script writes.
pub(super) struct ScriptWrite<'a> {
    pub key: &'a str,
    pub value: SecretValue,
    pub metadata: Option<Metadata>,
    /// Only this member of a table.
    pub member: Option<String>,
    pub arguments: &'a [Portable],
}

impl<'a> Asked<'a> {
    pub fn of(entry: &'a Arc<Entry>) -> Asked<'a> {
        if entry.is_scripts_own() { Asked::Blocks(entry) } else { Asked::Called(entry) }
    }

    pub async fn read(
        self,
        asking: &mut Asking,
        worker: &mut Worker,
        key: &str,
        arguments: &[Portable],
    ) -> LoadResult {
        match self {
            Asked::Called(entry) => {
                let verb = Verb::Get { key: key.to_owned(), detail: false };
                value_of(asking.verb(worker, entry, verb).await?)
            }
            Asked::Blocks(entry) => {
                let call =
                    CustomCall { kind: BlockKind::Read, key: Some(key), arguments, ..CustomCall::default() };
                let read = asking.custom(worker, entry, call).await.and_then(|reply| {
                    let secret = reply.value.unwrap_or_else(Portable::null).to_secret();
                    secret.ok_or_else(|| refusal("SecretValue", "a script block is no secret's value"))
                });
                read.map(Arc::new).map_err(|fault| BridgeError::Vault {
                    vault: entry.plan.name.clone(),
                    fault,
                    outcome_unknown: false,
                })
            }
        }
    }

    pub async fn write(
        self,
        asking: &mut Asking,
        worker: &mut Worker,
        written: ScriptWrite<'_>,
    ) -> Result<(), AskFailure> {
        let ScriptWrite { key, value, metadata, member, arguments } = written;
        match self {
            Asked::Called(entry) => {
                let verb = Verb::Set { key: key.to_owned(), value: Arc::new(value), metadata, member };
                asking.said(worker, entry, verb).await.map(drop)
            }
            Asked::Blocks(entry) => {
                let call = CustomCall {
                    kind: BlockKind::Set,
                    key: Some(key),
                    value: Some(&value),
                    metadata: metadata.as_ref(),
                    arguments,
                    ..CustomCall::default()
                };
                match member {
                    Some(member) => asking.custom_member(worker, entry, call, &member).await,
                    None => asking.custom(worker, entry, call).await.map(drop),
                }
            }
        }
    }

    pub async fn remove(
        self,
        asking: &mut Asking,
        worker: &mut Worker,
        key: &str,
        arguments: &[Portable],
    ) -> Result<(), AskFailure> {
        match self {
            Asked::Called(entry) => {
                asking.said(worker, entry, Verb::Remove { key: key.to_owned() }).await.map(drop)
            }
            Asked::Blocks(entry) => {
                let call = CustomCall {
                    kind: BlockKind::Remove,
                    key: Some(key),
                    arguments,
                    ..CustomCall::default()
                };
                asking.custom(worker, entry, call).await.map(drop)
            }
        }
    }

    /// Unlocks now, with this password in place of the vault's.
    pub async fn unlock(
        self,
        asking: &mut Asking,
        worker: &mut Worker,
        given: Option<Text>,
    ) -> Result<(), AskFailure> {
        match self {
            Asked::Called(entry) => {
                let verb = given.map_or(Verb::Unlock, |password| Verb::UnlockWith { password });
                asking.said(worker, entry, verb).await?;
                asking.core.lives.get(entry.number).unlocked_since(clock::now());
                Ok(())
            }
            Asked::Blocks(entry) => {
                let secret = given.or_else(|| entry.password());
                asking.unlock_custom(worker, entry, secret).await
            }
        }
    }
}

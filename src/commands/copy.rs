//! `copy`: secrets from one vault to another, each read back.

use super::list::{matching, split};
use super::outcome::{CommandOutcome, with_reach};
use super::output;
use super::put::{DIFFERS, Putting, Way, bar, by_name};
use crate::cli::{CopyArgs, Global};
use crate::exit::Exit;
use crate::reach::{Failure, Reach, SecretName, WantedVaults};
use crate::secret::fold;

pub(super) async fn copy(arguments: &CopyArgs, global: &Global) -> CommandOutcome {
    let (from, pattern) = split(&arguments.from);
    let to = &arguments.to;
    if fold(from) == fold(to) {
        return Err(Failure::usage(format!("'{from}' is the vault to copy from and to")));
    }
    let way = Way { wanted: arguments.putting, words: ["copied", "would copy"] };
    let names = [from, to].map(|vault| SecretName::key(vault, "*"));
    let done = async |reach: &Reach| {
        let there = by_name(reach.list(to).await?);
        let secrets = matching(reach, from, pattern).await?;
        let mut putting = Putting::new(way, reach);
        let bar = bar(secrets.len());
        let mut differ = 0;
        for secret in &secrets {
            bar.set_message(secret.name.clone());
            let value = reach.get(&SecretName::key(from, &secret.name)).await?.value;
            let target = SecretName::key(to, &secret.name);
            let said = putting.put(&target, value, &secret.metadata, there.get(&fold(&secret.name))).await?;
            differ += usize::from(said == DIFFERS);
            bar.suspend(|| output::print(format!("{said}\t{to}/{}\n", secret.name).as_bytes()))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        putting.verify().await?;
        Ok(differ)
    };
    match with_reach(&arguments.connect, global, WantedVaults::Names(names.into()), done).await? {
        0 => Ok(Exit::Ok),
        1 => Err(Failure::failed(format!("1 secret of '{to}' differs and was left alone"))
            .hint("--overwrite writes over it")),
        differ => Err(Failure::failed(format!("{differ} secrets of '{to}' differ and were left alone"))
            .hint("--overwrite writes over them")),
    }
}

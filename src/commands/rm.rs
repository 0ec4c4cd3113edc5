//! `rm`: removes secrets.

use super::outcome::{CommandOutcome, with_reach};
use crate::cli::{Global, RmArgs};
use crate::exit::Exit;
use crate::reach::{Reach, WantedVaults};

/// Removes them in order, and ends at the first that cannot be removed.
pub(super) async fn rm(arguments: &RmArgs, global: &Global) -> CommandOutcome {
    let wanted = WantedVaults::Names(arguments.names.clone());
    let remove = async |reach: &Reach| {
        for name in &arguments.names {
            if !name.members.is_empty() {
                return Err(crate::reach::Failure::usage(format!(
                    "{name}: a member cannot be removed by itself"
                )));
            }
            match reach.remove(name).await {
                Err(error) if !(arguments.force && error.exit == Exit::NotFound) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    };
    with_reach(&arguments.connect, global, wanted, remove).await.map(|()| Exit::Ok)
}

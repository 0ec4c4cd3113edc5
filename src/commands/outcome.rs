//! How the verbs of the command line end.

use crate::cli::{Connect, Global};
use crate::exit::Exit;
use crate::reach::{Failure, Reach, WantedVaults};

/// How a command ends.
pub(super) type CommandOutcome = Result<Exit, Failure>;

/// Does something where the secrets are, and closes what was opened for it.
pub(super) async fn with_reach<T>(
    connect: &Connect,
    global: &Global,
    wanted: WantedVaults,
    work: impl AsyncFnOnce(&Reach) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let reach = Reach::find(connect, global, &wanted).await?;
    let done = work(&reach).await;
    reach.close().await;
    done
}

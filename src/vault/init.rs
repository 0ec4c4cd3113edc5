//! What runs in a worker before it has vaults.

use tokio::time::Instant;

use crate::plan::InitScript;
use crate::protocol::{Empty, Init, Op};
use crate::worker::{CallError, LaunchError, Worker};

/// Runs an init script in a worker.
pub async fn run_init(worker: &mut Worker, script: &InitScript, until: Instant) -> Result<(), LaunchError> {
    let (what, init) = match script {
        InitScript::Text(text) => {
            ("the init script".to_owned(), Init { script: Some(text.clone()), file: None })
        }
        InitScript::File(path) => {
            let file = path.to_string_lossy().into_owned();
            (format!("the init script {file}"), Init { script: None, file: Some(file) })
        }
    };
    worker.call::<Empty>(Op::Init(init), until).await.map(drop).map_err(|error| named(what, error))
}

/// An error of the set-up, with what was done.
pub(super) fn named(what: impl Into<String>, error: CallError) -> LaunchError {
    match error {
        CallError::Broken(broken) => LaunchError::BrokenIn { what: what.into(), broken },
        CallError::Fault(fault) => LaunchError::SetUp { what: what.into(), fault },
    }
}

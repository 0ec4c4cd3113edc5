//! The stand-in pwsh as tests use it: a scenario, a store and a log in a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{fixture, process};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fake-pwsh");

/// What stand-ins of one test share.
pub struct StandIn {
    folder: TempDir,
    scenario: PathBuf,
}

impl StandIn {
    /// The scenario of a file under `fixtures/scenarios`.
    #[track_caller]
    pub fn scenario(name: &str) -> StandIn {
        let scenario = fixture("scenarios").join(name).with_extension("json");
        assert!(scenario.exists(), "no scenario {}", scenario.display());
        StandIn { folder: new_folder(), scenario }
    }

    /// A scenario of the test's own.
    #[track_caller]
    pub fn with(scenario: &Value) -> StandIn {
        let folder = new_folder();
        let path = folder.path().join("scenario.json");
        fs::write(&path, scenario.to_string()).expect("written");
        StandIn { folder, scenario: path }
    }

    /// A place in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The variables that tell a stand-in all this.
    pub fn variables(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("FAKE_PWSH_SCENARIO", self.scenario.clone()),
            ("FAKE_PWSH_STORE", self.path("store.json")),
            ("FAKE_PWSH_LOG", self.path("log.jsonl")),
        ]
    }

    /// The command that starts one as the core does.
    pub fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["-NoLogo", "-NoProfile", "-NonInteractive", "-File", "worker.ps1"]);
        command.envs(self.variables());
        command
    }

    /// Makes the file that a `wait_for_file` of this (relative) path waits for.
    #[track_caller]
    pub fn release(&self, path: &str) {
        fs::write(self.path(path), b"").expect("written");
    }

    /// All lines of the log so far.
    #[track_caller]
    pub fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("log.jsonl")).unwrap_or_default();
        // The last line may be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// The log's lines of one event.
    #[track_caller]
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// How many calls of an op have come, in all workers.
    #[track_caller]
    pub fn calls(&self, op: &str) -> usize {
        self.events("call").iter().filter(|line| line["op"] == op).count()
    }

    /// How many calls of an op for a name have been done, though perhaps not answered.
    #[track_caller]
    pub fn done(&self, op: &str, name: &str) -> usize {
        self.events("did").iter().filter(|line| line["op"] == op && line["name"] == name).count()
    }

    /// The process ids of all workers that ever started, in order.
    #[track_caller]
    pub fn workers(&self) -> Vec<u32> {
        let pid = |line: &Value| line["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        self.events("start").iter().filter_map(pid).collect()
    }

    /// The text of a string in the store. Stores are named as their vault, in lower case; those of
    /// SecretStore's module are all `secretstore`.
    #[track_caller]
    pub fn stored(&self, store: &str, name: &str) -> Option<String> {
        let content: Value =
            serde_json::from_slice(&fs::read(self.path("store.json")).expect("a store")).expect("JSON");
        let entry = &content["stores"][store][secretbridge::inside::secret::fold(name)];
        entry["value"]["v"].as_str().map(str::to_owned)
    }
}

impl Drop for StandIn {
    /// A stand-in that hangs would outlive its test. One process may not be killed for another: a pid is
    /// believed only while it runs this program.
    fn drop(&mut self) {
        for pid in self.workers() {
            if runs_stand_in(pid) {
                process::signal(pid, Signal::KILL);
            }
        }
    }
}

fn runs_stand_in(pid: u32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    process::alive(pid) && program.is_ok_and(|program| program == Path::new(PROGRAM))
}

/// What a `derived` scenario answers for a name that its store does not hold.
pub fn derived(store: &str, name: &str) -> String {
    format!("value of {} in {store}", name.to_lowercase())
}

fn new_folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

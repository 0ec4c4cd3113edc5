//! Looks at what a server needs, and changes nothing: pwsh and its modules, files, the machine, certificates.
//!
//! Each probe gives [`Finding`]s; `doctor` and `check` show them.

use serde::Serialize;
use serde_json::{Map, Value};

pub mod certificates;
pub mod files;
pub mod machine;
pub mod pwsh;
pub mod service;
pub mod vaults;

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It serves, and may not do so for long, or not for everybody.
    Warning,
    /// Something does not work.
    Problem,
}

/// Something that was looked at. It never holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: `pwsh`, `modules`, `files`, `vaults`, ….
    pub area: &'static str,
    /// How it is.
    pub level: Level,
    /// It could be looked at from here.
    #[serde(skip)]
    pub looked_at: bool,
    /// What was found, in a sentence.
    pub message: String,
    /// The command, or the change, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// The same for programs: versions, paths, times.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(area: &'static str, message: impl Into<String>) -> Finding {
        Finding {
            area,
            level: Level::Ok,
            looked_at: true,
            message: message.into(),
            mend: None,
            facts: Map::new(),
        }
    }

    /// Something that cannot be looked at from here, and why.
    pub fn unseen(area: &'static str, message: impl Into<String>) -> Finding {
        Finding { looked_at: false, ..Finding::ok(area, message) }
    }

    /// Something that may not last, and what to do about it.
    pub fn warning(area: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, mend: Some(mend.into()), ..Finding::ok(area, message) }
    }

    /// Something that does not work, and what to do about it.
    pub fn problem(area: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { level: Level::Problem, mend: Some(mend.into()), ..Finding::ok(area, message) }
    }

    /// The same with a fact for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Finding {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}

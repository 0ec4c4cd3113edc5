//! Names that are there twice, and the errors of a plan whose parts do not go together.

use std::collections::HashMap;

use thiserror::Error;

use crate::secret::fold;

/// Why a plan is not sound. Names are compared without case.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Two vaults have one name.
    #[error("two vaults have the name '{0}' (names are compared without case)")]
    TwoVaults(String),
    /// Two mounts have one name.
    #[error("two mounted secrets have the name '{0}' (names are compared without case)")]
    TwoMounts(String),
    /// A mount's vault is not in the plan.
    #[error("the mounted secret '{mount}' is of the vault '{vault}', and there is no such vault")]
    NoSuchVault {
        /// The mount.
        mount: String,
        /// The vault that it names.
        vault: String,
    },
    /// PowerShell would know two vaults by one name.
    #[error("the vaults '{first}' and '{second}' would both be registered as '{registered}'")]
    TwoRegistrations {
        /// The one that comes first.
        first: String,
        /// The other.
        second: String,
        /// The name that both are to be registered by.
        registered: String,
    },
    /// A module that keeps one store for all of its vaults is configured in two ways.
    #[error("the {what} of the vaults '{first}' and '{second}' differ, but {module} is one store")]
    OneStore {
        /// The one that comes first.
        first: String,
        /// The other.
        second: String,
        /// `parameters` or `unlock`.
        what: &'static str,
        /// The module.
        module: String,
    },
}

/// A part that says again what an earlier one has said: their places in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twin {
    /// The earlier one.
    pub first: usize,
    /// The one at fault.
    pub again: usize,
}

/// Names that are there already.
pub fn same_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Twin> {
    let mut seen = HashMap::new();
    let mut twins = Vec::new();
    for (again, name) in names.into_iter().enumerate() {
        let first = *seen.entry(fold(name)).or_insert(again);
        if first != again {
            twins.push(Twin { first, again });
        }
    }
    twins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_there_already_is_told_with_the_first_of_it() {
        let twins = same_names(["a", "B", "A", "b", "a"]);
        let expected = [(0, 2), (1, 3), (0, 4)].map(|(first, again)| Twin { first, again });
        assert_eq!(twins, expected);
    }
}

//! Where a configuration file is looked for when nobody names one.

use std::path::{Path, PathBuf};

use crate::platform;

/// The file's name wherever it is.
const FILE: &str = "secretbridge.toml";

/// A place where a configuration may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Whose place it is, for people: `this folder's`, `yours`, `the system's`.
    pub whose: &'static str,
}

/// The configuration that is in force when nobody names one: `./secretbridge.toml`, then the user's, then the
/// system's. The variable `SECRETBRIDGE_CONFIG` counts as naming one.
pub fn find() -> Option<Place> {
    places().into_iter().find(|place| place.path.is_file())
}

/// All the places, in their order.
pub fn places() -> Vec<Place> {
    list(platform::config_folder(), platform::system_config_folder())
}

fn list(user: Option<PathBuf>, system: PathBuf) -> Vec<Place> {
    let below = |folder: PathBuf| folder.join("secretbridge").join(FILE);
    let mut places = vec![Place { path: Path::new(".").join(FILE), whose: "this folder's" }];
    places.extend(user.map(|user| Place { path: below(user), whose: "yours" }));
    places.push(Place { path: below(system), whose: "the system's" });
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_folder_comes_before_the_user_and_the_user_before_the_system() {
        let places = list(Some("/u".into()), "/s".into());
        let paths: Vec<_> = places.iter().map(|place| place.path.to_str().unwrap()).collect();
        assert_eq!(paths.len(), 3);
        assert!(paths[0].starts_with('.') && paths[1].starts_with("/u") && paths[2].starts_with("/s"));
        assert_eq!(list(None, "/s".into()).len(), 2, "without a home there is no place of the user");
    }
}

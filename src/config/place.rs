//! Where a configuration file is looked for when nobody names one.

use std::path::{Path, PathBuf};

use crate::platform;

/// The file's name wherever it is.
pub const FILE: &str = "secretbridge.toml";

/// The variable that names a configuration.
pub const VARIABLE: &str = "SECRETBRIDGE_CONFIG";

/// A place where a configuration may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPlace {
    /// The file.
    pub path: PathBuf,
    /// Whose place it is, for people: `this folder's`, `yours`, `the system's`, or what named it.
    pub whose: &'static str,
}

/// The configuration that somebody named: with an option, else with the variable. The file may be missing.
pub fn named(option: Option<&Path>) -> Option<ConfigPlace> {
    // A variable that is set but empty counts as not set.
    let place = |path: PathBuf, whose| (!path.as_os_str().is_empty()).then_some(ConfigPlace { path, whose });
    let option = option.and_then(|path| place(path.to_owned(), "named by --config"));
    option.or_else(|| place(std::env::var_os(VARIABLE)?.into(), "named by SECRETBRIDGE_CONFIG"))
}

/// The configuration that is in force: the one that is named, else that of this folder, else the user's, else the
/// system's.
pub fn find(option: Option<&Path>) -> Option<ConfigPlace> {
    named(option).or_else(|| places().into_iter().find(|place| place.path.is_file()))
}

/// All the places where one is looked for, in their order.
pub fn places() -> Vec<ConfigPlace> {
    list(platform::config_folder(), platform::system_config_folder())
}

/// The places, for a message: `./secretbridge.toml, /home/…`.
pub fn looked_at() -> String {
    let paths: Vec<_> = places().iter().map(|place| place.path.display().to_string()).collect();
    paths.join(", ")
}

fn list(user: Option<PathBuf>, system: PathBuf) -> Vec<ConfigPlace> {
    let below = |folder: PathBuf| folder.join("secretbridge").join(FILE);
    let mut places = vec![ConfigPlace { path: Path::new(".").join(FILE), whose: "this folder's" }];
    places.extend(user.map(|user| ConfigPlace { path: below(user), whose: "yours" }));
    places.push(ConfigPlace { path: below(system), whose: "the system's" });
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

//! The section `[credentials]`.

use super::{TomlWriter, path, string};
use crate::plan::credentials::UnitCredentials;

impl TomlWriter {
    pub(super) fn credentials(&mut self, credentials: Option<&UnitCredentials>) {
        let Some(credentials) = credentials else { return };
        self.section("[credentials]");
        self.line("socket", path(&credentials.socket));
        let mut unit = None;
        for given in &credentials.given {
            if unit.replace(&given.unit) != Some(&given.unit) {
                self.section(&format!("[credentials.units.{}]", string(&given.unit)));
            }
            self.line(&string(&given.id), string(&format!("{}/{}", given.vault, given.key)));
        }
    }
}

//! A line of the trail as it is read back.

use serde::Deserialize;

/// What a line says. What an event has no member for is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct TrailLine {
    /// Its number.
    pub seq: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// `access`, `request`, `folded`, `dropped`, `start`, `continue`, `stop`.
    pub event: String,
    /// Who called.
    #[serde(default)]
    pub who: String,
    /// From where.
    #[serde(default)]
    pub peer: String,
    /// The request's method.
    #[serde(default)]
    pub method: String,
    /// The request's path.
    #[serde(default)]
    pub path: String,
    /// `read`, `write`, `remove`, `list`.
    #[serde(default)]
    pub action: String,
    /// The vault.
    #[serde(default)]
    pub vault: String,
    /// The key.
    #[serde(default)]
    pub key: String,
    /// The mounted secret's name.
    #[serde(default)]
    pub mount: String,
    /// `ok`, or the error's code.
    #[serde(default)]
    pub outcome: String,
    /// The answer's status.
    #[serde(default)]
    pub status: u16,
    /// How many, of a line for many.
    #[serde(default)]
    pub count: u64,
    /// The program's version, of a start.
    #[serde(default)]
    pub version: String,
    /// The program's process, of a start.
    #[serde(default)]
    pub pid: u32,
}

impl TrailLine {
    /// Reads a line, with its line feed or without. `None` where it is not one of a trail.
    pub fn parse(bytes: &[u8]) -> Option<TrailLine> {
        serde_json::from_slice(bytes).ok()
    }

    /// Vault and key of an access; of a request that got at none, those that its path names.
    pub fn secret(&self) -> Option<(String, String)> {
        if self.event == "access" {
            return Some((self.vault.clone(), self.key.clone()));
        }
        let rest = self.path.strip_prefix("/vaults/")?;
        let (vault, key) = match rest.split_once("/secrets") {
            Some((vault, key)) => (vault, key.strip_prefix('/').unwrap_or_default()),
            None => (rest, ""),
        };
        let plain = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        Some((plain(vault), plain(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_is_about_the_secret_that_its_path_names() {
        let of = |path: &str| TrailLine { path: path.to_owned(), ..TrailLine::default() }.secret();
        let is = |vault: &str, key: &str| Some((vault.to_owned(), key.to_owned()));
        assert_eq!(of("/vaults/team/secrets/a%2Fb%20c"), is("team", "a/b c"));
        assert_eq!(of("/vaults/team/secrets"), is("team", ""));
        assert_eq!(of("/vaults/team"), is("team", ""));
        assert_eq!(of("/secret"), None);
    }
}

//! The socket that service managers load credentials from, and which secret each of them is.

use std::path::PathBuf;

/// A socket that answers `LoadCredential=` of systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCredentials {
    /// Where it listens.
    pub socket: PathBuf,
    /// Which unit gets which secret. What is not listed is refused.
    pub given: Vec<UnitCredential>,
}

/// A secret for one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCredential {
    /// The unit, such as `app.service`; `app@.service` stands for every instance of a template.
    pub unit: String,
    /// The credential's name in the unit.
    pub id: String,
    /// The vault.
    pub vault: String,
    /// The key.
    pub key: String,
}

impl UnitCredentials {
    /// What a unit gets under this name: what is listed for it, else what is listed for its template.
    pub fn find(&self, unit: &str, id: &str) -> Option<&UnitCredential> {
        let listed = |unit: &str| self.given.iter().find(|given| given.unit == unit && given.id == id);
        listed(unit).or_else(|| listed(&template(unit)?))
    }
}

/// The template of an instance: `app@.service` of `app@1.service`.
fn template(unit: &str) -> Option<String> {
    let (name, instance) = unit.split_once('@')?;
    let (_, kind) = instance.rsplit_once('.')?;
    Some(format!("{name}@.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_gets_what_is_listed_for_it_or_for_its_template() {
        let give = |unit: &str, id: &str, key: &str| UnitCredential {
            unit: unit.into(),
            id: id.into(),
            vault: "v".into(),
            key: key.into(),
        };
        let given =
            vec![give("a.service", "x", "1"), give("t@.service", "x", "2"), give("t@b.service", "x", "3")];
        let credentials = UnitCredentials { socket: "/s".into(), given };
        let key = |unit: &str, id: &str| credentials.find(unit, id).map(|given| given.key.as_str());
        assert_eq!(key("a.service", "x"), Some("1"));
        assert_eq!((key("t@a.b.service", "x"), key("t@b.service", "x")), (Some("2"), Some("3")));
        for (unit, id) in
            [("a.service", "y"), ("b.service", "x"), ("A.service", "x"), ("t.service", "x"), ("", "x")]
        {
            assert_eq!(key(unit, id), None, "{unit}/{id}");
        }
    }
}

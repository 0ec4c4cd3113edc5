//! Values on their way between workers: not looked into, not shown, wiped on drop.

use std::fmt;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::secret::{SecretValue, Text};

/// A portable value as a worker wrote it: `{"t":…,"v":…}`. It may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Portable(Text);

impl Portable {
    /// `{"t":"null"}`
    pub fn null() -> Portable {
        Portable(r#"{"t":"null"}"#.into())
    }

    /// As a vault takes it. What only a script block can read becomes one of PowerShell's own documents.
    pub fn to_secret(&self) -> Option<SecretValue> {
        #[derive(Deserialize)]
        #[serde(tag = "t", content = "v", rename_all = "lowercase")]
        enum Simple {
            Null,
            Int(i64),
            Bool(bool),
        }
        let text = self.0.expose();
        if let Ok(value) = serde_json::from_str::<SecretValue>(text) {
            return Some(value);
        }
        let element = match serde_json::from_str::<Simple>(text).ok()? {
            Simple::Null => "<Nil />".to_owned(),
            Simple::Int(number) if i32::try_from(number).is_ok() => format!("<I32>{number}</I32>"),
            Simple::Int(number) => format!("<I64>{number}</I64>"),
            Simple::Bool(flag) => format!("<B>{flag}</B>"),
        };
        let document = format!(
            r#"<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">{element}</Objs>"#
        );
        Some(SecretValue::Clixml(document.into()))
    }

    /// The object that it stands for, by its number among those that blocks share.
    pub fn of_shared(id: u64) -> Portable {
        Portable(format!(r#"{{"t":"shared","v":{id}}}"#).into())
    }

    /// The number of the shared object that it stands for, if it does.
    pub fn shared(&self) -> Option<u64> {
        #[derive(Deserialize)]
        #[serde(tag = "t", content = "v", rename_all = "lowercase")]
        enum SharedTag {
            Shared(u64),
        }
        let text = self.0.expose();
        // Most values are others.
        let SharedTag::Shared(id) =
            text.contains("\"shared\"").then(|| serde_json::from_str(text).ok())??;
        Some(id)
    }

    /// Its JSON text.
    pub fn text(&self) -> &str {
        self.0.expose()
    }
}

impl From<&SecretValue> for Portable {
    fn from(value: &SecretValue) -> Portable {
        // A map with string keys always encodes.
        serde_json::to_string(value).map_or_else(|_| Portable::null(), |text| Portable(text.into()))
    }
}

impl fmt::Debug for Portable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Portable(…)")
    }
}

impl Serialize for Portable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(self.0.expose()).map_err(|_| S::Error::custom("no JSON"))?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Portable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Portable, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if !raw.get().starts_with('{') {
            return Err(D::Error::custom("a portable value is an object"));
        }
        Ok(Portable(Text::new(String::from(Box::<str>::from(raw)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portable(text: &str) -> Portable {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_no_secret_type_becomes_a_document_that_only_scripts_read() {
        assert_eq!(portable(r#"{"t":"string","v":"x"}"#).to_secret().unwrap().as_text(), Some("x"));
        for (text, element) in [
            (r#"{"t":"int","v":7}"#, "<I32>7</I32>"),
            (r#"{"t":"int","v":5000000000}"#, "<I64>5000000000</I64>"),
            (r#"{"t":"bool","v":true}"#, "<B>true</B>"),
            (r#"{"t":"null"}"#, "<Nil />"),
        ] {
            let Some(SecretValue::Clixml(document)) = portable(text).to_secret() else { panic!("{text}") };
            assert!(document.expose().contains(element), "{text}");
        }
        assert!(portable(r#"{"t":"block","v":{}}"#).to_secret().is_none());
    }

    #[test]
    fn a_shared_object_is_known_by_its_number() {
        assert_eq!(Portable::of_shared(7).shared(), Some(7));
        for text in [r#"{"t":"string","v":"\"shared\""}"#, r#"{"t":"int","v":7}"#] {
            assert_eq!(portable(text).shared(), None);
        }
    }

    #[test]
    fn it_goes_out_as_it_came_and_debug_shows_nothing() {
        let text = r#"{"t":"clixml","v":"<Objs>canary</Objs>"}"#;
        let value = portable(text);
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
        assert!(!format!("{value:?}").contains("canary"));
        assert!(serde_json::from_str::<Portable>("7").is_err());
    }
}

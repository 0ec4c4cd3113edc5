//! The fields of a body as the client wrote them: the pairs of a form, the members of a JSON object.
//!
//! What a field is worth is for who asks to judge: a native route takes what is meant ([`super::form`]), a route of a
//! script that is answered without a worker takes only what is beyond doubt (`script::lift`).

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// A pair of a form.
pub struct FormPair {
    /// Decoded; empty between two signs that follow each other.
    pub name: String,
    /// Decoded; nothing where there is no `=`.
    pub value: Option<Zeroizing<String>>,
}

/// What a pair decodes to is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUtf8;

/// The members of a JSON object in their order, also two of one name.
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

/// The pairs of a form, in their order.
pub fn pairs(text: &str) -> Result<Vec<FormPair>, NotUtf8> {
    let pair = |text: &str| {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let value = value.map(|value| decoded(value).map(Zeroizing::new)).transpose()?;
        Ok(FormPair { name: decoded(name)?, value })
    };
    text.split('&').map(pair).collect()
}

fn decoded(text: &str) -> Result<String, NotUtf8> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    percent_decode_str(&spaced).decode_utf8().map(String::from).map_err(|_| NotUtf8)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_members_are_told_as_they_stand_in_order_and_all_of_a_name() {
        let pairs = pairs("a=1+%C3%A9&b&&A=x=y").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|pair| (pair.name.as_str(), pair.value.as_deref())).collect();
        let text = |text: &str| Some(text.to_owned());
        let expected = [("a", text("1 é")), ("b", None), ("", None), ("A", text("x=y"))];
        assert_eq!(pairs, expected.each_ref().map(|(name, value)| (*name, value.as_ref())));
        assert!(super::pairs("a=%ff").is_err());
        let Members(members) = serde_json::from_str(r#"{"b":1,"a":"x","b":[2]}"#).unwrap();
        let members: Vec<_> = members.iter().map(|(name, raw)| (name.as_str(), raw.get())).collect();
        assert_eq!(members, [("b", "1"), ("a", "\"x\""), ("b", "[2]")]);
        assert!(serde_json::from_str::<Members<'_>>("[1]").is_err_and(|error| error.is_data()));
    }
}

//! A template with its values, as JSON.

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use crate::plan::Template;
use crate::secret::{SecretValue, is_same_name};

/// Values by the names of their mounts.
pub(super) type ShownValues<'a> = Vec<(&'a str, SecretValue)>;

/// A template with its values. It is written without a copy of a value in between.
pub(super) struct Rendered<'a> {
    pub template: &'a Template,
    pub values: &'a ShownValues<'a>,
}

impl Serialize for Rendered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = |template| Rendered { template, values: self.values };
        match self.template {
            Template::Secret(name) => {
                let shown = self.values.iter().find(|(other, _)| is_same_name(name, other));
                shown.map(|(_, value)| value.shown()).serialize(serializer)
            }
            Template::Literal(value) => value.serialize(serializer),
            Template::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, inner) in members {
                    map.serialize_entry(key, &of(inner))?;
                }
                map.end()
            }
            Template::List(items) => serializer.collect_seq(items.iter().map(of)),
        }
    }
}

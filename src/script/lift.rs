//! Routes that the core answers by itself, and when it may.
//!
//! A worker says what a block amounts to (`lift` in `route-add`). Whether this request may be answered
//! without it is decided here: only where the answer is the same to the byte. Everything else, and every
//! doubt, goes to the worker.

use zeroize::Zeroizing;

use super::json;
use crate::http::fields::{self, FormPair, Members};
use crate::plan::Template;
use crate::secret::{SecretValue, Text, fold};

/// A template's body, if every value is text; `values` are those of [`Template::secrets`], in order.
pub fn render(template: &Template, values: &[SecretValue]) -> Option<Zeroizing<String>> {
    let mut out = Zeroizing::new(String::new());
    let mut values = values.iter();
    // A string by itself is sent as it is, and a blank one as an empty object.
    let bare = match template {
        Template::Secret(_) => Some(values.next()?.as_text()?),
        Template::Literal(serde_json::Value::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if let Some(bare) = bare {
        out.push_str(if bare.chars().all(char::is_whitespace) { "{}" } else { bare });
        return Some(out);
    }
    push(template, &mut out, &mut values)?;
    Some(out)
}

fn push<'a>(
    template: &Template,
    out: &mut String,
    values: &mut impl Iterator<Item = &'a SecretValue>,
) -> Option<()> {
    match template {
        Template::Secret(_) => json::push_string(out, values.next()?.as_text()?),
        Template::Literal(value) => return json::push_literal(out, value).then_some(()),
        Template::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                json::push_string(out, key);
                out.push(':');
                push(member, out, values)?;
            }
            out.push('}');
        }
        Template::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push(item, out, values)?;
            }
            out.push(']');
        }
    }
    Some(())
}

/// The text of a body's field, where it is plain: one pair of a form, or a string of a JSON object.
/// `forced` is the route's own content type.
pub fn field(body: &[u8], content_type: Option<&str>, forced: Option<&str>, field: &str) -> Option<Text> {
    let declared = forced.filter(|forced| !forced.is_empty()).or(content_type)?;
    let mut parts = declared.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let is_utf8 = |parameter: &str| {
        let Some((name, value)) = parameter.split_once('=') else { return parameter.is_empty() };
        !name.trim().eq_ignore_ascii_case("charset")
            || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    if !parts.all(is_utf8) {
        return None;
    }
    match media.as_str() {
        "application/x-www-form-urlencoded" => of_form(body, field),
        "application/json" => of_json(body, field),
        _ => None,
    }
}

fn of_form(body: &[u8], field: &str) -> Option<Text> {
    // .NET has rules of its own for a part without `=` and for a name that is there twice.
    let mut found = None;
    for FormPair { name, value } in fields::pairs(std::str::from_utf8(body).ok()?).ok()? {
        let mut value = value?;
        if name.eq_ignore_ascii_case(field) {
            if found.is_some() {
                return None;
            }
            found = Some(Text::new(std::mem::take(&mut *value)));
        } else if fold(&name) == fold(field) {
            return None;
        }
    }
    found
}

/// The member of that exact name, if it stands there once and is a string.
fn of_json(body: &[u8], field: &str) -> Option<Text> {
    let Members(members) = serde_json::from_slice(body).ok()?;
    let mut named = members.iter().filter(|(name, _)| name == field);
    let (_, raw) = named.next()?;
    if named.next().is_some() { None } else { serde_json::from_str(raw.get()).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::protocol::ask::Lift;

    fn lift(text: &str) -> Lift {
        serde_json::from_str(text).unwrap()
    }

    fn template(text: &str) -> Template {
        let Lift::Respond(template) = lift(text) else { panic!("{text}") };
        template
    }

    #[test]
    fn an_object_is_rendered_in_order_and_only_from_text() {
        let template = template(
            r#"{"respond":{"object":[["Value",{"secret":"S"}],["Kind",{"literal":"k"}],["In",{"object":[["N",{"literal":1}]]}]]}}"#,
        );
        assert_eq!(template.secrets(), ["S"]);
        let render = |value: SecretValue| super::render(&template, &[value]).map(|body| body.to_string());
        let expected = r#"{"Value":"a\"<é","Kind":"k","In":{"N":1}}"#;
        assert_eq!(render(SecretValue::string("a\"<é")).as_deref(), Some(expected));
        assert_eq!(render(SecretValue::SecureString("a\"<é".into())).as_deref(), Some(expected));
        for other in [
            SecretValue::Bytes(crate::secret::Bytes::new("x")),
            SecretValue::Hashtable([("a".to_owned(), SecretValue::string("b"))].into()),
            SecretValue::Clixml("<Objs/>".into()),
        ] {
            assert_eq!(render(other), None);
        }
    }

    #[test]
    fn a_string_by_itself_is_sent_as_it_is() {
        let template = template(r#"{"respond":{"secret":"S"}}"#);
        let render =
            |text: &str| super::render(&template, &[SecretValue::string(text)]).map(|body| body.to_string());
        assert_eq!(render("plain \"text\"").as_deref(), Some("plain \"text\""));
        assert_eq!(render(" \n").as_deref(), Some("{}"));
    }

    #[test]
    fn a_field_is_taken_only_where_nothing_is_in_doubt() {
        let form = Some("application/x-www-form-urlencoded; charset=UTF-8");
        let json = Some("application/json");
        for (body, content_type, expected) in [
            ("Value=a+b%C3%A9&x=1", form, Some("a bé")),
            ("value=x", form, Some("x")),
            ("Value=", form, Some("")),
            ("Value=a&VALUE=b", form, None),
            ("Value", form, None),
            ("Value=%ff", form, None),
            ("", form, None),
            (r#"{"Value":"x"}"#, form, None),
            (r#"{"a":[1],"Value":"x"}"#, json, Some("x")),
            (r#"{"Value":"\u00e9\n"}"#, json, Some("é\n")),
            (r#"{"value":"x"}"#, json, None),
            (r#"{"Value":7}"#, json, None),
            (r#"{"Value":"x","Value":"y"}"#, json, None),
            (r#"{"Value":"x"} x"#, json, None),
            (r#"["Value"]"#, json, None),
            (r#"{"Value":"x"}"#, Some("application/json; charset=utf-16"), None),
            (r#"{"Value":"x"}"#, Some("text/plain"), None),
            (r#"{"Value":"x"}"#, None, None),
        ] {
            let found = field(body.as_bytes(), content_type, None, "Value");
            assert_eq!(found.as_ref().map(Text::expose), expected, "{body} {content_type:?}");
        }
        let forced = field(br#"{"Value":"x"}"#, Some("text/plain"), json, "Value");
        assert_eq!(forced.as_ref().map(Text::expose), Some("x"), "the route's own type goes first");
    }
}

//! What is in the files. Pure; an error names a place, never a value.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use crate::cli::ImportFormat;
use crate::protocol::{Metadata, MetadataValue};
use crate::secret::{Credential, SecretValue};

/// A secret of a file.
pub(in crate::commands) struct ImportItem {
    pub(in crate::commands) name: String,
    pub(in crate::commands) value: SecretValue,
    pub(in crate::commands) metadata: Metadata,
}

/// The secrets of a file, in its order.
pub(super) fn items(format: ImportFormat, text: &str) -> Result<Vec<ImportItem>, String> {
    match format {
        ImportFormat::Env => env(text),
        ImportFormat::Json => json(text),
        ImportFormat::Csv => csv(text),
        ImportFormat::Bitwarden => bitwarden(text),
        ImportFormat::Keepass => keepass(text),
    }
}

fn plain(name: &str, value: SecretValue) -> ImportItem {
    ImportItem { name: name.to_owned(), value, metadata: Metadata::new() }
}

fn login(name: &str, user: &str, password: &str, more: &[(&str, &str)]) -> ImportItem {
    let value = match user {
        "" => SecretValue::string(password),
        user => SecretValue::Credential(Credential { user: user.to_owned(), password: password.into() }),
    };
    let kept = more.iter().filter(|(_, text)| !text.is_empty());
    let metadata =
        kept.map(|(name, text)| ((*name).to_owned(), MetadataValue::String((*text).to_owned()))).collect();
    ImportItem { name: name.to_owned(), value, metadata }
}

// === .env ===

fn env(text: &str) -> Result<Vec<ImportItem>, String> {
    let mut items = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let entry = rest.trim_start();
        let entry = entry.strip_prefix("export ").unwrap_or(entry);
        let (name, value) = entry
            .split_once('=')
            .filter(|(name, _)| !name.contains('\n'))
            .ok_or(format!("line {line} is not NAME=value"))?;
        let (value, left) = env_value(value.trim_start_matches([' ', '\t']))
            .ok_or(format!("line {line}: a quote is not closed"))?;
        items.push(plain(name.trim(), SecretValue::string(value)));
        line += rest[..rest.len() - left.len()].matches('\n').count();
        rest = left;
    }
    Ok(items)
}

/// The value that a text begins with, and what comes after its line.
fn env_value(text: &str) -> Option<(String, &str)> {
    let after_line = |rest: &'_ str| rest.split_once('\n').map_or("", |(_, after)| after).len();
    let tail = |rest: &str| &text[text.len() - after_line(rest)..];
    match text.chars().next() {
        Some('\'') => {
            let end = text[1..].find('\'')? + 1;
            Some((text[1..end].to_owned(), tail(&text[end + 1..])))
        }
        Some('"') => {
            let mut out = String::new();
            let mut chars = text[1..].char_indices();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => return Some((out, tail(&text[at + 2..]))),
                    '\\' => out.push(match chars.next()?.1 {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        other => other,
                    }),
                    c => out.push(c),
                }
            }
            None
        }
        _ => {
            let line = text.split('\n').next().unwrap_or_default();
            let value = line.split(" #").next().unwrap_or_default().trim();
            Some((value.to_owned(), tail(text)))
        }
    }
}

// === JSON ===

fn json(text: &str) -> Result<Vec<ImportItem>, String> {
    let Value::Object(members) = parsed(text)? else { return Err("it is not a JSON object".to_owned()) };
    members.iter().map(|(name, value)| Ok(plain(name, from_json(name, value)?))).collect()
}

fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("it is not JSON (line {}, column {})", error.line(), error.column()))
}

fn from_json(name: &str, value: &Value) -> Result<SecretValue, String> {
    match value {
        Value::String(text) => Ok(SecretValue::string(text)),
        Value::Number(_) | Value::Bool(_) => Ok(SecretValue::string(value.to_string())),
        Value::Object(members) => {
            let table: Result<BTreeMap<_, _>, String> =
                members.iter().map(|(key, value)| Ok((key.clone(), from_json(name, value)?))).collect();
            table.map(SecretValue::Hashtable)
        }
        Value::Null | Value::Array(_) => {
            Err(format!("'{name}' is or holds null or a list, which no vault can keep"))
        }
    }
}

// === CSV ===

fn csv(text: &str) -> Result<Vec<ImportItem>, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let heading: Vec<String> = match reader.headers() {
        Ok(heading) => heading.iter().map(|title| title.trim().to_ascii_lowercase()).collect(),
        Err(_) => return Err("it has no heading".to_owned()),
    };
    let column = |names: &[&str]| heading.iter().position(|title| names.contains(&title.as_str()));
    let name = column(&["name", "key", "title"]).ok_or("the heading has no `name`")?;
    let value =
        column(&["value", "secret", "password"]).ok_or("the heading has neither `value` nor `password`")?;
    let user = column(&["username", "user", "login"]);
    let more = [("Url", column(&["url"])), ("Notes", column(&["notes"]))];
    let mut items = Vec::new();
    for record in reader.records() {
        let record = record
            .map_err(|error| format!("line {}: not CSV", error.position().map_or(0, |at| at.line())))?;
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
        let more: Vec<_> = more.iter().map(|(name, at)| (*name, cell(*at))).collect();
        items.push(login(cell(Some(name)), cell(user), cell(Some(value)), &more));
    }
    Ok(items)
}

// === Bitwarden ===

fn bitwarden(text: &str) -> Result<Vec<ImportItem>, String> {
    let export = parsed(text)?;
    if export["encrypted"] == true {
        return Err("the export is encrypted; make an unencrypted one, import it, and delete it".to_owned());
    }
    let entries = export["items"].as_array().ok_or("it has no `items`")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let item = |entry: &Value| {
        let (name, notes) = (text(&entry["name"]), text(&entry["notes"]));
        if entry["login"].is_object() {
            let login_of = &entry["login"];
            let (user, password, url) =
                (text(&login_of["username"]), text(&login_of["password"]), text(&login_of["uris"][0]["uri"]));
            return login(&name, &user, &password, &[("Url", &url), ("Notes", &notes)]);
        }
        let fields = entry["fields"].as_array().cloned().unwrap_or_default();
        if fields.is_empty() {
            return plain(&name, SecretValue::string(notes));
        }
        let table =
            fields.iter().map(|field| (text(&field["name"]), SecretValue::string(text(&field["value"]))));
        ImportItem {
            value: SecretValue::Hashtable(table.collect()),
            ..login(&name, "", "", &[("Notes", &notes)])
        }
    };
    Ok(entries.iter().map(item).collect())
}

// === KeePass ===

/// Entries of `KeePassFile`, but not those of an entry's history.
fn keepass(text: &str) -> Result<Vec<ImportItem>, String> {
    let mut reader = Reader::from_str(text);
    let (mut path, mut items): (Vec<String>, Vec<ImportItem>) = Default::default();
    let (mut entry, mut key, mut content) = (BTreeMap::<String, String>::new(), String::new(), String::new());
    let broken = |at: u64| format!("byte {at}: not XML");
    loop {
        match reader.read_event().map_err(|_| broken(reader.error_position()))? {
            Event::Start(start) => {
                path.push(start.name().as_ref().to_owned());
                content.clear();
            }
            Event::Text(text) => content.push_str(&text),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => Some(character.to_string()),
                    _ => quick_xml::escape::resolve_predefined_entity(&reference).map(str::to_owned),
                };
                content.push_str(
                    &character
                        .ok_or(format!("byte {}: an entity that is not known", reader.buffer_position()))?,
                );
            }
            Event::CData(data) => content.push_str(&data),
            Event::End(_) => {
                let element = path.pop().unwrap_or_default();
                let in_history = path.iter().any(|name| name == "History");
                match element.as_str() {
                    _ if in_history => {}
                    "Key" if path.last().is_some_and(|name| name == "String") => {
                        key = std::mem::take(&mut content)
                    }
                    "Value" if path.last().is_some_and(|name| name == "String") => {
                        entry.insert(std::mem::take(&mut key), std::mem::take(&mut content));
                    }
                    "Entry" => {
                        let part = |name: &str| entry.get(name).map(String::as_str).unwrap_or_default();
                        let more = [("Url", part("URL")), ("Notes", part("Notes"))];
                        items.push(login(part("Title"), part("UserName"), part("Password"), &more));
                        entry.clear();
                    }
                    _ => {}
                }
                content.clear();
            }
            Event::Eof if path.is_empty() => return Ok(items),
            Event::Eof => return Err("it ends too early".to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: ImportFormat, text: &str) -> Vec<(String, Value)> {
        let items = items(format, text).unwrap();
        items.into_iter().map(|item| (item.name, item.value.to_json())).collect()
    }

    fn one(name: &str, value: impl Into<Value>) -> (String, Value) {
        (name.to_owned(), value.into())
    }

    #[test]
    fn a_dotenv_file_is_read_with_its_quotes() {
        let text =
            "# why\nexport A=plain # said\nB='it is $x'\nC=\"two\\nlines \\\"q\\\"\"\n\nD=\"a\nb\"\nE=\n";
        let expected = [
            one("A", "plain"),
            one("B", "it is $x"),
            one("C", "two\nlines \"q\""),
            one("D", "a\nb"),
            one("E", ""),
        ];
        assert_eq!(read(ImportFormat::Env, text), expected);
        assert!(items(ImportFormat::Env, "A=1\nnonsense\n").err().unwrap().contains("line 2"));
        assert!(items(ImportFormat::Env, "A='open").err().unwrap().contains("line 1"));
    }

    #[test]
    fn json_and_csv_are_read() {
        assert_eq!(
            read(ImportFormat::Json, r#"{"a":"x","n":5,"t":{"u":"v"}}"#)[2],
            one("t", serde_json::json!({ "u": "v" }))
        );
        assert!(
            items(ImportFormat::Json, r#"{"a":["canary"]}"#).err().is_some_and(|why| !why.contains("canary"))
        );
        assert_eq!(read(ImportFormat::Csv, "Name,Value\na,\"x,\"\"y\"\"\"\n"), [one("a", "x,\"y\"")]);
        let credential = serde_json::json!({ "UserName": "sa", "Password": "pw" });
        assert_eq!(
            read(ImportFormat::Csv, "name,username,password,url\na,sa,pw,http://x\n"),
            [one("a", credential)]
        );
    }

    #[test]
    fn exports_of_bitwarden_and_keepass_are_read() {
        let credential = serde_json::json!({ "UserName": "sa", "Password": "p&w" });
        let text = r#"{"encrypted":false,"items":[{"name":"a","login":{"username":"sa","password":"p&w","uris":[{"uri":"u"}]}},
            {"name":"note","notes":"text"}]}"#;
        assert_eq!(read(ImportFormat::Bitwarden, text), [one("a", credential.clone()), one("note", "text")]);
        assert!(items(ImportFormat::Bitwarden, r#"{"encrypted":true}"#).err().unwrap().contains("encrypted"));
        let entry = |password: &str, history: &str| {
            format!(
                "<Entry><String><Key>Title</Key><Value>a</Value></String><String><Key>UserName</Key><Value>sa</Value></String>\
                 <String><Key>Password</Key><Value ProtectInMemory=\"True\">{password}</Value></String>{history}</Entry>"
            )
        };
        let history = format!("<History>{}</History>", entry("old", ""));
        let text = format!(
            "<?xml version=\"1.0\"?><KeePassFile><Root><Group>{}</Group></Root></KeePassFile>",
            entry("p&amp;w", &history)
        );
        assert_eq!(read(ImportFormat::Keepass, &text), [one("a", credential)]);
        assert!(items(ImportFormat::Keepass, "<KeePassFile><Root>").is_err());
    }
}

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
    /// What the file has of it beside, and no secret of a vault can hold: names alone.
    pub(in crate::commands) left_out: Vec<String>,
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
    ImportItem { name: name.to_owned(), value, metadata: Metadata::new(), left_out: Vec::new() }
}

fn login(name: &str, user: &str, password: &str, more: &[(&str, &str)]) -> ImportItem {
    let value = match user {
        "" => SecretValue::string(password),
        user => SecretValue::Credential(Credential { user: user.to_owned(), password: password.into() }),
    };
    let kept = more.iter().filter(|(_, text)| !text.is_empty());
    let metadata =
        kept.map(|(name, text)| ((*name).to_owned(), MetadataValue::String((*text).to_owned()))).collect();
    ImportItem { name: name.to_owned(), value, metadata, left_out: Vec::new() }
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
        let exported = entry.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
        let entry = exported.unwrap_or(entry);
        let (name, value) = entry
            .split_once('=')
            .filter(|(name, _)| !name.contains('\n'))
            .ok_or(format!("line {line} is not NAME=value"))?;
        let (value, left) = env_value(value).ok_or(format!("line {line}: a quote is not closed"))?;
        items.push(plain(name.trim(), SecretValue::string(value)));
        line += rest[..rest.len() - left.len()].matches('\n').count();
        rest = left;
    }
    Ok(items)
}

/// The value that a text begins with, and what comes after its line.
fn env_value(text: &str) -> Option<(String, &str)> {
    let spaced = text.starts_with([' ', '\t']);
    let text = text.trim_start_matches([' ', '\t']);
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
            // A hash begins a comment where a space is before it.
            let comment = line
                .char_indices()
                .find(|&(at, c)| c == '#' && (at == 0 && spaced || line[..at].ends_with([' ', '\t'])));
            let value = line[..comment.map_or(line.len(), |(at, _)| at)].trim();
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
    // Where a comma is the decimal point, Excel puts a semicolon between cells.
    let first = text.lines().next().unwrap_or_default();
    let between = [b',', b';', b'\t'].into_iter().find(|c| first.contains(char::from(*c))).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new().delimiter(between).flexible(true).from_reader(text.as_bytes());
    let heading: Vec<String> = match reader.headers() {
        Ok(heading) => heading.iter().map(|title| title.trim().to_ascii_lowercase()).collect(),
        Err(_) => return Err("it has no heading".to_owned()),
    };
    let column = |names: &[&str]| heading.iter().position(|title| names.contains(&title.as_str()));
    let name = column(&["name", "key", "title", "account"]).ok_or("the heading has no `name`")?;
    let value = column(&["value", "secret", "password", "login_password"])
        .ok_or("the heading has neither `value` nor `password`")?;
    let user = column(&["username", "user", "login", "login_username", "login name"]);
    let more =
        [("Url", column(&["url", "login_uri", "web site"])), ("Notes", column(&["notes", "comments"]))];
    let mut items = Vec::new();
    for record in reader.records() {
        let record = record
            .map_err(|error| format!("line {}: not CSV", error.position().map_or(0, |at| at.line())))?;
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
        let more: Vec<_> = more.iter().map(|(name, at)| (*name, cell(*at))).collect();
        let mut item = login(cell(Some(name)), cell(user), cell(Some(value)), &more);
        // Second factors are secrets too; no vault's type has room for them.
        let others =
            ["login_totp", "totp", "fields"].into_iter().filter(|title| !cell(column(&[title])).is_empty());
        item.left_out = others.map(str::to_owned).collect();
        items.push(item);
    }
    Ok(items)
}

// === Bitwarden ===

/// Whether JSON is an export of Bitwarden, which no other object looks like.
pub(super) fn is_bitwarden(text: &str) -> bool {
    parsed(text).is_ok_and(|export| export["encrypted"].is_boolean() && export["items"].is_array())
}

fn bitwarden(text: &str) -> Result<Vec<ImportItem>, String> {
    let export = parsed(text)?;
    if export["encrypted"] == true {
        return Err("the export is encrypted; make an unencrypted one, import it, and delete it".to_owned());
    }
    let entries = export["items"].as_array().ok_or("it has no `items`")?;
    Ok(entries.iter().map(bitwarden_item).collect())
}

fn bitwarden_item(entry: &Value) -> ImportItem {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, notes) = (text(&entry["name"]), text(&entry["notes"]));
    let fields = entry["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |field: &Value| (text(&field["name"]), SecretValue::string(text(&field["value"])));
    if let Value::Object(of) = &entry["login"] {
        let url = text(&entry["login"]["uris"][0]["uri"]);
        let part = |name: &str| of.get(name).map(text).unwrap_or_default();
        let more = [("Url", url.as_str()), ("Notes", &notes)];
        let mut item = login(&name, &part("username"), &part("password"), &more);
        let totp = (!part("totp").is_empty()).then(|| "totp".to_owned());
        item.left_out =
            fields.iter().map(|field| format!("field {}", text(&field["name"]))).chain(totp).collect();
        return item;
    }
    // A card, an identity, a key: each is a table of its own members, whatever they are.
    let tables = ["card", "identity", "sshKey"].into_iter().filter_map(|kind| entry[kind].as_object());
    let members = tables.flatten().filter(|(_, value)| value.is_string());
    let mut table: BTreeMap<String, SecretValue> =
        members.map(|(name, value)| (name.clone(), SecretValue::string(text(value)))).collect();
    table.extend(fields.iter().map(named));
    if table.is_empty() {
        return plain(&name, SecretValue::string(notes));
    }
    ImportItem { value: SecretValue::Hashtable(table), ..login(&name, "", "", &[("Notes", &notes)]) }
}

// === KeePass ===

/// Entries of `KeePassFile`, but neither those of an entry's history nor those in the recycle bin.
fn keepass(text: &str) -> Result<Vec<ImportItem>, String> {
    let mut reader = Reader::from_str(text);
    let mut database = KeepassFile::default();
    let broken = |at: u64| format!("byte {at}: not XML");
    loop {
        match reader.read_event().map_err(|_| broken(reader.error_position()))? {
            Event::Start(start) => {
                let is_protected =
                    |name: &str, value: &str| name == "Protected" && value.eq_ignore_ascii_case("true");
                let attributes = start.attributes().flatten();
                if attributes.into_iter().any(|one| is_protected(one.key.0, one.value.as_ref())) {
                    return Err(
                        "its values are encrypted; export it as KeePass XML (2.x), unencrypted".to_owned()
                    );
                }
                database.begin(start.name().as_ref().to_owned());
            }
            Event::Text(text) => database.content.push_str(&text),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => Some(character.to_string()),
                    _ => quick_xml::escape::resolve_predefined_entity(&reference).map(str::to_owned),
                };
                database.content.push_str(
                    &character
                        .ok_or(format!("byte {}: an entity that is not known", reader.buffer_position()))?,
                );
            }
            Event::CData(data) => database.content.push_str(&data),
            Event::End(_) => database.end(),
            Event::Eof if database.path.is_empty() => return Ok(database.items),
            Event::Eof => return Err("it ends too early".to_owned()),
            _ => {}
        }
    }
}

/// What was read of a KeePass file so far.
#[derive(Default)]
struct KeepassFile {
    /// The elements that are open.
    path: Vec<String>,
    /// The text of the last one.
    content: String,
    /// The fields of the entry that is open, and the name of the next.
    entry: BTreeMap<String, String>,
    key: String,
    /// The groups that are open, and the one that is the recycle bin.
    groups: Vec<String>,
    bin: Option<String>,
    items: Vec<ImportItem>,
}

impl KeepassFile {
    fn begin(&mut self, element: String) {
        if element == "Group" {
            self.groups.push(String::new());
        }
        self.path.push(element);
        self.content.clear();
    }

    fn end(&mut self) {
        let element = self.path.pop().unwrap_or_default();
        let content = std::mem::take(&mut self.content);
        let within = |name: &str| self.path.last().is_some_and(|last| last == name);
        if self.path.iter().any(|name| name == "History") {
            return;
        }
        match element.as_str() {
            "RecycleBinUUID" => self.bin = Some(content).filter(|id| !id.is_empty()),
            "UUID" if within("Group") => {
                if let Some(group) = self.groups.last_mut() {
                    *group = content;
                }
            }
            "Group" => drop(self.groups.pop()),
            "Key" if within("String") => self.key = content,
            "Value" if within("String") => drop(self.entry.insert(std::mem::take(&mut self.key), content)),
            "Entry" => self.entry(),
            _ => {}
        }
    }

    /// An entry is complete.
    fn entry(&mut self) {
        let mut fields = std::mem::take(&mut self.entry);
        if self.bin.as_ref().is_some_and(|bin| self.groups.contains(bin)) {
            return;
        }
        let mut part = |name: &str| fields.remove(name).unwrap_or_default();
        let [title, user, password, url, notes] =
            ["Title", "UserName", "Password", "URL", "Notes"].map(&mut part);
        let mut item = login(&title, &user, &password, &[("Url", &url), ("Notes", &notes)]);
        let others = fields.into_iter().filter(|(_, text)| !text.is_empty());
        item.left_out = others.map(|(name, _)| format!("field {name}")).collect();
        self.items.push(item);
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
        assert_eq!(read(ImportFormat::Csv, "name;value\r\na;\"x;y,z\"\r\n"), [one("a", "x;y,z")]);
        assert_eq!(read(ImportFormat::Csv, "name\tvalue\na\tb,c\n"), [one("a", "b,c")]);
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
        assert!(
            is_bitwarden(text) && !is_bitwarden(r#"{"items":"x","encrypted":"no"}"#) && !is_bitwarden("x")
        );
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

    #[test]
    fn a_dotenv_file_of_windows_with_comments_and_awkward_values_is_read() {
        let text = "export\tA=1\r\nB='q'\r\n  export C = \"x\\\\y\" # c\r\nD= # nothing\r\nE=#hash\r\nF=a#b\tc\r\nG=\u{fc}=\u{1f511}==\r\n";
        let expected = [
            one("A", "1"),
            one("B", "q"),
            one("C", "x\\y"),
            one("D", ""),
            one("E", "#hash"),
            one("F", "a#b\tc"),
            one("G", "\u{fc}=\u{1f511}=="),
        ];
        assert_eq!(read(ImportFormat::Env, text), expected);
    }

    #[test]
    fn csv_of_browsers_and_password_managers_is_read_with_awkward_cells() {
        let credential =
            |user: &str, password: &str| serde_json::json!({ "UserName": user, "Password": password });
        let chrome = "name,url,username,password,note\r\nx,https://x,sa,\"a,\"\"b\nc\",n\r\n";
        assert_eq!(read(ImportFormat::Csv, chrome), [one("x", credential("sa", "a,\"b\nc"))]);
        let bitwarden = "folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,login_totp\n\
                         ,,login,y,,,0,https://y,u,p,otpauth://x\n";
        let items = items(ImportFormat::Csv, bitwarden).unwrap();
        assert_eq!(items[0].value.to_json(), credential("u", "p"));
        assert_eq!(items[0].left_out, ["login_totp"]);
        let keepass = "\"Account\",\"Login Name\",\"Password\",\"Web Site\",\"Comments\"\n\"z\",\"u\",\"p\",\"w\",\"\"\n";
        assert_eq!(read(ImportFormat::Csv, keepass), [one("z", credential("u", "p"))]);
    }

    #[test]
    fn cards_identities_and_keys_of_bitwarden_are_tables_and_what_has_no_place_is_told() {
        let text = r#"{"encrypted":false,"items":[
            {"type":3,"name":"card","notes":null,"card":{"number":"4111","code":"123","brand":null}},
            {"type":5,"name":"key","sshKey":{"privateKey":"-----BEGIN\nx","publicKey":"ssh-ed25519 A"}},
            {"type":1,"name":"l","login":{"username":null,"password":"p","totp":"secret"},"fields":[{"name":"pin","value":"1"}]}]}"#;
        let table = |members: Value| members;
        assert_eq!(
            read(ImportFormat::Bitwarden, text),
            [
                one("card", table(serde_json::json!({ "code": "123", "number": "4111" }))),
                one(
                    "key",
                    table(serde_json::json!({ "privateKey": "-----BEGIN\nx", "publicKey": "ssh-ed25519 A" }))
                ),
                one("l", "p"),
            ]
        );
        assert_eq!(items(ImportFormat::Bitwarden, text).unwrap()[2].left_out, ["field pin", "totp"]);
    }

    #[test]
    fn what_keepass_has_thrown_away_is_not_read_and_encrypted_values_are_refused() {
        let entry = |title: &str, more: &str| {
            format!(
                "<Entry><UUID>e</UUID><String><Key>Title</Key><Value>{title}</Value></String>{more}</Entry>"
            )
        };
        let field = "<String><Key>Password</Key><Value /></String><String><Key>pin</Key><Value><![CDATA[1<2]]></Value></String>";
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"yes\"?>\r\n<KeePassFile><Meta><RecycleBinUUID>bin==</RecycleBinUUID></Meta>\
             <Root><Group><UUID>root==</UUID>{}<Group><UUID>bin==</UUID>{}</Group>{}</Group></Root></KeePassFile>",
            entry("kept &#252;&lt;", field),
            entry("thrown", ""),
            entry("last", "")
        );
        let items_of = items(ImportFormat::Keepass, &text).unwrap();
        let names: Vec<_> = items_of.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["kept \u{fc}<", "last"]);
        assert_eq!(items_of[0].left_out, ["field pin"]);
        let sealed = text.replace("<Value />", "<Value Protected=\"True\">AAAA</Value>");
        assert!(items(ImportFormat::Keepass, &sealed).err().unwrap().contains("encrypted"));
    }
}

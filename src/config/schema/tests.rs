use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::*;
use crate::config::parse;

const BOGUS: &str = "quite_unlike_any";

/// Keys of the table, by the place that a problem names them at; names of the user's own are `a`.
fn known_to_schema() -> BTreeMap<String, BTreeSet<String>> {
    fn walk(place: &str, shape: &Shape, found: &mut BTreeMap<String, BTreeSet<String>>) {
        match shape {
            Shape::Table(keys) | Shape::OneOf(keys, _) => {
                found.insert(place.to_owned(), keys.iter().map(|key| key.name.to_owned()).collect());
                for key in *keys {
                    let place =
                        if place.is_empty() { key.name.to_owned() } else { format!("{place}.{}", key.name) };
                    walk(&place, &key.shape, found);
                }
            }
            Shape::Tables(of) => walk(&format!("{place}[0]"), of, found),
            Shape::Named(of) => walk(&format!("{place}.a"), of, found),
            Shape::List(of) => walk(place, of, found),
            Shape::Either(shapes) => shapes.iter().for_each(|shape| walk(place, shape, found)),
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    walk("", &Shape::Table(keys()), &mut found);
    found
}

/// Keys that the reader asks for: its hints tell them when it meets one that it does not know.
fn known_to_reader() -> BTreeMap<String, BTreeSet<String>> {
    let bogus = format!("{BOGUS} = 1");
    let text = format!(
        "{bogus}\n[[listeners]]\n{bogus}\ntls = {{ {bogus} }}\n[auth]\n{bogus}\n[[tokens]]\n{bogus}\n[[peers]]\n{bogus}\n\
         [[certificates]]\n{bogus}\n[pwsh]\n{bogus}\ninit = {{ {bogus} }}\n[pool]\n{bogus}\n[limits]\n{bogus}\n\
         [cache]\n{bogus}\n[credentials]\n{bogus}\n[audit]\n{bogus}\n[auto_import]\n{bogus}\n[vaults.a]\n{bogus}\nunlock = {{ {bogus} }}\n\
         [secrets.a]\n{bogus}\n[[routes]]\n{bogus}\nsecret = 'a'"
    );
    let problems = parse(&text, Path::new("/")).unwrap_err().problems;
    let mut found = BTreeMap::new();
    for problem in problems.iter().filter(|problem| problem.path.ends_with(BOGUS)) {
        let place = problem.path.trim_end_matches(BOGUS).trim_end_matches('.').to_owned();
        let list =
            problem.hint.as_deref().and_then(|hint| hint.strip_prefix("known here: ")).expect("a list");
        found.insert(place, list.split(", ").map(str::to_owned).collect());
    }
    found
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys_in_the_same_tables() {
    let (schema, reader) = (known_to_schema(), known_to_reader());
    assert!(reader.len() > 15, "{reader:?}");
    assert_eq!(schema, reader);
}

#[test]
fn each_default_and_example_is_what_its_key_may_be() {
    fn walk(keys: &[TableKey]) {
        for key in keys {
            let alone = TableKey { required: false, ..*key };
            let validator = jsonschema::validator_for(&json::of_table(&[alone])).unwrap();
            for text in [key.default, key.example].into_iter().filter(|text| !text.is_empty()) {
                let value = json::value(text).unwrap_or_else(|| panic!("{}: {text} is no TOML", key.name));
                let table = serde_json::json!({ key.name: value });
                assert!(validator.is_valid(&table), "{}: {text}", key.name);
            }
            match key.shape {
                Shape::Table(keys) | Shape::OneOf(keys, _) => walk(keys),
                Shape::Tables(Shape::Table(keys) | Shape::OneOf(keys, _))
                | Shape::Named(Shape::Table(keys) | Shape::OneOf(keys, _)) => walk(keys),
                _ => {}
            }
        }
    }
    walk(keys());
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema()).expect("a sound schema")
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config").join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect()
}

fn as_json(text: &str) -> serde_json::Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

/// The examples of a page that are configurations.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| !block.contains('…')).collect()
}

#[test]
fn every_good_configuration_of_fixtures_and_documents_fits_the_schema() {
    let validator = validator();
    let mut texts: Vec<(String, String)> = Vec::new();
    for path in files("good") {
        texts.push((path.display().to_string(), std::fs::read_to_string(path).unwrap()));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in
        docs.chain([root.join("README.md")]).filter(|path| path.extension().is_some_and(|end| end == "md"))
    {
        let text = std::fs::read_to_string(&page).unwrap();
        // An example that the reader takes must fit; parts of a configuration are no whole one.
        let whole = examples(&text).into_iter().filter(|block| parse(block, Path::new("/")).is_ok());
        texts.extend(whole.map(|block| (page.display().to_string(), block.to_owned())));
    }
    assert!(texts.len() > 10, "{}", texts.len());
    for (name, text) in texts {
        let value = as_json(&text);
        let faults: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{name}: {faults:?}\n{text}");
    }
}

#[test]
fn what_is_not_known_is_refused_by_the_schema_too() {
    let validator = validator();
    for text in [
        "listne = '127.0.0.1:1'",
        "[vaults.a]\nlocal = true\nexpos = true",
        "[vaults.a]\nmodule = 'x'\nunlock = 'password'",
        "[vaults.a]\nmodule = 'x'\nunlock = { evn = 'X' }",
        "[vaults.a]\ncache_ttl = '5m'",
        "[secrets.a]\nkey = 'x'",
        "[[routes]]\npath = '/x'",
        "[[routes]]\npath = '/x'\nsecret = 'a'\nmethod = 'FETCH'",
        "[pool]\nmin = 0",
        "[limits]\ndeadline = 'soon'",
        "[limits]\nmax_body = 'large'",
        "[[tokens]]\nname = 'x'\nfile = 'y'",
        "[pwsh]\ninit = [{ path = 'x' }]",
    ] {
        assert!(!validator.is_valid(&as_json(text)), "{text}");
    }
    for text in [
        "[limits]\ndeadline = '1h 30m'\nmax_body = '8 mib'",
        "[[routes]]\npath = '/x'\nsecret = 'a'\nmethod = 'get'",
    ] {
        assert!(validator.is_valid(&as_json(text)), "{text}");
    }
}

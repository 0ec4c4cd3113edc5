use std::path::Path;

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};
use crate::plan::{Plan, Vault, VaultKind};

fn arguments(line: &str) -> InitArgs {
    match Cli::try_parse_from(["secretbridge", "init"].into_iter().chain(line.split_whitespace()))
        .unwrap()
        .command
    {
        Command::Init(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

fn plan_of(wish: &InitChoices) -> Plan {
    let text = text::text(wish);
    config::parse(&text, Path::new("/base")).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn asked(found: &registry::FoundVaults, answers: &[&str]) -> InitChoices {
    let mut answers = answers.iter();
    let mut asker = |_: &str| Ok(answers.next().expect("no more questions").to_string());
    let wish = ask::ask(&arguments(""), found, &mut asker).unwrap();
    assert_eq!(answers.next(), None, "every answer was asked for");
    wish
}

#[test]
fn answers_and_options_that_say_the_same_write_the_same() {
    let found = registry::FoundVaults {
        vaults: ["Mine", "Team"]
            .map(|name| Vault::new(name, VaultKind::Local { folder: None, key: None }))
            .into(),
        ..registry::FoundVaults::default()
    };
    for (answers, options) in [
        (&["", "", ""][..], "--yes"),
        (&["1", "", ""], "--vault local"),
        (&["9", "x", "2", "pw.txt", "", "*:1"], "--vault secretstore --unlock-file pw.txt --listen *:1"),
        (&["2", "", "s", ""], "--vault secretstore --parameter Authentication=None --name s"),
        (
            &["3", "", "kv", "0-1", "", ""],
            "--vault azure --parameter AZKVaultName=kv --parameter SubscriptionId=0-1",
        ),
        (
            &["4", "My.Kee", "Path=a b", "oops", "Size=5", "", "env:PW", "", ""],
            "--module My.Kee --parameter Path=SPACE --parameter Size=5 --unlock-env PW",
        ),
        (&["5", "", ""], "--expose-vault Mine --expose-vault Team"),
        (&["5", "Team:rw", ""], "--vault registered --expose-vault Team:rw"),
    ] {
        let mut arguments = arguments(options);
        arguments
            .parameter
            .iter_mut()
            .filter(|(_, value)| value == "SPACE")
            .for_each(|(_, value)| *value = "a b".into());
        let wish = asked(&found, answers);
        assert_eq!(told(&arguments).unwrap(), wish, "{options}");
        plan_of(&wish);
    }
}

#[test]
fn what_a_vault_cannot_do_without_is_asked_for_by_its_option() {
    for (line, option) in [
        ("--vault secretstore", "--unlock-file"),
        ("--vault azure", "AZKVaultName"),
        ("--vault module", "--module"),
        ("--vault registered", "--expose-vault"),
    ] {
        assert!(told(&arguments(line)).unwrap_err().to_string().contains(option), "{line}");
    }
}

#[test]
fn names_and_values_with_any_characters_come_out_as_they_went_in() {
    let wish = InitChoices {
        listen: "127.0.0.1:0".into(),
        vault: Some(VaultWish {
            name: "it's \"mine\" = #1".into(),
            module: Some("My.Module".into()),
            parameters: vec![
                ("a b".into(), "x\"\\ ü\n".into()),
                ("n".into(), "007".into()),
                ("t".into(), "true".into()),
            ],
            unlock: Some(UnlockChoice::File("a\\b".into())),
        }),
        expose: vec!["Ä:rw".into()],
    };
    let plan = plan_of(&wish);
    let parameters = &plan.vaults[0].extension().unwrap().parameters.0;
    assert_eq!(plan.vaults[0].name, "it's \"mine\" = #1");
    assert_eq!(
        (parameters["a b"].as_str(), parameters["n"].as_str(), parameters["t"].as_bool()),
        (Some("x\"\\ ü\n"), Some("007"), Some(true))
    );
    assert_eq!(plan.auto_import.expose[0].vault, "Ä");
}

#[test]
fn each_line_that_is_marked_as_a_key_can_be_put_in_force() {
    for options in
        ["--yes", "--vault secretstore --unlock-file pw", "--module My.Module", "--expose-vault Team"]
    {
        let text = text::text(&told(&arguments(options)).unwrap());
        let lines: Vec<_> = text.lines().collect();
        let is_key = |line: &str| {
            line.strip_prefix('#')
                .is_some_and(|rest| rest.starts_with(char::is_lowercase) && rest.contains(" = "))
        };
        let is_header = |line: &str| line.starts_with("#[") || line.starts_with('[');
        let mut tried = 0;
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| is_key(line)) {
            let header = lines[..at].iter().rposition(|line| is_header(line)).expect("a header");
            // Those of a secret, a route and a unit's credentials stand for themselves, all of them together. A home is
            // of the user that is named.
            if lines[at].starts_with("#home = ")
                || ["#[secrets", "#[[", "#[credentials"].iter().any(|start| lines[header].starts_with(start))
            {
                continue;
            }
            let bare = |(index, line): (usize, &&str)| match index == at || index == header {
                true => line.trim_start_matches('#').to_owned(),
                false => (*line).to_owned(),
            };
            let changed = lines.iter().enumerate().map(bare).collect::<Vec<_>>().join("\n");
            config::parse(&changed, Path::new("/"))
                .unwrap_or_else(|problems| panic!("{}: {problems}", lines[at]));
            tried += 1;
        }
        assert!(tried > 30, "{tried}");
    }
}

//! What a shell may complete at a place of the command line: the part that needs no vault. Pure.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command};

use super::secrets::Connect;

/// Arguments of `complete-names`, which the scripts of `completions` call.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = format!("\
A word that can be no name gets no answer. Nothing is unlocked, no pwsh is started, and there is no answer after a second.

EXAMPLES:
  secretbridge complete-names --word local/d -- get

{}", super::exit_codes::EXIT_CODES))]
pub struct CompleteArgs {
    /// The word to complete, as far as it is there.
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    pub word: String,
    /// The words before it, without the name of this program.
    #[arg(last = true, value_name = "WORDS")]
    pub before: Vec<String>,
}

/// A name that may stand at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedName {
    /// What it names.
    pub what: NameKind,
    /// What is there of the word and is not of the name: `DB=`.
    pub lead: String,
    /// What is there of the name.
    pub begin: String,
    /// Where the command would look for it.
    pub connect: Connect,
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A vault.
    Vault,
    /// A vault, or a vault and a key.
    VaultOrSecret,
    /// A vault and a key, or a mount.
    Secret,
}

impl CompleteArgs {
    /// The name that may stand there by what the program takes, if one may.
    pub fn wanted(&self, mut command: Command) -> Option<WantedName> {
        let plain = command.clone();
        command.build();
        let argument = argument_at(&command, &self.before, &self.word)?;
        let shown = argument.get_value_names()?.first()?.as_str();
        let (lead, begin) = match self.word.split_once('=') {
            Some((place, name)) if shown.contains("=SECRET") => (format!("{place}="), name),
            // A variable comes first, which nobody knows.
            None if shown.starts_with("NAME=") || shown.starts_with("PATH=") => return None,
            _ => (String::new(), self.word.as_str()),
        };
        let what = match shown {
            "VAULT" | "TO" => NameKind::Vault,
            _ if !lead.is_empty() || shown == "SECRET" => NameKind::Secret,
            _ if shown.starts_with("VAULT[/") || shown.starts_with("FROM[/") => NameKind::VaultOrSecret,
            _ => return None,
        };
        Some(WantedName { what, lead, begin: begin.to_owned(), connect: connect(plain, &self.before) })
    }
}

/// The argument whose value the word after these is.
fn argument_at<'a>(command: &'a Command, before: &[String], word: &str) -> Option<&'a Arg> {
    let mut command = command;
    let mut option: Option<&Arg> = None;
    let mut position = 1;
    for said in before {
        if option.take().is_some() {
            continue;
        }
        match said.strip_prefix('-') {
            // What comes now is another program's.
            _ if said == "--" => return None,
            Some(rest) if !rest.is_empty() => option = value_of(command, rest),
            _ => match command.find_subcommand(said).filter(|_| position == 1) {
                Some(found) => command = found,
                None => position += 1,
            },
        }
    }
    if option.is_some() {
        return option;
    }
    if word.starts_with('-') {
        return None;
    }
    let mut positionals: Vec<&Arg> = command.get_positionals().filter(|arg| !arg.is_last_set()).collect();
    positionals.sort_by_key(|arg| arg.get_index());
    // The last one takes all that follow, where it takes many.
    let takes_many = |arg: &&&Arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1);
    positionals.get(position - 1).or_else(|| positionals.last().filter(takes_many)).copied()
}

/// The option whose value is the next word: of `-url`, what follows the first dash, or of `e`.
fn value_of<'a>(command: &'a Command, said: &str) -> Option<&'a Arg> {
    let found = match said.strip_prefix('-') {
        Some(long) => command.get_arguments().find(|arg| arg.get_long() == Some(long)),
        None => {
            command.get_arguments().find(|arg| arg.get_short().is_some_and(|short| said.ends_with(short)))
        }
    };
    found.filter(|arg| arg.get_action().takes_values())
}

/// Where the command would look, as far as its words tell.
fn connect(command: Command, before: &[String]) -> Connect {
    let words = std::iter::once("secretbridge").chain(before.iter().map(String::as_str));
    let Ok(matches) = command.ignore_errors(true).try_get_matches_from(words) else {
        return Connect::default();
    };
    let mut leaf = &matches;
    while let Some((_, inner)) = leaf.subcommand() {
        leaf = inner;
    }
    fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Option<T> {
        matches.try_get_one::<T>(id).ok().flatten().cloned()
    }
    Connect {
        url: one(leaf, "url"),
        token_file: one::<PathBuf>(leaf, "token_file"),
        ca_file: one(leaf, "ca_file"),
        config: one(leaf, "config"),
        direct: one(leaf, "direct").unwrap_or_default(),
        local_vault: one(leaf, "local_vault"),
        ..Connect::default()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn wanted(line: &str) -> Option<WantedName> {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let word = words.pop().unwrap();
        CompleteArgs { word, before: words }.wanted(super::super::Cli::command())
    }

    #[test]
    fn names_are_completed_where_names_stand_and_nowhere_else() {
        use NameKind::{Secret, Vault, VaultOrSecret};
        for (line, expected) in [
            ("get ", Some((Secret, "", ""))),
            ("get local/d", Some((Secret, "", "local/d"))),
            ("read --json secretbridge://lo", Some((Secret, "", "secretbridge://lo"))),
            ("--log debug get -o file lo", Some((Secret, "", "lo"))),
            ("rm a b c", Some((Secret, "", "c"))),
            ("set ", Some((Secret, "", ""))),
            ("list t", Some((VaultOrSecret, "", "t"))),
            ("unlock t", Some((Vault, "", "t"))),
            ("copy a/x b", Some((Vault, "", "b"))),
            ("copy a", Some((VaultOrSecret, "", "a"))),
            ("import .env ", Some((Vault, "", ""))),
            ("restore all.age --to x", Some((Vault, "", "x"))),
            ("backup all.age one two", Some((VaultOrSecret, "", "two"))),
            ("exec --env DB=lo", Some((Secret, "DB=", "lo"))),
            ("exec -e DB=lo", Some((Secret, "DB=", "lo"))),
            ("exec --from t", Some((VaultOrSecret, "", "t"))),
            ("export A=local/x B=lo", Some((Secret, "B=", "lo"))),
            ("export lo", Some((VaultOrSecret, "", "lo"))),
            ("exec --env DB", None),
            ("get --output f", None),
            ("get local/x y", None),
            ("get --js", None),
            ("get --url h", None),
            ("exec -- get ", None),
            ("g", None),
            ("import .e", None),
            ("serve ", None),
        ] {
            let found = wanted(line).map(|found| (found.what, found.lead, found.begin));
            let expected = expected.map(|(what, lead, begin)| (what, lead.to_owned(), begin.to_owned()));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn a_name_is_looked_for_where_the_command_would_look() {
        let connect = wanted("get --url http://h:1 --token-file t lo").unwrap().connect;
        assert_eq!((connect.url.as_deref(), connect.token_file), (Some("http://h:1"), Some("t".into())));
        assert_eq!(wanted("exec --direct -c f --env A=x").unwrap().connect.config, Some("f".into()));
        assert!(wanted("exec --direct -c f --env A=x").unwrap().connect.direct);
    }
}

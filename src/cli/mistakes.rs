//! What is said of a wrong command line, where clap says too little or too much. Pure.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Two letters that changed places, one too many or one too few: clap's own measure of likeness finds none of these
/// in a word as short as `get`.
const SLIPS: usize = 1;

/// Options of other programs that take a secret.
const VALUE_OPTIONS: [&str; 3] = ["--value", "--password", "--secret"];

/// A better error, where there is one. `program` is the whole command line that clap knows.
pub(super) fn told(program: Command, error: clap::Error, arguments: &[String]) -> clap::Error {
    match secret_as_argument(&program, &error, arguments) {
        Some(better) => better,
        None => suggest(program, error, arguments),
    }
}

/// A secret that was given as an argument. clap would print it, and others read what a program prints.
fn secret_as_argument(program: &Command, error: &clap::Error, arguments: &[String]) -> Option<clap::Error> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let is_value = !word.starts_with('-') || VALUE_OPTIONS.contains(&word.as_str());
    if error.kind() != ErrorKind::UnknownArgument || !is_value {
        return None;
    }
    let mut command = command_of(program.clone(), arguments, word);
    let (what, instead) = match command.get_name() {
        "set" => ("the value of a secret", "standard input, --file"),
        "unlock" => ("a password", "--password-file"),
        _ => return None,
    };
    Some(command.error(
        ErrorKind::TooManyValues,
        format!(
            "{what} is never an argument, because other users can see it in the list of processes, and the shell keeps it \
             in its history; give it by {instead} or the hidden prompt"
        ),
    ))
}

/// Adds the names that are one slip of the keyboard away from a wrong one.
fn suggest(program: Command, mut error: clap::Error, arguments: &[String]) -> clap::Error {
    let (wrong, told) = match error.kind() {
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand),
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        _ => return error,
    };
    let Some(ContextValue::String(word)) = error.get(wrong).cloned() else { return error };
    if error.get(told).is_some() {
        return error;
    }
    let command = command_of(program, arguments, &word);
    let names = match told {
        ContextKind::SuggestedSubcommand => near(&word, subcommands(&command)),
        _ => near(word.split('=').next().unwrap_or_default(), options(&command)),
    };
    let suggestion = match (told, names.first()) {
        (_, None) => return error,
        (ContextKind::SuggestedSubcommand, _) => ContextValue::Strings(names),
        (_, Some(name)) => ContextValue::String(name.clone()),
    };
    error.insert(told, suggestion);
    error
}

/// The command that the words before the wrong one name.
fn command_of(mut command: Command, arguments: &[String], wrong: &str) -> Command {
    // Gives each command the options that all of them take.
    command.build();
    for word in arguments.iter().skip(1).take_while(|word| *word != wrong) {
        if let Some(found) = command.find_subcommand(word) {
            command = found.clone();
        }
    }
    command
}

fn subcommands(command: &Command) -> Vec<String> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.flat_map(|command| command.get_name_and_visible_aliases()).map(str::to_owned).collect()
}

fn options(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    shown.filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")).collect()
}

fn near(wrong: &str, names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| strsim::damerau_levenshtein(wrong, name) <= SLIPS).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn told(line: &str) -> String {
        parse(std::iter::once("secretbridge").chain(line.split(' '))).unwrap_err().to_string()
    }

    #[test]
    fn a_secret_that_was_given_as_an_argument_is_not_printed() {
        for (line, instead) in [
            ("set local/db hunter2-canary", "--file"),
            ("set local/db hunter2-canary --type credential --user u", "--file"),
            ("unlock store hunter2-canary", "--password-file"),
            ("unlock store --password hunter2-canary", "--password-file"),
            ("set local/db --value=hunter2-canary", "--file"),
        ] {
            let error = parse(std::iter::once("secretbridge").chain(line.split(' '))).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(instead) && !told.contains("canary"), "{line}: {told}");
            assert_eq!(super::super::exit_of(&error), crate::exit::Exit::Usage);
        }
    }

    #[test]
    fn a_slip_in_a_command_or_an_option_is_answered_with_what_was_meant() {
        for (line, meant) in [
            ("gte local/db", "'get'"),
            ("ste local/db", "'set'"),
            ("mr local/db", "'rm'"),
            ("lst", "'list'"),
            ("vualts", "'vaults'"),
            ("stauts", "'status'"),
            ("audit shwo", "'show'"),
            ("--log-format text gte x", "'get'"),
            ("get x --jsno", "'--json'"),
            ("get x --ulr=http://h", "'--url'"),
            ("serve --lgo debug", "'--log'"),
            ("get x --outptu f", "'--output'"),
        ] {
            let told = told(line);
            assert!(told.contains("tip:") && told.contains(meant), "{line}: {told}");
        }
        for line in ["frobnicate", "get x --frobnicate"] {
            let told = told(line);
            assert!(!told.contains("similar"), "{line}: {told}");
        }
    }
}

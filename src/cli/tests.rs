use std::path::Path;

use clap::CommandFactory as _;

use super::*;
use crate::plan::{Bind, Expose};

fn cli(line: &str) -> Result<Cli, clap::Error> {
    parse(std::iter::once("secretbridge").chain(line.split_whitespace()))
}

fn serve(line: &str) -> ServeArgs {
    match cli(&format!("serve {line}")).unwrap().command {
        Command::Serve(args) => args,
        other => panic!("{other:?}"),
    }
}

fn run(line: &str) -> RunArgs {
    match cli(&format!("run {line}")).unwrap().command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn serve_needs_nothing() {
    assert_eq!(serve(""), ServeArgs::default());
}

#[test]
fn serve_takes_addresses_and_vaults_many_times() {
    let args = serve("--listen *:1 --listen unix:/s --expose-vault A --expose-vault B:rw --workers 3");
    assert_eq!(args.listen, [Bind::Tcp("[::]:1".parse().unwrap()), Bind::Unix("/s".into())]);
    let expose = [("A", false), ("B", true)].map(|(name, writable)| Expose { vault: name.into(), writable });
    assert_eq!(args.expose_vault, expose);
    assert_eq!(args.workers, Some(3));
}

#[test]
fn what_follows_the_script_is_the_scripts() {
    let args = run("--no-lift server.ps1 -VaultName Real --check -- --pwsh x");
    assert!(args.no_lift && !args.check);
    assert_eq!(args.script, Path::new("server.ps1"));
    assert_eq!(args.parameters, ["-VaultName", "Real", "--check", "--", "--pwsh", "x"]);
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for line in
        ["--pwsh /p --log debug --log-format json serve", "serve --pwsh /p --log debug --log-format json"]
    {
        let global = cli(line).unwrap().global;
        let pwsh = Some(PathBuf::from("/p"));
        let log = Some("debug".into());
        assert_eq!(
            global,
            Global { log, log_format: LogFormat::Json, log_file: None, pwsh, as_service: None }
        );
    }
}

#[test]
fn a_wrong_line_ends_with_64_and_help_with_0() {
    for line in [
        "",
        "serv",
        "get",
        "serve --workers 0",
        "serve --workers 257",
        "serve --listen example.org:80",
        "serve --expose-vault :rw",
        "serve --no-auto-import --expose-vault A",
        "serve --config a --local-vault b",
        "serve --log inof",
        "run",
        "run --format toml server.ps1",
    ] {
        assert_eq!(exit_of(&cli(line).unwrap_err()), Exit::Usage, "{line}");
    }
    for line in ["--help", "--version", "serve --help", "help run"] {
        assert_eq!(exit_of(&cli(line).unwrap_err()), Exit::Ok, "{line}");
    }
}

#[test]
fn the_long_help_of_each_command_has_examples_and_exit_codes() {
    let mut all = vec![Cli::command()];
    let mut seen = 0;
    while let Some(mut command) = all.pop() {
        all.extend(command.get_subcommands().cloned());
        let help = command.render_long_help().to_string();
        for part in ["EXAMPLES:", "EXIT CODES:"] {
            assert!(help.contains(part), "{}: {part}", command.get_name());
        }
        seen += 1;
    }
    assert!(seen > 30, "only {seen} commands were found");
}

/// Terminals are as wide as they are: the help is wrapped when it is shown.
#[test]
fn no_paragraph_of_the_help_is_broken_by_hand() {
    let mut all = vec![Cli::command()];
    while let Some(command) = all.pop() {
        all.extend(command.get_subcommands().cloned());
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let lines: Vec<&str> = help.lines().collect();
        let is_text = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
        for pair in lines.windows(2) {
            assert!(!(is_text(pair[0]) && is_text(pair[1])), "{}: {}", command.get_name(), pair[0]);
        }
    }
}

#[test]
fn the_help_lists_every_exit_code() {
    for exit in Exit::ALL {
        assert!(EXIT_CODES.lines().any(|line| line.starts_with(&format!("{:>4}  ", exit.code()))));
    }
    assert_eq!(EXIT_CODES.lines().count(), Exit::ALL.len() + 1);
}

#[test]
fn the_help_of_serve_tells_what_the_key_file_is_worth() {
    let help = cli("serve --help").unwrap_err().to_string();
    assert!(help.contains("It does not protect from anyone who can read your account's files"), "{help}");
}

/// The commands of this program in a text, each with its words; what a shell does around them is left out.
fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let starts = |line: &str| {
        line.find("secretbridge ").filter(|at| {
            // Not in the middle of a word, a path or a sentence.
            let before = line[..*at].trim_end();
            let assigns = before.split_whitespace().all(|word| word.contains('='));
            assigns || before.ends_with(['|', '(']) || before.ends_with("sudo") || before.ends_with("$(")
        })
    };
    joined.lines().filter_map(|line| starts(line).map(|at| words(&line[at..]))).collect()
}

/// The words of a command, up to what ends it for a shell.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | '<' | ';' | ')' | '#') if word.is_none() || c != '#' => break,
            (None, ' ') => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    // What is said of an example on its own line.
    words
}

#[test]
fn every_command_in_the_documents_is_one_that_the_program_takes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    pages.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut seen = 0;
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(page).unwrap();
        let blocks = text.split("\n```").skip(1).step_by(2);
        for block in
            blocks.filter_map(|block| ["sh\n", "powershell\n"].iter().find_map(|l| block.strip_prefix(l)))
        {
            for words in commands(block) {
                seen += 1;
                if let Err(error) = parse(&words) {
                    assert_eq!(exit_of(&error), Exit::Ok, "{}: {words:?}: {error}", page.display());
                }
            }
        }
    }
    assert!(seen > 60, "only {seen} commands were found: are they still read?");
}

#[test]
fn every_command_in_the_help_is_one_that_the_program_takes() {
    let mut all = vec![Cli::command()];
    let mut seen = 0;
    while let Some(mut command) = all.pop() {
        all.extend(command.get_subcommands().cloned());
        let help = command.render_long_help().to_string();
        let examples = help.split("EXAMPLES:\n").nth(1).unwrap_or_default();
        for line in examples.lines().take_while(|line| !line.starts_with("EXIT CODES")) {
            // What is said beside an example stands after many spaces.
            let said = line.trim_start().split("  ").next().unwrap_or_default();
            for words in commands(said) {
                seen += 1;
                let parsed = parse(&words);
                assert!(parsed.is_ok(), "{}: {words:?}: {}", command.get_name(), parsed.unwrap_err());
            }
        }
    }
    assert!(seen > 50, "only {seen} commands were found: are they still read?");
}

#[test]
fn every_command_and_option_says_what_it_is_in_a_sentence() {
    let mut all = vec![Cli::command()];
    while let Some(command) = all.pop() {
        let name = command.get_name().to_owned();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() > 10, "{name} says nothing of itself");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() > 6, "{name} {} says nothing of itself", argument.get_id());
        }
        all.extend(command.get_subcommands().cloned());
    }
}

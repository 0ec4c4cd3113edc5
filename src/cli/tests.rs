use std::path::Path;

use clap::CommandFactory as _;

use super::*;

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
    for command in ["serve", "check", "run"] {
        let help = cli(&format!("{command} --help")).unwrap_err().to_string();
        for part in ["EXAMPLES:", "EXIT CODES:"] {
            assert!(help.contains(part), "{command}: {part}");
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

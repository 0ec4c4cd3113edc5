//! Names that a shell completes.

use std::net::TcpListener;

use super::*;

/// What is offered for the last word of a line.
fn offered(line: &Line, words: &str) -> Vec<String> {
    let (before, word) = words.rsplit_once(' ').unwrap();
    let word = format!("--word={word}");
    let args: Vec<&str> = ["complete-names", &word, "--"].into_iter().chain(before.split(' ')).collect();
    line.ok(&args, b"").lines().map(str::to_owned).collect()
}

#[test]
fn names_come_from_the_server_and_never_a_value() {
    let server = server();
    let line = Line::beside(&server);
    for key in ["db", "db-2", "with space", "other"] {
        line.ok(&["set", &format!("local/{key}")], b"value-canary");
    }
    assert_eq!(offered(&line, "get l"), ["local/"]);
    assert_eq!(offered(&line, "get local/d"), ["local/db", "local/db-2"]);
    assert_eq!(offered(&line, "get LOCAL/W"), ["LOCAL/with space"]);
    assert_eq!(offered(&line, "get secretbridge://local/w"), ["secretbridge://local/with%20space"]);
    assert_eq!(offered(&line, "exec --env DB=local/o"), ["DB=local/other"]);
    assert_eq!(offered(&line, "unlock "), ["local"]);
    for nothing in ["get nowhere/", "serve l", "get --url http://127.0.0.1:1 l", "exec -- get l"] {
        assert!(offered(&line, nothing).is_empty(), "{nothing}");
    }
    line.ok(&["lock", "local"], b"");
    assert!(offered(&line, "get local/d").is_empty(), "what is locked stays so");
    assert!(line.ok(&["vaults"], b"").contains("locked"));
}

#[test]
fn without_a_server_names_come_from_a_local_vault_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    assert_eq!(offered(&line, "get l"), ["local/"]);
    assert!(offered(&line, "get local/").is_empty());
    assert!(crate::support::files_below(&folder.path().join("home")).is_empty());
    line.ok(&["set", "local/db"], b"one");
    assert_eq!(offered(&line, "get local/"), ["local/db"]);
    // A store would have to be unlocked by a worker, for which no pwsh is there.
    let plan = "[vaults.store]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nparameters = { Authentication = \"None\" }\n[secrets.mounted]\nvault = \"store\"\nkey = \"k\"\n";
    std::fs::write(folder.path().join("secretbridge.toml"), plan).unwrap();
    let line = Line::alone(folder.path()).env("SECRETBRIDGE_PWSH", "/nowhere/pwsh");
    assert_eq!(offered(&line, "get "), ["mounted", "store/"]);
    assert!(offered(&line, "get store/").is_empty());
    std::fs::write(folder.path().join("secretbridge.toml"), "not a plan").unwrap();
    assert!(offered(&line, "get ").is_empty(), "a mistake is no name");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    assert!(offered(&line, &format!("get --timeout 1h --url http://{address} l")).is_empty());
}

#[test]
fn bash_completes_words_and_names() {
    let server = server();
    let line = Line::beside(&server);
    line.ok(&["set", "local/db"], b"one");
    line.ok(&["set", "local/a b"], b"two");
    let script = line.ok(&["completions", "bash"], b"");
    let asked = |typed: &str, word: &str| {
        let calls = format!(
            "{script}\nCOMP_LINE='{typed}' COMP_POINT={}; read -ra COMP_WORDS <<< \"$COMP_LINE\"
            [[ \"$COMP_LINE\" == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${{#COMP_WORDS[@]}}-1))
            _secretbridge '{PROGRAM}' '{word}' x; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            typed.len()
        );
        let mut bash = Command::new("bash");
        let of_line = line.command(&[]);
        bash.args(["-c", &calls]).env_clear();
        bash.envs(of_line.get_envs().filter_map(|(name, value)| Some((name, value?))));
        text(&bash.output().unwrap().stdout).trim().to_owned()
    };
    assert_eq!(asked(&format!("{PROGRAM} get local/"), "local/"), "local/a\\ b\nlocal/db");
    assert_eq!(
        asked(&format!("{PROGRAM} exec -e A=local/d"), "local/d"),
        "local/db",
        "behind = a word begins"
    );
    assert_eq!(asked(&format!("{PROGRAM} vau"), "vau"), "vaults");
    assert_eq!(asked(&format!("{PROGRAM} get --js"), "--js"), "--json");
}

#[test]
fn powershell_completes_names_and_runs_nothing_that_stands_in_the_line() {
    let pwsh = crate::need_pwsh!();
    let server = server();
    let line = Line::beside(&server);
    line.ok(&["set", "local/db"], b"one");
    line.ok(&["set", "local/it's"], b"two");
    std::fs::write(server.folder().join("completions.ps1"), line.ok(&["completions", "powershell"], b""))
        .unwrap();
    let script = format!(
        "$ErrorActionPreference = 'Stop'
        Set-StrictMode -Version 3.0
        $env:PATH = '{}' + [System.IO.Path]::PathSeparator + $env:PATH
        $env:XDG_RUNTIME_DIR = '{}'
        . '{}'
        foreach ($line in 'secretbridge get local/d', 'secretbridge get local/i', 'secretbridge vau', 'secretbridge get \"$(New-Item {}/made)\" lo') {{
            $found = (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches
            @($found | ForEach-Object {{ $_.CompletionText }}) -join '|'
        }}",
        Path::new(PROGRAM).parent().unwrap().display(),
        server.folder().join("run").display(),
        server.folder().join("completions.ps1").display(),
        server.folder().display(),
    );
    let told = pwsh.output_of(&script, server.home());
    let lines: Vec<_> = told.lines().map(str::trim).collect();
    assert_eq!(lines[..3], ["local/db", "'local/it''s'", "vaults"], "{told}");
    assert!(!server.folder().join("made").exists());
}

//! `exec`, `inject` and `export`.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::*;
use crate::support::process::Process;
use crate::support::{SOON, files_below, wait_until};

fn with_secrets() -> (Server, Line) {
    let server = server();
    let line = Line::beside(&server);
    line.ok(&["set", "local/db"], b"hunter2-canary");
    line.ok(&["set", "local/login", "-t", "hashtable"], br#"{"user":"sa","pass":"p\"w"}"#);
    (server, line)
}

#[test]
fn a_program_gets_secrets_in_its_environment_and_its_exit_code_is_kept() {
    let (_server, line) = with_secrets();
    let script = "printf '%s|%s' \"$DB\" \"$U\"";
    let args = [
        "exec",
        "--env",
        "DB=local/db",
        "--env",
        "U=secretbridge://local/login#/user",
        "--",
        "sh",
        "-c",
        script,
    ];
    assert_eq!(line.ok(&args, b""), "hunter2-canary|sa");
    assert_eq!(
        line.ok(&["run", "-e", "DB=local/db", "--", "sh", "-c", "printf %s \"$DB\""], b""),
        "hunter2-canary"
    );
    let of_reference = Line::beside(&_server).env("DB", "secretbridge://local/db");
    assert_eq!(of_reference.ok(&["run", "--", "sh", "-c", "printf %s \"$DB\""], b""), "hunter2-canary");
    let file = _server.folder().join("app.env");
    std::fs::write(
        &file,
        "# for the program\nexport U=secretbridge://local/login#/user\nPORT='80 80'\nDB=plain\n",
    )
    .unwrap();
    let from_file = [
        "exec",
        "--env-file",
        "app.env",
        "-e",
        "DB=local/db",
        "--",
        "sh",
        "-c",
        "printf '%s|%s|%s' \"$DB\" \"$U\" \"$PORT\"",
    ];
    assert_eq!(line.ok(&from_file, b""), "hunter2-canary|sa|80 80");
    let from_vault = ["exec", "--from", "local/d*", "--", "sh", "-c", "printf '%s|%s' \"$DB\" \"$LOGIN\""];
    assert_eq!(line.ok(&from_vault, b""), "hunter2-canary|");
    std::fs::write(&file, "A=secretbridge://local/\n").unwrap();
    assert!(line.fails(64, &["exec", "--env-file", "app.env", "--", "true"], b"").contains("app.env: A"));
    assert_eq!(line.run(&["exec", "--", "sh", "-c", "exit 7"], b"").status.code(), Some(7));
    assert_eq!(line.run(&["exec", "--", "sh", "-c", "kill -9 $$"], b"").status.code(), Some(137));
    assert_eq!(line.run(&["exec", "--", "sh", "-c", "kill -TERM $$"], b"").status.code(), Some(143));
    // What the system keeps of a code: its lowest byte.
    assert_eq!(
        line.run(&["exec", "--", "python3", "-c", "import os; os._exit(300)"], b"").status.code(),
        Some(44)
    );
    assert_eq!(line.run(&["exec", "--", "/nowhere/program"], b"").status.code(), Some(127));
    line.fails(66, &["exec", "--env", "DB=local/nope", "--", "true"], b"");
    assert_eq!(line.ok(&["exec", "--", "cat"], b"through"), "through");
}

#[test]
fn a_secret_is_not_read_for_a_variable_that_something_else_fills() {
    let (server, line) = with_secrets();
    let show = ["--", "sh", "-c", "printf %s \"$DB\""];
    // Read, each of them would end it: one is not there, one is no name.
    for of_environment in ["secretbridge://local/nope", "secretbridge://local/"] {
        let line = Line::beside(&server).env("DB", of_environment);
        for options in [&["--from", "local/db"][..], &["--env", "DB=local/db"]] {
            let args = [&["exec"], options, &show].concat();
            assert_eq!(line.ok(&args, b""), "hunter2-canary", "{options:?}");
        }
        assert!(!line.run(&[&["exec"][..], &show].concat(), b"").status.success());
    }
    std::fs::write(server.folder().join("app.env"), "DB=mine\n").unwrap();
    let args = [
        "exec",
        "--mask",
        "--from",
        "local/db",
        "--env-file",
        "app.env",
        "--",
        "sh",
        "-c",
        "printf '%s hunter2-canary' \"$DB\"",
    ];
    assert_eq!(line.ok(&args, b""), "mine hunter2-canary", "what is not read is no secret of this program");
}

#[test]
fn a_template_that_asks_for_a_secret_that_is_not_there_ends_with_its_name() {
    let (_server, line) = with_secrets();
    for template in [
        "a {{ secret(\"local/nope\") }}\n",
        "{% for i in [1, 2] %}{{ secret(\"local/nope\") }}{% endfor %}",
        "{% set all = [secret(\"local/db\"), secret(\"local/nope\")] %}",
        "a secretbridge://local/nope\n",
    ] {
        let told = line.fails(66, &["inject", "-"], template.as_bytes());
        assert!(told.contains("nope") && !told.contains("canary"), "{template}: {told}");
    }
    line.fails(64, &["inject", "-"], b"{{ secret(\"local/\") }}");
    line.fails(64, &["inject", "-"], b"{{ secret(\"local/db\") | nosuchfilter }}");
}

#[test]
fn a_pattern_that_nothing_is_like_is_an_error_where_a_program_waits_for_its_secrets() {
    let (_server, line) = with_secrets();
    for args in [
        &["export", "local/dbb"][..],
        &["export", "local/zzz*"],
        &["exec", "--from", "local/dbb", "--", "true"],
        &["exec", "--from", "local/zzz*", "--", "true"],
        &["copy", "local/zzz*", "other", "--dry-run"],
        &["backup", "all.age", "local/zzz*", "--recipient", RECIPIENT],
    ] {
        line.fails(66, args, b"");
    }
    assert!(line.fails(66, &["export", "local/dbb"], b"").contains("did you mean 'local/db'?"));
    assert_eq!(line.ok(&["list", "local/zzz*"], b""), "", "what only looks finds nothing");
    for key in ["db", "login"] {
        line.ok(&["rm", &format!("local/{key}")], b"");
    }
    assert_eq!(line.ok(&["export", "local"], b""), "", "an empty vault is one");
}

/// One whose identity nobody has.
const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

#[test]
fn files_are_private_and_gone_afterwards() {
    let (server, line) = with_secrets();
    let place = server.folder().join("key.pem");
    let place = place.to_str().unwrap();
    let folder = server.folder().join("folder");
    let script = format!(
        "cat {place}; stat -L -c ' %a' {place}; cat \"$SECRETBRIDGE_FILES/bare\"; \
         printf '%s %s' \"$(stat -f -c %T \"$SECRETBRIDGE_FILES\")\" \"$SECRETBRIDGE_FILES\" > '{}'",
        folder.display()
    );
    let binding = format!("{place}=local/db");
    let out =
        line.ok(&["exec", "--file", &binding, "--file", "bare=local/db", "--", "sh", "-c", &script], b"");
    assert_eq!(out, "hunter2-canary 600\nhunter2-canary");
    assert!(!std::path::Path::new(place).is_symlink());
    let kept = std::fs::read_to_string(folder).unwrap();
    let (system, kept) = kept.split_once(' ').unwrap();
    assert!(!std::path::Path::new(kept).exists(), "{kept}");
    if rustix::fs::access("/dev/shm", rustix::fs::Access::WRITE_OK).is_ok() {
        assert_eq!(system, "tmpfs", "in memory, also where XDG_RUNTIME_DIR is on a disk: {kept}");
    }
    std::fs::write(place, "mine").unwrap();
    let told = line.fails(64, &["exec", "--file", &binding, "--", "true"], b"");
    assert!(told.contains("key.pem"), "{told}");
    assert_eq!(std::fs::read_to_string(place).unwrap(), "mine", "what is there is left alone");
}

#[test]
fn masked_output_shows_no_value_and_both_streams_are_kept_apart() {
    let (_server, line) = with_secrets();
    let script = "printf 'a %s b' \"$DB\"; printf 'e %s' \"$DB\" >&2; printf %s \"$DB\" | base64";
    let output = line.run(&["exec", "--mask", "-e", "DB=local/db", "--", "sh", "-c", script], b"");
    assert_eq!(text(&output.stdout), "a ******** b********\n");
    assert_eq!(text(&output.stderr), "e ********");
}

#[test]
fn signals_are_passed_on_and_files_go_even_then() {
    let (_server, line) = with_secrets();
    let script = "trap 'echo got; exit 9' TERM; echo \"in $SECRETBRIDGE_FILES\"; ls \"$SECRETBRIDGE_FILES\"; echo ready; while :; do sleep 0.05; done";
    let mut process =
        Process::start(line.command(&["exec", "--file", "x=local/db", "--", "sh", "-c", script]));
    wait_until("it runs", SOON, || process.stdout.text().contains("ready"));
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(SOON).code(), Some(9));
    process.drain();
    assert!(process.stdout.text().contains("got"));
    let folders = said(&process, "in ");
    assert!(process.stdout.text().lines().any(|line| line == "x"), "the file was there");
    assert!(folders.len() == 1 && !std::path::Path::new(&folders[0]).exists(), "{folders:?}");
}

#[test]
fn a_change_restarts_the_program_once_for_a_burst() {
    let (_server, line) = with_secrets();
    let script = "echo \"started $DB\"; trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let args = ["exec", "--watch", "--interval", "300ms", "-e", "DB=local/db", "--", "sh", "-c", script];
    let mut process = Process::start(line.command(&args));
    wait_until("it runs", SOON, || process.stdout.text().contains("started hunter2-canary"));
    for value in ["two", "three", "four"] {
        line.ok(&["set", "local/db"], value.as_bytes());
    }
    wait_until("it runs again", SOON, || process.stdout.text().contains("started four"));
    // One more look finds nothing to do.
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(process.stdout.text().matches("started").count(), 2, "{}", process.stdout.text());
    process.signal(Signal::TERM);
    process.wait_exit(SOON);
}

#[test]
fn files_of_every_format_are_filled_whole_and_keep_their_mode() {
    let (server, line) = with_secrets();
    let folder = server.folder();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("a.toml", "# keep\npass = \"secretbridge://local/login#/pass\"\n");
    assert_eq!(line.ok(&["inject", "a.toml"], b""), "# keep\npass = \"p\\\"w\"\n");
    write(
        "a.json.tmpl",
        "{\"p\": \"{{ secret('secretbridge://local/login#/pass') }}\", \"u\": {{ secret('local/db') }}}\n",
    );
    let json: Value = serde_json::from_str(&line.ok(&["inject", "a.json.tmpl"], b"")).unwrap();
    assert_eq!((&json["p"], &json["u"]), (&json!("p\"w"), &json!("hunter2-canary")));
    write("a.yaml", "p: secretbridge://local/login#/pass\nd: 'secretbridge://local/db'\n");
    assert_eq!(line.ok(&["inject", "a.yaml"], b""), "p: \"p\\\"w\"\nd: 'hunter2-canary'\n");
    write(".env", "P=secretbridge://local/login#/pass\n");
    std::fs::set_permissions(folder.join(".env"), std::fs::Permissions::from_mode(0o640)).unwrap();
    line.ok(&["inject", ".env", "--in-place"], b"");
    assert_eq!(std::fs::read_to_string(folder.join(".env")).unwrap(), "P='p\"w'\n");
    assert_eq!(std::fs::metadata(folder.join(".env")).unwrap().permissions().mode() & 0o777, 0o640);
    write("bad.txt", "secretbridge://local/nope\n");
    line.fails(66, &["inject", "bad.txt", "-o", "out.txt"], b"");
    assert!(!folder.join("out.txt").exists(), "nothing is written by halves");
    assert_eq!(line.ok(&["inject", "-"], b"plain {# gone #}text\n"), "plain text\n");
}

#[test]
fn exports_are_read_back_by_those_they_are_for() {
    let (server, line) = with_secrets();
    line.ok(&["set", "local/hard-one"], b"it's \"$HOME\" `id`\nline 2");
    let shell = line.ok(&["export", "local/hard*", "--format", "shell"], b"");
    let script = format!("{shell}\nprintf %s \"$HARD_ONE\"");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(text(&output.stdout), "it's \"$HOME\" `id`\nline 2");
    assert_eq!(line.ok(&["export", "D=local/db"], b""), "D=hunter2-canary\n");
    let json: Value = serde_json::from_str(&line.ok(&["export", "local", "--format", "json"], b"")).unwrap();
    assert_eq!(json["DB"], "hunter2-canary");
    let file = server.folder().join("github");
    std::fs::write(&file, "").unwrap();
    let github = Line::beside(&server).env("GITHUB_ENV", file.display().to_string());
    let told = github.ok(&["export", "H=local/hard-one", "--format", "github"], b"");
    assert_eq!(told, "::add-mask::it's \"$HOME\" `id`\n::add-mask::line 2\n");
    let written = std::fs::read_to_string(&file).unwrap();
    let end = written.strip_prefix("H<<").and_then(|rest| rest.lines().next()).unwrap();
    assert_eq!(written, format!("H<<{end}\nit's \"$HOME\" `id`\nline 2\n{end}\n"));
    line.fails(66, &["export", "nowhere"], b"");
}

/// Values that shells and formats trip over.
const AWKWARD: [&str; 7] = [
    "it's \"$HOME\" `id` $(id) \\ %PATH% !x",
    "line one\nline two\n\nlast ",
    "\u{fc}\u{df} \u{2602} \u{1f511} \u{2018}smart\u{2019} \u{201c}quotes\u{201d}",
    "\ttab, comma; # hash = equals",
    " - 'leading space",
    "${x} #{y} {{z}} @{q}",
    "x\r\ny",
];

#[test]
fn every_export_is_read_back_whole_by_the_shell_it_is_for() {
    let (server, line) = with_secrets();
    for (index, value) in AWKWARD.iter().enumerate() {
        line.ok(&["set", &format!("local/awk-{index}"), "--file", "-"], value.as_bytes());
        assert_eq!(line.ok(&["get", &format!("local/awk-{index}"), "--no-newline"], b""), *value);
    }
    let of = |format: &str| line.ok(&["export", "local/awk-*", "--format", format], b"");
    // JSON.
    let json: Value = serde_json::from_str(&of("json")).unwrap();
    // POSIX shells.
    let show: String = (0..AWKWARD.len()).map(|index| format!("printf '%s\\0' \"$AWK_{index}\"; ")).collect();
    for shell in ["bash", "sh"] {
        let script = format!("{}\n{show}", of("shell"));
        let output = Command::new(shell).args(["-c", &script]).output().unwrap();
        let read: Vec<String> = text(&output.stdout).split_terminator('\0').map(str::to_owned).collect();
        assert_eq!(read, AWKWARD, "{shell}: {}", text(&output.stderr));
    }
    // A .env file, by our own reader.
    line.ok(&["import", "-", "local", "--format", "env", "--overwrite"], of("env").as_bytes());
    for (index, value) in AWKWARD.iter().enumerate() {
        assert_eq!(json[format!("AWK_{index}")], *value);
        assert_eq!(line.ok(&["get", &format!("local/AWK_{index}"), "--no-newline"], b""), *value);
    }
    // GitHub's file of variables.
    let file = server.folder().join("github");
    std::fs::write(&file, "").unwrap();
    let runner = Line::beside(&server).env("GITHUB_ENV", file.display().to_string());
    runner.ok(&["export", "local/awk-*", "--format", "github"], b"");
    let written = std::fs::read_to_string(&file).unwrap();
    let read = github_variables(&written);
    for (index, value) in AWKWARD.iter().enumerate() {
        assert_eq!(read[&format!("AWK_{index}")], *value, "{written}");
    }
    // PowerShell, as the help says that it is done: by a pipeline, whose lines end as the system's do.
    let pwsh = crate::need_pwsh!();
    let exported = of("powershell");
    assert!(exported.is_ascii(), "no code page of a console changes it: {exported}");
    let file = server.folder().join("export.ps1.txt");
    std::fs::write(&file, exported.replace('\n', "\r\n")).unwrap();
    let script = format!(
        "Get-Content -LiteralPath '{}' | Out-String | Invoke-Expression
        0..{} | ForEach-Object {{ [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes((Get-Item \"env:AWK_$_\").Value)) }}",
        file.display(),
        AWKWARD.len() - 1
    );
    use base64::Engine as _;
    let told = pwsh.output_of(&script, server.home());
    let decoded = |line: &str| {
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(line.trim()).unwrap()).unwrap()
    };
    assert_eq!(told.lines().map(decoded).collect::<Vec<_>>(), AWKWARD);
}

/// As the runner reads it: NAME<<END, lines, END.
fn github_variables(text: &str) -> std::collections::BTreeMap<String, String> {
    let mut found = std::collections::BTreeMap::new();
    let mut rest = text;
    while let Some((head, after)) = rest.split_once('\n') {
        let (name, end) = head.split_once("<<").expect("a name and its end");
        let mark = format!("\n{end}\n");
        let (value, more) = after.split_once(&mark).expect("the end");
        found.insert(name.to_owned(), value.to_owned());
        rest = more;
    }
    found
}

#[test]
fn every_format_takes_awkward_values_and_gives_them_back() {
    let (server, line) = with_secrets();
    let folder = server.folder();
    for (index, value) in AWKWARD.iter().enumerate() {
        line.ok(&["set", "local/awk", "--file", "-"], value.as_bytes());
        std::fs::write(
            folder.join("t.toml"),
            "a = \"secretbridge://local/awk\"\nb = secretbridge://local/awk\n",
        )
        .unwrap();
        let toml: toml::Table = line.ok(&["inject", "t.toml"], b"").parse().unwrap();
        assert_eq!((toml["a"].as_str(), toml["b"].as_str()), (Some(*value), Some(*value)), "{index}");
        std::fs::write(
            folder.join("t.json"),
            "{\"a\": \"secretbridge://local/awk\", \"b\": secretbridge://local/awk}",
        )
        .unwrap();
        let json: Value = serde_json::from_str(&line.ok(&["inject", "t.json"], b"")).unwrap();
        assert_eq!((json["a"].as_str(), json["b"].as_str()), (Some(*value), Some(*value)), "{index}");
        // JSON's strings are YAML's too.
        let yaml = line.ok(&["inject", "-", "--format", "yaml"], b"a: secretbridge://local/awk\n");
        let scalar = yaml.strip_prefix("a: ").unwrap().trim_end();
        assert_eq!(serde_json::from_str::<String>(scalar).unwrap(), *value, "{index}: {yaml}");
        let env = line.ok(&["inject", "-", "--format", "env"], b"A=secretbridge://local/awk\n");
        line.ok(&["import", "-", "local", "--format", "env", "--overwrite"], env.as_bytes());
        assert_eq!(line.ok(&["get", "local/A", "--no-newline"], b""), *value, "{index}: {env}");
        let plain = line.ok(&["inject", "-"], b"<{{ secret('local/awk') }}>");
        assert_eq!(plain, format!("<{value}>"));
    }
}

#[test]
fn a_file_that_is_filled_in_place_is_never_seen_by_halves_and_a_link_stays_one() {
    let (server, line) = with_secrets();
    let folder = server.folder();
    let template = "A=secretbridge://local/db\n".repeat(2000);
    let filled = template.replace("secretbridge://local/db", "hunter2-canary");
    std::fs::write(folder.join("real.env"), &template).unwrap();
    std::fs::set_permissions(folder.join("real.env"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.env", folder.join("link.env")).unwrap();
    let mut process = Process::start(line.command(&["inject", "link.env", "--in-place"]));
    loop {
        let seen = std::fs::read_to_string(folder.join("link.env")).unwrap();
        assert!(seen == template || seen == filled, "a half of {} bytes", seen.len());
        if let Some(status) = process.exited() {
            assert!(status.success());
            break;
        }
    }
    assert_eq!(std::fs::read_to_string(folder.join("real.env")).unwrap(), filled);
    assert!(folder.join("link.env").is_symlink());
    let mode = std::fs::metadata(folder.join("real.env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_program_that_does_not_end_at_a_change_is_killed_and_its_files_go() {
    let (_server, line) = with_secrets();
    // It says what it has heard, and stays.
    let script = "trap 'echo asked' TERM; echo \"in $SECRETBRIDGE_FILES\"; echo \"started $(cat \"$SECRETBRIDGE_FILES/x\")\"; while :; do sleep 0.05; done";
    let args = [
        "exec",
        "--watch",
        "--interval",
        "200ms",
        "--grace",
        "3s",
        "--file",
        "x=local/db",
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut process = Process::start(line.command(&args));
    wait_until("it runs", SOON, || process.stdout.text().contains("started hunter2-canary"));
    line.ok(&["set", "local/db"], b"two");
    wait_until("it runs again", SOON, || process.stdout.text().contains("started two"));
    assert!(process.stdout.text().contains("asked"), "TERM came before KILL");
    let folders = said(&process, "in ");
    let holds = |what: &str| {
        folders
            .iter()
            .flat_map(|folder| files_below(std::path::Path::new(folder)))
            .filter(|path| std::fs::read_to_string(path).is_ok_and(|text| text == what))
            .count()
    };
    assert_eq!((holds("hunter2-canary"), holds("two")), (0, 1), "the old file is gone, the new one is there");
    // The program is killed from outside: its code says so, and the file is gone.
    let child = *process.children().first().expect("the program");
    rustix::process::kill_process(rustix::process::Pid::from_raw(child as i32).unwrap(), Signal::KILL)
        .unwrap();
    assert_eq!(process.wait_exit(SOON).code(), Some(137));
    assert_eq!(holds("two"), 0);
}

/// Whether a process is there and runs.
fn is_running(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim().starts_with('Z'))
}

/// What a line says after this word, of each line that begins with it.
fn said(process: &Process, word: &str) -> Vec<String> {
    let text = process.stdout.text();
    text.lines().filter_map(|line| line.strip_prefix(word)).map(str::to_owned).collect()
}

#[test]
fn a_restart_ends_all_that_the_program_has_started() {
    let (_server, line) = with_secrets();
    // A shell that waits for two children: one that ends when asked, and one that hears nothing.
    let script = "sleep 1000 & echo \"soft $!\"; sh -c 'trap \"\" TERM; echo \"hard $$\"; while :; do sleep 0.05; done' & \
                  echo \"started $DB\"; wait";
    let args = [
        "exec",
        "--watch",
        "--interval",
        "200ms",
        "--grace",
        "1s",
        "-e",
        "DB=local/db",
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut process = Process::start(line.command(&args));
    wait_until("it runs", SOON, || {
        said(&process, "started ").len() == 1 && said(&process, "hard ").len() == 1
    });
    line.ok(&["set", "local/db"], b"two");
    wait_until("it runs again", SOON, || {
        said(&process, "hard ").len() == 2 && said(&process, "started ").len() == 2
    });
    let (soft, hard) = (said(&process, "soft "), said(&process, "hard "));
    assert!(!is_running(&soft[0]) && !is_running(&hard[0]), "the first ones are gone");
    assert!(is_running(&soft[1]) && is_running(&hard[1]), "the second ones run");
    // A signal to us is one to all of them.
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(SOON).code(), Some(143));
    wait_until("its child heard it too", SOON, || !is_running(&soft[1]));
    let left = hard[1].parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(left, Signal::KILL).unwrap();
}

#[test]
fn a_secret_that_is_written_in_pieces_is_masked() {
    let (_server, line) = with_secrets();
    // A write for each character, so that none of the reads has the whole of it.
    let script = "printf hunt; sleep 0.1; printf er2-; sleep 0.1; printf 'canary|'; printf hunter2";
    let output = line.run(&["exec", "--mask", "-e", "DB=local/db", "--", "sh", "-c", script], b"");
    assert_eq!(text(&output.stdout), "********|hunter2");
}

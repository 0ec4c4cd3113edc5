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
    assert_eq!(line.run(&["exec", "--", "sh", "-c", "exit 7"], b"").status.code(), Some(7));
    assert_eq!(line.run(&["exec", "--", "sh", "-c", "kill -9 $$"], b"").status.code(), Some(137));
    assert_eq!(line.run(&["exec", "--", "/nowhere/program"], b"").status.code(), Some(127));
    line.fails(66, &["exec", "--env", "DB=local/nope", "--", "true"], b"");
    assert_eq!(line.ok(&["exec", "--", "cat"], b"through"), "through");
}

#[test]
fn files_are_private_and_gone_afterwards() {
    let (server, line) = with_secrets();
    let place = server.folder().join("key.pem");
    let place = place.to_str().unwrap();
    let script = format!("cat {place}; stat -L -c ' %a' {place}; cat \"$SECRETBRIDGE_FILES/bare\"");
    let binding = format!("{place}=local/db");
    let out =
        line.ok(&["exec", "--file", &binding, "--file", "bare=local/db", "--", "sh", "-c", &script], b"");
    assert_eq!(out, "hunter2-canary 600\nhunter2-canary");
    assert!(!std::path::Path::new(place).is_symlink());
    let left: Vec<_> = files_below(&server.folder().join("run"));
    assert!(
        left.iter().all(|path| !std::fs::read_to_string(path).unwrap_or_default().contains("canary")),
        "{left:?}"
    );
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
    let (server, line) = with_secrets();
    let script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut process =
        Process::start(line.command(&["exec", "--file", "x=local/db", "--", "sh", "-c", script]));
    wait_until("it runs", SOON, || process.stdout.text().contains("ready"));
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(SOON).code(), Some(9));
    process.drain();
    assert!(process.stdout.text().contains("got"));
    let left = files_below(&server.folder().join("run"));
    assert!(left.iter().all(|path| !path.ends_with("x")), "{left:?}");
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
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("H<<SECRETBRIDGE_END\nit's"));
    line.fails(66, &["export", "nowhere"], b"");
}

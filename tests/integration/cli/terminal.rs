//! What is asked for on a terminal: the questions of `init`, hidden values.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::*;
use crate::support::{SOON, wait_for, wait_until};

/// A program on a terminal of its own.
struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// The program's end, to see whether it shows what is typed.
    inside: File,
    child: Child,
}

impl Terminal {
    /// Runs a command line there.
    fn run(line: &Line, args: &[&str]) -> Terminal {
        Terminal::run_program(line, PROGRAM, args)
    }

    /// Runs any program there. `setsid` makes the terminal its controlling one, which hidden prompts open.
    fn run_program(line: &Line, program: &str, args: &[&str]) -> Terminal {
        let outside = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&outside).unwrap();
        unlockpt(&outside).unwrap();
        let name = ptsname(&outside, Vec::new()).unwrap().into_string().unwrap();
        let inside = File::options()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
            .open(name)
            .unwrap();
        let wanted = line.command(args);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).args(wanted.get_args()).env_clear();
        command.current_dir(wanted.get_current_dir().unwrap());
        command.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(inside.try_clone().unwrap()).stdout(inside.try_clone().unwrap());
        let child = command.stderr(inside.try_clone().unwrap()).spawn().expect("setsid of util-linux");
        let keyboard = File::from(outside);
        let (screen, mut lit) = (Arc::new(Mutex::new(Vec::new())), keyboard.try_clone().unwrap());
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = lit.read(&mut part) {
                shown.lock().unwrap().extend_from_slice(&part[..length]);
            }
        });
        Terminal { keyboard, screen, inside, child }
    }

    /// All that was ever shown.
    fn shown(&self) -> String {
        text(&self.screen.lock().unwrap())
    }

    fn wait_for(&self, what: &str) {
        wait_until(what, SOON, || self.shown().contains(what));
    }

    /// Waits for the question, and answers it.
    fn answer(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        self.keyboard.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }

    /// Waits for the question and for the program to hide what is typed, and answers.
    fn answer_hidden(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        wait_until("what is typed is hidden", SOON, || {
            !tcgetattr(&self.inside).unwrap().local_modes.contains(LocalModes::ECHO)
        });
        self.keyboard.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }

    fn ends(&mut self) -> ExitStatus {
        wait_for("the program ends", SOON, || self.child.try_wait().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn init_asks_on_a_terminal_and_what_it_writes_is_what_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let mut terminal = Terminal::run(&line, &["init"]);
    terminal.answer("Which vault is to be served?", "9");
    terminal.answer("A number from 1 to 4, please.", "1");
    terminal.answer("Its friendly name? [local]", "mine");
    terminal.answer("Where should the server listen? [127.0.0.1:8085]", "");
    assert!(terminal.ends().success(), "{}", terminal.shown());
    terminal.wait_for("next: secretbridge check");
    let written = std::fs::read_to_string(folder.path().join("secretbridge.toml")).unwrap();
    assert!(written.contains("[vaults.mine]"), "{written}");
    assert!(line.run(&["check"], b"").status.success());
}

#[test]
fn questions_that_are_not_answered_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let mut terminal = Terminal::run(&line, &["init"]);
    terminal.wait_for("Which vault is to be served?");
    // Ctrl-D.
    terminal.keyboard.write_all(b"\x04").unwrap();
    assert_eq!(terminal.ends().code(), Some(64), "{}", terminal.shown());
    assert!(!folder.path().join("secretbridge.toml").exists());
}

#[test]
fn a_value_that_is_typed_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let mut terminal = Terminal::run(&line, &["set", "local/db"]);
    terminal.answer_hidden("local/db: ", "typed-canary \u{fc}");
    assert!(terminal.ends().success(), "{}", terminal.shown());
    assert!(!terminal.shown().contains("canary"), "{}", terminal.shown());
    assert_eq!(line.ok(&["get", "local/db"], b""), "typed-canary \u{fc}\n");
    let echoes = tcgetattr(&terminal.inside).unwrap().local_modes.contains(LocalModes::ECHO);
    assert!(echoes, "the terminal shows again what is typed");
}

#[test]
fn a_passphrase_is_asked_for_twice_and_a_list_is_a_table_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    line.ok(&["set", "local/db"], b"one");
    let mut terminal = Terminal::run(&line, &["backup", "all.age"]);
    terminal.answer_hidden("passphrase of the archive: ", "correct horse");
    terminal.wait_for("again");
    terminal.answer_hidden("again", "correct horse");
    assert!(terminal.ends().success(), "{}", terminal.shown());
    assert!(!terminal.shown().contains("horse"), "{}", terminal.shown());
    let mut terminal = Terminal::run(&line, &["list"]);
    assert!(terminal.ends().success());
    terminal.wait_for("NAME");
}

#[test]
fn a_program_that_is_watched_has_the_terminal_and_ctrl_c_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    line.ok(&["set", "local/db"], b"one");
    // A program that is not in the foreground is stopped when it reads, or when it sets how the terminal is.
    let script = "stty -echo; stty echo; echo \"ready $DB\"; read word; echo \"read $word\"; trap 'echo heard; exit 7' INT; \
                  echo waiting; while :; do sleep 0.05; done";
    let args = ["exec", "--watch", "--interval", "200ms", "-e", "DB=local/db", "--", "sh", "-c", script];
    let mut terminal = Terminal::run(&line, &args);
    terminal.answer("ready one", "typed");
    terminal.wait_for("read typed");
    // The new one has it as well.
    line.ok(&["set", "local/db"], b"two");
    terminal.answer("ready two", "again");
    terminal.wait_for("read again");
    wait_until("both wait", SOON, || terminal.shown().matches("waiting").count() == 2);
    terminal.keyboard.write_all(b"\x03").unwrap();
    assert_eq!(terminal.ends().code(), Some(7), "{}", terminal.shown());
    terminal.wait_for("heard");
}

/// In a pipeline the terminal is not lent: a pager at its end may need it.
#[test]
fn a_program_that_is_watched_in_a_pipeline_may_read_from_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    line.ok(&["set", "local/db"], b"one");
    let script = "echo \"ready $DB\"; read word; echo \"read $word\"; exec sleep 1000";
    let pipeline = "\"$0\" exec --watch --interval 200ms -e DB=local/db -- sh -c \"$1\" | cat";
    let mut terminal = Terminal::run_program(&line, "sh", &["-c", pipeline, PROGRAM, script]);
    terminal.answer("ready one", "typed");
    terminal.wait_for("read typed");
    line.ok(&["set", "local/db"], b"two");
    terminal.answer("ready two", "again");
    terminal.wait_for("read again");
}

#[test]
fn a_program_that_is_watched_is_stopped_by_a_shell_and_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    line.ok(&["set", "local/db"], b"one");
    std::fs::write(
        folder.path().join("inner.sh"),
        "echo \"ready $DB\"; while read word; do echo \"read $word\"; done",
    )
    .unwrap();
    // bash is the shell with jobs; what it runs in the foreground is stopped by Ctrl-Z, and `fg` continues it.
    std::fs::write(
        folder.path().join("outer.sh"),
        "set -m; \"$PROGRAM\" exec --watch --interval 200ms -e DB=local/db -- sh inner.sh; echo \"stopped $?\"; fg; echo \"ended $?\"",
    )
    .unwrap();
    let line = line.env("PROGRAM", PROGRAM);
    let mut terminal = Terminal::run_program(&line, "bash", &["outer.sh"]);
    terminal.answer("ready one", "first");
    terminal.wait_for("read first");
    terminal.keyboard.write_all(b"\x1a").unwrap();
    terminal.wait_for("stopped 1");
    terminal.keyboard.write_all(b"second\n").unwrap();
    terminal.wait_for("read second");
    // The end of what is typed.
    terminal.keyboard.write_all(b"\x04").unwrap();
    terminal.wait_for("ended 0");
    assert!(terminal.ends().success(), "{}", terminal.shown());
}

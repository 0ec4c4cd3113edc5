//! Processes as the kernel shows them, and a child whose output is collected.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::Instant;

use super::{GLANCE, SOON, wait_until};

/// What a process has written so far.
#[derive(Clone, Default)]
pub struct Collected(Arc<Mutex<Vec<u8>>>);

/// A child in a process group of its own. Dropping it kills the group, and what its children left.
pub struct Process {
    child: Child,
    pub stdout: Collected,
    pub stderr: Collected,
    readers: Vec<thread::JoinHandle<()>>,
    exited: Option<ExitStatus>,
}

impl Collected {
    /// All of it, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no reader panics")).into_owned()
    }

    fn follow(&self, mut source: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let all = self.clone();
        thread::spawn(move || {
            let mut part = [0; 8192];
            while let Ok(length @ 1..) = source.read(&mut part) {
                all.0.lock().expect("no reader panics").extend_from_slice(&part[..length]);
            }
        })
    }
}

impl Process {
    /// Starts it, with nothing to read and its output collected.
    #[track_caller]
    pub fn start(command: Command) -> Process {
        Process::start_with(command, Stdio::null())
    }

    /// Starts it with an input of its own, and its output collected.
    #[track_caller]
    pub fn start_with(mut command: Command, input: Stdio) -> Process {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Collected::default(), Collected::default());
        let readers = vec![
            stdout.follow(child.stdout.take().expect("a pipe")),
            stderr.follow(child.stderr.take().expect("a pipe")),
        ];
        Process { child, stdout, stderr, readers, exited: None }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(command: Command, timeout: Duration) -> Output {
        let mut process = Process::start(command);
        let status = process.wait_exit(timeout);
        process.drain();
        let bytes = |collected: &Collected| collected.0.lock().expect("no reader panics").clone();
        Output { status, stdout: bytes(&process.stdout), stderr: bytes(&process.stderr) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process itself, not to its group.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        assert!(self.exited.is_none(), "the process has ended: {}", self.stderr.text());
        kill_process(rustix_pid(self.pid()), signal).expect("the child is ours");
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("the child is ours");
        }
        self.exited
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let stderr = self.stderr.clone();
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(Instant::now() < end, "still there after {timeout:?}: {}", stderr.text());
            thread::sleep(GLANCE);
        }
    }

    /// Its children, zombies left out.
    pub fn children(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Waits until all that a process wrote which has ended is collected.
    #[track_caller]
    pub fn drain(&self) {
        wait_until("the output ends", SOON, || self.readers.iter().all(thread::JoinHandle::is_finished));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_some() {
            return;
        }
        // Workers are in groups of their own, and one that hangs would outlive the test.
        let left: Vec<(u32, u64)> =
            self.children().into_iter().filter_map(|pid| Some((pid, started(pid)?))).collect();
        let _ = kill_process_group(rustix_pid(self.pid()), Signal::KILL);
        let _ = self.child.wait();
        for (pid, since) in left {
            if started(pid) == Some(since) {
                let _ = kill_process_group(rustix_pid(pid), Signal::KILL);
                let _ = kill_process(rustix_pid(pid), Signal::KILL);
            }
        }
    }
}

/// The children of a process, zombies left out.
pub fn children(parent: u32) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_dir("/proc")
        .expect("Linux")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent && stat.state != 'Z'))
        .collect();
    found.sort_unstable();
    found
}

/// Whether the process runs; a zombie does not.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Sends a signal to any process that the tests know of.
#[track_caller]
pub fn signal(pid: u32, signal: Signal) {
    kill_process(rustix_pid(pid), signal).unwrap_or_else(|error| panic!("signal to {pid}: {error}"));
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

struct Stat {
    state: char,
    parent: u32,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it stands in brackets and may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, started })
}

fn started(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.started)
}

fn rustix_pid(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id")
}

mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_are_collected() {
        let output = Process::run(shell("echo out; echo err >&2; exit 3"), SOON);
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn no_child_outlives_a_dropped_process() {
        let process = Process::start(shell("setsid sleep 300 & sleep 300 & wait"));
        wait_until("both children run", SOON, || process.children().len() == 2);
        let children = process.children();
        assert!(children.iter().all(|pid| alive(*pid)));
        drop(process);
        wait_until("both children are dead", SOON, || !children.iter().any(|pid| alive(*pid)));
    }
}

//! The server as a process of its own: its folders, its address, its workers, its end.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::http::Client;
use super::process::{Process, children};
use super::pwsh::Pwsh;
use super::stand_in::{self, StandIn};
use super::wait_for;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_secretbridge");

/// Names another program to test, such as one of a package: `scripts/soak` says how.
const OTHER_PROGRAM: &str = "SECRETBRIDGE_TEST_PROGRAM";

/// What announces an address, at the beginning of a line on stderr.
const LISTENING: &str = "listening on ";

/// Real workers take some seconds on a busy machine.
const START: Duration = Duration::from_secs(90);

/// A run of the program to be: arguments, files, environment. Nothing of the tester's own is in it but PATH,
/// and that only with a pwsh.
pub struct Builder {
    folder: TempDir,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    home: PathBuf,
    path: OsString,
    program: PathBuf,
    /// Of the disk that HOME is on, in KiB, where it has one of its own.
    disk: Option<u32>,
    /// HOME is not in the environment at all.
    homeless: bool,
}

/// A server that listens. Dropping it kills it, and its workers too.
///
/// It is a [`Client`] of itself: `server.get("/health")`.
pub struct Server {
    process: Process,
    client: Client,
    home: PathBuf,
    folder: TempDir,
}

impl Builder {
    /// Starts from folders of its own and no pwsh.
    #[track_caller]
    pub fn new() -> Builder {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["home", "run", "tmp", "bin"] {
            DirBuilder::new().mode(0o700).create(folder.path().join(name)).expect("made");
        }
        let home = folder.path().join("home");
        let path = folder.path().join("bin").into_os_string();
        Builder {
            folder,
            args: Vec::new(),
            variables: Vec::new(),
            home,
            path,
            program: std::env::var_os(OTHER_PROGRAM).map_or_else(|| PROGRAM.into(), Into::into),
            disk: None,
            homeless: false,
        }
    }

    /// `serve --config` with this text. It should listen on port 0.
    #[track_caller]
    pub fn config(self, toml: &str) -> Builder {
        let path = self.file("secretbridge.toml", toml);
        self.arg("serve").arg("--config").arg(path)
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Builder {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Builder {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Arguments before all others.
    pub fn first<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Builder {
        self.args.splice(0..0, args.into_iter().map(Into::into));
        self
    }

    /// The program may have so many files open.
    pub fn program_with_few_files(mut self, files: u32) -> Builder {
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        let program = std::mem::replace(&mut self.program, "/bin/sh".into());
        self.first(["-c".into(), OsString::from(script), program.into()])
    }

    /// One more variable; the last of a name counts.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Builder {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The workers are stand-ins.
    pub fn stand_in(mut self, stand_in: &StandIn) -> Builder {
        for (name, value) in stand_in.variables() {
            self = self.env(name, value);
        }
        self.with_path().env("SECRETBRIDGE_PWSH", stand_in::PROGRAM)
    }

    /// The workers are real.
    pub fn pwsh(mut self, pwsh: &Pwsh) -> Builder {
        for (name, value) in pwsh.variables() {
            self = self.env(name, value);
        }
        self.with_path().env("SECRETBRIDGE_PWSH", &pwsh.program)
    }

    /// A HOME that outlives the server, or is shared by two.
    pub fn home(mut self, home: &Path) -> Builder {
        home.clone_into(&mut self.home);
        self
    }

    /// HOME is a disk of its own of so many KiB, which only the server and its workers see. Ask
    /// [`disks_can_be_made`] first.
    pub fn disk(mut self, kibibytes: u32) -> Builder {
        self.disk = Some(kibibytes);
        self.with_path()
    }

    /// HOME is unset. Where something can be mounted, the user database says that it is the run's.
    pub fn homeless(mut self) -> Builder {
        self.homeless = true;
        self.with_path()
    }

    /// Writes a file into the run's folder, with mode 0600.
    #[track_caller]
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.folder.path().join(name);
        let mut options = fs::File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).expect("made");
        file.write_all(content.as_ref()).expect("written");
        path
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the server and waits until it says where it listens.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut process = Process::start(self.command());
        let stderr = process.stderr.clone();
        let address = wait_for("the server listens", START, || {
            if let Some(status) = process.exited() {
                process.drain();
                panic!("ended with {status}: {}", stderr.text());
            }
            addresses(&stderr.text()).into_iter().find_map(|address| tcp(&address))
        });
        Server { process, client: Client::new(address), home: self.home, folder: self.folder }
    }

    /// Runs it to its end, for `check`, `--help` and starts that fail.
    #[track_caller]
    pub fn run(self, timeout: Duration) -> Output {
        Process::run(self.command(), timeout)
    }

    /// Runs it without waiting for an address: Unix sockets, starts that hang.
    #[track_caller]
    pub fn launch(self) -> (Process, TempDir) {
        (Process::start(self.command()), self.folder)
    }

    fn with_path(mut self) -> Builder {
        self.path = std::env::var_os("PATH").unwrap_or_default();
        self
    }

    fn command(&self) -> Command {
        let folder = self.folder.path();
        let mut command = if let Some(kibibytes) = self.disk {
            with_disk(&self.home, kibibytes)
        } else if self.homeless && disks_can_be_made() {
            let line = format!("root:x:0:0:root:{}:/bin/sh\n", self.home.display());
            with_users(&self.file("passwd", line))
        } else {
            Command::new(&self.program)
        };
        if command.get_program() != self.program {
            command.arg(&self.program);
        }
        command.args(&self.args).current_dir(folder).env_clear();
        command.env("PATH", &self.path).env("HOME", &self.home).env("TMPDIR", folder.join("tmp"));
        command.env("XDG_RUNTIME_DIR", folder.join("run"));
        for (name, place) in [
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_STATE_HOME", ".local/state"),
        ] {
            command.env(name, self.home.join(place));
        }
        // Of all tests together: compiling the worker takes a second.
        command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
        if self.homeless {
            command.env_remove("HOME");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Server {
    /// Takes a token for all requests to come.
    pub fn set_token(&mut self, token: &str) {
        self.client.token = Some(token.to_owned());
    }

    /// A client to take along to another thread.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Every address that it announced, as it wrote it.
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.stderr())
    }

    /// What it wrote so far.
    pub fn stderr(&self) -> String {
        self.process.stderr.text()
    }

    /// What it wrote so far.
    pub fn stdout(&self) -> String {
        self.process.stdout.text()
    }

    /// The HOME of the server and its workers.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The run's folder: `home`, `run`, `tmp`, and the files that the builder wrote.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// HOME as the server sees it, where it has a disk of its own.
    pub fn home_on_disk(&self) -> PathBuf {
        let home = self.home.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.pid().to_string()).join("root").join(home)
    }

    /// Makes the disk of its HOME read-only, or writable again. What is open stays open.
    #[track_caller]
    pub fn set_read_only(&self, read_only: bool) {
        let change = if read_only {
            "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\""
        } else {
            "umount -l \"$0\""
        };
        let mut command = Command::new("nsenter");
        command.args([
            "-U",
            "-m",
            "--preserve-credentials",
            "-t",
            &self.pid().to_string(),
            "sh",
            "-c",
            change,
        ]);
        let output = command.arg(&self.home).output().expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Its children: the workers.
    pub fn pids_of_workers(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Sends a signal to the server alone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        self.process.wait_exit(timeout)
    }

    /// Asks it to stop and waits for its end.
    #[track_caller]
    pub fn stop(&mut self, timeout: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(timeout)
    }

    /// Fails if any of these stands in what the server wrote.
    #[track_caller]
    pub fn assert_never_wrote(&self, secrets: &[&str]) {
        let written = self.stderr() + &self.stdout();
        for secret in secrets {
            assert!(!written.contains(secret), "a secret was written: {written}");
        }
    }
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Whether this machine lets tests mount small disks of their own.
pub fn disks_can_be_made() -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    with_disk(folder.path(), 64).arg("true").output().is_ok_and(|output| output.status.success())
}

/// Runs a program, to be added, that alone sees a disk of its own at `place`.
fn with_disk(place: &Path, kibibytes: u32) -> Command {
    let mut command = mounting("mount -t tmpfs -o size=\"$1k\",mode=0700 none \"$2\" && shift 2");
    command.arg(kibibytes.to_string()).arg(place);
    command
}

/// Runs a program, to be added, that alone sees this user database.
fn with_users(database: &Path) -> Command {
    let mut command = mounting("mount --bind \"$1\" /etc/passwd && shift");
    command.arg(database);
    command
}

/// Mounts something that the rest of the system does not see, and then runs the arguments that are left. It
/// stays one process.
fn mounting(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!("{script} && exec \"$@\"")).arg("sh");
    command
}

/// The addresses of whole lines `listening on …`.
fn addresses(stderr: &str) -> Vec<String> {
    let whole = stderr.rfind('\n').map_or("", |end| &stderr[..end]);
    let said = |line: &str| {
        // Where the log is JSON, so is each line for people.
        let json = serde_json::from_str::<serde_json::Value>(line).ok();
        let text = json.as_ref().and_then(|json| json["message"].as_str()).unwrap_or(line);
        text.strip_prefix(LISTENING).map(|address| address.trim().to_owned())
    };
    whole.lines().filter_map(said).collect()
}

fn tcp(address: &str) -> Option<SocketAddr> {
    let (scheme, rest) = address.split_once("://")?;
    matches!(scheme, "http" | "https").then(|| rest.trim_end_matches('/').parse().ok())?
}

mod tests {
    use super::super::SOON;
    use super::*;

    #[test]
    fn only_whole_lines_announce_an_address() {
        let stderr = "x listening on http://127.0.0.1:1\nlistening on unix:/a b\nlistening on http://[::1]:2\nlistening on http://127.0.0.1:8";
        assert_eq!(addresses(stderr), ["unix:/a b", "http://[::1]:2"]);
        assert_eq!(tcp("http://[::1]:2"), "[::1]:2".parse().ok());
        assert_eq!(tcp("unix:/a b"), None);
    }

    #[test]
    fn a_server_is_known_by_its_line() {
        let mut builder = Builder::new().arg("-c").arg(
            "echo starting >&2; echo listening on http://127.0.0.1:9 >&2; printf %s \"$HOME\"; read line < /dev/zero",
        );
        builder.program = "/bin/sh".into();
        let server = builder.start();
        assert_eq!(server.address.port(), 9);
        super::super::wait_until("HOME is said", SOON, || server.stdout() == server.home().to_string_lossy());
    }

    #[test]
    #[should_panic(expected = "no such vault")]
    fn a_start_that_fails_shows_why() {
        let mut builder = Builder::new().arg("-c").arg("echo no such vault >&2; exit 64");
        builder.program = "/bin/sh".into();
        builder.start();
    }
}

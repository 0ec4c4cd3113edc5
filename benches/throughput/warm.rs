//! PowerShell by itself: a command in a warm process, and Pode.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use integration::support;
use support::http::Client;
use support::process::Process;
use support::pwsh::Pwsh;
use support::wait_for;

use crate::integration;
use crate::load::{Sample, sample};

/// A start, on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A process that has the store open and runs one command again and again.
pub struct WarmLoop {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

// === impl WarmLoop ===

impl WarmLoop {
    pub fn start(pwsh: &Pwsh, home: &Path, opened: &str, command: &str) -> WarmLoop {
        let script = format!(
            "{opened}
            while ($null -ne ($line = [Console]::In.ReadLine())) {{
                $watch = [System.Diagnostics.Stopwatch]::StartNew()
                $last = 0
                $times = [System.Collections.Generic.List[string]]::new()
                while ($watch.Elapsed.TotalSeconds -lt [double]$line) {{
                    $null = {command}
                    $now = $watch.ElapsedTicks
                    $times.Add(($now - $last))
                    $last = $now
                }}
                [Console]::Out.WriteLine([System.Diagnostics.Stopwatch]::Frequency.ToString() + ' ' + [string]::Join(' ', $times))
            }}"
        );
        let file = home.join("loop.ps1");
        std::fs::write(&file, script).expect("written");
        let mut command = Command::new(&pwsh.program);
        command.args(["-NoLogo", "-NoProfile", "-NonInteractive", "-File"]).arg(file);
        command.env("HOME", home).envs(pwsh.variables()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("started");
        let stdin = process.stdin.take().expect("a pipe");
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        WarmLoop { process, stdin, stdout }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn load(&mut self, time: Duration) -> Sample {
        writeln!(self.stdin, "{}", time.as_secs_f64()).expect("sent");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("an answer");
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().expect("a number"));
        let frequency = numbers.next().expect("a frequency");
        let times: Vec<u64> = numbers.map(|ticks| ticks * 1_000_000_000 / frequency).collect();
        let took = Duration::from_nanos(times.iter().sum());
        sample(times, took)
    }
}

impl Drop for WarmLoop {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Pode itself, serving a script.
pub struct Pode {
    _process: Process,
    pub address: SocketAddr,
}

// === impl Pode ===

impl Pode {
    /// From the folder that holds its `Pode.psd1`.
    pub fn start(pwsh: &Pwsh, home: &Path, module: &Path, script: &str) -> Pode {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let import = format!("Import-Module '{}'", module.join("Pode.psd1").display());
        let script = script
            .replace("Import-Module Pode -MaximumVersion 2.99", &import)
            .replace("PORT", &address.port().to_string());
        let file = home.join("server.ps1");
        std::fs::write(&file, script).expect("written");
        let mut command = Command::new(&pwsh.program);
        command.args(["-NoLogo", "-NoProfile", "-File"]).arg(&file);
        command.env("HOME", home).envs(pwsh.variables());
        let mut process = Process::start(command);
        let client = Client::new(address);
        wait_for("Pode answers", START, || {
            let ended = process.exited();
            assert!(ended.is_none(), "Pode ended: {} {}", process.stderr.text(), process.stdout.text());
            client.try_send("GET", "/kept", &[], b"").ok().filter(|answer| answer.status == 200)
        });
        Pode { _process: process, address }
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a free port").port()
}

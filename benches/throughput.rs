//! How fast secrets come, each way in one run and on one machine: rates here mean little, ratios do.
//!
//!     cargo bench --bench throughput             three seconds for each way
//!     SECRETBRIDGE_BENCH_SECONDS=10 cargo bench --bench throughput
//!
//! One SecretStore with a password, read through a fresh `pwsh` for each secret, in one warm `pwsh`, by
//! `secretbridge serve`, and by `secretbridge run` of a script. Where the module Pode is installed, Pode
//! serves the same script beside. Needs a pwsh with SecretManagement and SecretStore, found as the tests
//! find it.

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use integration::support;
use support::http::{Client, read_response};
use support::process::Process;
use support::pwsh::Pwsh;
use support::server::Builder;
use support::wait_for;
use tokio::time::Instant;

#[path = "../tests/integration"]
mod integration {
    #[allow(unused_imports, reason = "its own tests are not built here")]
    pub mod support;
}

/// Clients that ask at once, each on a connection that stays open.
const CLIENTS: usize = 4;

/// What one of them asks before anything is counted, so that just-in-time compilers are done.
const WARM_UP: usize = 200;

/// A start, on a busy machine.
const START: Duration = Duration::from_secs(120);

const SCRIPT: &str = "
Import-Module Pode -MaximumVersion 2.99
Start-PodeServer -Threads 4 {
    Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
    Register-PodeSecretVault -Name store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret 'open sesame'
    Mount-PodeSecret -Name Plain -Vault store -Key k
    Mount-PodeSecret -Name Kept -Vault store -Key k -CacheTtl 60
    Add-PodeRoute -Method Get -Path /plain -ScriptBlock { Write-PodeJsonResponse @{ Value = $secret:Plain } }
    Add-PodeRoute -Method Get -Path /kept -ScriptBlock { Write-PodeJsonResponse @{ Value = $secret:Kept } }
    Add-PodeRoute -Method Get -Path /block -ScriptBlock {
        $value = $secret:Plain
        Write-PodeJsonResponse @{ Value = $value }
    }
    Add-PodeRoute -Method Get -Path /kept-block -ScriptBlock {
        $value = $secret:Kept
        Write-PodeJsonResponse @{ Value = $value }
    }
    Add-PodeRoute -Method Post -Path /plain -ScriptBlock { $secret:Plain = $WebEvent.Data.Value }
}
";

const PLAN: &str = r#"
listen = "127.0.0.1:0"
auth = { open = true }

[vaults.store]
module = "Microsoft.PowerShell.SecretStore"
unlock = { env = "STORE_PASSWORD" }

[secrets.Plain]
vault = "store"
key = "k"

[secrets.Kept]
vault = "store"
key = "k"
cache_ttl = "1h"

[[routes]]
path = "/plain"
secret = "Plain"

[[routes]]
path = "/kept"
secret = "Kept"

[[routes]]
method = "POST"
path = "/plain"
secret = "Plain"
"#;

/// The store opened in a process of its own, with one secret in it.
const OPENED: &str = "
$password = ConvertTo-SecureString -String 'open sesame' -AsPlainText -Force
$null = Register-SecretVault -Name store -ModuleName Microsoft.PowerShell.SecretStore -AllowClobber
Unlock-SecretVault -Name store -Password $password
";

fn main() {
    // `cargo test --all-targets` runs benches too, without this argument; there is nothing to test in here.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Some(pwsh) = support::pwsh::pwsh() else { return };
    let home = tempfile::tempdir().expect("a temporary folder");
    let configure = "$password = ConvertTo-SecureString -String 'open sesame' -AsPlainText -Force
        Set-SecretStoreConfiguration -Password $password -Interaction None -Confirm:$false
        Unlock-SecretStore -Password $password";
    pwsh.output_of(&format!("{configure}{OPENED}Set-Secret -Name k -Secret v -Vault store"), home.path());

    let mut table = Table(Vec::new());
    let plain = "Get-Secret -Name k -Vault store -AsPlainText";
    let begun = Instant::now();
    for _ in 0..3 {
        pwsh.output_of(&format!("{OPENED}{plain}"), home.path());
    }
    table.row("a fresh pwsh for each read", 3.0 / begun.elapsed().as_secs_f64());
    table.row("Get-Secret in one warm pwsh", in_one_process(pwsh, plain, home.path()));
    let set = "Set-Secret -Name k -Secret v -Vault store";
    table.row("Set-Secret in one warm pwsh", in_one_process(pwsh, set, home.path()));

    let server =
        Builder::new().config(PLAN).pwsh(pwsh).env("STORE_PASSWORD", "open sesame").home(home.path());
    let server = server.start();
    table.routes("secretbridge serve", &server, &["/plain", "/kept"]);
    drop(server);

    let paths = ["/plain", "/kept", "/block", "/kept-block"];
    let builder = Builder::new().pwsh(pwsh).home(home.path());
    let script = builder.file("server.ps1", SCRIPT.replace("PORT", &free_port().to_string()));
    let begun = Instant::now();
    let server = builder.arg("run").arg(script).start();
    server.get("/plain");
    println!("secretbridge run: {:.1} s from start to first answer", begun.elapsed().as_secs_f64());
    table.routes("secretbridge run", &server, &paths);
    drop(server);

    match pode(pwsh, home.path()) {
        Some((_process, client)) => table.routes("Pode", &client, &paths),
        None => println!("Pode: not installed, so not measured"),
    }
    table.print();
}

/// Rates by what was measured.
struct Table(Vec<(String, f64)>);

impl Table {
    fn row(&mut self, what: &str, rate: f64) {
        println!("{what}: {rate:.1}/s");
        self.0.push((what.to_owned(), rate));
    }

    fn routes(&mut self, who: &str, client: &Client, paths: &[&str]) {
        for path in paths {
            self.row(&format!("{who}, GET {path}"), load(client, "GET", path));
        }
        self.row(&format!("{who}, POST /plain"), load(client, "POST", "/plain"));
    }

    fn print(&self) {
        let base =
            self.0.iter().find(|(what, _)| what.starts_with("Get-Secret")).map_or(1.0, |(_, rate)| *rate);
        println!("\n| | a second | of a warm Get-Secret |\n| --- | --- | --- |");
        for (what, rate) in &self.0 {
            println!("| {what} | {rate:.0} | {:.2} |", rate / base);
        }
    }
}

fn seconds() -> Duration {
    let seconds = std::env::var("SECRETBRIDGE_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// How often a second a command runs in one process that has the store open.
fn in_one_process(pwsh: &Pwsh, command: &str, home: &Path) -> f64 {
    let script = format!(
        "{OPENED}
        for ($i = 0; $i -lt {WARM_UP}; $i++) {{ $null = {command} }}
        $count = 0
        $watch = [System.Diagnostics.Stopwatch]::StartNew()
        while ($watch.Elapsed.TotalSeconds -lt {}) {{ $null = {command}; $count++ }}
        ($count / $watch.Elapsed.TotalSeconds).ToString([cultureinfo]::InvariantCulture)",
        seconds().as_secs()
    );
    pwsh.output_of(&script, home).parse().expect("a number")
}

/// How many requests a second are answered well by all clients together.
fn load(client: &Client, method: &str, path: &str) -> f64 {
    let body: &[u8] = if method == "POST" { b"Value=v" } else { b"" };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive\r\nContent-Length: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n",
        client.address,
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    let warm_up = if method == "POST" { WARM_UP / 10 } else { WARM_UP };
    each(|| (0..warm_up).for_each(|_| ask(&mut None, client, &request)));
    let begun = Instant::now();
    let counts = each(|| {
        let (mut stream, mut count) = (None, 0_u32);
        while begun.elapsed() < seconds() {
            ask(&mut stream, client, &request);
            count += 1;
        }
        count
    });
    f64::from(counts.iter().sum::<u32>()) / begun.elapsed().as_secs_f64()
}

fn each<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(&work)).collect();
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    })
}

/// One request that must be answered 200 or 204, on the open connection where there is one.
fn ask(stream: &mut Option<TcpStream>, client: &Client, request: &[u8]) {
    let mut open = stream.take().unwrap_or_else(|| client.connect().expect("connected"));
    open.write_all(request).expect("sent");
    let answer = read_response(&open).expect("an answer");
    assert!(matches!(answer.status, 200 | 204), "{}: {}", answer.status, answer.text());
    let closes = answer.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    *stream = (!closes).then_some(open);
}

/// Pode itself with the same script, where it is installed.
fn pode(pwsh: &Pwsh, home: &Path) -> Option<(Process, Client)> {
    let found = pwsh.output_of("@(Get-Module -ListAvailable -Name Pode).Count", home);
    if found == "0" {
        return None;
    }
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let script = home.join("server.ps1");
    std::fs::write(&script, SCRIPT.replace("PORT", &address.port().to_string())).expect("written");
    let mut command = Command::new(&pwsh.program);
    command.args(["-NoLogo", "-NoProfile", "-File"]).arg(&script);
    command.env("HOME", home).envs(pwsh.variables());
    let begun = Instant::now();
    let mut process = Process::start(command);
    let client = Client::new(address);
    wait_for("Pode answers", START, || {
        assert!(process.exited().is_none(), "Pode ended: {}", process.stderr.text());
        client.try_send("GET", "/plain", &[], b"").ok().filter(|answer| answer.status == 200)
    });
    println!("Pode: {:.1} s from start to first answer", begun.elapsed().as_secs_f64());
    Some((process, client))
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a free port").port()
}

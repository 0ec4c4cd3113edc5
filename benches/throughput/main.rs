//! How fast secrets come, each way in one run and on one machine: rates here mean little, ratios do.
//!
//!     scripts/bench                               five rounds, two seconds for each contender
//!     SECRETBRIDGE_BENCH_SECONDS=5 SECRETBRIDGE_BENCH_ROUNDS=9 scripts/bench
//!     SECRETBRIDGE_BENCH_ONLY=hyper scripts/bench no PowerShell: the cached GET and the bare handler
//!     SECRETBRIDGE_BENCH_ONLY=POST,Set-Secret     those with one of these texts in their names, and no memory or starts
//!     SECRETBRIDGE_BENCH_ONLY=facts               memory and starts alone
//!     SECRETBRIDGE_BENCH_PODE=/path/to/Pode/src   Pode beside, from the folder with its Pode.psd1
//!     SECRETBRIDGE_BENCH_DOCS=docs                writes table and pictures there
//!
//! All contenders run at once and take turns, so that what the machine does meanwhile meets all of them.
//! Needs a pwsh with SecretManagement and SecretStore, found as the tests find it.

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use bare::{Hyper, Lines};
use integration::support;
use load::{Sample, Target};
use report::{AtLeast, Goal, Report, median};
use support::pwsh::Pwsh;
use support::server::Builder;
use warm::{Pode, WarmLoop};

mod bare;
mod facts;
mod load;
mod report;
mod warm;

#[path = "../../tests/integration"]
mod integration {
    #[allow(unused_imports, reason = "its own tests are not built here")]
    pub mod support;
}

const BARE: &str = "bare hyper handler";
const CACHED: &str = "serve: cached GET, audit to a file";
const WARM: &str = "Get-Secret in one warm pwsh";

const GOALS: [Goal; 5] = [
    Goal { what: "cached GET to the bare handler", of: CACHED, to: BARE, at_least: 0.85 },
    Goal {
        what: "a read by one worker to a warm Get-Secret",
        of: "serve: GET by one worker",
        to: WARM,
        at_least: 1.8,
    },
    Goal {
        what: "a read by two workers to one",
        of: "serve: GET by two workers",
        to: "serve: GET by one worker",
        at_least: 1.8,
    },
    Goal {
        what: "JSON of a cached secret to Pode",
        of: "run, 4 workers: JSON of a cached secret",
        to: "Pode, 4 threads: JSON of a cached secret",
        at_least: 8.0,
    },
    Goal {
        what: "the tutorial's POST to Pode",
        of: "run, 4 workers: POST",
        to: "Pode, 4 threads: POST",
        at_least: 1.2,
    },
];

/// Rates that a quiet machine with two cores should reach, each of one worker.
const RATES: [AtLeast; 2] = [
    AtLeast { of: "run, 1 worker: { $null }", rate: 6000.0 },
    AtLeast { of: "run, 1 worker: JSON of a cached secret", rate: 3000.0 },
];

/// The script that secretbridge and Pode serve alike.
const SCRIPT: &str = "
Import-Module Pode -MaximumVersion 2.99
Start-PodeServer -Threads THREADS {
    Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
    Register-PodeSecretVault -Name store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret 'open sesame'
    Mount-PodeSecret -Name Plain -Vault store -Key k
    Mount-PodeSecret -Name Kept -Vault store -Key kept -CacheTtl 3600
    Add-PodeRoute -Method Get -Path /null -ScriptBlock { $null }
    Add-PodeRoute -Method Get -Path /text -ScriptBlock { Write-PodeTextResponse -Value 'text' }
    Add-PodeRoute -Method Get -Path /lifted -ScriptBlock { Write-PodeJsonResponse @{ Value = $secret:Kept } }
    Add-PodeRoute -Method Get -Path /kept -ScriptBlock {
        $value = $secret:Kept
        Write-PodeJsonResponse @{ Value = $value }
    }
    Add-PodeRoute -Method Post -Path /plain -ScriptBlock { $secret:Plain = $WebEvent.Data.Value }
}
";

/// Reads through PowerShell: each connection has a key of its own, since whoever waits for the same read shares it.
const PLAN: &str = r#"
listen = "127.0.0.1:0"
auth = { open = true }

[pwsh]
init = []

[vaults.store]
module = "Microsoft.PowerShell.SecretStore"
unlock = { env = "STORE_PASSWORD" }

[secrets]
Plain0 = { vault = "store", key = "k0" }
Plain1 = { vault = "store", key = "k1" }
Plain2 = { vault = "store", key = "k2" }
Plain3 = { vault = "store", key = "k3" }

[[routes]]
path = "/plain0"
secret = "Plain0"

[[routes]]
path = "/plain1"
secret = "Plain1"

[[routes]]
path = "/plain2"
secret = "Plain2"

[[routes]]
path = "/plain3"
secret = "Plain3"
"#;

/// Of the plan's routes the first.
const READ: &str = "/plain0";

/// The store opened in a process of its own.
const OPENED: &str = "
$password = ConvertTo-SecureString -String 'open sesame' -AsPlainText -Force
$null = Register-SecretVault -Name store -ModuleName Microsoft.PowerShell.SecretStore -AllowClobber
Unlock-SecretVault -Name store -Password $password
";

/// A process that has waited for its turn has cold pages, and .NET's thread pool has let go of Pode's threads: each takes
/// some two seconds to be itself again, which nobody is measured by.
const LEAD: Duration = Duration::from_secs(3);

/// Whoever is measured.
struct Contender {
    name: String,
    /// So long it runs before each turn counts.
    lead: Duration,
    load: Box<dyn FnMut(Duration) -> Sample>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == bare::ARGUMENT) {
        return bare::serve();
    }
    // `cargo test --all-targets` runs benches too, without this argument; there is nothing to test in here.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let mut report = Report::default();
    let mut contenders = Vec::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let only = std::env::var("SECRETBRIDGE_BENCH_ONLY").ok();
    let pwsh = support::pwsh::pwsh().filter(|_| only.as_deref() != Some("hyper"));
    let home = |name: &str| store(pwsh.expect("a pwsh"), folder.path(), name);
    cached(&mut contenders, folder.path());
    let warm = contenders.len();
    match pwsh {
        Some(pwsh) => powershell(&mut contenders, &mut report, pwsh, folder.path(), &home),
        None => report
            .notes
            .push("PowerShell: not measured (no pwsh, or SECRETBRIDGE_BENCH_ONLY=hyper)".to_owned()),
    }
    for contender in contenders.iter_mut().skip(warm) {
        contender.lead = LEAD;
    }
    let seconds = Duration::from_secs_f64(number("SECRETBRIDGE_BENCH_SECONDS").unwrap_or(2.0));
    let rounds = number("SECRETBRIDGE_BENCH_ROUNDS").unwrap_or(5.0) as usize;
    if let Some(only) = only.as_deref().filter(|only| *only != "hyper") {
        report.notes.push(format!("only a part of it: {only}"));
        contenders.retain(|contender| only.split(',').any(|part| contender.name.contains(part)));
    }
    for contender in &mut contenders {
        // Just-in-time compilers are done before anything counts.
        (contender.load)(seconds);
    }
    for round in 1..=rounds {
        for contender in &mut contenders {
            if !contender.lead.is_zero() {
                (contender.load)(contender.lead);
            }
            let sample = (contender.load)(seconds);
            println!("round {round}: {}: {:.0}/s, p99 {:?}", contender.name, sample.rate, sample.p99);
            report.add(&contender.name, sample);
        }
    }
    // They would take turns with what comes now.
    drop(contenders);
    if let Some(pwsh) = pwsh.filter(|_| only.as_deref().is_none_or(|only| only == "facts")) {
        facts::measure(pwsh, &mut report, &home);
    }
    println!("\n{}", report.markdown(&GOALS, &RATES));
    if let Some(docs) = std::env::var_os("SECRETBRIDGE_BENCH_DOCS") {
        report.write(Path::new(&docs), &GOALS, &RATES).expect("written");
    }
}

fn number(variable: &str) -> Option<f64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The cached GET of a local vault, with the bare handler that sends the same bytes.
fn cached(contenders: &mut Vec<Contender>, folder: &Path) {
    let serve = |audit: &str| {
        let plan = format!(
            "listen = \"127.0.0.1:0\"\nauth = {{ open = true }}\n{audit}\n[vaults.v]\nlocal = true\nfolder = \"{}\"\ncache_ttl = \"1h\"\n[secrets.Kept]\nvault = \"v\"\nkey = \"k\"\n[[routes]]\npath = \"/kept\"\nsecret = \"Kept\"\n[[routes]]\nmethod = \"POST\"\npath = \"/kept\"\nsecret = \"Kept\"\n",
            folder.join(format!("vault{}", audit.len())).display()
        );
        let server = Builder::new().config(&plan).start();
        Target::new(server.address, "POST", "/kept", "", "Value=correct+horse+battery+staple", 1).once();
        server
    };
    let server = serve(&format!("audit = {{ file = \"{}\" }}", folder.join("audit.jsonl").display()));
    let target = Target::new(server.address, "GET", "/kept", "", "", 16);
    let (head, body) = target.once();
    let hyper = Hyper::start(&head, &body);
    let bare = Target { address: hyper.address, ..target.clone() };
    add(contenders, BARE, hyper, move |_, time| bare.load(time));
    add(contenders, CACHED, server, move |_, time| target.load(time));
    for (name, audit) in [
        (
            "serve: cached GET, audit with a chain",
            format!("audit = {{ file = \"{}\", chain = true }}", folder.join("chain.jsonl").display()),
        ),
        ("serve: cached GET, no audit", "audit = { to = \"none\" }".to_owned()),
    ] {
        let server = serve(&audit);
        let target = Target::new(server.address, "GET", "/kept", "", "", 16);
        add(contenders, name, server, move |_, time| target.load(time));
    }
}

/// A HOME with a SecretStore that has the secrets of the plans.
fn store(pwsh: &Pwsh, folder: &Path, name: &str) -> PathBuf {
    // A colon would part the module path.
    let home = folder.join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    std::fs::create_dir(&home).expect("made");
    let configure = "$password = ConvertTo-SecureString -String 'open sesame' -AsPlainText -Force
        Set-SecretStoreConfiguration -Password $password -Interaction None -Confirm:$false
        Unlock-SecretStore -Password $password";
    let keep = "foreach ($name in 'k', 'kept', 'k0', 'k1', 'k2', 'k3') { Set-Secret -Name $name -Secret v -Vault store }";
    pwsh.output_of(&format!("{configure}{OPENED}{keep}"), &home);
    home
}

/// What goes through PowerShell, and PowerShell by itself.
fn powershell(
    contenders: &mut Vec<Contender>,
    report: &mut Report,
    pwsh: &'static Pwsh,
    folder: &Path,
    home: &dyn Fn(&str) -> PathBuf,
) {
    report.notes.push(format!("pwsh {}", pwsh.version));
    add(contenders, "bare loop over JSON lines", Lines::start(pwsh, folder), Lines::load);
    for (name, command) in [
        (WARM, "Get-Secret -Name k -Vault store -AsPlainText"),
        ("Set-Secret in one warm pwsh", "Set-Secret -Name k -Secret v -Vault store"),
    ] {
        let warm = WarmLoop::start(pwsh, &home(&name[..3]), OPENED, command);
        add(contenders, name, warm, WarmLoop::load);
    }
    for (workers, name) in [("1", "serve: GET by one worker"), ("2", "serve: GET by two workers")] {
        let builder = Builder::new().config(PLAN).pwsh(pwsh).env("STORE_PASSWORD", "open sesame");
        let server = builder.args(["--workers", workers, "--log", "warn"]).home(&home(name)).start();
        let target = Target::new(server.address, "GET", READ, "", "", 4).apart();
        add(contenders, name, server, move |_, time| target.load(time));
    }
    for threads in [1, 4] {
        let builder = Builder::new().pwsh(pwsh).home(&home(&format!("run{threads}")));
        let port = warm::free_port().to_string();
        let script = SCRIPT.replace("PORT", &port).replace("THREADS", &threads.to_string());
        let script = builder.file("server.ps1", script);
        let server = builder.args(["run", "--log", "warn"]).arg(script).start();
        let address = server.address;
        let name =
            |what: &str| format!("run, {threads} worker{}: {what}", if threads == 1 { "" } else { "s" });
        script_routes(contenders, &name, address, server);
    }
    if let Some(module) = std::env::var_os("SECRETBRIDGE_BENCH_PODE") {
        let script = SCRIPT.replace("THREADS", "4");
        let pode = Pode::start(pwsh, &home("pode"), Path::new(&module), &script);
        let address = pode.address;
        script_routes(contenders, &|what| format!("Pode, 4 threads: {what}"), address, pode);
    } else {
        report.notes.push("Pode: not measured (SECRETBRIDGE_BENCH_PODE names no folder)".to_owned());
    }
}

fn script_routes(
    contenders: &mut Vec<Contender>,
    name: &dyn Fn(&str) -> String,
    address: std::net::SocketAddr,
    server: impl Sized + 'static,
) {
    let server = std::rc::Rc::new(server);
    for (what, method, path, body) in [
        ("{ $null }", "GET", "/null", ""),
        ("text", "GET", "/text", ""),
        ("JSON of a cached secret", "GET", "/kept", ""),
        ("the same, lifted", "GET", "/lifted", ""),
        ("POST", "POST", "/plain", "Value=v"),
    ] {
        let target = Target::new(address, method, path, "", body, 4);
        add(contenders, &name(what), server.clone(), move |_, time| target.load(time));
    }
}

fn add<T: 'static>(
    contenders: &mut Vec<Contender>,
    name: &str,
    mut held: T,
    mut load: impl FnMut(&mut T, Duration) -> Sample + 'static,
) {
    let load = Box::new(move |time| load(&mut held, time));
    contenders.push(Contender { name: name.to_owned(), lead: Duration::ZERO, load });
}

//! What is no rate: how long until it serves, and how much memory it takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use integration::support;
use support::process::resident;
use support::pwsh::Pwsh;
use support::server::{Builder, Server};
use tokio::time::Instant;

use crate::integration;
use crate::load::Target;
use crate::report::{Fact, Report};
use crate::warm::WarmLoop;
use crate::{OPENED, PLAN, READ as PATH, median};

/// Starts are measured so often, in turns.
const STARTS: usize = 3;

/// Calls after which memory is compared.
const CALLS: u64 = 10_000;

/// How long they may take.
const LIMIT: Duration = Duration::from_secs(150);

/// What an allocator may keep by chance: the core is flat below that.
const FLAT: f64 = 1.0;

const READ: &str = "Get-Secret -Name k0 -Vault store -AsPlainText";

/// Measures all of it, by itself: nobody else may run meanwhile. `home` gives a folder with a store.
pub fn measure(pwsh: &'static Pwsh, report: &mut Report, home: &dyn Fn(&str) -> PathBuf) {
    starts(pwsh, report, home);
    memory(pwsh, report, home);
}

fn serve(pwsh: &Pwsh, workers: &str, home: &Path) -> Server {
    let builder = Builder::new().config(PLAN).pwsh(pwsh).env("STORE_PASSWORD", "open sesame");
    builder.args(["--workers", workers, "--log", "warn"]).home(home).start()
}

/// Until the first answer of a server with two workers, to one pwsh that opens the store and reads from it.
fn starts(pwsh: &Pwsh, report: &mut Report, home: &dyn Fn(&str) -> PathBuf) {
    let home = home("starts");
    let (mut alone, mut served) = (Vec::new(), Vec::new());
    // The first round fills the caches of the system and compiles.
    for round in 0..=STARTS {
        let begun = Instant::now();
        pwsh.output_of(&format!("{OPENED}{READ}"), &home);
        let one = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let server = serve(pwsh, "2", &home);
        Target::new(server.address, "GET", PATH, "", "", 1).once();
        let two = begun.elapsed().as_secs_f64();
        if round > 0 {
            alone.push(one);
            served.push(two);
        }
    }
    let ratio = median(served.iter().zip(&alone).map(|(served, alone)| served / alone).collect());
    report.facts.push(Fact {
        what: "the first answer of two workers, to one pwsh that opens the store and reads".to_owned(),
        measured: format!("{ratio:.2} ({:.2} s to {:.2} s)", median(served), median(alone)),
        goal: "≤ 1.30".to_owned(),
        reached: ratio <= 1.3,
    });
}

fn memory(pwsh: &Pwsh, report: &mut Report, home: &dyn Fn(&str) -> PathBuf) {
    let server = serve(pwsh, "1", &home("memory"));
    let target = Target::new(server.address, "GET", PATH, "", "", 4).apart();
    let load = &mut |time: Duration| (target.load(time).rate * time.as_secs_f64()) as u64;
    let served = calls(CALLS, load);
    let worker: u64 = server.pids_of_workers().into_iter().filter_map(resident).sum();
    let core = resident(server.pid()).unwrap_or_default();
    let more = calls(CALLS, load);
    let later = resident(server.pid()).unwrap_or_default();
    drop(server);
    let mut warm = WarmLoop::start(pwsh, &home("memory of pwsh"), OPENED, READ);
    let read = calls(CALLS, &mut |time| (warm.load(time).rate * time.as_secs_f64()) as u64);
    let alone = resident(warm.pid()).unwrap_or_default();
    let ratio = worker as f64 / alone.max(1) as f64;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    report.facts.push(Fact {
        what: format!("a worker's memory after {served} reads, to a warm pwsh after {read}"),
        measured: format!("{ratio:.2} ({:.0} MiB to {:.0} MiB)", mebibytes(worker), mebibytes(alone)),
        goal: "≤ 1.15".to_owned(),
        reached: ratio <= 1.15,
    });
    report.facts.push(Fact {
        what: "the core's memory after that".to_owned(),
        measured: format!("{:.1} MiB", mebibytes(core)),
        goal: "< 30 MB".to_owned(),
        reached: core < 30_000_000,
    });
    let grown = mebibytes(later) - mebibytes(core);
    report.facts.push(Fact {
        what: format!("how much the core grew in {more} reads more"),
        measured: format!("{grown:.1} MiB"),
        goal: format!("≤ {FLAT:.1} MiB"),
        reached: grown <= FLAT,
    });
}

/// Load until there were calls enough, or the time is over; tells how many there were.
fn calls(wanted: u64, load: &mut dyn FnMut(Duration) -> u64) -> u64 {
    let (begun, mut count) = (Instant::now(), 0);
    while count < wanted && begun.elapsed() < LIMIT {
        count += load(Duration::from_millis(500));
    }
    count
}

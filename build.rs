//! Facts of the build for `--version`.

use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let said = |program: &str, arguments: &[&str]| {
        let output =
            Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let rustc = said(&variable("RUSTC"), &["--version"]).unwrap_or_else(|| "rustc".to_owned());
    println!("cargo::rustc-env=SECRETBRIDGE_TARGET={}", variable("TARGET"));
    println!("cargo::rustc-env=SECRETBRIDGE_PROFILE={}", variable("PROFILE"));
    println!("cargo::rustc-env=SECRETBRIDGE_RUSTC={rustc}");
    println!("cargo::rustc-env=SECRETBRIDGE_COMMIT={commit}");
    // A new commit alone does not build everything anew: the sources that it changes do.
    println!("cargo::rerun-if-changed=Cargo.toml");
}

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
    println!("cargo::rerun-if-changed=Cargo.toml");
    // Only a release has to tell its commit right: a development build is not made anew for each commit.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        for file in ["HEAD", "logs/HEAD"] {
            if let Some(path) = said("git", &["rev-parse", "--git-path", file])
                && std::path::Path::new(&path).exists()
            {
                println!("cargo::rerun-if-changed={path}");
            }
        }
    }
}

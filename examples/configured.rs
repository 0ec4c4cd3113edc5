//! The vaults of a configuration file, of any kind: lists what there is, and never shows a value.
//!
//! ```sh
//! cargo run --example configured -- secretbridge.toml
//! ```

use std::time::Duration;

use secretbridge::Bridge;
use tokio::time::Instant;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("name a configuration file")?;
    let names = run(file.into()).await?;
    names.iter().for_each(|name| println!("{name}"));
    Ok(())
}

/// The names of all secrets.
pub async fn run(file: std::path::PathBuf) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut names = Vec::new();
    let bridge = Bridge::builder().config_file(file).start().await?;
    for vault in &bridge.plan().vaults {
        for secret in bridge.list(&vault.name, Instant::now() + Duration::from_secs(30)).await? {
            names.push(format!("{}/{}", vault.name, secret.name));
        }
    }
    bridge.stop(Duration::from_secs(5)).await;
    Ok(names)
}

//! The vaults of a configuration file, of any kind: lists what there is, and never shows a value.
//!
//! ```sh
//! cargo run --example configured -- secretbridge.toml
//! ```

use std::time::Duration;

use secretbridge::Bridge;
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("name a configuration file")?;
    let bridge = Bridge::builder().config_file(file).start().await?;
    for vault in &bridge.plan().vaults {
        for secret in bridge.list(&vault.name, Instant::now() + Duration::from_secs(30)).await? {
            println!("{}/{}\t{}", vault.name, secret.name, secret.kind);
        }
    }
    bridge.stop(Duration::from_secs(5)).await;
    Ok(())
}

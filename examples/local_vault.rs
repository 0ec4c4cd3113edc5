//! A local vault in a folder: written, read, watched. It needs no PowerShell.
//!
//! ```sh
//! cargo run --example local_vault -- /tmp/my-vault
//! ```

use std::time::Duration;

use futures_util::StreamExt as _;
use secretbridge::Bridge;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name a folder")?;
    run(folder.into()).await
}

/// Writes, watches, writes again.
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
pub async fn run(folder: std::path::PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let bridge = Bridge::builder().local_vault("mine", folder).start().await?;
    let secret = bridge.secret("mine/db");
    secret.set("correct horse").await?;
    let mut values = Box::pin(secret.changes(Duration::from_millis(50)));
    while let Some(value) = values.next().await {
        let value = value?;
        // A value shows nothing of itself in Debug.
        println!("{} characters: {value:?}", value.as_text().unwrap_or_default().len());
        if value.as_text() == Some("battery staple") {
            break;
        }
        secret.set("battery staple").await?;
    }
    bridge.stop(Duration::from_secs(5)).await;
    Ok(())
}

//! `status`: how a running server is.

use serde_json::Value;

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::StatusArgs;
use crate::exit::Exit;
use crate::reach::{CLOSED, Reach};

pub(super) async fn status(arguments: &StatusArgs) -> CommandOutcome {
    let server = Reach::needs_server(&arguments.connect).await?;
    let health = server.health().await?;
    if arguments.json {
        return output::json(&health).map(|()| Exit::Ok);
    }
    output::print(text(&server.address().to_string(), &health).as_bytes()).map(|()| Exit::Ok)
}

fn text(address: &str, health: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let list = |name: &str| health[name].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("server   {address}"), format!("status   {}", word(&health["status"]))];
    if health["workers"].is_null() {
        lines.push("no more is told without the server's token; name its file with --token-file".to_owned());
        return lines.join("\n") + "\n";
    }
    let workers = list("workers");
    let ready =
        workers.iter().filter(|worker| matches!(worker["state"].as_str(), Some("ready" | "busy"))).count();
    lines.push(format!(
        "workers  {ready} of {} ready, {} requests waiting, {} restarts",
        workers.len(),
        health["waiting"],
        health["restarts"]
    ));
    lines.push(format!("cache    {} hits, {} misses", health["cache"]["hits"], health["cache"]["misses"]));
    for vault in list("vaults") {
        let reason = vault["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        let state = if vault["closed"] == true { CLOSED.to_owned() } else { word(&vault["state"]) };
        lines.push(format!("vault    {} {state}{reason}", word(&vault["name"])));
    }
    lines.join("\n") + "\n"
}

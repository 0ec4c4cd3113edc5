//! `get`: one secret to standard output or into a file.

use std::io::{self, IsTerminal as _};

use zeroize::Zeroizing;

use super::outcome::{CommandOutcome, with_reach};
use super::output;
use crate::cli::{GetArgs, Global};
use crate::exit::Exit;
use crate::http::value;
use crate::reach::{Failure, WantedVaults};
use crate::secret::SecretValue;

pub(super) async fn get(arguments: &GetArgs, global: &Global) -> CommandOutcome {
    let name = arguments.name.clone().with_member(arguments.property.as_ref());
    let wanted = WantedVaults::Names(vec![name.clone()]);
    let secret = with_reach(&arguments.connect, global, wanted, async |reach| reach.get(&name).await).await?;
    if arguments.json {
        let shown = value::shown(&secret.name, &secret.value);
        return match &arguments.output {
            None => output::json(&shown),
            Some(path) => output::private_file(path, Zeroizing::new(format!("{shown}\n")).as_bytes()),
        }
        .map(|()| Exit::Ok);
    }
    let mut bytes = output::bytes_of(&secret.value);
    if let Some(path) = &arguments.output {
        return output::private_file(path, &bytes).map(|()| Exit::Ok);
    }
    let is_bytes = matches!(secret.value, SecretValue::Bytes(_));
    if is_bytes && io::stdout().is_terminal() && std::str::from_utf8(&bytes).is_err() {
        return Err(Failure::usage(format!("{name} holds bytes, which a terminal cannot show"))
            .hint("write them to a file with --output, or show them in base64 with --json"));
    }
    if !is_bytes && !arguments.no_newline {
        bytes.push(b'\n');
    }
    output::print(&bytes).map(|()| Exit::Ok)
}

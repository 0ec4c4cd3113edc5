//! `inject`: fills references in a file.
//!
//! The template is rendered in a thread of its own, which asks for secrets as it meets them. What it prints of
//! a value is a mark; each mark, and each plain reference, is then replaced by its value, quoted as the place
//! where it stands asks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::{Environment, Error, ErrorKind};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::outcome::CommandOutcome;
use super::output;
use crate::cli::{Global, InjectArgs, InjectFormat};
use crate::exit::Exit;
use crate::reach::{Failure, Reach, SecretName, WantedVaults};
use place::fill;

mod place;
mod surroundings;

/// A template asks for a secret.
type AskSecret = (SecretName, oneshot::Sender<Result<String, String>>);

pub(super) async fn inject(arguments: &InjectArgs, global: &Global) -> CommandOutcome {
    let stdin = arguments.template == Path::new("-");
    if stdin && arguments.in_place {
        return Err(Failure::usage("standard input has no place to write over"));
    }
    let template = read(&arguments.template, stdin)?;
    let format = arguments.format.unwrap_or_else(|| format_of(&arguments.template));
    let reach = Lookups { connect: arguments, global, reach: None };
    let filled = filled(template, format, reach).await?;
    let target = if arguments.in_place { Some(&arguments.template) } else { arguments.output.as_ref() };
    match target {
        None => output::print(filled.as_bytes())?,
        Some(path) => {
            let like = if path.exists() || stdin { path } else { &arguments.template };
            output::replace(path, like, None, filled.as_bytes())
                .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
        }
    }
    Ok(Exit::Ok)
}

/// The way to secrets, found when the first is asked for: a file without references needs none.
struct Lookups<'a> {
    connect: &'a InjectArgs,
    global: &'a Global,
    reach: Option<Reach>,
}

impl Lookups<'_> {
    async fn get(&mut self, name: &SecretName) -> Result<Zeroizing<String>, Failure> {
        // Without a server only those vaults are open that were asked for.
        if !matches!(self.reach, Some(Reach::Server(_))) {
            self.close().await;
            let wanted = WantedVaults::Names(vec![name.clone()]);
            self.reach = Some(Reach::find(&self.connect.connect, self.global, &wanted).await?);
        }
        let Some(reach) = &self.reach else { return Err(Failure::failed("nothing was opened")) };
        let value = reach.get(name).await?.value;
        Ok(Zeroizing::new(match value.to_json() {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }))
    }

    async fn close(&mut self) {
        if let Some(reach) = self.reach.take() {
            reach.close().await;
        }
    }
}

async fn filled(
    template: String,
    format: InjectFormat,
    mut found: Lookups<'_>,
) -> Result<Zeroizing<String>, Failure> {
    let (asks, mut asked) = mpsc::channel::<AskSecret>(1);
    // An error of a template holds the functions that the template knew, and with them the other end of `asked`: kept,
    // it would be waited for without an end.
    let rendering =
        tokio::task::spawn_blocking(move || render(&template, asks).map_err(|error| error.to_string()));
    let mut failure = None;
    while let Some((name, answer)) = asked.recv().await {
        let outcome = found.get(&name).await;
        let told = match outcome {
            Ok(text) => Ok(text.to_string()),
            Err(error) => {
                let text = error.to_string();
                failure.get_or_insert(error);
                Err(text)
            }
        };
        let _ = answer.send(told);
    }
    let rendered = rendering.await.map_err(|_| Failure::failed("the template could not be rendered"))?;
    if let Some(failure) = failure {
        found.close().await;
        return Err(failure);
    }
    let done = match rendered {
        Err(error) => Err(Failure::usage(format!("the template: {error}"))),
        Ok((text, marks)) => references(&text, format, &marks, &mut found).await,
    };
    found.close().await;
    done
}

/// Replaces marks and plain references by their values.
async fn references(
    text: &str,
    format: InjectFormat,
    marks: &[Zeroizing<String>],
    found: &mut Lookups<'_>,
) -> Result<Zeroizing<String>, Failure> {
    let mut known: HashMap<SecretName, Zeroizing<String>> = HashMap::new();
    for reference in place::references(text) {
        let name: SecretName =
            reference.parse().map_err(|error| Failure::usage(format!("{reference}: {error}")))?;
        if let Entry::Vacant(place) = known.entry(name) {
            let value = found.get(place.key()).await?;
            place.insert(value);
        }
    }
    let value = |reference: &str| {
        reference.parse().ok().and_then(|name: SecretName| known.get(&name).map(|text| text.as_str()))
    };
    let mark = |index: usize| marks.get(index).map(|text| text.as_str());
    fill(text, format, &mark, &value).map(Zeroizing::new).map_err(Failure::usage)
}

/// The rendered text with marks, and what they stand for.
fn render(template: &str, asks: mpsc::Sender<AskSecret>) -> Result<(String, Vec<Zeroizing<String>>), Error> {
    let marks: Arc<Mutex<Vec<Zeroizing<String>>>> = Arc::default();
    let mut environment = Environment::new();
    let syntax = minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build()?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_function("secret", move |name: String| -> Result<String, Error> {
        let wrong = |text: String| Error::new(ErrorKind::InvalidOperation, text);
        let name: SecretName = name.parse().map_err(wrong)?;
        let (answer, told) = oneshot::channel();
        asks.blocking_send((name, answer)).map_err(|_| wrong("nobody answers".to_owned()))?;
        told.blocking_recv().map_err(|_| wrong("nobody answers".to_owned()))?.map_err(wrong)
    });
    let kept = marks.clone();
    environment.set_formatter(move |out, _, value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut marks = kept.lock().unwrap_or_else(PoisonError::into_inner);
        marks.push(Zeroizing::new(text));
        out.write_str(&place::mark(marks.len() - 1)).map_err(|_| Error::from(ErrorKind::WriteFailure))
    });
    let text = environment.render_str(template, ())?;
    drop(environment);
    let marks = std::mem::take(&mut *marks.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((text, marks))
}

fn read(path: &Path, stdin: bool) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = match stdin {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(path).map(|found| bytes = found),
    };
    read.map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{} is not UTF-8 text", path.display())))
}

/// By the file's name, without the endings that templates have.
fn format_of(path: &Path) -> InjectFormat {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = [".tmpl", ".tpl", ".j2", ".jinja", ".template"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(&name);
    match name.rsplit_once('.') {
        Some((_, "toml")) => InjectFormat::Toml,
        Some((_, "json")) => InjectFormat::Json,
        Some((_, "yaml" | "yml")) => InjectFormat::Yaml,
        Some((_, "env")) => InjectFormat::Env,
        _ if name.starts_with(".env") => InjectFormat::Env,
        _ => InjectFormat::Text,
    }
}

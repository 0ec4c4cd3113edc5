//! The worker's compiled part: C# that the host's own pwsh compiles, once for each engine.
//!
//! ```text
//! engine (remembered, or asked) ─► cache entry ─► digest ─► private folder ─► workers
//!                                   └─ none ─► compile ──────┘ └─► cache
//! ```
//!
//! Workers load it from the private folder of the running server only: what happens to the cache meanwhile
//! does not reach them. So every trouble with the cache costs a compilation at the next start, and one line
//! in the log.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

use super::cache::CompiledCache;
pub use super::engine::Engine;
use super::engine::hex;
use super::{FILES, Folder};
use crate::platform;
use crate::worker::is_recent;
use crate::worker::obituary;
use crate::worker::process::{Environment, command};

/// How long pwsh may take for one of its two runs. Compiling takes about a second.
const LIMIT: Duration = Duration::from_secs(120);

/// So much of what pwsh prints is read.
const MAX_OUTPUT: u64 = 64 * 1024;

/// What was done for a start.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// For which engine.
    pub engine: Engine,
    /// It was compiled now; else it came from the cache.
    pub compiled: bool,
    /// It is in the cache for the next start; else why it is not.
    pub kept: Result<std::path::PathBuf, String>,
    /// How long it took.
    pub took: Duration,
}

/// Why there is no assembly for the workers.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// pwsh could not be run, or gave no answer.
    #[error("pwsh ({program}) could not be asked what it is: {reason}")]
    Engine {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// Too old a pwsh.
    #[error("pwsh {0} is too old: 7.4 or later is needed")]
    TooOld(String),
    /// A policy of the host restricts the language.
    #[error(
        "pwsh runs in {0} mode on this host, and workers need FullLanguage mode (hint: a policy such as \
         App Control or AppLocker restricts PowerShell; let it trust this program's scripts)"
    )]
    Restricted(String),
    /// The compiler failed.
    #[error("the worker could not be compiled by pwsh {version}: {reason}")]
    Compiler {
        /// The engine's version.
        version: String,
        /// What it said.
        reason: String,
    },
    /// The private folder did not take it.
    #[error("the compiled worker could not be put into the private folder {folder}: {reason}")]
    Folder {
        /// The folder.
        folder: String,
        /// Why not.
        reason: String,
    },
}

#[derive(Deserialize)]
struct CompilerAnswer {
    language: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    runtime: String,
}

/// Puts the assembly into the server's private folder. Dropping the future ends what it started.
pub async fn provide(
    program: &Path,
    folder: &Folder,
    environment: &Environment,
) -> Result<Prepared, CompileError> {
    let began = Instant::now();
    let cache = CompiledCache::open();
    let remembered = cache.as_ref().ok().and_then(|cache| cache.engine(program));
    let engine = match remembered {
        Some(engine) => engine,
        None => ask(program, folder, environment, None).await?,
    };
    let key = key(&engine);
    if let Ok(cache) = &cache {
        cache.remember(program, &engine);
        if let Some((path, bytes)) = cache.find(&key) {
            put(folder, &bytes)?;
            return Ok(Prepared { engine, compiled: false, kept: Ok(path), took: began.elapsed() });
        }
    }
    tracing::info!("compiling the worker for PowerShell {} (once, about a second)", engine.version);
    ask(program, folder, environment, Some(&engine)).await?;
    let kept = cache.and_then(|cache| cache.keep(&key, &folder.assembly()));
    if let Err(reason) = &kept {
        tracing::warn!("the compiled worker is not kept for the next start: {reason}");
    }
    Ok(Prepared { engine, compiled: true, kept, took: began.elapsed() })
}

fn put(folder: &Folder, bytes: &[u8]) -> Result<(), CompileError> {
    std::fs::write(folder.assembly(), bytes).map_err(|error| CompileError::Folder {
        folder: folder.path().display().to_string(),
        reason: error.to_string(),
    })
}

/// The name under which an engine's assembly is kept.
fn key(engine: &Engine) -> String {
    let mut hash = Sha256::new();
    for (name, text) in FILES.iter().filter(|(name, _)| name.ends_with(".cs") || *name == "compile.ps1") {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hash.update(format!("{}\0{}", engine.version, engine.runtime).as_bytes());
    hex(&hash.finalize())[..32].to_owned()
}

/// Runs `compile.ps1`: with an engine known it compiles, else it only tells which one it is.
async fn ask(
    program: &Path,
    folder: &Folder,
    environment: &Environment,
    known: Option<&Engine>,
) -> Result<Engine, CompileError> {
    let failed = |reason: String| match known {
        Some(engine) => CompileError::Compiler { version: engine.version.clone(), reason },
        None => CompileError::Engine { program: program.display().to_string(), reason },
    };
    let mut command = command(program, &folder.compile_script(), environment);
    if known.is_some() {
        command.arg("-Output").arg(folder.assembly());
    }
    command.stdin(Stdio::null());
    let (mut child, group) = platform::spawn(&mut command).map_err(|error| failed(error.to_string()))?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let whole = async { tokio::join!(text(output), text(errors), child.wait()) };
    let (output, errors, status) = tokio::time::timeout(LIMIT, whole).await.map_err(|_| {
        group.kill();
        failed("it did not end in time".into())
    })?;
    let status = status.map_err(|error| failed(error.to_string()))?;
    let answer = output.lines().find_map(|line| serde_json::from_str::<CompilerAnswer>(line).ok());
    let Some(answer) = answer.filter(|_| status.success()) else {
        let said = if errors.trim().is_empty() { &output } else { &errors };
        let why = obituary::circumstances().map(|why| format!("{why}; ")).unwrap_or_default();
        return Err(failed(format!("{why}{status}: {}", first_lines(said))));
    };
    if answer.language != "FullLanguage" {
        return Err(CompileError::Restricted(answer.language));
    }
    if !is_recent(&answer.version) {
        return Err(CompileError::TooOld(answer.version));
    }
    if known.is_some() && !folder.assembly().is_file() {
        return Err(failed("it wrote no assembly".into()));
    }
    Ok(Engine { version: answer.version, runtime: answer.runtime })
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read counts, however the stream ended; the rest is drained so that nobody blocks.
        let _ = (&mut stream).take(MAX_OUTPUT).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Enough of an error's text for a message.
fn first_lines(text: &str) -> String {
    let told = |line: &&str| !line.trim().is_empty() && !obituary::is_trace(line);
    let lines: Vec<&str> = text.lines().filter(told).map(str::trim).take(6).collect();
    lines.join("; ").chars().take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_engine_has_another_name() {
        let engine =
            |version: &str, runtime: &str| Engine { version: version.into(), runtime: runtime.into() };
        let keys = [
            key(&engine("7.4.1", ".NET 8.0.1 linux-x64")),
            key(&engine("7.4.2", ".NET 8.0.1 linux-x64")),
            key(&engine("7.4.1", ".NET 8.0.2 linux-x64")),
        ];
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
        assert_eq!(keys[0], key(&engine("7.4.1", ".NET 8.0.1 linux-x64")));
    }

    mod with_a_program {
        use super::*;
        use crate::platform::testing;

        /// What a program that prints this and ends so is taken for.
        async fn asked(out: &[&str], error: &str, code: i32) -> Result<Engine, CompileError> {
            let place = tempfile::tempdir().unwrap();
            let program = testing::program(place.path(), out, error, code);
            let folder = Folder::create_in(place.path(), None).unwrap();
            ask(&program, &folder, &Environment::default(), None).await
        }

        #[tokio::test]
        async fn a_restricted_session_is_named_as_such() {
            let error = asked(&[r#"{"language":"ConstrainedLanguage"}"#], "", 0).await.unwrap_err();
            assert!(error.to_string().contains("ConstrainedLanguage mode"), "{error}");
        }

        #[tokio::test]
        async fn an_old_pwsh_is_told_before_anything_is_compiled() {
            let answer = r#"{"language":"FullLanguage","version":"7.3.9","runtime":"x"}"#;
            let outcome = asked(&[answer], "", 0).await;
            assert!(matches!(outcome, Err(CompileError::TooOld(version)) if version == "7.3.9"));
        }

        #[tokio::test]
        async fn what_pwsh_says_on_the_way_out_is_in_the_message() {
            let error = asked(&[], "no such library", 3).await.unwrap_err();
            assert!(error.to_string().contains("no such library"), "{error}");
        }

        #[tokio::test]
        async fn noise_around_the_answer_is_no_matter() {
            let answer = r#"{"language":"FullLanguage","version":"7.4.0","runtime":"r"}"#;
            let engine = asked(&["hello", answer], "", 0).await.unwrap();
            assert_eq!(engine, Engine { version: "7.4.0".into(), runtime: "r".into() });
        }
    }
}

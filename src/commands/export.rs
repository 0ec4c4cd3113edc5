//! `export`: secrets as variables, quoted as the reader asks.

use std::io::Write as _;

use serde_json::Value;
use zeroize::Zeroizing;

use super::list::{matching, split};
use super::outcome::{CommandOutcome, with_reach};
use super::output;
use crate::cli::{Binding, ExportArgs, ExportFormat, Global, binding};
use crate::exit::Exit;
use crate::reach::{Failure, Reach, SecretName, WantedVaults};
use crate::secret::SecretValue;

/// Names and texts, in the order of the arguments.
type Variables = Vec<(String, Zeroizing<String>)>;

pub(super) async fn export(arguments: &ExportArgs, global: &Global) -> CommandOutcome {
    let read = async |reach: &Reach| {
        let mut variables = Variables::new();
        for what in &arguments.what {
            for Binding { place, name } in bindings(what, reach).await? {
                let secret = reach.get(&name).await?;
                check(&place, arguments.format)?;
                variables.retain(|(known, _)| *known != place);
                variables.push((place, text_of(&secret.value)));
            }
        }
        Ok(variables)
    };
    let wanted = wanted(&arguments.what)?;
    let variables = with_reach(&arguments.connect, global, wanted, read).await?;
    write(arguments.format, &variables).map(|()| Exit::Ok)
}

/// Only the vaults that are named, if none of the arguments is about another.
fn wanted(what: &[String]) -> Result<WantedVaults, Failure> {
    let mut names = Vec::new();
    for one in what {
        let name = match one.contains('=') {
            true => binding(one).map_err(|error| Failure::usage(format!("'{one}': {error}")))?.name,
            false => SecretName::key(vault_of(one), "*"),
        };
        names.push(name);
    }
    Ok(WantedVaults::Names(names))
}

/// The vault of a vault and a pattern.
pub(super) fn vault_of(what: &str) -> &str {
    what.split('/').next().unwrap_or(what)
}

/// A variable and its secret, or those of a vault's keys that are like a pattern.
pub(super) async fn bindings(what: &str, reach: &Reach) -> Result<Vec<Binding>, Failure> {
    if what.contains('=') {
        return binding(what)
            .map(|one| vec![one])
            .map_err(|error| Failure::usage(format!("'{what}': {error}")));
    }
    let (vault, pattern) = split(what);
    let found = matching(reach, vault, pattern).await?.into_iter();
    Ok(found
        .map(|secret| Binding { place: variable(&secret.name), name: SecretName::key(vault, secret.name) })
        .collect())
}

/// A variable's name for a key: upper case, with `_` for what no variable can have.
fn variable(key: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = key.chars().map(letter).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn check(name: &str, format: ExportFormat) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    if good || format == ExportFormat::Json {
        return Ok(());
    }
    Err(Failure::usage(format!("'{name}' is no name for a variable"))
        .hint("letters, digits and _, no digit first"))
}

/// Text as it is, bytes in base64, tables and credentials as JSON.
fn text_of(value: &SecretValue) -> Zeroizing<String> {
    let json = value.to_json();
    Zeroizing::new(match json {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

fn write(format: ExportFormat, variables: &Variables) -> Result<(), Failure> {
    if format == ExportFormat::Json {
        let all = variables.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str())));
        return output::json(&Value::Object(all.collect()));
    }
    let mut out = Zeroizing::new(String::new());
    for (name, text) in variables {
        if text.contains('\0') {
            return Err(Failure::usage(format!(
                "the secret for {name} has a NUL, which no variable can hold"
            )));
        }
        out.push_str(&match format {
            ExportFormat::Env => format!("{name}={}\n", dotenv(text)),
            ExportFormat::Shell => format!("export {name}={}\n", shell(text)),
            ExportFormat::Powershell => format!("$env:{name} = {}\n", powershell(text)),
            ExportFormat::Github | ExportFormat::Json => github(name, text)?,
        });
    }
    match std::env::var_os("GITHUB_ENV").filter(|path| format == ExportFormat::Github && !path.is_empty()) {
        None => output::print(out.as_bytes()),
        Some(path) => {
            // The runner stars out whole lines, each of which must be told.
            let lines = variables.iter().flat_map(|(_, text)| text.lines()).filter(|line| !line.is_empty());
            let masks: Zeroizing<String> =
                Zeroizing::new(lines.map(|line| format!("::add-mask::{}\n", command(line))).collect());
            output::print(masks.as_bytes())?;
            let mut options = std::fs::File::options();
            let written =
                options.append(true).open(&path).and_then(|mut file| file.write_all(out.as_bytes()));
            written.map_err(|error| Failure::failed(format!("the file of GITHUB_ENV: {error}")))
        }
    }
}

/// Single quotes where nothing can be in the way of them; else double quotes with escapes.
pub(super) fn dotenv(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    if text.chars().all(plain) && !text.is_empty() {
        return text.to_owned();
    }
    if !text.contains(['\'', '\n', '\r', '\\']) {
        return format!("'{text}'");
    }
    format!("\"{}\"", double_quoted(text))
}

/// What stands between double quotes of a .env file.
pub(super) fn double_quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '"' | '\\' | '$' | '`' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// In ASCII alone: what a console's code page makes of other characters is not what was written. Line breaks are
/// escaped, because a pipeline of PowerShell makes its own of them.
fn powershell(text: &str) -> String {
    if text.chars().all(|c| matches!(c, ' '..='~')) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '$' | '`' => out.extend(['`', c]),
            ' '..='~' => out.push(c),
            '\n' => out.push_str("`n"),
            '\r' => out.push_str("`r"),
            '\t' => out.push_str("`t"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("$([char]0x{unit:X})"));
                }
            }
        }
    }
    out + "\""
}

/// With an end that nobody can guess, and so no line of the value is.
fn github(name: &str, text: &str) -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Failure::failed(format!("no random numbers: {error}")))?;
    let end: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{name}<<SECRETBRIDGE_{end}\n{text}\nSECRETBRIDGE_{end}\n"))
}

/// As a workflow command asks.
fn command(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_quotes_so_that_the_value_comes_back() {
        let hard = "a'b\"c$d`e\\f\ng %h";
        assert_eq!(shell(hard), "'a'\\''b\"c$d`e\\f\ng %h'");
        assert_eq!(powershell("it's $x"), "'it''s $x'");
        assert_eq!(
            powershell("$x \u{2019}\n\u{1f511}"),
            "\"`$x $([char]0x2019)`n$([char]0xD83D)$([char]0xDD11)\""
        );
        assert_eq!(dotenv("plain-1"), "plain-1");
        assert_eq!(dotenv("with $ and #"), "'with $ and #'");
        assert_eq!(dotenv(hard), "\"a'b\\\"c\\$d\\`e\\\\f\\ng %h\"");
        assert_eq!(dotenv(""), "''");
        let [first, second] = [(); 2].map(|()| github("A", "x\nSECRETBRIDGE_END").unwrap());
        let end = first.lines().last().unwrap();
        assert_eq!(first, format!("A<<{end}\nx\nSECRETBRIDGE_END\n{end}\n"));
        assert!(end.len() > 32 && !second.contains(end), "an end is of no use twice");
        assert_eq!(command("50%\n"), "50%25%0A");
    }

    #[test]
    fn a_shell_reads_what_was_written() {
        for text in ["plain", "a'b", "$HOME `id` \"x\"", "line\nline", "\\", ""] {
            let script = format!("export V={}; printf %s \"$V\"", shell(text));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    #[test]
    fn variables_are_named_after_keys() {
        assert_eq!((variable("db-password"), variable("9.a/b")), ("DB_PASSWORD".into(), "_9_A_B".into()));
        assert!(
            check("a b", ExportFormat::Shell).is_err() && check("x;id", ExportFormat::Powershell).is_err()
        );
    }
}

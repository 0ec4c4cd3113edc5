//! Our lines in a PowerShell profile: put in once, and taken out again without a trace.

use std::path::Path;

const BEGIN: &str = "# >>> secretbridge: completions (`secretbridge module uninstall` takes these lines out)";
const END: &str = "# <<< secretbridge";

/// The profile with our lines, in the place where they are or at its end.
pub(super) fn with(profile: &str, script: &Path) -> String {
    let newline = if profile.contains("\r\n") { "\r\n" } else { "\n" };
    let path = script.display().to_string().replace('\'', "''");
    // A module that was removed by hand must not make every start of PowerShell fail.
    let read = format!("if (Test-Path -LiteralPath '{path}') {{ . '{path}' }}");
    let ours = format!("{BEGIN}{newline}{read}{newline}{END}{newline}");
    if let Some((before, after)) = around(profile) {
        return format!("{before}{ours}{after}");
    }
    let gap = if profile.is_empty() || profile.ends_with('\n') { "" } else { newline };
    format!("{profile}{gap}{ours}")
}

/// The profile without our lines.
pub(super) fn without(profile: &str) -> String {
    around(profile).map_or_else(|| profile.to_owned(), |(before, after)| format!("{before}{after}"))
}

/// What stands before and after our lines.
fn around(profile: &str) -> Option<(&str, &str)> {
    let from = profile.find(BEGIN)?;
    let end = from + profile[from..].find(END)? + END.len();
    let rest = &profile[end..];
    let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
    Some((&profile[..from], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_lines_come_once_and_go_without_a_trace() {
        for profile in ["", "Set-Alias g git\n", "$a = 1\r\n$b = 2\r\n"] {
            let one = with(profile, Path::new("/home/o'neil/x.ps1"));
            assert!(one.contains("'/home/o''neil/x.ps1'"), "{one}");
            assert_eq!(one.contains("\r\n"), profile.contains("\r\n"));
            assert_eq!(with(&one, Path::new("/home/o'neil/x.ps1")), one);
            assert_eq!(without(&one), profile);
            let moved = with(&format!("{one}$after = 1\n"), Path::new("/y.ps1"));
            assert_eq!(moved.matches("secretbridge: completions").count(), 1);
            assert!(moved.contains("'/y.ps1'") && moved.ends_with("$after = 1\n"));
        }
    }

    #[test]
    fn a_profile_without_a_last_newline_keeps_its_last_line() {
        assert!(with("$a = 1", Path::new("/y")).starts_with("$a = 1\n# >>>"));
    }
}

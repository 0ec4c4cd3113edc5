//! The script files that PowerShell text names.
//!
//! Every word and every quoted text that ends as the name of a script or a module does is looked at, wherever it stands:
//! what is meant by it only PowerShell could tell. A name with variables in it is not known here; in a Pode script
//! such a file is checked when it is about to run.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::platform;

/// No script that people write is longer, in bytes.
const MOST: u64 = 8 << 20;

const ENDINGS: [&str; 3] = [".ps1", ".psm1", ".psd1"];

/// What a regular file holds, as text; PowerShell reads it by its byte order mark too.
pub(super) fn text_of(path: &Path) -> io::Result<String> {
    let file: File = platform::open_without_waiting(path)?;
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(encoding_rs::UTF_8.decode(&bytes).0.into_owned())
}

/// The files that the text names and that are there, below the folder of the script or below the working folder.
pub(super) fn scripts(text: &str, folder: &Path) -> Vec<PathBuf> {
    let quoted = text.lines().flat_map(|line| line.split(['\'', '"']));
    let is_between = |c: char| c.is_whitespace() || "'\"`;|&()[],=@".contains(c);
    let words = text.split(is_between).map(|word| word.trim_start_matches('{').trim_end_matches('}'));
    let in_braces = text.split(move |c| is_between(c) || c == '{' || c == '}');
    let mut found: Vec<PathBuf> = Vec::new();
    for name in quoted.chain(words).chain(in_braces).filter_map(name) {
        for place in [folder.join(&name), PathBuf::from(&name)] {
            // Also what is no file: who reads it would wait for it.
            if place.exists() && !place.is_dir() && !found.contains(&place) {
                found.push(place);
            }
        }
    }
    found
}

/// The path that a word names, as this system writes it.
fn name(word: &str) -> Option<String> {
    let word = word.trim();
    let ends = |ending: &&str| {
        word.len()
            .checked_sub(ending.len())
            .and_then(|at| word.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    ENDINGS.iter().find(|ending| ends(ending))?;
    let lower = word.to_ascii_lowercase();
    let of_script = ["$psscriptroot", "${psscriptroot}", "$script:psscriptroot"]
        .into_iter()
        .find_map(|prefix| lower.starts_with(prefix).then(|| &word[prefix.len()..]));
    let rest = of_script.map_or(word, |rest| rest.trim_start_matches(['/', '\\']));
    let rest = rest.strip_prefix("./").or_else(|| rest.strip_prefix(".\\")).unwrap_or(rest);
    let known = !rest.is_empty() && !rest.contains(['$', '*', '?', '\0']);
    // PowerShell takes both separators.
    known.then(|| rest.replace('\\', std::path::MAIN_SEPARATOR_STR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_script_names_are_found_however_it_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a.ps1", "b c.ps1", "d.psm1", "e.PS1", "f.psd1", "g.ps1", "never.ps1", "h.txt"];
        for file in files {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let text = r#"
            . ./a.ps1; . "$PSScriptRoot/b c.ps1"
            Import-Module -Name ${PSScriptRoot}\d.psm1
            & { . .\e.PS1 } ; Import-Module (Join-Path $PSScriptRoot 'f.psd1')
            . "$dir/g.ps1" ; Get-Content h.txt, missing.ps1
        "#;
        let mut found: Vec<_> = scripts(text, folder.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        found.dedup();
        assert_eq!(found, ["a.ps1", "b c.ps1", "d.psm1", "e.PS1", "f.psd1"]);
    }

    #[test]
    fn text_in_any_of_powershells_encodings_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.ps1");
        let wide: Vec<u8> = "\u{feff}. ./a.ps1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [b". ./a.ps1".to_vec(), b"\xef\xbb\xbf. ./a.ps1".to_vec(), wide] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(text_of(&path).unwrap(), ". ./a.ps1");
        }
    }
}

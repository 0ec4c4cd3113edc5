//! The real pwsh of the tests, if the machine has one.
//!
//! Looked for in this order, the first one that has both modules wins:
//!
//! 1. the folder that `SECRETBRIDGE_TEST_PWSH_DIR` names, laid out as 3;
//! 2. a `pwsh` on PATH, with the modules that it finds by itself;
//! 3. `bin/pwsh` with the modules in `gallery`, in `$SECRETBRIDGE_SHARED/pwsh` (`../shared/pwsh`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use super::process::Process;

/// A run of a script takes no longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Prints four lines: its version, where it looks for modules, how many of the two it found, and who wrote SecretStore.
const PROBE: &str = "\
    $PSVersionTable.PSVersion.ToString(); $env:PSModulePath; \
    @('Microsoft.PowerShell.SecretManagement', 'Microsoft.PowerShell.SecretStore' | \
        Where-Object { Get-Module -ListAvailable -Name $_ }).Count; \
    (Get-Module -ListAvailable -Name Microsoft.PowerShell.SecretStore | Select-Object -First 1).Author";

/// A pwsh with SecretManagement and SecretStore.
#[derive(Debug, Clone)]
pub struct Pwsh {
    pub program: PathBuf,
    pub version: String,
    /// Where it looks for modules, whatever HOME is.
    pub module_path: OsString,
    /// It has the stand-in of Az.KeyVault, in the gallery of the folder it was found in.
    pub stand_in_azure: bool,
    /// Its SecretStore is the stand-in, which keeps configuration and secrets in one file.
    pub stand_in_store: bool,
}

/// The pwsh of this machine; says once on stderr which one it is.
pub fn pwsh() -> Option<&'static Pwsh> {
    static FOUND: OnceLock<Option<Pwsh>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let found = find();
        match &found {
            Some(pwsh) => say(&format!("test pwsh: {} ({})", pwsh.version, pwsh.program.display())),
            None => say("test pwsh: none with SecretManagement and SecretStore"),
        }
        found
    });
    found.as_ref()
}

/// The pwsh of this machine, or word that the test of this name is skipped.
///
/// # Panics
///
/// Where there is none and `SECRETBRIDGE_REQUIRE_PWSH` is 1.
pub fn pwsh_or_skip(test: &str) -> Option<&'static Pwsh> {
    let found = pwsh();
    if found.is_none() {
        let required = std::env::var_os("SECRETBRIDGE_REQUIRE_PWSH").is_some_and(|value| value == "1");
        assert!(!required, "{test} needs a pwsh, and SECRETBRIDGE_REQUIRE_PWSH forbids to skip it");
        say(&format!("SKIPPED (no pwsh): {test}"));
    }
    found
}

/// The real pwsh, or an early return that says which test is skipped: `let pwsh = need_pwsh!();`
#[macro_export]
macro_rules! need_pwsh {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        match $crate::support::pwsh::pwsh_or_skip(name.trim_end_matches("::here")) {
            Some(pwsh) => pwsh,
            None => return,
        }
    }};
}

impl Pwsh {
    /// Runs a script in a fresh process, as a user with this HOME would.
    #[track_caller]
    pub fn run(&self, script: &str, home: &Path) -> Output {
        let mut command = Command::new(&self.program);
        command.args(["-NoLogo", "-NoProfile", "-NonInteractive", "-Command", script]);
        command.env("HOME", home).envs(self.variables());
        for name in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        Process::run(command, LIMIT)
    }

    /// Runs a script that must succeed, and gives its output without the space around it.
    #[track_caller]
    pub fn output_of(&self, script: &str, home: &Path) -> String {
        let output = self.run(script, home);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a script in a fresh process that has the user's SecretStore as the vault `fresh`, and has
    /// unlocked it where there is a password.
    #[track_caller]
    pub fn in_store(&self, home: &Path, password: Option<&str>, script: &str) -> String {
        let mut text = String::from(
            "$ErrorActionPreference = 'Stop'
            Register-SecretVault -Name fresh -ModuleName Microsoft.PowerShell.SecretStore -AllowClobber\n",
        );
        if let Some(password) = password {
            text.push_str(&format!(
                "$password = [securestring]::new()
                foreach ($c in '{}'.ToCharArray()) {{ $password.AppendChar($c) }}
                Unlock-SecretVault -Name fresh -Password $password\n",
                password.replace('\'', "''")
            ));
        }
        self.output_of(&(text + script), home)
    }

    /// All strings in the user's SecretStore, as a fresh process finds them.
    #[track_caller]
    pub fn strings_in_store(&self, home: &Path, password: Option<&str>) -> BTreeMap<String, String> {
        let read = "foreach ($i in Get-SecretInfo -Vault fresh) {
            $i.Name + '=' + (Get-Secret -Vault fresh -Name $i.Name -AsPlainText)
        }";
        let text = self.in_store(home, password, read);
        let pairs = text.lines().filter_map(|line| line.trim_end().split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// What a process needs to use it.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        vec![
            ("PSModulePath".into(), self.module_path.clone()),
            ("POWERSHELL_TELEMETRY_OPTOUT".into(), "1".into()),
            ("POWERSHELL_UPDATECHECK".into(), "Off".into()),
            ("NO_COLOR".into(), "1".into()),
            // They live for seconds.
            ("DOTNET_TieredPGO".into(), "0".into()),
        ]
    }
}

fn find() -> Option<Pwsh> {
    let in_folder = |folder: PathBuf| probe(folder.join("bin/pwsh"), Some(folder.join("gallery")));
    if let Some(folder) = std::env::var_os("SECRETBRIDGE_TEST_PWSH_DIR") {
        let found = in_folder(PathBuf::from(&folder));
        assert!(found.is_some(), "no pwsh with both modules in SECRETBRIDGE_TEST_PWSH_DIR, {folder:?}");
        return found;
    }
    let on_path = which::which("pwsh").ok().and_then(|program| probe(program, None));
    on_path.or_else(|| in_folder(shared().join("pwsh")))
}

fn shared() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("SECRETBRIDGE_SHARED").unwrap_or_else(|| "../shared".into());
    manifest.join(folder)
}

fn probe(program: PathBuf, gallery: Option<PathBuf>) -> Option<Pwsh> {
    if !program.is_file() {
        return None;
    }
    let mut command = Command::new(&program);
    command.args(["-NoLogo", "-NoProfile", "-NonInteractive", "-Command", PROBE]);
    if let Some(gallery) = &gallery {
        command.env("PSModulePath", gallery);
    }
    let output = Process::run(command, LIMIT);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().map(str::trim);
    let (version, module_path, modules) = (lines.next()?, lines.next()?, lines.next()?);
    (new_enough(version) && modules == "2").then(|| Pwsh {
        program,
        version: version.to_owned(),
        stand_in_azure: gallery.is_some(),
        stand_in_store: lines.next() != Some("Microsoft Corporation"),
        module_path: gallery.map_or_else(|| module_path.into(), PathBuf::into_os_string),
    })
}

fn new_enough(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    matches!((parts.next(), parts.next()), (Some(major), Some(minor)) if (major, minor) >= (7, 4))
}

/// Past the capture of test output, so that a skip is seen.
pub fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

mod tests {
    use super::*;

    #[test]
    fn a_version_before_7_4_is_too_old() {
        for (version, enough) in [("7.4.0", true), ("7.6.9-rc.1", true), ("10.0", true), ("7.2.0", false)] {
            assert_eq!(new_enough(version), enough, "{version}");
        }
        assert!(!new_enough("none"));
    }

    #[test]
    fn a_fresh_process_reads_what_another_stored() {
        let pwsh = need_pwsh!();
        let home = tempfile::tempdir().expect("a temporary folder");
        let password = "$password = ConvertTo-SecureString -String open -AsPlainText -Force; ";
        let store = "Set-SecretStoreConfiguration -Password $password -Interaction None -Confirm:$false; \
            Register-SecretVault -Name store -ModuleName Microsoft.PowerShell.SecretStore; \
            Unlock-SecretVault -Name store -Password $password; \
            Set-Secret -Name k -Secret v -Vault store";
        let read = "Unlock-SecretVault -Name store -Password $password; \
            Get-Secret -Name k -Vault store -AsPlainText";
        pwsh.output_of(&(password.to_owned() + store), home.path());
        assert_eq!(pwsh.output_of(&(password.to_owned() + read), home.path()), "v");
    }
}

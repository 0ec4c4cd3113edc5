//! `service`, with stand-ins for the system's managers of services.

use super::*;

/// Programs of a service manager that note how they were called.
fn with_managers(folder: &std::path::Path) -> (Line, std::path::PathBuf) {
    let (bin, calls) = (folder.join("bin"), folder.join("calls"));
    std::fs::create_dir_all(&bin).unwrap();
    let text = format!(
        "#!/bin/sh\necho \"$(basename \"$0\") $*\" >>'{}'\ncase \"$*\" in *show*) printf \
         'LoadState=loaded\\nActiveState=active\\nMainPID=7\\n' ;; esac\n",
        calls.display()
    );
    for name in ["systemctl", "launchctl"] {
        let path = bin.join(name);
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    (Line::alone(folder).env("PATH", path), calls)
}

#[cfg(target_os = "linux")]
#[test]
fn a_service_of_one_user_is_shown_installed_asked_for_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (line, calls) = with_managers(folder.path());
    let unit = folder.path().join("home/.config/systemd/user/secretbridge.service");
    let config = folder.path().join("my vaults.toml");
    std::fs::write(&config, "[vaults.local]\nlocal = true\nexpose = true\n").unwrap();
    let config = config.to_str().unwrap();
    let install = ["service", "install", "--user", "--config", config];

    let shown = line.ok(&[&install[..], &["--dry-run"]].concat(), b"");
    assert!(
        shown.contains("ExecStart=") && shown.contains("run systemctl --user enable secretbridge"),
        "{shown}"
    );
    assert!(!unit.exists() && !calls.exists(), "a dry run does nothing");

    line.ok(&install, b"");
    let text = std::fs::read_to_string(&unit).unwrap();
    assert!(text.contains(&format!("serve --config \"{config}\"\n")), "{text}");
    crate::systemd::verify(&unit, true);
    let called = std::fs::read_to_string(&calls).unwrap();
    // What is there already is asked for first.
    let (question, called) = called.split_once('\n').unwrap();
    assert!(question.starts_with("systemctl --user show secretbridge "), "{question}");
    let expected = ["daemon-reload", "enable secretbridge", "restart secretbridge"];
    let expected: String = expected.iter().map(|words| format!("systemctl --user {words}\n")).collect();
    assert_eq!(called, expected);

    let status = line.json(&["service", "status", "--user", "--json"]);
    assert_eq!((&status["State"], &status["Details"]["process"]), (&"running".into(), &"7".into()));
    line.ok(&["service", "uninstall", "--user"], b"");
    assert!(!unit.exists());
    assert!(std::path::Path::new(config).exists(), "a configuration stays");
}

#[test]
fn what_could_not_start_as_a_service_is_told_before_it_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    let (line, calls) = with_managers(folder.path());
    std::fs::write(folder.path().join("bad.toml"), "lisen = \"x\"\n").unwrap();
    let bad = folder.path().join("bad.toml");
    for (words, said) in [
        (&["--config", bad.to_str().unwrap()][..], "lisen"),
        (&["--", "serve", "--workers", "0"], "--workers"),
        (&["--", "get", "local/x"], "a service can only serve"),
        (&["--", "run", "server.ps1"], "relative path"),
        (&["--name", "../x"], "cannot be the name of a service"),
    ] {
        let said_so = line.fails(64, &[&["service", "install", "--user"], words].concat(), b"");
        assert!(said_so.contains(said), "{said_so}");
    }
    assert!(!calls.exists());
}

/// `service install --name ssh` would else put a unit of ours in the place of the machine's own.
#[cfg(target_os = "linux")]
#[test]
fn a_service_of_another_program_is_neither_changed_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (line, calls) = with_managers(folder.path());
    let manager = folder.path().join("bin/systemctl");
    let text = std::fs::read_to_string(&manager).unwrap();
    let sshd =
        "MainPID=7\\nExecStart={ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -D ; ignore_errors=no }\\n";
    std::fs::write(&manager, text.replace("MainPID=7\\n", sshd)).unwrap();
    for command in ["install", "uninstall"] {
        let said = line.fails(64, &["service", command, "--user", "--name", "ssh"], b"");
        assert!(said.contains("another program's") && said.contains("/usr/sbin/sshd -D"), "{said}");
    }
    let called = std::fs::read_to_string(&calls).unwrap();
    assert!(called.lines().all(|line| line.contains(" show ")), "{called}");
    assert!(!folder.path().join("home/.config/systemd/user/ssh.service").exists());
}

//! `init` and `schema`.

use super::*;

#[test]
fn a_first_configuration_passes_check_is_served_and_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let output = line.run(&["init", "--yes", "--listen", "127.0.0.1:0"], b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "./secretbridge.toml\n");
    let file = folder.path().join("secretbridge.toml");
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.starts_with("#:schema ./secretbridge.schema.json\n"), "{first}");
    let schema: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("secretbridge.schema.json")).unwrap())
            .unwrap();
    assert_eq!(schema, line.json(&["schema"]));
    assert!(line.run(&["check"], b"").status.success());
    line.ok(&["set", "local/a"], b"one");
    let server = Builder::new().config(&first).start();
    Line::beside(&server).ok(&["set", "local/a"], b"one");
    let told = line.fails(64, &["init", "--yes"], b"");
    assert!(told.contains("is there already") && told.contains("--force"), "{told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
    let output = line.run(&["init", "--force", "--module", "My.Module", "--name", "mine"], b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(std::fs::read_to_string(&file).unwrap().contains("[vaults.mine]"));
    assert!(line.run(&["check", "--file-only"], b"").status.success());
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().is_file())
            .count(),
        2
    );
}

#[test]
fn a_configuration_of_the_user_is_found_from_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let output = line.run(&["init", "--user", "--yes", "--name", "mine"], b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(folder.path().join("home/.config/secretbridge/secretbridge.toml").is_file());
    assert!(line.ok(&["vaults"], b"").starts_with("mine\t"));
}

#[test]
fn what_would_be_wrong_is_told_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    for (args, told) in [
        (&["init", "--vault", "secretstore"][..], "--unlock-file"),
        (&["init", "--yes", "--name", "a*"], "character"),
        (&["init", "--yes", "--listen", "example.org:80"], "IP address"),
        (
            &["init", "--vault", "secretstore", "--unlock-env", "X", "--parameter", "Password=canary"],
            "password",
        ),
    ] {
        let said = line.fails(64, args, b"");
        assert!(said.contains(told) && !said.contains("canary"), "{args:?}: {said}");
    }
    std::fs::write(folder.path().join("secretbridge.schema.json"), "{\"mine\": 1}").unwrap();
    let output = line.run(&["init", "--yes"], b"");
    assert!(
        output.status.success() && text(&output.stderr).contains("left alone"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        std::fs::read_to_string(folder.path().join("secretbridge.schema.json")).unwrap(),
        "{\"mine\": 1}"
    );
    assert!(folder.path().join("secretbridge.toml").is_file());
}

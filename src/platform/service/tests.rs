use super::events::{IDS, ServiceEvent, Severity};
use super::phase::ServicePhase;
use super::*;
use crate::platform::ServiceNotice;

fn wanted(name: &str, arguments: &[&str]) -> WantedService {
    WantedService {
        name: name.to_owned(),
        program: "/usr/local/bin/secretbridge".to_owned(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        account: None,
        of_user: None,
        start: true,
        shared_data: "C:/ProgramData".into(),
    }
}

fn file(steps: &[ServiceStep]) -> (&Path, &str) {
    let found = steps.iter().find_map(|step| match step {
        ServiceStep::File { path, text } => Some((path.as_path(), text.as_str())),
        _ => None,
    });
    found.expect("a file is written")
}

fn shown(steps: &[ServiceStep]) -> Vec<String> {
    steps.iter().map(|step| step.to_string().lines().next().unwrap().to_owned()).collect()
}

/// As Windows' programs take a command line apart; an independent reading of `CommandLineToArgvW`.
fn taken_apart(line: &str) -> Vec<String> {
    let mut rest = line.chars().peekable();
    let mut words = Vec::new();
    // The program: up to the next quote, whatever is in between.
    rest.next();
    words.push(rest.by_ref().take_while(|c| *c != '"').collect());
    while rest.peek().is_some() {
        while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let (mut word, mut quoted) = (String::new(), false);
        loop {
            let backslashes = std::iter::from_fn(|| rest.next_if_eq(&'\\')).count();
            if rest.peek() == Some(&'"') {
                word.extend(std::iter::repeat_n('\\', backslashes / 2));
                rest.next();
                if backslashes % 2 == 1 {
                    word.push('"');
                } else {
                    quoted = !quoted;
                }
                continue;
            }
            word.extend(std::iter::repeat_n('\\', backslashes));
            match rest.next_if(|c| quoted || !c.is_ascii_whitespace()) {
                Some(c) => word.push(c),
                None => break,
            }
        }
        words.push(word);
    }
    words
}

#[test]
fn a_command_line_of_windows_is_read_back_as_it_was_meant() {
    let arguments = [
        "serve",
        "--config",
        r"C:\Program Files\a b\c.toml",
        r"C:\ends with\",
        "",
        r#"say "so""#,
        r#"\\server\share\"x""#,
        "tab\there",
        r"no\quotes\here\",
        "--%PATH%",
    ];
    let arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    let line = scm::command_line(r"C:\Program Files\secretbridge\secretbridge.exe", &arguments);
    let words = taken_apart(&line);
    assert_eq!(words[0], r"C:\Program Files\secretbridge\secretbridge.exe", "{line}");
    assert_eq!(words[1..], arguments, "{line}");
}

#[test]
fn a_service_of_windows_has_a_virtual_account_and_files_for_it_alone() {
    let mut wanted = wanted("bridge", &["serve", "--token-file", "C:/ProgramData/bridge/token"]);
    let steps = install(Manager::Scm, &wanted).unwrap();
    let ServiceStep::Register(registration) = &steps[0] else { panic!("{steps:?}") };
    assert_eq!(registration.account, r"NT SERVICE\bridge");
    assert_eq!(registration.arguments[..3], ["--as-service", "bridge", "serve"]);
    let account = || r"NT SERVICE\bridge".to_owned();
    let place = |name: &str| Path::new("C:/ProgramData").join("bridge").join(name);
    let expected = [
        ServiceStep::Folder { path: place(""), account: account() },
        ServiceStep::Token { path: place("token"), account: account() },
        ServiceStep::EventSource("bridge".to_owned()),
        ServiceStep::Start("bridge".to_owned()),
    ];
    assert_eq!(steps[1..], expected);
    // A token of the configuration's own is not made.
    wanted.arguments = vec!["serve".to_owned()];
    wanted.start = false;
    let steps = install(Manager::Scm, &wanted).unwrap();
    assert!(
        !steps.iter().any(|step| matches!(step, ServiceStep::Token { .. } | ServiceStep::Start(_))),
        "{steps:?}"
    );
}

#[test]
fn an_account_of_windows_is_one_that_needs_no_password() {
    let account = |account: &str| {
        let wanted = WantedService { account: Some(account.to_owned()), ..wanted("bridge", &["serve"]) };
        install(Manager::Scm, &wanted)
    };
    let managed = r"CONTOSO\vaults$";
    assert!(account(managed).unwrap().contains(&ServiceStep::Right(managed.to_owned())));
    for good in ["LocalSystem", r"NT AUTHORITY\NetworkService", r"nt service\BRIDGE"] {
        assert!(!account(good).unwrap().contains(&ServiceStep::Right(good.to_owned())));
    }
    for bad in [r"CONTOSO\anna", "anna", "vaults$", "vaults$@contoso.example", r"NT SERVICE\other", ""] {
        assert!(account(bad).is_err(), "{bad}");
    }
    let of_user = WantedService { of_user: Some("C:/Users/anna".into()), ..wanted("bridge", &["serve"]) };
    assert!(install(Manager::Scm, &of_user).is_err());
    assert!(uninstall(Manager::Scm, "bridge", Some(Path::new("C:/Users/anna"))).is_err());
}

#[test]
fn a_unit_is_the_packages_own_with_this_command() {
    let wanted = wanted("secretbridge", &["serve", "--config", "/etc/secretbridge/50% $a \"b\".toml"]);
    let steps = install(Manager::Systemd, &wanted).unwrap();
    let (path, text) = file(&steps);
    assert_eq!(path, Path::new("/etc/systemd/system/secretbridge.service"));
    let packaged = include_str!("../../../scripts/systemd/secretbridge.service");
    let changed: Vec<&str> = text.lines().filter(|line| !packaged.lines().any(|old| old == *line)).collect();
    let command =
        r#"ExecStart=/usr/local/bin/secretbridge serve --config "/etc/secretbridge/50%% $$a \"b\".toml""#;
    assert_eq!(changed, [command]);
    let expected = [
        "make the system account secretbridge with the home /var/lib/secretbridge, unless it is there",
        "write /etc/systemd/system/secretbridge.service:",
        "run systemctl daemon-reload",
        "run systemctl enable secretbridge",
        "run systemctl restart secretbridge",
    ];
    assert_eq!(shown(&steps), expected);
}

#[test]
fn a_unit_of_another_name_or_account_has_folders_of_its_own() {
    let wanted =
        WantedService { account: Some("web".to_owned()), ..wanted("pode.web", &["run", "/home/web/s.ps1"]) };
    let steps = install(Manager::Systemd, &wanted).unwrap();
    let (path, text) = file(&steps);
    assert_eq!(path, Path::new("/etc/systemd/system/pode.web.service"));
    let has = |line: &str| text.lines().any(|found| found == line);
    for line in [
        "User=web",
        "StateDirectory=pode.web",
        "RuntimeDirectory=pode.web",
        "Environment=HOME=/var/lib/pode.web XDG_RUNTIME_DIR=/run/pode.web",
        "ProtectHome=read-only",
        "ExecStart=/usr/local/bin/secretbridge run /home/web/s.ps1",
    ] {
        assert!(has(line), "{line}\n{text}");
    }
    assert!(!text.contains("\nGroup=") && !shown(&steps).iter().any(|step| step.starts_with("make")));
}

#[test]
fn a_unit_of_one_user_is_in_that_user_s_home_and_has_no_account() {
    let wanted = WantedService {
        of_user: Some("/home/anna".into()),
        start: false,
        ..wanted("secretbridge", &["serve"])
    };
    let steps = install(Manager::Systemd, &wanted).unwrap();
    let (path, text) = file(&steps);
    assert_eq!(path, Path::new("/home/anna/.config/systemd/user/secretbridge.service"));
    assert!(!text.contains("User=") && text.contains("WantedBy=default.target"), "{text}");
    let runs = ["run systemctl --user daemon-reload", "run systemctl --user enable secretbridge"];
    assert_eq!(shown(&steps)[1..], runs);
    let removed = shown(&uninstall(Manager::Systemd, "secretbridge", Some(Path::new("/home/anna"))).unwrap());
    let expected = [
        "run systemctl --user disable --now secretbridge",
        "remove /home/anna/.config/systemd/user/secretbridge.service",
        "run systemctl --user daemon-reload",
    ];
    assert_eq!(removed, expected);
    let both = WantedService { account: Some("anna".to_owned()), ..wanted };
    assert!(install(Manager::Systemd, &both).is_err() && install(Manager::Launchd, &both).is_err());
}

#[test]
fn what_a_unit_cannot_see_or_hold_is_refused() {
    for argument in ["/tmp/c.toml", "/var/tmp/x", "two\nlines"] {
        assert!(install(Manager::Systemd, &wanted("a", &["serve", argument])).is_err(), "{argument:?}");
    }
}

#[test]
fn a_name_cannot_lead_to_another_file() {
    for name in ["secretbridge", "pode.web-2_b", "a"] {
        assert_eq!(check_name(name), Ok(()), "{name}");
    }
    let long = "a".repeat(81);
    for name in ["", "../x", "a/b", r"a\b", "-user", ".x", "a b", "ä", "a;b", &long] {
        assert!(check_name(name).is_err(), "{name}");
        for manager in [Manager::Scm, Manager::Systemd, Manager::Launchd] {
            assert!(install(manager, &wanted(name, &["serve"])).is_err());
            assert!(uninstall(manager, name, None).is_err());
        }
    }
}

#[test]
fn a_job_of_launchd_is_the_packages_own_with_this_command() {
    let mut wanted = wanted("bridge", &["serve", "--expose-vault", "R&D <x>"]);
    assert!(install(Manager::Launchd, &wanted).is_err(), "as root without being told so");
    wanted.of_user = Some("/Users/anna".into());
    let steps = install(Manager::Launchd, &wanted).unwrap();
    let (path, text) = file(&steps);
    assert_eq!(path, Path::new("/Users/anna/Library/LaunchAgents/bridge.plist"));
    let words = "    <array>\n        <string>/usr/local/bin/secretbridge</string>\n        <string>serve</string>\n        \
                 <string>--expose-vault</string>\n        <string>R&amp;D &lt;x&gt;</string>\n    </array>\n";
    assert!(text.contains(words), "{text}");
    assert!(text.contains("<key>Label</key>\n    <string>bridge</string>"), "{text}");
    assert!(text.contains("<string>/Users/anna/Library/Logs/bridge.log</string>"), "{text}");
    assert!(
        text.trim_end().ends_with("</dict>\n</plist>") && text.contains("<key>KeepAlive</key>"),
        "{text}"
    );
    assert!(!text.contains("<!--") && !text.contains("UserName"), "{text}");
    let tags = |tag: &str| text.matches(tag).count();
    assert_eq!(tags("<key>"), tags("</key>"));
    assert!(shown(&steps)[2].starts_with("run launchctl bootstrap gui/"), "{steps:?}");
    let machine = WantedService { of_user: None, account: Some("_vaults".to_owned()), ..wanted };
    let steps = install(Manager::Launchd, &machine).unwrap();
    let (path, text) = file(&steps);
    assert_eq!(path, Path::new("/Library/LaunchDaemons/bridge.plist"));
    assert!(text.contains("<key>UserName</key>\n    <string>_vaults</string>"), "{text}");
}

/// Jobs as Python reads them, which knows Apple's files of this kind; nothing where there is no Python.
fn read_by_python(text: &str) -> Option<serde_json::Value> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let script = "import json, plistlib, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))";
    let mut command = Command::new("python3");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: there is no python3 to read a job of launchd");
        return None;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "it is no property list: {text}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_job_of_launchd_is_read_by_others_as_it_is_meant() {
    let mut wanted = wanted("bridge", &["serve", "--expose-vault", "R&D <x>", "--note", " ]]> \"é\" ", ""]);
    wanted.account = Some("_vaults".to_owned());
    let steps = install(Manager::Launchd, &wanted).unwrap();
    let Some(job) = read_by_python(file(&steps).1) else { return };
    let mut words = vec![wanted.program];
    words.extend(wanted.arguments);
    let expected = serde_json::json!({
        "Label": "bridge",
        "ProgramArguments": words,
        "UserName": "_vaults",
        "StandardErrorPath": "/Library/Logs/bridge.log",
        "RunAtLoad": true,
        "KeepAlive": { "SuccessfulExit": false },
        "ExitTimeOut": 60,
        "ProcessType": "Background",
        "Umask": 0o077,
    });
    assert_eq!(job, expected);
}

#[test]
fn what_a_manager_says_is_understood() {
    let unit = |load: &str, active: &str| {
        let text = format!(
            "LoadState={load}\nActiveState={active}\nSubState=x\nMainPID=7\nUnitFileState=enabled\nUser=\n"
        );
        systemd::answer(&text)
    };
    for (load, active, state) in [
        ("not-found", "inactive", ServiceCondition::Absent),
        ("loaded", "active", ServiceCondition::Running),
        ("loaded", "activating", ServiceCondition::Changing),
        ("loaded", "reloading", ServiceCondition::Changing),
        ("loaded", "failed", ServiceCondition::Failed),
        ("loaded", "inactive", ServiceCondition::Stopped),
    ] {
        assert_eq!(unit(load, active).state, state, "{load} {active}");
    }
    assert_eq!(
        unit("loaded", "active").details,
        [("process", "7".to_owned()), ("starts", "enabled".to_owned())]
    );
    assert_eq!(launchd::answer(None).state, ServiceCondition::Absent);
    let job =
        |lines: &str| launchd::answer(Some(&format!("gui/501/bridge = {{\n\tactive count = 1\n{lines}}}\n")));
    let running =
        job("\tpath = /Users/a/x.plist\n\tstate = running\n\tpid = 42\n\tlast exit code = (never exited)\n");
    assert_eq!(running.state, ServiceCondition::Running);
    assert_eq!(running.details[0], ("process", "42".to_owned()));
    assert_eq!(
        job("\tstate = not running\n\tlast exit code = (never exited)\n").state,
        ServiceCondition::Stopped
    );
    assert_eq!(job("\tstate = not running\n\tlast exit code = 64\n").state, ServiceCondition::Failed);
    assert_eq!(job("\tstate = spawn scheduled\n\tlast exit code = 1\n").state, ServiceCondition::Changing);
}

#[test]
fn a_start_tells_its_steps_and_a_stop_is_not_taken_back() {
    let start = ServicePhase::Starting(0);
    assert_eq!(start.later().later(), ServicePhase::Starting(2));
    assert_eq!(start.after(ServiceNotice::Alive), start);
    let running = start.after(ServiceNotice::Ready);
    assert_eq!((running, running.later()), (ServicePhase::Running, ServicePhase::Running));
    assert_eq!(running.after(ServiceNotice::Reloading).after(ServiceNotice::Ready), ServicePhase::Running);
    let stopping = running.after(ServiceNotice::Stopping);
    assert_eq!(
        stopping.later().after(ServiceNotice::Ready).after(ServiceNotice::Stopping),
        ServicePhase::Stopping(1)
    );
    assert_eq!(start.after(ServiceNotice::Stopping), ServicePhase::Stopping(0), "stopped while it starts");
    assert_eq!(ServicePhase::Stopped(64).after(ServiceNotice::Ready).later(), ServicePhase::Stopped(64));
    assert!(stopping.is_pending() && start.is_pending() && !running.is_pending());
}

#[test]
fn each_part_has_its_number_and_each_number_its_line_in_the_documentation() {
    for (part, offset) in [
        ("secretbridge::pool::slot", 20),
        ("worker", 20),
        ("secretbridge::vault", 10),
        ("secretbridge::vaultage", 0),
        ("audit", 50),
        ("script", 70),
        ("hyper::proto", 0),
    ] {
        assert_eq!(events::id(Severity::Warning, part), 100 + offset, "{part}");
        assert_eq!(events::id(Severity::Error, part), 200 + offset, "{part}");
    }
    let page = include_str!("../../../docs/platforms.md");
    for (id, meaning) in IDS {
        assert!((1..=1000).contains(&id), "EventCreate.exe has messages for these alone");
        assert!(page.contains(&format!("| {id} | {meaning} |")), "docs/platforms.md: {id} {meaning}");
    }
    // Not a service of Windows: nothing is written, and nothing fails.
    report(&ServiceEvent { id: events::SAID, severity: Severity::Information, text: "a test" });
}

#[test]
fn an_address_with_a_zone_is_whole_in_an_event() {
    assert_eq!(
        events::shown("listening on [fe80::1%12]:80, 50 % of 7%"),
        "listening on [fe80::1% 12]:80, 50 % of 7%"
    );
    assert_eq!(events::shown("%%1 %d"), "%% 1 %d");
}

#[test]
fn a_service_that_runs_another_program_is_told_from_ours() {
    let unit = |command: &str| {
        let started = format!("{{ path=/x ; argv[]={command} ; ignore_errors=no ; pid=0 }}");
        systemd::answer(&format!("LoadState=loaded\nActiveState=active\nExecStart={started}\n"))
    };
    assert_eq!(foreign(&unit("/usr/sbin/sshd -D")), Some("/usr/sbin/sshd -D"));
    assert_eq!(foreign(&unit("/usr/bin/secretbridge serve")), None);
    let job = launchd::answer(Some("system/x = {\n\tprogram = /usr/sbin/cupsd\n}\n"));
    assert_eq!(foreign(&job), Some("/usr/sbin/cupsd"));
    let of_windows = |command: &str| Status {
        state: ServiceCondition::Running,
        details: vec![("command", command.to_owned())],
    };
    assert!(foreign(&of_windows(r"C:\Windows\System32\spoolsv.exe")).is_some());
    assert_eq!(foreign(&of_windows(r#""C:\Tools\bridge.exe" --as-service web run x.ps1"#)), None);
    assert_eq!(foreign(&of_windows(r#""C:\SecretBridge.exe" serve"#)), None);
    // Of what is not told, nothing is known.
    assert_eq!(foreign(&Status { state: ServiceCondition::Running, details: Vec::new() }), None);
}

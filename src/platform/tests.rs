use super::places::data_folder_from;
use super::*;

#[test]
fn a_process_is_known_by_pid_and_start() {
    let us = std::process::id();
    assert!(started(us).is_some());
    assert_eq!(started(us), started(us));
    assert!(resident_memory(us).is_some_and(|bytes| bytes > 100_000));
    // No system here gives a process so high an id.
    assert_eq!(started(u32::MAX - 1), None);
}

/// Windows tells 259 of a process that still runs, and any program may end with it.
#[test]
fn a_process_that_has_ended_is_gone_whatever_it_ended_with_and_whoever_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = testing::program(folder.path(), &[], "ends", 259);
    let mut child = std::process::Command::new(program).stderr(std::process::Stdio::null()).spawn().unwrap();
    let pid = child.id();
    // Elsewhere a code has one byte.
    assert!(matches!(child.wait().unwrap().code(), Some(259 | 3)));
    assert_eq!(started(pid), None);
    drop(child);
}

#[test]
fn the_home_is_known_even_without_the_variable() {
    assert!(system::home_from_database().is_some());
}

#[test]
fn a_data_folder_is_absolute_or_not_taken() {
    let root = std::env::temp_dir();
    let (data, home) = (root.join("data"), root.join("home"));
    assert_eq!(data_folder_from(Some(data.clone()), Some(home.clone())), Some(data));
    let below = home.join(system::DATA_BELOW_HOME);
    assert_eq!(data_folder_from(Some("relative".into()), Some(home)), Some(below));
    assert_eq!(data_folder_from(None, Some("relative".into())), None);
    assert_eq!(data_folder_from(None, None), None);
}

#[test]
fn what_is_made_private_is_ours_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, file) = (folder.path().join("folder"), folder.path().join("file"));
    create_private_folder(&inside).unwrap();
    let open = create_private_file(&file).unwrap();
    for access in [access_at(&inside), access_at(&file), access_of(&open)] {
        let access = access.unwrap();
        assert_eq!(
            (&access.owner, access.others_read, access.others_write),
            (&FileOwner::Us, false, false),
            "{access:?}"
        );
    }
    assert_eq!(create_private_file(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(create_private_folder(&inside).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
}

/// The names of what differs between systems. They may stand in `src/platform` only, which tests ask too.
#[test]
fn what_differs_between_systems_stands_in_this_module_alone() {
    let marks = [
        "target_os",
        "target_family",
        "target_env",
        "target_vendor",
        "target_abi",
        "consts::OS",
        "consts::FAMILY",
        "consts::EXE_",
        "consts::DLL_",
        "std::os::",
        "os::fd::",
        "os::unix",
        "os::windows",
        "signal::unix",
        "signal::windows",
        "net::windows",
        "rustix::",
        "libc::",
        "nix::",
        "windows_sys::",
        "windows_service::",
        "extern \"C\"",
        "extern \"system\"",
        "/proc/",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut wrong, mut here) = (Vec::new(), 0);
    for path in sources(&root) {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(&path).unwrap();
        let asking = lines_that_ask(&text);
        let is_mark = |line: &str| marks.iter().any(|mark| line.contains(mark));
        let found = text.lines().enumerate().filter(|(at, line)| asking.contains(at) || is_mark(line));
        match name == "platform.rs" || name.starts_with("platform/") {
            true => here += found.count(),
            false => {
                wrong.extend(found.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim())));
            }
        }
    }
    assert!(here > 50, "the marks are those of the module that may have them");
    assert!(wrong.is_empty(), "these lines belong into src/platform:\n{}", wrong.join("\n"));
}

/// The lines where a condition begins that names a system, over however many lines it goes: `cfg(any(unix, …))`,
/// `cfg!(windows)`, `cfg_attr(not(unix), …)`, `cfg_select! { windows => … }`.
fn lines_that_ask(text: &str) -> Vec<usize> {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("cfg") {
        if text[..at].ends_with(is_of_word) {
            continue;
        }
        let name: String = text[at..].chars().take_while(|c| is_of_word(*c)).collect();
        let rest = text[at + name.len()..].trim_start_matches(['!', ' ']);
        if !["cfg", "cfg_attr", "cfg_select"].contains(&name.as_str()) || !rest.starts_with(['(', '{']) {
            continue;
        }
        let mut depth = 0;
        let end = rest.find(|c| {
            match c {
                '(' | '{' => depth += 1,
                ')' | '}' => depth -= 1,
                _ => {}
            }
            // What follows the condition of a `cfg_attr` is not of it.
            depth == 0 || (c == ',' && depth == 1 && name == "cfg_attr")
        });
        let condition = &rest[..end.unwrap_or(rest.len())];
        let words: Vec<&str> = condition.split(|c| !is_of_word(c)).collect();
        if words.contains(&"unix") || words.contains(&"windows") {
            found.push(text[..at].matches('\n').count());
        }
    }
    found
}

#[test]
fn a_question_for_the_system_is_known_in_every_form() {
    for text in [
        "#[cfg(unix)]",
        "#[cfg(any(test, windows))]",
        "if cfg!(not(unix)) {",
        "#[cfg_attr(windows, ignore)]",
        "#[cfg(all(\n    not(\n        unix\n    ),\n    test\n))]",
        "cfg_select! {\n    test => {}\n    windows => {}\n}",
        "#[cfg_attr(all(test, not(feature = \"x\"), unix), ignore)]",
    ] {
        assert_eq!(lines_that_ask(&format!("x();\n{text}\nlet unix = 3;")), [1], "{text}");
    }
    for text in [
        "Bind::Unix(path)",
        "let windows = 3;",
        "// a unix socket",
        "#[cfg(test)]\nfn unix() {}",
        "recfg(unix)",
        "#[cfg_attr(test, doc = \"unix\")]",
    ] {
        assert!(lines_that_ask(text).is_empty(), "{text}");
    }
}

/// The worker's C# has one file for what differs between systems, and its PowerShell asks that. The module has one too.
#[test]
fn what_differs_between_systems_stands_in_one_file_of_the_worker() {
    let marks = [
        "$iswindows",
        "$islinux",
        "$ismacos",
        "osplatform",
        "operatingsystem.",
        "operatingsystem]",
        "runtimeinformation]::is",
        "runtimeinformation.is",
        "osdescription",
        "environment]::osversion",
        "environment.osversion",
        "platformid",
        "psversiontable.platform",
        "psversiontable.os",
        "psversiontable['",
        "win32_operatingsystem",
        "env:os",
        "env:localappdata",
        "env:userprofile",
        "\"userprofile\"",
        "dllimport",
        "libraryimport",
        "unixfilemode",
        "libc",
        "kernel32",
        "/dev/null",
        "/dev/fd",
        "/dev/std",
        "/proc/",
        "localapplicationdata",
    ];
    const OF_MODULE: &str = "scripts/module/SecretBridge/SecretBridge.Extension/Platform.cs";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut here = 0;
    for path in ["src", "scripts"].map(|folder| files(&root.join(folder))).concat() {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        if !["cs", "ps1", "psm1"].iter().any(|kind| path.extension().is_some_and(|found| found == *kind)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap().to_ascii_lowercase();
        let found = text.lines().enumerate().filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
        match name.as_str() {
            "src/pwsh/Platform.cs" | OF_MODULE => here += found.count(),
            _ => wrong.extend(found.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim()))),
        }
    }
    assert!(here > 10, "the marks are those of the file that may have them");
    assert!(
        wrong.is_empty(),
        "these lines belong into src/pwsh/Platform.cs or {OF_MODULE}:\n{}",
        wrong.join("\n")
    );
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

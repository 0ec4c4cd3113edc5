//! What the documents tell people to type is run.

use std::path::PathBuf;

use super::*;

fn document(name: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// The blocks of a language, each with the line before it.
fn blocks(text: &str, language: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        if lines[at] == format!("```{language}") {
            let end = at + lines[at..].iter().position(|line| *line == "```").expect("the block ends");
            let before = if at > 0 { lines[at - 1] } else { "" };
            found.push((before.to_owned(), lines[at + 1..end].join("\n")));
            at = end;
        }
        at += 1;
    }
    found
}

/// Folders of PATH in which the built program is `secretbridge`.
fn path_with_program(folder: &Path) -> String {
    let bin = folder.join("docs-bin");
    std::fs::create_dir_all(&bin).unwrap();
    let _ = std::os::unix::fs::symlink(PROGRAM, bin.join("secretbridge"));
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default())
}

#[test]
fn every_command_of_the_command_line_s_page_runs() {
    let server = server();
    let path = path_with_program(server.folder());
    for (_, block) in blocks(&document("cli.md"), "sh") {
        // They serve until they are stopped; other tests start servers.
        if block.contains("secretbridge serve") {
            continue;
        }
        let line = Line::beside(&server);
        let mut command = line.command(&[]);
        let mut shell = Command::new("bash");
        shell.args(["-e", "-o", "pipefail", "-c", &block]).current_dir(server.folder()).env_clear();
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", &path);
        command.env("PATH", &path);
        let output = shell.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{block}\n{}\n{}", text(&output.stdout), text(&output.stderr));
        // What a comment promises after a command that prints one line is what it prints.
        let printed = text(&output.stdout);
        let promised = block.lines().filter_map(|line| line.split_once(" # ").map(|(_, said)| said.trim()));
        for said in promised.filter(|said| said.chars().all(|c| !c.is_whitespace()) && !said.is_empty()) {
            assert!(printed.contains(said), "{said}: {printed}");
        }
    }
}

/// Runs a block of a page in bash, beside a server that listens where the page says that it does.
fn run_beside(server: &Server, block: &str) -> String {
    let path = path_with_program(server.folder());
    let block = block.replace("http://127.0.0.1:8085", &format!("http://{}", server.address));
    let wanted = Line::beside(server).command(&[]);
    let mut shell = Command::new("bash");
    shell.args(["-e", "-o", "pipefail", "-c", &block]).current_dir(server.folder()).env_clear();
    shell.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", &path);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{block}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_first_steps_of_the_readme_and_the_quick_start_do_what_they_say() {
    let server = server();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let pages = [std::fs::read_to_string(root.join("README.md")).unwrap(), document("quick-start.md")];
    let mut seen = 0;
    for page in pages {
        for (_, block) in blocks(&page, "sh").into_iter().filter(|(_, block)| block.contains("curl -H")) {
            if !block.contains(":8085") {
                continue;
            }
            seen += 1;
            let told = run_beside(&server, &block);
            let promised =
                block.lines().filter_map(|line| line.split_once(" # ").map(|(_, said)| said.trim()));
            promised.for_each(|said| assert!(told.contains(said), "{said}: {told}"));
        }
    }
    assert_eq!(seen, 2, "a page's first steps are gone");
    let page = document("quick-start.md");
    let by_command = blocks(&page, "sh").into_iter().find(|(_, block)| block.contains("| secretbridge set"));
    let told = run_beside(&server, &by_command.expect("the same with the command line").1);
    assert!(told.contains("correct horse\n") && told.contains("local/db"), "{told}");
}

#[test]
fn the_powershell_of_the_pages_runs() {
    let pwsh = crate::need_pwsh!();
    let mut seen = 0;
    for page in ["quick-start.md", "cli.md"] {
        let server = server();
        Line::beside(&server).ok(&["module", "install"], b"");
        for (_, block) in blocks(&document(page), "powershell") {
            seen += 1;
            let block = block.replace("http://127.0.0.1:8085", &format!("http://{}", server.address));
            let script = format!("$ErrorActionPreference = 'Stop'\n{block}");
            let told = pwsh.output_of(&script, server.home());
            assert!(told.contains("correct horse"), "{page}: {told}");
        }
    }
    assert!(seen >= 3, "only {seen} blocks of PowerShell were found");
}

#[test]
fn the_configurations_of_the_pages_have_no_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let mut seen = 0;
    for entry in std::fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let page = std::fs::read_to_string(&path).unwrap();
        for (_, block) in blocks(&page, "toml") {
            seen += 1;
            std::fs::write(folder.path().join("c.toml"), &block).unwrap();
            let output = line.run(&["check", "--file-only", "--config", "c.toml"], b"");
            // A section by itself serves nothing.
            let told = text(&output.stderr);
            let fragment = told.lines().count() == 1 && told.contains("nothing is served");
            assert!(output.status.success() || fragment, "{}:\n{block}\n{told}", path.display());
        }
    }
    assert!(seen > 10, "only {seen} configurations were found");
}

/// Whether this machine has the program; word of it if not.
fn has(program: &str, argument: &str) -> bool {
    let has_it = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
    if !has_it {
        eprintln!("NOT RUN: this machine has no {program}");
    }
    has_it
}

/// The example of the clients' page for a program.
fn example(language: &str, program: &str) -> String {
    let all = blocks(&document("clients.md"), language);
    let mark = format!("<!-- test: {program} -->");
    let found = all.into_iter().find(|(before, _)| *before == mark);
    found.unwrap_or_else(|| panic!("no example for {program}")).1
}

fn with_server(command: &mut Command, server: &Server) {
    command.env("SECRETBRIDGE_ADDR", format!("http://{}", server.address));
    command.env("SECRETBRIDGE_TOKEN_FILE", server.home().join(".local/share/secretbridge/token"));
}

#[test]
fn every_client_of_the_page_reads_the_secret() {
    let server = server();
    Line::beside(&server).ok(&["set", "local/db"], b"from-the-docs");
    let runs =
        [("sh", "curl", "sh", "-c"), ("python", "python3", "python3", "-c"), ("js", "node", "node", "-e")];
    for (language, program, runner, flag) in runs {
        let block = example(language, program);
        if has(program, "--version") {
            let mut command = Command::new(runner);
            command.args([flag, &block]);
            with_server(&mut command, &server);
            let output = command.output().unwrap();
            assert_eq!(text(&output.stdout).trim(), "from-the-docs", "{program}: {}", text(&output.stderr));
        }
    }
    let go = example("go", "go");
    if has("go", "version") {
        let file = server.folder().join("main.go");
        std::fs::write(&file, go).unwrap();
        let mut command = Command::new("go");
        command.arg("run").arg(&file).env("GOFLAGS", "-mod=mod");
        with_server(&mut command, &server);
        let output = command.output().unwrap();
        assert_eq!(text(&output.stdout).trim(), "from-the-docs", "{}", text(&output.stderr));
    }
}

/// Compiled by PowerShell, which has the compiler, as the body of a function: no dotnet is needed.
#[test]
fn the_example_in_csharp_compiles_without_a_warning_and_reads_the_secret() {
    let pwsh = crate::need_pwsh!();
    let server = server();
    Line::beside(&server).ok(&["set", "local/db"], b"from-the-docs");
    let block = example("csharp", "dotnet");
    let is_import = |line: &&str| line.starts_with("using ") && line.ends_with(';') && !line.contains('=');
    let imports: String = block.lines().filter(is_import).map(|line| format!("{line}\n")).collect();
    let body: String =
        block.lines().filter(|line| !is_import(line)).map(|line| format!("{line}\n")).collect();
    // What a project of the SDK imports by itself.
    let implicit = "using System; using System.IO; using System.Net.Http; using System.Threading.Tasks;\n";
    let source = format!(
        "#nullable enable\n{implicit}{imports}public static class Example {{ public static async Task RunAsync() {{\n{body}}} }}"
    );
    let script = format!(
        "$ErrorActionPreference = 'Stop'
        $env:SECRETBRIDGE_ADDR = 'http://{}'
        $env:SECRETBRIDGE_TOKEN_FILE = '{}'
        Add-Type -TypeDefinition @'\n{source}\n'@
        $null = [Example]::RunAsync().GetAwaiter().GetResult()",
        server.address,
        server.home().join(".local/share/secretbridge/token").display()
    );
    assert_eq!(pwsh.output_of(&script, server.home()), "from-the-docs");
}

#[test]
fn a_line_of_the_crontab_runs_its_job_with_the_secret() {
    let server = server();
    Line::beside(&server).ok(&["set", "local/db"], b"from-the-docs");
    let page = document("clients.md");
    let line = page.lines().find(|line| line.starts_with("15 3 * * *")).expect("a line of a crontab");
    let job = line.trim_start_matches("15 3 * * *").trim();
    // The job is a stand-in that tells what it got; cron runs a line by sh.
    let bin = server.folder().join("docs-bin");
    let path = path_with_program(server.folder());
    let tool = bin.join("pg_dump");
    std::fs::write(&tool, "#!/bin/sh\nprintf '%s %s' \"$PGPASSWORD\" \"$*\"\n").unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let token = server.home().join(".local/share/secretbridge/token");
    let job = job
        .replace("/etc/backup/token", &token.display().to_string())
        .replace("http://127.0.0.1:8085", &format!("http://{}", server.address));
    let output = Command::new("sh").args(["-c", &job]).env_clear().env("PATH", path).output().unwrap();
    assert_eq!(text(&output.stdout), "from-the-docs -f /var/backups/app.sql app", "{}", text(&output.stderr));
}

/// What Docker, Kubernetes and systemd read cannot be run here. What they say to our program and server can.
#[test]
fn what_the_definitions_of_other_programs_say_is_true_of_the_server() {
    let server = server();
    let line = Line::beside(&server);
    line.ok(&["set", "local/db"], b"from-the-docs");
    let page = document("clients.md");
    let yaml: Vec<String> = blocks(&page, "yaml").into_iter().map(|(_, block)| block).collect();
    let [compose, external] = yaml.as_slice() else { panic!("a compose file and an External Secrets store") };
    if has("python3", "--version") {
        let script = "import sys\ntry:\n    import yaml\nexcept ImportError:\n    sys.exit(0)\nyaml.safe_load(sys.stdin.read())";
        for text in [compose, external] {
            let mut command = Command::new("python3");
            let mut child = command.args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{text}");
        }
    }
    // The compose file: a socket and a token's file, and a variable that is a reference.
    let socket = server
        .addresses()
        .into_iter()
        .find_map(|address| Some(format!("unix:{}", address.strip_prefix("http+unix:")?)));
    let reference = compose.lines().find_map(|line| line.trim().strip_prefix("DB_PASSWORD: ")).unwrap();
    let inside = Line::alone(&server.folder().join("container"))
        .env("SECRETBRIDGE_ADDR", socket.expect("a socket"))
        .env(
            "SECRETBRIDGE_TOKEN_FILE",
            server.home().join(".local/share/secretbridge/token").display().to_string(),
        )
        .env("DB_PASSWORD", reference);
    assert_eq!(inside.ok(&["exec", "--", "sh", "-c", "printf %s \"$DB_PASSWORD\""], b""), "from-the-docs");
    // The webhook: what its URL and its path of JSON lead to.
    let url = external.lines().find_map(|line| line.trim().strip_prefix("url: ")).unwrap().trim_matches('"');
    let path = url.split_once(":8443").unwrap().1.replace("{{ .remoteRef.key }}", "db");
    let token = std::fs::read_to_string(server.home().join(".local/share/secretbridge/token")).unwrap();
    let answer = server.with_token(token.trim()).get(&path);
    assert!(external.contains("jsonPath: \"$.Value\""));
    assert_eq!(answer.json()["Value"], "from-the-docs");
}

#[test]
fn the_unit_of_systemd_names_the_socket_and_the_credential_of_the_configuration() {
    let toml = example("toml", "credentials");
    let unit = example("ini", "unit");
    let load = unit.lines().find_map(|line| line.strip_prefix("LoadCredential=")).unwrap();
    let (id, socket) = load.split_once(':').unwrap();
    assert!(toml.contains(&format!("socket = \"{socket}\"")), "{socket}");
    assert!(toml.contains(&format!("{id} = \"local/db\"")), "{id}");
    if has("systemd-analyze", "--version") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.service");
        std::fs::write(&file, unit.replace("/usr/bin/app", "/bin/true")).unwrap();
        let other = "[Service]\nExecStart=/bin/true\n";
        std::fs::write(folder.path().join("secretbridge.service"), other).unwrap();
        let units = format!("{}:", folder.path().display());
        let output = Command::new("systemd-analyze")
            .env("SYSTEMD_UNIT_PATH", units)
            .arg("verify")
            .arg("--man=no")
            .arg(&file)
            .output()
            .unwrap();
        let told = text(&output.stderr);
        assert!(!told.contains("app.service:"), "{told}");
    }
}

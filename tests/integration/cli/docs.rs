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

#[test]
fn every_client_of_the_page_reads_the_secret() {
    let server = server();
    Line::beside(&server).ok(&["set", "local/db"], b"from-the-docs");
    let page = document("clients.md");
    let token = server.home().join(".local/share/secretbridge/token");
    let runs =
        [("sh", "curl", "sh", "-c"), ("python", "python3", "python3", "-c"), ("js", "node", "node", "-e")];
    for (language, program, runner, flag) in runs {
        let all = blocks(&page, language);
        let block = all.iter().find(|(before, _)| *before == format!("<!-- test: {program} -->"));
        let (_, block) = block.unwrap_or_else(|| panic!("no example for {program}"));
        let mut command = Command::new(runner);
        command.args([flag, block]).env("SECRETBRIDGE_ADDR", format!("http://{}", server.address));
        command.env("SECRETBRIDGE_TOKEN_FILE", &token);
        let has_it =
            Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
        if !has_it {
            eprintln!("NOT RUN: this machine has no {program}");
            continue;
        }
        let output = command.output().unwrap();
        assert_eq!(text(&output.stdout).trim(), "from-the-docs", "{program}: {}", text(&output.stderr));
    }
    for program in ["dotnet", "go"] {
        eprintln!("NOT RUN: the example for {program} is not compiled here");
        assert!(page.contains(&format!("<!-- test: {program} -->")));
    }
}

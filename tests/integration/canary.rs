//! Secrets that must show nowhere but where they were asked for: each is looked for in all that the server
//! writes, says and leaves.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::need_pwsh;
use crate::support::http::Response;
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};
use crate::support::stand_in::StandIn;
use crate::support::{SOON, files_below, fixture, wait_until};

mod debug;

/// In every value that is stored.
const SECRET: &str = "canary-5ecret-Zq8";
/// In VaultParameters.
const PARAMETER: &str = "canary-p4rameter-Zq8";
/// The store's password, from a file and from a variable.
const PASSWORD: &str = "canary-pa55word-Zq8";
/// The bearer token.
const TOKEN: &str = "canary-t0ken-Zq8-abcdefghijklmnopqrstuvwxyz";

const ALL: [&str; 4] = [SECRET, PARAMETER, PASSWORD, TOKEN];

const JSON: &str = "application/json";

/// The canaries in these bytes, in any of their guises and however these are spaced and broken into lines.
fn seen_in(bytes: &[u8]) -> Vec<&'static str> {
    let bytes: Vec<u8> = bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect();
    // All guises are ASCII, which bytes of another sort before or after it leave as it is.
    let text = String::from_utf8_lossy(&bytes);
    let is_in = |canary: &&str| guises(canary).iter().any(|guise| text.contains(guise));
    ALL.iter().filter(|canary| is_in(canary)).copied().collect()
}

/// As UTF-8 and as UTF-16, each of them as it is, in hexadecimal, as a list of numbers and in base64.
fn guises(canary: &str) -> Vec<String> {
    let wide: Vec<u8> = canary.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let of_bytes = |bytes: &[u8]| {
        let plain = String::from_utf8_lossy(bytes).into_owned();
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let coded = (0..3).map(|offset| coded_at(offset, bytes));
        // So JSON and `Debug` write a zero byte.
        let escaped = ["\\u0000", "\\0"].map(|zero| plain.replace('\0', zero));
        let mut all: Vec<String> = coded.chain(escaped).collect();
        all.extend([hexadecimal.to_uppercase(), numbers.join(","), numbers.concat(), hexadecimal, plain]);
        all
    };
    [of_bytes(canary.as_bytes()), of_bytes(&wide)].concat()
}

/// What is always the same in the base64 of these bytes after so many others.
fn coded_at(offset: usize, bytes: &[u8]) -> String {
    let all = [&[0; 2][..offset], bytes].concat();
    // The digits at both ends depend on what stands before and after.
    BASE64.encode(&all)[(offset * 8).div_ceil(6)..all.len() * 8 / 6].to_owned()
}

#[track_caller]
fn assert_clean(what: &str, bytes: impl AsRef<[u8]>) {
    let seen = seen_in(bytes.as_ref());
    assert!(seen.is_empty(), "{what} shows {seen:?}: {}", String::from_utf8_lossy(bytes.as_ref()));
}

#[track_caller]
fn assert_clean_answer(what: &str, answer: &Response) {
    assert_clean(what, &answer.body);
    assert_clean(what, format!("{:?}", answer.headers));
}

/// A server with a store, a local vault, a misbehaving vault and one that its password does not open, all
/// with canaries, everything logged. The second folder is where the misbehaving vault keeps its secrets, in
/// the clear.
fn serve(pwsh: &Pwsh, format: &str, by_variable: bool) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let builder = Builder::new();
    builder.file("password", PASSWORD);
    let token = builder.file("token", TOKEN);
    let unlock = if by_variable { "{ env = \"STORE_PASSWORD\" }" } else { "{ file = \"password\" }" };
    let toml = format!(
        r#"
        listen = "127.0.0.1:0"
        limits = {{ deadline = "30s", max_body = "64KiB" }}
        [pwsh]
        module_path = ["{vaults}"]
        [pool]
        min = 2
        max = 2
        [vaults.store]
        module = "Microsoft.PowerShell.SecretStore"
        unlock = {unlock}
        expose = true
        [vaults.odd]
        module = "TestVault"
        parameters = {{ Folder = "{folder}", ApiKey = "{PARAMETER}", Nested = {{ Token = "{PARAMETER}" }} }}
        parallel = true
        expose = true
        [vaults.shut]
        module = "TestVault"
        parameters = {{ Folder = "{folder}", Password = "{PARAMETER}" }}
        unlock = {unlock}
        expose = true
        [vaults.local]
        local = true
        expose = true
        [secrets.mounted]
        vault = "odd"
        key = "Hashtable"
        expand_property = "nothing"
        [[routes]]
        method = "GET"
        path = "/mounted"
        secret = "mounted"
        [[routes]]
        method = "POST"
        path = "/mounted"
        secret = "mounted"
        "#,
        vaults = fixture("vaults").display(),
        folder = folder.path().display(),
    );
    let builder = builder.config(&toml).pwsh(pwsh).arg("--token-file").arg(token);
    let builder = builder.args(["--log", "trace", "--log-format", format]);
    let builder = if by_variable { builder.env("STORE_PASSWORD", PASSWORD) } else { builder };
    let mut server = builder.start();
    server.set_token(TOKEN);
    (server, folder)
}

/// Writes and reads the canary in all its types; nothing but the answers to reads holds it.
fn all_types(server: &Server, vault: &str) {
    let values = [
        ("String", json!(SECRET)),
        ("SecureString", json!(SECRET)),
        ("ByteArray", json!(BASE64.encode(SECRET))),
        ("Hashtable", json!({ "a": SECRET, "b": { "Type": "SecureString", "Value": SECRET } })),
        ("PSCredential", json!({ "UserName": "u", "Password": SECRET })),
    ];
    for (kind, value) in values {
        let path = format!("/vaults/{vault}/secrets/{kind}");
        let body = json!({ "Type": kind, "Value": value, "Metadata": { "Owner": "ops" } }).to_string();
        for _ in 0..2 {
            let answer = server.put(&path, JSON, &body);
            assert_eq!(answer.status, 204, "{vault} {kind}: {}", answer.text());
        }
        let answer = server.get(&path);
        assert_eq!((answer.status, seen_in(&answer.body)), (200, vec![SECRET]), "{vault} {kind}");
    }
    assert_clean("a listing", server.get(&format!("/vaults/{vault}/secrets")).body);
}

/// Requests that go wrong, each with the canary in what it sends or would get.
fn refusals(server: &Server) -> Vec<(String, Response)> {
    let odd = |key: &str| format!("/vaults/odd/secrets/{key}");
    let quoted = format!("\"{SECRET}\"");
    let large = SECRET.repeat(8_000);
    let bad_type = json!({ "Type": SECRET, "Value": SECRET }).to_string();
    let mismatch = json!({ "Type": "ByteArray", "Value": SECRET }).to_string();
    let half = format!("{{\"Value\":\"{SECRET}");
    let other_member = json!({ "Value": "v", SECRET: SECRET }).to_string();
    let other_name = json!({ "Name": SECRET, "Value": SECRET }).to_string();
    let too_nested = json!({ "Value": { "t": { "x": SECRET } } }).to_string();
    let mut all = Vec::new();
    for (name, media, body) in [
        ("bad type", JSON, bad_type),
        ("mismatch", JSON, mismatch),
        ("half", JSON, half),
        ("member", JSON, other_member),
        ("name", JSON, other_name),
        ("form", "application/x-www-form-urlencoded", SECRET.to_owned()),
        ("media", "application/xml", SECRET.to_owned()),
        ("large", "text/plain", large),
    ] {
        all.push((name.to_owned(), server.put(&odd("refused"), media, body)));
    }
    all.push(("nested".to_owned(), server.put("/vaults/store/secrets/n", JSON, too_nested)));
    for (media, body) in [(JSON, half_of(&quoted)), ("application/x-www-form-urlencoded", SECRET.to_owned())]
    {
        all.push(("mounted post".to_owned(), server.post("/mounted", media, body)));
    }
    all.push(("no member".to_owned(), server.get("/mounted")));
    for quirk in ["throw", "error", "number", "lone-surrogate", "exit", "failfast", "locked", "nothing"] {
        all.push((quirk.to_owned(), server.get(&odd(quirk))));
    }
    for vault in ["odd", "local"] {
        let path = format!("/vaults/{vault}/secrets/Hashtable");
        all.push(("format".to_owned(), server.send("GET", &path, &[("Accept", "text/plain")], b"")));
    }
    all.push(("missing".to_owned(), server.get("/vaults/local/secrets/nothing")));
    let shut = "/vaults/shut/secrets/k";
    for answer in [server.put(shut, "text/plain", SECRET), server.get(shut)] {
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("locked")));
        all.push(("locked out".to_owned(), answer));
    }
    all.push(("token".to_owned(), server.with_token(SECRET).get(&odd("String"))));
    all.push(("method".to_owned(), server.post(&odd("String"), "text/plain", SECRET)));
    all
}

fn half_of(text: &str) -> String {
    format!("{{\"Value\":[{text}")
}

fn look_everywhere(server: &Server) {
    look_at_state(server);
    for (name, answer) in refusals(server) {
        assert!(answer.status >= 400, "{name}: {} {}", answer.status, answer.text());
        assert_clean_answer(&name, &answer);
    }
    wait_until("both workers are ready again", SOON * 3, || {
        let health = server.get("/health").json();
        let workers = health["workers"].as_array().cloned().unwrap_or_default();
        workers.len() == 2 && workers.iter().all(|worker| worker["state"] == "ready")
    });
    // What it counts and tells of its vaults is another thing now.
    look_at_state(server);
    look_at_processes(server);
    let child = server.get("/vaults/odd/secrets/environ");
    assert!(child.text().contains("PSModulePath"), "{}", child.text());
    assert_clean("a vault's child", child.body);
}

fn look_at_state(server: &Server) {
    for path in ["/health", "/ready", "/metrics", "/vaults"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_clean_answer(path, &answer);
    }
}

/// The arguments and environments of the server and its two workers, both of which are there.
fn look_at_processes(server: &Server) {
    let workers = server.pids_of_workers();
    assert_eq!(workers.len(), 2);
    for pid in workers.into_iter().chain([server.pid()]) {
        for (file, part) in [("cmdline", "secretbridge"), ("environ", "PATH=")] {
            let content = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(String::from_utf8_lossy(&content).contains(part), "{file} of {pid} is that of a process");
            // Nor in the server's own, once it has read the variable that it was started with.
            assert_eq!(seen_in(&content), Vec::<&str>::new(), "{file} of {pid}");
        }
    }
}

/// What is in a file; nothing, if it has gone since it was listed.
#[track_caller]
fn content_of(file: &Path) -> Vec<u8> {
    match fs::read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        read => read.unwrap_or_else(|error| panic!("{}: {error}", file.display())),
    }
}

/// The one place for VaultParameters is a worker's own registry; passwords and values have none.
fn look_at_files(server: &Server) {
    let mut registries = 0;
    for folder in ["run", "tmp", "home"] {
        for file in files_below(&server.folder().join(folder)) {
            let seen = seen_in(&content_of(&file));
            if seen.is_empty() {
                continue;
            }
            assert_eq!(seen, [PARAMETER], "{}", file.display());
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
            let place = file.strip_prefix(server.folder().join("run")).expect("in the private folder");
            assert!(place.to_string_lossy().contains("/registry-"), "{}", file.display());
            assert_eq!(mode(&server.folder().join("run").join(place.iter().next().unwrap())), 0);
            assert_eq!(mode(&file), 0, "{}", file.display());
            registries += 1;
        }
    }
    assert!(registries > 0, "nothing was found, not even what must be there");
}

fn run(pwsh: &Pwsh, format: &str, by_variable: bool) {
    let (mut server, folder) = serve(pwsh, format, by_variable);
    for vault in ["odd", "store", "local"] {
        all_types(&server, vault);
    }
    look_everywhere(&server);
    look_at_files(&server);
    let log = server.stderr();
    assert_eq!(levels_of(&log), LEVELS, "{log}");
    for line in ["\"event\":\"access\"", "the store does not unlock"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let status = server.stop(SOON);
    assert!(status.success(), "{status}: {}", server.stderr());
    look_at_what_is_left(&server);
    drop(folder);
}

/// The levels that the program writes at; it has nothing to say at TRACE.
const LEVELS: [&str; 4] = ["ERROR", "WARN", "INFO", "DEBUG"];

/// The levels of the lines of a log, in either format.
fn levels_of(log: &str) -> Vec<&'static str> {
    let is_of = |line: &str, level: &str| {
        line.split_whitespace().nth(1) == Some(level) || line.contains(&format!("\"level\":\"{level}\""))
    };
    let all = [&LEVELS[..], &["TRACE"]].concat();
    all.into_iter().filter(|level| log.lines().any(|line| is_of(line, level))).collect()
}

/// What a server that has ended wrote, and its folders.
fn look_at_what_is_left(server: &Server) {
    assert_clean("the log", server.stderr());
    assert_clean("standard output", server.stdout());
    let below = |name| files_below(&server.folder().join(name));
    assert!(!below("home").is_empty(), "the store is left");
    for file in ["run", "tmp", "home"].into_iter().flat_map(below) {
        assert_clean(&file.display().to_string(), fs::read(&file).unwrap());
    }
}

#[test]
fn no_canary_shows_in_a_text_log_or_anywhere_else() {
    run(need_pwsh!(), "text", false);
}

#[test]
fn no_canary_shows_in_a_json_log_or_in_the_workers_of_a_server_that_has_it_in_a_variable() {
    run(need_pwsh!(), "json", true);
}

#[test]
fn no_canary_shows_when_a_deadline_passes() {
    let hangs = |op| json!({ "op": op, "do": "hang" });
    let stand_in = StandIn::with(&json!({ "rules": [hangs("get"), hangs("set")] }));
    let builder = Builder::new();
    builder.file("password", PASSWORD);
    let token = builder.file("token", TOKEN);
    let toml = format!(
        r#"
        listen = "127.0.0.1:0"
        limits = {{ deadline = "2s", write_grace = "1s" }}
        [vaults.slow]
        module = "My.Vault"
        parameters = {{ ApiKey = "{PARAMETER}" }}
        unlock = {{ file = "password" }}
        parallel = true
        # Else a read comes before the write, and it is the read that misses the deadline.
        verify = false
        expose = true
        "#
    );
    let builder = builder.config(&toml).stand_in(&stand_in).arg("--token-file").arg(token);
    let mut server = builder.args(["--log", "trace"]).start();
    server.set_token(TOKEN);
    let path = "/vaults/slow/secrets/k";
    for answer in [server.put(path, "text/plain", SECRET), server.get(path)] {
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert_clean_answer("the error", &answer);
    }
    assert_eq!((stand_in.calls("set"), stand_in.calls("get")), (1, 1));
    look_at_state(&server);
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    assert_clean("the log", server.stderr());
}

/// The script's blocks may do what they like with the values; what is looked at here is what they were not
/// asked for: a child that a block starts, and all that the server writes.
fn script(port: u16) -> String {
    format!(
        r#"
        Start-PodeServer -Threads 2 {{
            Add-PodeEndpoint -Address localhost -Port {port} -Protocol Http
            New-PodeLoggingMethod -Terminal | Enable-PodeErrorLogging
            New-PodeLoggingMethod -Terminal | Enable-PodeRequestLogging
            Register-PodeSecretVault -Name Store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret '{PASSWORD}'
            Register-PodeSecretVault -Name Odd -ModuleName '{vaults}/TestVault' -VaultParameters @{{
                Folder = "$env:ODD_FOLDER"; ApiKey = '{PARAMETER}'
            }}
            Mount-PodeSecret -Name Kept -Vault Store -Key kept
            Mount-PodeSecret -Name Other -Vault Odd -Key other
            Mount-PodeSecret -Name Throws -Vault Odd -Key throw
            Add-PodeRoute -Method Post -Path /kept -ScriptBlock {{ $secret:Kept = $WebEvent.Data.Value }}
            Add-PodeRoute -Method Post -Path /other -ScriptBlock {{
                $value = $WebEvent.Data.Value
                $secret:Other = @{{ a = $value; b = [pscredential]::new('u', (ConvertTo-SecureString $value -AsPlainText -Force)) }}
            }}
            Add-PodeRoute -Method Get -Path /child -ScriptBlock {{
                $held = "$secret:Kept"
                $null = $secret:Other
                $read = 'cat /proc/self/environ /proc/self/cmdline /proc/$PPID/environ /proc/$PPID/cmdline | tr "\000" "\n"'
                Write-PodeTextResponse -Value ("$($held.Length)`n" + ((/bin/sh -c $read) -join "`n"))
            }}
            Add-PodeRoute -Method Get -Path /fails -ScriptBlock {{
                foreach ($level in 'Warning', 'Debug') {{ Write-PodeErrorLog -Message "holds $secret:Kept" -Level $level }}
                $secret:Throws
            }}
        }}
        "#,
        vaults = fixture("vaults").display(),
    )
}

#[test]
fn no_canary_of_a_script_shows_in_a_child_of_its_blocks_or_anywhere_else() {
    let pwsh = need_pwsh!();
    let odd = tempfile::tempdir().unwrap();
    let builder = Builder::new().pwsh(pwsh).env("ODD_FOLDER", odd.path());
    let file = builder.file("server.ps1", script(crate::support::free_port()));
    let token = builder.file("token", TOKEN);
    let builder = builder.args(["run", "--log", "trace"]).arg("--token-file").arg(token).arg(file);
    let mut server = builder.start();
    server.set_token(TOKEN);
    for path in ["/kept", "/other"] {
        let answer = server.post(path, JSON, json!({ "Value": SECRET }).to_string());
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), server.stderr());
    }
    let child = server.get("/child");
    assert!(child.text().starts_with(&SECRET.len().to_string()), "the block had it: {}", child.text());
    assert!(child.text().contains("PSModulePath"), "{}", child.text());
    assert_clean("a child of a block", &child.body);
    for accept in ["text/html", "application/json"] {
        let page = server.send("GET", &format!("/fails?held={SECRET}"), &[("Accept", accept)], b"");
        assert_eq!(page.status, 500, "{}", page.text());
        assert_clean_answer("the error page", &page);
    }
    for path in ["/health", "/metrics"] {
        assert_clean_answer(path, &server.get(path));
    }
    look_at_processes(&server);
    look_at_files(&server);
    let log = server.stderr();
    assert_eq!(levels_of(&log), LEVELS, "{log}");
    // Its own log of requests is there beside the audit trail.
    for line in [
        "\"event\":\"access\"",
        "WARN script: holds ***",
        "DEBUG script: holds ***",
        "path=\"/fails\" status=500",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(server.stop(SOON).success(), "{}", server.stderr());
    look_at_what_is_left(&server);
}

#[test]
fn a_canary_is_seen_where_there_is_one() {
    let wide: Vec<u8> = SECRET.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [SECRET.as_bytes(), &wide] {
        let lower = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let upper = bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        let spaced = bytes.iter().map(|byte| format!("{byte} ")).collect::<String>();
        let (list, lines) = (format!("{bytes:?}"), format!("{bytes:#?}"));
        let dense = list.replace(' ', "");
        let mut forms = vec![bytes.to_vec()];
        forms.extend([lower, upper, spaced, list, lines, dense].map(String::into_bytes));
        let text = std::str::from_utf8(bytes).unwrap();
        forms.extend([format!("{text:?}"), json!(text).to_string()].map(String::into_bytes));
        for (before, after) in [("", ""), ("x", "y"), ("xy", "z"), ("xyz", "xyz")] {
            let coded = BASE64.encode([before.as_bytes(), bytes, after.as_bytes()].concat());
            let (first, second) = coded.split_at(coded.len() / 2);
            forms.extend([coded.clone(), format!("{first}\r\n{second}")].map(String::into_bytes));
        }
        for form in forms {
            let found = seen_in(&[b"\xffa", form.as_slice(), b"b\xff"].concat());
            assert_eq!(found, [SECRET], "{}", String::from_utf8_lossy(&form));
        }
    }
    assert!(seen_in(b"canary").is_empty());
}

//! Verbs against a running server.

use super::*;

#[test]
fn a_secret_is_written_read_listed_and_removed_over_the_socket_that_is_found() {
    let server = server();
    let line = Line::beside(&server);
    assert_eq!(line.ok(&["set", "local/db"], b"one\n"), "");
    assert_eq!(line.ok(&["get", "local/db"], b""), "one\n");
    assert_eq!(line.ok(&["read", "local/DB", "-n"], b""), "one");
    assert_eq!(line.ok(&["get", "db"], b""), "one\n", "a name alone is a key of the default vault");
    assert_eq!(line.ok(&["get", "secretbridge://local/db"], b""), "one\n");
    assert_eq!(
        line.json(&["get", "db", "--json"]),
        json!({ "Name": "db", "Type": "String", "Value": "one" })
    );
    assert_eq!(line.ok(&["list"], b""), "local/db\tString\t\n");
    assert_eq!(line.ok(&["vaults"], b""), "local\tread,write\tok\n");
    assert_eq!(line.ok(&["rm", "local/db"], b""), "");
    let gone = line.fails(66, &["get", "local/db"], b"");
    assert!(gone.contains("'local' has no secret named 'db'") && gone.contains("hint: "), "{gone}");
    line.fails(66, &["rm", "local/db"], b"");
    line.ok(&["rm", "--force", "local/db"], b"");
}

#[test]
fn every_type_and_metadata_goes_in_and_comes_out_as_it_was() {
    let server = server();
    let line = Line::beside(&server);
    let bytes: Vec<u8> = (0..=255).collect();
    line.ok(&["set", "local/b", "--type", "bytes"], &bytes);
    assert_eq!(line.run(&["get", "local/b"], b"").stdout, bytes);
    line.ok(&["set", "local/c", "-t", "credential", "--user", "sa"], b"pw\n");
    let credential =
        json!({ "Name": "c", "Type": "PSCredential", "Value": { "UserName": "sa", "Password": "pw" } });
    assert_eq!(line.json(&["get", "local/c", "--json"]), credential);
    assert_eq!(line.ok(&["get", "local/c", "-p", "Password"], b""), "pw\n");
    line.ok(&["set", "local/h", "-t", "Hashtable"], br#"{"user":"sa","pass":"old"}"#);
    line.ok(&["set", "local/h", "--property", "pass"], b"new");
    assert_eq!(line.ok(&["get", "secretbridge://local/h#/pass"], b""), "new\n");
    assert_eq!(line.ok(&["get", "local/h", "--property", "USER"], b""), "sa\n");
    line.fails(66, &["get", "local/h", "--property", "nobody"], b"");
    line.ok(&["set", "local/s", "-t", "securestring", "-m", "Owner=dba", "-m", "n:=5"], b"x");
    line.ok(&["set", "local/s", "-t", "securestring"], b"y");
    let info = line.json(&["info", "local/s", "--json"]);
    let kept = json!({ "Vault": "local", "Name": "s", "Type": "SecureString", "Metadata": { "Owner": "dba", "n": 5 } });
    assert_eq!(info, kept, "a write without metadata keeps it");
    line.ok(&["set", "local/s", "--only-metadata", "-m", "Owner=ops"], b"");
    assert_eq!(line.json(&["info", "local/s", "--json"])["Metadata"], json!({ "Owner": "ops" }));
    assert_eq!(line.ok(&["get", "local/s"], b""), "y\n");
    assert_eq!(line.json(&["list", "local/?", "--json"]).as_array().unwrap().len(), 4);
    assert_eq!(line.json(&["list", "local/B*", "--json"])[0]["Name"], "b");
}

#[test]
fn values_are_taken_exactly_from_files_and_written_exactly_into_private_ones() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = server();
    let line = Line::beside(&server);
    let place = server.folder().join("in.pem");
    std::fs::write(&place, "-----\npem\n").unwrap();
    line.ok(&["set", "local/pem", "--file", "in.pem"], b"");
    line.ok(&["get", "local/pem", "--output", "out.pem"], b"");
    let out = server.folder().join("out.pem");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "-----\npem\n");
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    line.ok(&["set", "local/raw", "--file", "-"], b"kept\n");
    assert_eq!(line.ok(&["get", "local/raw", "-n"], b""), "kept\n");
    let missing = line.fails(64, &["set", "local/x", "--file", "nowhere"], b"");
    assert!(missing.contains("nowhere"), "{missing}");
}

#[test]
fn mounts_read_only_vaults_locks_and_the_cache_work_over_a_file_s_server() {
    let server = server_with_file();
    let line = Line::beside(&server).env("SECRETBRIDGE_TOKEN_FILE", "");
    line.ok(&["set", "team/login", "-t", "hashtable"], br#"{"user":"sa","pass":"pw"}"#);
    assert_eq!(line.ok(&["get", "Login"], b""), "pw\n");
    line.ok(&["set", "Login"], b"pw2");
    assert_eq!(line.json(&["get", "team/login", "--json"])["Value"], json!({ "user": "sa", "pass": "pw2" }));
    assert_eq!(line.json(&["info", "login", "--json"])["Name"], "login");
    let refused = line.fails(77, &["set", "fixed/login"], b"x");
    assert!(refused.contains("reading only"), "{refused}");
    line.fails(66, &["get", "nobody"], b"");
    line.fails(66, &["get", "nowhere/key"], b"");
    line.ok(&["lock", "team"], b"");
    let locked = line.fails(75, &["get", "team/login"], b"");
    assert!(locked.contains("'team' is locked"), "{locked}");
    line.fails(75, &["get", "Login"], b"");
    line.ok(&["unlock", "team", "--configured"], b"");
    assert_eq!(line.ok(&["get", "Login"], b""), "pw2\n");
    line.ok(&["get", "team/login"], b"");
    let hits = line.json(&["status", "--json"])["cache"]["hits"].as_u64().unwrap();
    line.ok(&["get", "team/login"], b"");
    assert!(line.json(&["status", "--json"])["cache"]["hits"].as_u64().unwrap() > hits, "it is kept");
    line.ok(&["cache", "clear"], b"");
    let misses = line.json(&["status", "--json"])["cache"]["misses"].as_u64().unwrap();
    line.ok(&["get", "team/login"], b"");
    assert!(
        line.json(&["status", "--json"])["cache"]["misses"].as_u64().unwrap() > misses,
        "it was forgotten"
    );
}

#[test]
fn a_server_is_named_by_its_address_and_its_token_by_its_file() {
    let builder = Builder::new();
    let token = builder.file("token", "0123456789abcdefghij\n");
    let server =
        builder.args(["serve", "--listen", "127.0.0.1:0", "--no-socket", "--token-file"]).arg(&token).start();
    let line = Line::beside(&server).env("SECRETBRIDGE_ADDR", format!("http://{}", server.address));
    let told = line.fails(77, &["get", "db"], b"");
    assert!(told.contains("SECRETBRIDGE_TOKEN_FILE"), "{told}");
    let line = line.env("SECRETBRIDGE_TOKEN_FILE", token.display().to_string());
    line.ok(&["set", "db"], b"v");
    assert_eq!(line.ok(&["get", "db"], b""), "v\n");
    let url = format!("http://{}", server.address);
    assert_eq!(Line::beside(&server).ok(&["get", "db", "--url", &url, "--token-file", "token"], b""), "v\n");
    Line::beside(&server).fails(68, &["status"], b"");
}

#[test]
fn the_socket_tells_where_the_token_is_and_goes_with_the_server() {
    let builder = Builder::new();
    let token = builder.file("other", "0123456789abcdefghij\n");
    let mut server = builder.args(["serve", "--listen", "127.0.0.1:0", "--token-file"]).arg(token).start();
    let line = Line::beside(&server);
    line.ok(&["set", "db"], b"v");
    assert!(line.ok(&["status"], b"").contains("status   ok"));
    server.stop(crate::support::SOON);
    let told = line.fails(68, &["status"], b"");
    assert!(told.contains("secretbridge serve"), "{told}");
    let left = crate::support::files_below(&server.folder().join("run"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn nobody_there_is_told_from_a_wrong_address_and_a_server_without_trust() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::alone(folder.path());
    let port = crate::support::free_port();
    let told = line.fails(68, &["get", "v/k", "--url", &format!("http://127.0.0.1:{port}")], b"");
    assert!(told.contains("cannot connect"), "{told}");
    line.fails(64, &["get", "v/k", "--url", "ftp://x"], b"");
    let toml = "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = \"self-signed\"\n[vaults.v]\nlocal = true\nfolder = \"v\"\nexpose = true\n";
    let server = Builder::new().config(toml).start();
    let told = line.fails(68, &["get", "v/k", "--url", &format!("https://{}", server.address)], b"");
    assert!(told.contains("--ca-file"), "{told}");
    line.fails(68, &["get", "v/k", "--url", &format!("http://{}", server.address)], b"");
}

#[test]
fn the_value_is_in_no_argument_and_no_error() {
    let server = server();
    let line = Line::beside(&server);
    let told = line.fails(64, &["set", "local/k", "-t", "hashtable"], br#"{"a":"canary-77" "#);
    assert!(!told.contains("canary-77"), "{told}");
    line.fails(64, &["set", "local/k", "value-as-argument"], b"");
    line.ok(&["--log", "trace", "set", "local/k"].map(|word| word)[2..], b"canary-78");
    let traced = line.run(&["--log", "trace", "get", "local/k"], b"");
    assert!(!text(&traced.stderr).contains("canary-78"), "{}", text(&traced.stderr));
    server.assert_never_wrote(&["canary-77", "canary-78"]);
}

#[test]
fn a_read_costs_little_more_than_the_start_of_the_program() {
    let server = server();
    let line = Line::beside(&server);
    line.ok(&["set", "local/a"], b"one");
    let once = |args: &[&str]| {
        let began = tokio::time::Instant::now();
        line.ok(args, b"");
        began.elapsed()
    };
    // One after the other, so that a busy machine slows both; and the middle one of each, which no single pause moves.
    let (mut starts, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..41 {
        starts.push(once(&["--version"]));
        reads.push(once(&["get", "local/a"]));
    }
    starts.sort_unstable();
    reads.sort_unstable();
    let (start, read) = (starts[20], reads[20]);
    assert!(read < start * 10 + std::time::Duration::from_millis(10), "a read {read:?}, a start {start:?}");
}

#[test]
fn a_name_that_nothing_has_is_told_with_the_one_that_was_meant() {
    let server = server();
    let line = Line::beside(&server);
    line.ok(&["set", "local/db-password"], b"x");
    for verb in ["get", "info", "rm"] {
        let told = line.fails(66, &[verb, "local/db-pasword"], b"");
        assert!(told.contains("did you mean 'local/db-password'?"), "{verb}: {told}");
    }
    let told = line.fails(66, &["get", "locl/db-password"], b"");
    assert!(told.contains("did you mean 'local/db-password'?"), "{told}");
    let told = line.fails(66, &["get", "local/certificate"], b"");
    assert!(!told.contains("did you mean"), "{told}");
    // Without a server too.
    let folder = tempfile::tempdir().unwrap();
    let alone = Line::alone(folder.path());
    alone.ok(&["set", "local/api-token"], b"x");
    assert!(alone.fails(66, &["get", "local/apitoken"], b"").contains("did you mean 'local/api-token'?"));
}

/// Seconds of the processor that a shell's children took, by its command `times`.
fn seconds_of_children(line: &Line, script: &str) -> f64 {
    let wanted = line.command(&[]);
    let mut shell = Command::new("bash");
    shell.args(["-e", "-c", &format!("{script}; times"), "bash", PROGRAM]).env_clear();
    shell.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.current_dir(wanted.get_current_dir().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    let of_children = told.lines().last().expect("two lines of times");
    let seconds = |part: &str| {
        let (minutes, seconds) = part.trim_end_matches('s').split_once('m').expect("0m0.1s");
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    of_children.split_whitespace().map(seconds).sum()
}

/// No clock on the wall, which measures what else the machine does: the work of a read beside that of a bare start, and
/// what the server was asked. docs/performance.md has the seconds of a release.
#[test]
fn a_hundred_reads_are_a_hundred_requests_and_little_more_work_than_a_hundred_starts() {
    let server = server();
    let line = Line::beside(&server);
    line.ok(&["set", "local/db"], b"one");
    let written = || server.stderr().contains("\"action\":\"write\"");
    crate::support::wait_until("the write has its line", crate::support::SOON, written);
    let before = server.stderr().matches("\"event\":").count();
    let reads = seconds_of_children(&line, "for n in {1..100}; do \"$1\" get local/db > /dev/null; done");
    let starts = seconds_of_children(&line, "for n in {1..100}; do \"$1\" --version > /dev/null; done");
    assert!(reads < 10.0 * starts, "{reads} s of the processor for 100 reads, {starts} s for 100 starts");
    let of_reads = || server.stderr().matches("\"event\":").count() - before;
    crate::support::wait_until("each read has its line", crate::support::SOON, || of_reads() >= 100);
    assert_eq!(of_reads(), 100, "one request for each read");
}

//! `check` reads what the file names, says what it did not look at, and with `--deep` opens the vaults.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::need_pwsh;
use crate::support::SOON;
use crate::support::server::Builder;

fn told(builder: Builder, flags: &[&str]) -> (Option<i32>, Value, String) {
    let builder = builder.arg("check").args(flags.iter().copied());
    let output = builder.arg("--json").arg("--config").arg("secretbridge.toml").run(SOON * 3);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
    (output.status.code(), told, stderr)
}

const VAULT: &str = "[vaults.v]\nmodule = \"Some.Vault\"\nexpose = true\nunlock = { file = \"p.txt\" }\n";

#[test]
fn files_modes_certificates_and_pwsh_are_looked_at_and_what_is_not_is_said() {
    let tls =
        "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"c.pem\", key = \"k.pem\" }\n";
    let local = "[vaults.v]\nlocal = true\nexpose = true\n";
    let good = |builder: &Builder| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        builder.file("c.pem", made.cert.pem());
        builder.file("k.pem", made.signing_key.serialize_pem());
        builder.file("secretbridge.toml", format!("{tls}{local}"));
    };
    let builder = Builder::new();
    good(&builder);
    let (code, said, stderr) = told(builder, &[]);
    assert_eq!((code, &said["problems"]), (Some(0), &json!([])), "{said} {stderr}");
    let not = said["not_looked_at"].to_string();
    assert!(not.contains("pwsh: nothing in the file needs it") && not.contains("--deep"), "{not}");
    assert!(said["findings"].to_string().contains("is in force for"), "{said}");

    let builder = Builder::new();
    good(&builder);
    fs::set_permissions(builder.folder().join("k.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said, _) = told(builder, &[]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said["problems"].to_string().contains("k.pem"), "{said}");

    // A date that is over is a mistake of the certificate.
    let builder = Builder::new();
    good(&builder);
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    builder.file("c.pem", params.self_signed(&key).unwrap().pem());
    builder.file("k.pem", key.serialize_pem());
    let (code, said, _) = told(builder, &[]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said["problems"].to_string().contains("has expired"), "{said}");

    // A module needs a pwsh; --file-only leaves that out.
    for (flags, code) in [(&[][..], 69), (&["--file-only"], 0)] {
        let builder = Builder::new();
        builder.file("p.txt", "p");
        builder.file("secretbridge.toml", VAULT);
        let (ended, said, stderr) = told(builder, flags);
        assert_eq!(ended, Some(code), "{said} {stderr}");
    }
}

#[test]
fn deep_registers_and_unlocks_in_a_worker_and_reads_no_secret() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let store = "$right = ConvertTo-SecureString -String right -AsPlainText -Force; \
        Set-SecretStoreConfiguration -Password $right -Interaction None -Confirm:$false";
    pwsh.output_of(store, home.path());
    let toml = "listen = \"127.0.0.1:0\"\n[vaults.v]\nmodule = \"Microsoft.PowerShell.SecretStore\"\nexpose = true\n\
                unlock = { file = \"p.txt\" }\n[secrets.s]\nvault = \"v\"\nkey = \"k\"\ncache_ttl = \"5m\"\nprefetch = true\n";
    for (password, code) in [("right", 0), ("wrong", 75)] {
        let builder = Builder::new().pwsh(pwsh).home(home.path());
        builder.file("p.txt", password);
        builder.file("secretbridge.toml", toml);
        let (ended, said, stderr) = told(builder, &["--deep"]);
        assert_eq!(ended, Some(code), "{said} {stderr}");
        assert_eq!(
            said["findings"].to_string().contains("'v' is registered and unlocks"),
            code == 0,
            "{said}"
        );
        assert!(!said["not_looked_at"].to_string().contains("--deep"), "{said}");
    }
}

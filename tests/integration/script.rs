//! Scripts written for Pode, run as they stand by a real pwsh.

use std::path::Path;

use crate::need_pwsh;
use crate::support::http::Response;
use crate::support::pwsh::Pwsh;
use crate::support::server::{Builder, Server};
use crate::support::{SOON, free_port, wait_until};

mod check;
mod cmdlets;
mod live;
mod words;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The tutorial page's example, as it is printed there.
const TUTORIAL: &str = r#"
param(
    [Parameter(Mandatory=$true)]
    [string]
    $VaultName,

    [Parameter(Mandatory=$true)]
    [string]
    $SubscriptionId
)

Start-PodeServer {
    Add-PodeEndpoint -Address * -Port 8080 -Protocol Http

    # secret manage azure keyvault - need to run "Connect-AzAccount" first!
    Register-PodeSecretVault -Name 'FriendlyVaultName' -ModuleName 'Az.KeyVault' -VaultParameters @{
        AZKVaultName = $VaultName
        SubscriptionId = $SubscriptionId
    }

    # mount a secret from az keyvault
    Mount-PodeSecret -Name 'SecretName' -Vault 'FriendlyVaultName' -Key 'AKVSecretName'


    # routes to get/update secret in az keyvault
    Add-PodeRoute -Method Get -Path '/secret' -ScriptBlock {
        Write-PodeJsonResponse @{ Value = $secret:SecretName }
    }

    Add-PodeRoute -Method Post -Path '/secret' -ScriptBlock {
        $secret:SecretName = $WebEvent.Data.Value
    }
}
"#;

/// Runs a script; `PORT` in it is a free port.
fn script(pwsh: &Pwsh, text: &str, flags: &[&str], arguments: &[&str]) -> Builder {
    let builder = Builder::new().pwsh(pwsh);
    let text = text.replace("PORT", &free_port().to_string());
    let path = builder.file("server.ps1", text);
    builder.arg("run").args(flags.iter().copied()).arg(path).args(arguments.iter().copied())
}

fn store_script(routes: &str) -> String {
    format!(
        "Start-PodeServer -Threads 4 {{
            Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
            Register-PodeSecretVault -Name Store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret 'canary-password'
            Mount-PodeSecret -Name Example -Vault Store -Key ex
            Set-PodeSecret -Key ex -Vault Store -InputObject 'declared'
            {routes}
        }}"
    )
}

fn body(answer: &Response) -> (u16, &str) {
    (answer.status, answer.text())
}

#[test]
fn the_tutorials_example_runs_as_printed() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    pwsh.output_of("$null = Connect-AzAccount -Identity -Subscription sub-1", home.path());
    let text = TUTORIAL.replace("8080", "PORT");
    let arguments = ["-VaultName", "VaultNameInAzure", "-SubscriptionId", "sub-1"];
    let server = script(pwsh, &text, &[], &arguments).home(home.path()).start();
    assert!(server.stderr().contains("--token-file"), "whoever is reachable is warned: {}", server.stderr());
    assert_eq!(server.post("/secret", FORM, "Value=one+%26+two").status, 200);
    assert_eq!(body(&server.get("/secret")), (200, r#"{"Value":"one & two"}"#));
    let answer = server.post("/secret", JSON, r#"{"Value":"2026-11-23T10:00:00Z"}"#);
    assert_eq!((answer.status, answer.header("Content-Type")), (200, None));
    assert_eq!(body(&server.get("/secret")), (200, r#"{"Value":"2026-11-23T10:00:00Z"}"#));
    let port = server.addresses()[0].rsplit(':').next().unwrap().to_owned();
    let asked = format!(
        "Invoke-RestMethod -Uri 'http://localhost:{port}/secret' -Method Post -Body @{{ Value = 'by rest' }} | Out-Null
         (Invoke-RestMethod -Uri 'http://localhost:{port}/secret').Value"
    );
    if pwsh.output_of("[bool](Get-Command Invoke-RestMethod -ErrorAction Ignore)", home.path()) == "True" {
        assert_eq!(pwsh.output_of(&asked, home.path()), "by rest");
    }
}

#[test]
fn secrets_state_and_functions_are_there_in_routes() {
    let pwsh = need_pwsh!();
    let text = format!(
        "param([string] $Who = 'nobody')
        function Get-Greeting($n) {{ \"hi $n, $secret:Example\" }}
        {}",
        store_script(
            "Set-PodeState -Name count -Value 0
            Add-PodeRoute -Method Get -Path /greet -ScriptBlock { Write-PodeTextResponse (Get-Greeting $Who) }
            Add-PodeRoute -Method Get -Path /root -ScriptBlock { Write-PodeTextResponse ([bool]$PSScriptRoot) }
            Add-PodeRoute -Method Post -Path /more -ScriptBlock { $secret:Example += $WebEvent.Data.Value }
            Add-PodeRoute -Method Get -Path /count -ScriptBlock {
                Lock-PodeObject -ScriptBlock { $state:count++ }
                Write-PodeTextResponse \"$state:count\"
            }
            Add-PodeRoute -Method Post -Path /mount/:key -ScriptBlock {
                $key = $WebEvent.Parameters.key
                Mount-PodeSecret -Name $key -Vault Store -Key $key
                Update-PodeSecret -Name $key -InputObject $WebEvent.Data.Value
            }
            Add-PodeRoute -Method Get -Path /read/:key -ScriptBlock { Write-PodeTextResponse (Get-PodeSecret -Name $WebEvent.Parameters.key) }
            Add-PodeRoute -Method Get -Path /direct -ScriptBlock { Write-PodeTextResponse (Get-Secret -Name ex -Vault Store -AsPlainText) }"
        )
    );
    let server = script(pwsh, &text, &[], &["-Who", "bob"]).start();
    assert_eq!(body(&server.get("/greet")), (200, "hi bob, declared"));
    assert_eq!(body(&server.get("/root")), (200, "True"));
    assert_eq!(server.post("/more", FORM, "Value=+and+more").status, 200);
    assert_eq!(body(&server.get("/direct")), (200, "declared and more"));
    let clients: Vec<_> = (0..16)
        .map(|n| {
            let client = server.client();
            std::thread::spawn(move || {
                let mounted = client.post(&format!("/mount/k{n}"), FORM, format!("Value=v{n}"));
                let read = client.get(&format!("/read/k{n}"));
                let counted = client.get("/count");
                (mounted.status, read.text().to_owned(), counted.status)
            })
        })
        .collect();
    for (n, client) in clients.into_iter().enumerate() {
        assert_eq!(client.join().unwrap(), (200, format!("v{n}"), 200), "{}", server.stderr());
    }
    assert_eq!(body(&server.get("/count")), (200, "17"));
    server.assert_never_wrote(&["canary-password"]);
}

#[test]
fn an_error_in_a_route_is_500_with_a_page_and_the_worker_goes_on() {
    let pwsh = need_pwsh!();
    let routes = "Add-PodeRoute -Method Get -Path /boom -ScriptBlock {
            throw 'kaboom-cause'
        }
        Add-PodeRoute -Method Get -Path /missing -ScriptBlock { Get-PodeSecret -Name nope }
        Add-PodeRoute -Method Get -Path /ok -ScriptBlock { Write-PodeTextResponse 'ok' }
        New-PodeLoggingMethod -Terminal | Enable-PodeErrorLogging";
    let server = script(pwsh, &store_script(routes), &[], &[]).start();
    for path in ["/boom", "/missing"] {
        let page = server.get(path);
        assert_eq!((page.status, page.header("Content-Type")), (500, Some("text/html; charset=utf-8")));
        assert!(!page.text().contains("kaboom"), "the cause is in the log only");
        let json = server.send("GET", path, &[("Accept", "application/json")], b"");
        assert_eq!((json.status, json.json()["Status"]["Code"].as_u64()), (500, Some(500)));
        assert_eq!(body(&server.get("/ok")), (200, "ok"));
    }
    wait_until("the errors are in the log", SOON, || {
        let log = server.stderr();
        log.contains("kaboom-cause") && log.matches("server.ps1\" line=").count() >= 2
    });
    assert_eq!(server.get("/nowhere").status, 404);
    assert_eq!(server.send("DELETE", "/ok", &[], b"").status, 405);
}

#[test]
fn status_lines_headers_and_pages_are_podes() {
    let pwsh = need_pwsh!();
    let routes = "Add-PodeRoute -Method Get -Path /moved -ScriptBlock { Move-PodeResponseUrl -Url /there }
        Add-PodeRoute -Method Get -Path /own -ScriptBlock { Set-PodeResponseStatus -Code 409 -Description 'own words' }
        Add-PodeRoute -Method Get -Path /early -ScriptBlock { $WebEvent.Response.StatusCode = 100 }
        Add-PodeRoute -Method Get -Path /xml -ErrorContentType application/xml -ScriptBlock { throw 'canary-cause' }
        Add-PodeRoute -Method Get -Path /headers -ScriptBlock {
            $WebEvent.Response.Headers.Set('X-A', 'a')
            throw 'late'
        }
        Add-PodeRoute -Method Get -Path /request -ScriptBlock {
            $from = $WebEvent.Request
            Write-PodeJsonResponse -Value ([ordered]@{ m = $from.HttpMethod; h = $from.Host; a = \"$($from.RemoteEndPoint.Address)\"; r = $WebEvent.Route.Method; t = $WebEvent.ContentType })
        }
        Add-PodeRoute -Method Post -Path /typed -ContentType application/json -ScriptBlock { Write-PodeTextResponse \"$($WebEvent.ContentType) $($WebEvent.Data.Value)\" }";
    let server = script(pwsh, &store_script(routes), &[], &[]).start();
    let line = |path: &str| {
        let mut socket =
            std::net::TcpStream::connect(server.addresses()[0].trim_start_matches("http://")).unwrap();
        let sent = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut socket, sent.as_bytes()).unwrap();
        let text = std::io::read_to_string(socket).unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(line("/moved"), "HTTP/1.1 302 Redirect");
    assert_eq!(line("/own"), "HTTP/1.1 409 own words");
    assert_eq!(line("/early"), "HTTP/1.1 500 Internal Server Error");
    let page = server.get("/xml");
    assert_eq!((page.status, page.header("Content-Type")), (500, Some("application/xml; charset=utf-8")));
    assert!(page.text().contains("<Code>500</Code>") && !page.text().contains("canary"), "{}", page.text());
    let late = server.get("/headers");
    assert_eq!((late.status, late.header("X-A")), (500, Some("a")), "what was set before an error stands");
    let asked = server.get("/request").json();
    assert_eq!((&asked["m"], &asked["a"], &asked["r"]), (&"GET".into(), &"127.0.0.1".into(), &"Get".into()));
    assert!(asked["t"].is_null() && asked["h"].as_str().is_some_and(|host| host.starts_with("127.0.0.1:")));
    assert_eq!(body(&server.post("/typed", FORM, r#"{"Value":"v"}"#)), (200, "application/json v"));
}

#[test]
fn a_lifted_route_answers_as_the_worker_does() {
    let pwsh = need_pwsh!();
    let routes = "Add-PodeRoute -Method Get -Path /secret -ScriptBlock { Write-PodeJsonResponse @{ Value = $secret:Example } }
        Add-PodeRoute -Method Get -Path /ordered -ScriptBlock { Write-PodeJsonResponse ([ordered]@{ z = 1; a = $null; s = $secret:Example; t = @{ u = $true } }) }
        Add-PodeRoute -Method Post -Path /secret -ScriptBlock { $secret:Example = $WebEvent.Data.Value }";
    let lifted = script(pwsh, &store_script(routes), &[], &[]).start();
    let plain = script(pwsh, &store_script(routes), &["--no-lift"], &[]).start();
    let same = |server: &Server, (media, sent): (&str, &str)| {
        let posted = server.post("/secret", media, sent);
        let got = server.get("/secret");
        let headers = |answer: &Response| {
            let volatile = ["date", "x-pode-contextid"];
            let mut names: Vec<_> = answer
                .headers
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
                .filter(|(name, _)| !volatile.contains(&name.as_str()))
                .collect();
            names.sort();
            names
        };
        // An error page shows the address that was asked.
        let text = |answer: &Response| answer.text().replace(&server.addresses()[0], "http://server");
        let ordered = server.get("/ordered");
        let answers = [posted, got, ordered];
        answers.map(|answer| (answer.status, headers(&answer), text(&answer)))
    };
    for case in [
        (FORM, "Value=plain"),
        (FORM, "value=lower"),
        (FORM, "Value=a&Value=b"),
        (FORM, "Value="),
        (FORM, "Other=1"),
        (FORM, "Value=%3Cb%3E+%22q%22+%26+%27s%27+%E2%80%A8+%C3%A9+%F0%9F%98%80+%01"),
        (JSON, r#"{"Value":"json é ☂ \u2028 \u0007 </script>"}"#),
        (JSON, r#"{"Value":42}"#),
        (JSON, r#"{"Value":true}"#),
        (JSON, r#"{"Value":null}"#),
        (JSON, r#"{"Value":"#),
        (JSON, "[]"),
        ("text/plain", "Value=x"),
    ] {
        assert_eq!(same(&lifted, case), same(&plain, case), "{case:?}");
    }
}

#[test]
fn what_is_not_there_stops_the_start_by_name_and_line() {
    let pwsh = need_pwsh!();
    for (line, words) in [
        ("Add-PodeMiddleware -Name m -ScriptBlock { $true }", "Add-PodeMiddleware"),
        ("Add-PodeTimer -Name t -Interval 1 -ScriptBlock { }", "Add-PodeTimer"),
        ("Enable-PodeSessionMiddleware -Secret s", "Enable-PodeSessionMiddleware"),
        ("Add-PodeRoute -Method Get -Path /x -Authentication a -ScriptBlock { }", "Authentication"),
    ] {
        let output = script(pwsh, &store_script(line), &[], &[]).run(SOON);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains(words) && stderr.contains("server.ps1:6"), "{stderr}");
    }
}

#[test]
fn a_check_prints_the_plan_without_secrets_and_its_toml_serves_the_same() {
    let pwsh = need_pwsh!();
    let routes = "Add-PodeRoute -Method Get -Path /secret -ScriptBlock { Write-PodeJsonResponse @{ Value = $secret:Example } }";
    let text = store_script(routes).replace("Set-PodeSecret", "# Set-PodeSecret");
    let print = |format: &str| {
        let output = script(pwsh, &text, &["--check", "--format", format], &[]).run(SOON);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!shown.contains("canary"), "{shown}");
        shown
    };
    assert!(print("text").contains("/secret"));
    serde_json::from_str::<serde_json::Value>(&print("json")).expect("JSON");
    let toml = print("toml");
    let home = tempfile::tempdir().unwrap();
    seed(pwsh, home.path());
    let variable = toml.split("env = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a variable");
    let port = free_port();
    let toml: Vec<_> = toml
        .lines()
        .map(|line| {
            if line.starts_with("listen") {
                format!("listen = \"127.0.0.1:{port}\"")
            } else {
                line.to_owned()
            }
        })
        .collect();
    let server = Builder::new()
        .config(&toml.join("\n"))
        .pwsh(pwsh)
        .env(variable, "canary-password")
        .home(home.path())
        .start();
    assert_eq!(body(&server.get("/secret")), (200, r#"{"Value":"seeded"}"#));
}

/// A store with the script's password and its key.
fn seed(pwsh: &Pwsh, home: &Path) {
    pwsh.output_of(
        "Register-SecretVault -Name s -ModuleName Microsoft.PowerShell.SecretStore
         Unlock-SecretVault -Name s -Password (ConvertTo-SecureString 'canary-password' -AsPlainText -Force)
         Set-Secret -Vault s -Name ex -Secret seeded",
        home,
    );
}

#[test]
fn the_examples_run() {
    let pwsh = need_pwsh!();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let start = |name: &str, arguments: &[&str], home: &Path| {
        let port = free_port().to_string();
        Builder::new()
            .pwsh(pwsh)
            .home(home)
            .env("STORE_PASSWORD", "of the store")
            .arg("run")
            .arg(examples.join(name))
            .args(["-Port", &port])
            .args(arguments.iter().copied())
            .start()
    };
    let home = tempfile::tempdir().unwrap();
    let store = start("SecretStore.ps1", &[], home.path());
    assert_eq!(store.post("/module/", FORM, "Value=new").status, 200, "{}", store.stderr());
    assert_eq!(body(&store.get("/module/")), (200, r#"{"Value":"new"}"#));
    assert_eq!(store.post("/adhoc/k", FORM, "Value=adhoc").status, 201);
    assert_eq!(body(&store.get("/adhoc/k")), (200, r#"{"Value":"adhoc"}"#));
    drop(store);
    pwsh.output_of("$null = Connect-AzAccount -Identity -Subscription sub-1", home.path());
    let azure = start("AzKeyVault.ps1", &["-VaultName", "V", "-SubscriptionId", "sub-1"], home.path());
    assert_eq!(azure.post("/secret", FORM, "Value=cloudy").status, 200, "{}", azure.stderr());
    assert_eq!(body(&azure.get("/secret")), (200, r#"{"Value":"cloudy"}"#));
    drop(azure);
    let file = home.path().join("users.json").display().to_string();
    let custom = start("CustomVault.ps1", &["-File", &file], home.path());
    let ann = custom.put("/users/ann", JSON, r#"{"role":"admin"}"#);
    assert_eq!(ann.status, 200, "{}", custom.stderr());
    assert_eq!(body(&custom.get("/users/ann")), (200, r#"{"role":"admin"}"#));
    assert_eq!(custom.get("/users/bob").status, 404, "{}", custom.stderr());
    assert_eq!(custom.delete("/users/ann").status, 200, "{}", custom.stderr());
    drop(custom);
    let folder = home.path().join("local").display().to_string();
    let local = start("LocalVault.ps1", &["-Folder", &folder], home.path());
    assert_eq!(local.put("/counter", JSON, r#"{"Value":"5"}"#).status, 200, "{}", local.stderr());
    assert_eq!(body(&local.get("/counter")), (200, r#"{"Value":"5"}"#));
}

#[test]
fn the_users_own_vaults_are_there_from_the_scripts_first_line() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    seed(pwsh, home.path());
    let registry = home.path().join(".secretmanagement/secretvaultregistry/vaultinfo");
    let before = std::fs::read(&registry).unwrap();
    let text = "
        $password = ConvertTo-SecureString 'canary-password' -AsPlainText -Force
        Unlock-SecretStore -Password $password
        $first = Get-Secret ex -AsPlainText
        if (-not (Get-SecretVault -Name s -ErrorAction Ignore)) { throw 's is registered' }
        Register-SecretVault -Name Cloud -ModuleName Az.KeyVault -VaultParameters @{ AZKVaultName = 'kv'; SubscriptionId = 'sub-1' }
        Start-PodeServer -Threads 2 {
            Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
            Mount-PodeSecret -Name Own -Vault s -Key ex
            Mount-PodeSecret -Name Cloudy -Vault Cloud -Key k
            Add-PodeRoute -Method Get -Path /first -ScriptBlock { Write-PodeTextResponse $using:first }
            Add-PodeRoute -Method Get -Path /own -ScriptBlock { Write-PodeTextResponse $secret:Own }
            Add-PodeRoute -Method Post -Path /cloud -ScriptBlock { $secret:Cloudy = $WebEvent.Data.Value }
            Add-PodeRoute -Method Get -Path /cloud -ScriptBlock { Write-PodeTextResponse $secret:Cloudy }
            Add-PodeRoute -Method Post -Path /default -ScriptBlock {
                Set-Secret -Name n -Secret $WebEvent.Data.Value
                $none = Get-Secret nope
                Write-PodeTextResponse \"$(Get-Secret n -AsPlainText)[$none]\"
            }
        }";
    pwsh.output_of("$null = Connect-AzAccount -Identity -Subscription sub-1", home.path());
    let server = script(pwsh, text, &[], &[]).home(home.path()).start();
    assert_eq!(body(&server.get("/first")), (200, "seeded"));
    assert_eq!(body(&server.get("/own")), (200, "seeded"), "{}", server.stderr());
    assert_eq!(server.post("/cloud", FORM, "Value=above").status, 200, "{}", server.stderr());
    assert_eq!(body(&server.get("/cloud")), (200, "above"));
    assert_eq!(body(&server.post("/default", FORM, "Value=new")), (200, "new[]"), "{}", server.stderr());
    server.assert_never_wrote(&["canary-password"]);
    drop(server);
    assert_eq!(std::fs::read(&registry).unwrap(), before, "the user's registry is as it was");
    let fresh =
        "Unlock-SecretVault -Name s -Password (ConvertTo-SecureString 'canary-password' -AsPlainText -Force)
        Get-Secret n -AsPlainText";
    assert_eq!(pwsh.output_of(fresh, home.path()), "new");
}

#[test]
fn members_of_a_custom_vaults_value_are_changed_one_by_one() {
    let pwsh = need_pwsh!();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("secrets.json");
    std::fs::write(&file, r#"{"db":{"port":5432,"nested":{"deep":true},"none":null}}"#).unwrap();
    let text = "param($File)
        Start-PodeServer -Threads 4 {
            Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
            Register-PodeSecretVault -Name Json -VaultParameters @{ File = $File } -ScriptBlock {
                param($config, $key)
                (Get-Content -Raw $config.File | ConvertFrom-Json).$key
            } -SetScriptBlock {
                param($config, $key, $value, $metadata)
                if ($metadata) { throw 'there is none' }
                $all = Get-Content -Raw $config.File | ConvertFrom-Json -AsHashtable
                $all[$key] = $value
                ConvertTo-Json $all -Depth 9 | Set-Content $config.File
            }
            Mount-PodeSecret -Name port -Vault Json -Key db -ExpandProperty port
            foreach ($n in 1..8) { Mount-PodeSecret -Name \"m$n\" -Vault Json -Key db -ExpandProperty \"m$n\" }
            Add-PodeRoute -Method Get -Path /port -ScriptBlock { Write-PodeJsonResponse @{ Value = $secret:port } }
            Add-PodeRoute -Method Post -Path /m/:n -ScriptBlock { $WebEvent.Data.Value | Update-PodeSecret -Name $WebEvent.Parameters.n }
            Add-PodeRoute -Method Post -Path /empty/:n -ScriptBlock { @() | Update-PodeSecret -Name $WebEvent.Parameters.n }
        }";
    let server = script(pwsh, text, &[], &["-File", &file.display().to_string()]).start();
    assert_eq!(body(&server.get("/port")), (200, r#"{"Value":5432}"#), "{}", server.stderr());
    let clients: Vec<_> = (1..=8)
        .map(|n| {
            let client = server.client();
            std::thread::spawn(move || client.post(&format!("/m/m{n}"), FORM, format!("Value=v{n}")).status)
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), 200, "{}", server.stderr());
    }
    assert_eq!(server.post("/empty/m1", FORM, "").status, 500, "nothing is no empty text");
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let mut expected = serde_json::json!({ "port": 5432, "nested": { "deep": true }, "none": null });
    for n in 1..=8 {
        expected[format!("m{n}")] = format!("v{n}").into();
    }
    assert_eq!(kept["db"], expected, "no member is lost");
}

#[test]
fn a_server_block_in_a_file_of_its_own_is_served() {
    let pwsh = need_pwsh!();
    let builder = script(pwsh, "Start-PodeServer -FilePath ./block.ps1", &[], &[]);
    let block = "{
        Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
        Add-PodeRoute -Method Get -Path /word -FilePath ./word.ps1
    }";
    builder.file("block.ps1", block.replace("PORT", &free_port().to_string()));
    builder.file("word.ps1", "{ Write-PodeTextResponse 'word' }");
    let server = builder.start();
    assert_eq!(body(&server.get("/word")), (200, "word"), "{}", server.stderr());
}

/// Looks for a text in everything that a script can reach without a debugger: variables of every scope and of every module,
/// the environment, the errors, and the files of its own process.
const SPY: &str = r#"
    $found = [System.Collections.Generic.List[string]]::new()
    $seen = [System.Collections.Generic.HashSet[object]]::new([System.Collections.Generic.ReferenceEqualityComparer]::Instance)
    $needle = 'canary-' + 'password'
    function Search-Thing($Thing, [string] $Place, [int] $Depth) {
        if ($null -eq $Thing -or $Depth -gt 6) { return }
        if ($Thing -is [string]) { if ($Thing.Contains($needle)) { $found.Add($Place) } return }
        if ($Thing -is [securestring]) {
            $text = [System.Net.NetworkCredential]::new('', $Thing).Password
            if ($text.Contains($needle)) { $found.Add($Place) }
            return
        }
        if ($Thing -is [ValueType] -or -not $seen.Add($Thing)) { return }
        if ($Thing -is [System.Collections.IDictionary]) {
            foreach ($key in @($Thing.Keys)) { Search-Thing $Thing[$key] "$Place.$key" ($Depth + 1) }
        }
        elseif ($Thing -is [System.Collections.IEnumerable] -and $Thing -isnot [System.Collections.IEnumerator]) {
            $index = 0
            foreach ($item in $Thing) { if ($index -gt 200) { break }; Search-Thing $item "$Place[$index]" ($Depth + 1); $index++ }
        }
        elseif ($Thing -is [psobject] -and $Thing.PSObject.Properties) {
            foreach ($property in $Thing.PSObject.Properties | Where-Object MemberType -EQ 'NoteProperty') {
                Search-Thing $property.Value "$Place.$($property.Name)" ($Depth + 1)
            }
        }
    }
    foreach ($scope in 0..20) {
        try { $variables = @(Get-Variable -Scope $scope -ErrorAction Stop) } catch { break }
        foreach ($variable in $variables) {
            if ($variable.Name -notin 'needle', 'found', 'seen', 'SPY') { Search-Thing $variable.Value "scope $scope $($variable.Name)" 0 }
        }
    }
    foreach ($variable in Get-Variable -Scope Global) { Search-Thing $variable.Value "global $($variable.Name)" 0 }
    foreach ($module in Get-Module -All | Where-Object ModuleType -EQ 'Script') {
        foreach ($variable in & $module { Get-Variable -Scope Script }) { Search-Thing $variable.Value "$($module.Name) $($variable.Name)" 0 }
    }
    foreach ($entry in Get-ChildItem Env:) { Search-Thing $entry.Value "environment $($entry.Name)" 0 }
    foreach ($problem in $global:Error) { Search-Thing "$problem $($problem.Exception)" 'an error' 0 }
    foreach ($file in '/proc/self/environ', '/proc/self/cmdline') {
        if (Test-Path $file) { Search-Thing ([System.IO.File]::ReadAllText($file)) $file 0 }
    }
    # A channel to the core that can be opened once more could be read along.
    foreach ($link in [System.IO.Directory]::GetFiles('/proc/self/fd')) {
        $target = [System.IO.FileInfo]::new($link).LinkTarget
        if ($target -like 'socket:*') {
            try { [System.IO.File]::Open($link, 'Open', 'ReadWrite').Dispose(); $found.Add("$link $target opened") } catch { }
        }
    }
    $spied = if ($found.Count) { ($found | Select-Object -Unique) -join "`n" } else { 'nothing' }
    Write-PodeTextResponse -Value "$spied"
"#;

#[test]
fn a_script_that_looks_everywhere_finds_no_password_of_a_vault_and_no_way_to_the_channel() {
    let pwsh = need_pwsh!();
    let text = format!(
        "param([string] $Store)
        Start-PodeServer -Threads 2 {{
            Add-PodeEndpoint -Address localhost -Port PORT -Protocol Http
            Register-PodeSecretVault -Name Store -ModuleName Microsoft.PowerShell.SecretStore -UnlockSecret (Get-Content -Raw $Store).Trim()
            Mount-PodeSecret -Name Example -Vault Store -Key ex
            Add-PodeRoute -Method Get -Path /read -ScriptBlock {{ $secret:Example = 'v'; Write-PodeTextResponse $secret:Example }}
            Add-PodeRoute -Method Get -Path /spy -ScriptBlock {{ {SPY} }}
            Add-PodeRoute -Method Get -Path /planted -ScriptBlock {{ $global:Planted = @{{ inner = 'canary-' + 'password' }}; {SPY} }}
        }}"
    );
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "canary-password").unwrap();
    let server = script(pwsh, &text, &[], &["-Store", &password.to_string_lossy()]).start();
    for _ in 0..4 {
        assert_eq!(body(&server.get("/read")), (200, "v"));
        assert_eq!(body(&server.get("/spy")), (200, "nothing"), "{}", server.stderr());
    }
    assert!(server.get("/planted").text().contains("Planted.inner"), "what is there is found");
}

//! The status page in a real browser: live, by the keyboard, for readers of screens, light and dark, on a phone.
//!
//! `SECRETBRIDGE_PICTURES=1` writes its pictures to `docs`; otherwise they are made and thrown away.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::browser::{Browser, Screen};
use crate::support::server::{Builder, Server};
use crate::support::stand_in::StandIn;
use crate::support::{SOON, wait_until};

const TOKEN: &str = "0123456789abcdef0123";
const CANARY: &str = "canary-value-of-a-secret";

const DESK: Screen = Screen { width: 1280, height: 860, phone: false, dark: false };
const DESK_DARK: Screen = Screen { dark: true, ..DESK };
const PHONE: Screen = Screen { width: 360, height: 740, phone: true, dark: false };
const PHONE_DARK: Screen = Screen { dark: true, ..PHONE };

/// Vaults of several states, workers that were replaced, answers and errors.
fn server(stand_in: &StandIn) -> Server {
    let builder = Builder::new();
    builder.file("t.token", TOKEN);
    let plan = "listen = \"127.0.0.1:0\"\nauth.token_file = \"t.token\"\npool = { min = 2, max = 2 }\n\
        [vaults.team]\nmodule = \"Az.KeyVault\"\nvault_name = \"Team\"\nexpose = true\ncache_ttl = \"1h\"\nunlock = { env = \"PASSWORD\" }\n\
        [vaults.billing]\nmodule = \"Some.Vault\"\nexpose = true\nunlock = { env = \"PASSWORD\" }\n\
        [vaults.legacy]\nmodule = \"Other.Vault\"\nexpose = true\n\
        [vaults.mine]\nlocal = true\nfolder = \"data\"\nexpose = true\n\
        [secrets.Db]\nvault = \"team\"\nkey = \"db\"\n[[routes]]\npath = \"/db\"\nsecret = \"Db\"\n";
    let mut server = builder.config(plan).env("PASSWORD", "wrong").stand_in(stand_in).start();
    server.set_token(TOKEN);
    for _ in 0..40 {
        server.get("/db");
    }
    for path in
        ["/vaults/team/secrets/crash", "/vaults/billing/secrets/k", "/vaults/legacy/secrets/k", "/nowhere"]
    {
        server.get(path);
    }
    assert_eq!(server.put("/vaults/mine/secrets/k", "text/plain", CANARY).status, 204);
    assert!(server.get("/vaults/mine/secrets/k").text().contains(CANARY));
    server
}

fn scenario() -> StandIn {
    let locked = "Microsoft.PowerShell.SecretManagement.PasswordRequiredException";
    let fault = |id: &str, kind: &str, message: &str| json!({ "fault": { "id": id, "kind": kind, "message": message } });
    StandIn::with(
        &json!({ "secrets": { "team": { "db": { "t": "string", "v": CANARY } } }, "derived": true, "rules": [
        { "op": "unlock", "vault": "billing", "do": fault(locked, locked, "The password is wrong.") },
        { "op": "get", "vault": "billing", "do": fault(locked, locked, "The vault is locked.") },
        { "op": "get", "vault": "legacy", "do": fault("ModuleFailed", "System.Exception", "It failed.") },
        { "op": "get", "name": "crash", "nth": 1, "across": true, "do": "crash" },
    ] }),
    )
}

/// In the page: what is wider than the window.
const TOO_WIDE: &str = "[...document.querySelectorAll('body *')].filter((node) => \
    node.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !node.closest('.scroll, .hidden-text, thead')) \
    .map((node) => node.tagName + '.' + node.className + ' ' + node.textContent.slice(0, 40))";

/// In the page: texts whose contrast to what is behind them is below 4.5, which is what WCAG asks for.
const FAINT: &str = "(() => { \
    const parts = (color) => (color.match(/[\\d.]+/g) || []).map(Number); \
    const light = ([r, g, b]) => { const part = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; \
      return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b); }; \
    const ground = (node) => { for (; node; node = node.parentElement) { \
      const color = parts(getComputedStyle(node).backgroundColor); if (color.length === 3 || color[3] === 1) return color; } \
      return [255, 255, 255]; }; \
    const texts = [...document.querySelectorAll('body *')].filter((node) => node.offsetParent !== null && \
      [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())); \
    return texts.map((node) => { const [a, b] = [light(parts(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x); \
      return [(a + 0.05) / (b + 0.05), node.textContent.trim().slice(0, 30)]; }).filter(([ratio]) => ratio < 4.5); })()";

fn picture(name: &str, scratch: &Path) -> PathBuf {
    let keep = std::env::var_os("SECRETBRIDGE_PICTURES").is_some_and(|value| value == "1");
    let folder = if keep { Path::new(env!("CARGO_MANIFEST_DIR")).join("docs") } else { scratch.to_owned() };
    folder.join(format!("status-page{name}.png"))
}

/// The text of a table's row that begins with this.
fn row(browser: &mut Browser, begin: &str) -> String {
    let rows = browser.eval("[...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent).join(' | '))");
    let rows = rows.as_array().unwrap();
    let found = rows.iter().filter_map(Value::as_str).find(|row| row.starts_with(begin));
    found.unwrap_or_else(|| panic!("no row {begin}: {rows:?}")).to_owned()
}

#[test]
fn the_status_page_is_live_and_usable_by_everybody() {
    let Some(mut browser) = Browser::start("the_status_page_is_live_and_usable_by_everybody") else { return };
    let stand_in = scenario();
    let server = server(&stand_in);
    wait_until("a worker took the place of the one that broke", SOON, || {
        server.get("/health").json()["workers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|worker| worker["state"] == "ready")
    });
    let (origin, scratch) = (format!("http://{}", server.address), tempfile::tempdir().unwrap());

    // The token, by the keyboard alone: the focus is where it is asked for.
    browser.show_on(&PHONE);
    browser.open(&format!("{origin}/status"));
    browser
        .until("it asks for a token", "document.getElementById('state').textContent === 'a token is needed'");
    assert_eq!(browser.eval(TOO_WIDE), json!([]), "the form on a phone");
    browser.write("wrong-0123456789abcdef");
    browser.press("Enter");
    browser
        .until("it is refused", "document.getElementById('state').textContent === 'the token was refused'");
    assert_eq!(browser.eval("document.activeElement.id"), "token");
    browser.write(TOKEN);
    browser.press("Tab");
    assert_eq!(browser.eval("document.activeElement.textContent"), "Connect");
    browser.press("Enter");
    browser.until(
        "it is live",
        "document.getElementById('state').textContent === 'ready' && !document.getElementById('live').hidden",
    );

    // What it shows.
    for (begin, shown) in [
        ("team", "ok"),
        ("team", "open"),
        ("billing", "locked"),
        ("legacy", "ModuleFailed"),
        ("mine", "ok"),
        ("/db", "40"),
        ("0 |", "ready"),
        ("1 |", "ready"),
    ] {
        let text = row(&mut browser, begin);
        assert!(text.contains(shown), "{begin}: {shown}: {text}");
    }
    let facts = browser.eval("document.getElementById('sum').textContent");
    assert!(facts.as_str().unwrap().contains("workers started again1"), "{facts}");
    assert_eq!(browser.eval("document.querySelectorAll('#routes svg[role=img]').length > 0"), true);

    // It is live: what changes is shown, and the page is the same one.
    browser.eval("window.stays = true");
    for _ in 0..2 {
        assert_eq!(server.get("/db").status, 200);
    }
    browser.until(
        "the answers are shown",
        "[...document.querySelectorAll('#routes tr')].some((row) => row.textContent.startsWith('/db42'))",
    );
    assert_eq!(server.send("POST", "/vaults/team/lock", &[], b"").status, 204);
    browser.until("the lock is shown", "[...document.querySelectorAll('#vaults tr')].some((row) => row.textContent.includes('locked by an administrator'))");
    assert_eq!(server.send("POST", "/vaults/team/unlock", &[], b"").status, 204);
    browser.until("and its end", "![...document.querySelectorAll('#vaults tr')].some((row) => row.textContent.includes('administrator'))");
    assert_eq!(browser.eval("window.stays"), true);

    // It stands still where that is asked for, by the keyboard.
    browser.eval("document.activeElement.blur()");
    browser.press("Tab");
    assert_eq!(browser.eval("document.activeElement.id"), "pause", "the first stop of the Tab key");
    browser.press(" ");
    browser.until("it is paused", "document.getElementById('state').textContent === 'paused'");
    let seen = browser.eval("document.getElementById('seen').textContent");
    server.get("/db");
    browser.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
    assert_eq!(browser.eval("document.getElementById('seen').textContent"), seen);
    browser.press(" ");
    browser.until(
        "it goes on",
        "[...document.querySelectorAll('#routes tr')].some((row) => row.textContent.startsWith('/db43'))",
    );

    // For readers of screens.
    for screen in [&DESK, &PHONE] {
        browser.show_on(screen);
        let told = browser.told();
        let names = |role: &str| -> Vec<&str> {
            told.iter().filter(|(of, _)| of == role).map(|(_, name)| name.as_str()).collect()
        };
        for role in ["button", "image", "table", "heading", "RootWebArea", "textbox", "link"] {
            assert!(names(role).iter().all(|name| !name.is_empty()), "{role}: {:?}", names(role));
        }
        assert_eq!(names("button"), ["Pause"]);
        assert_eq!(names("RootWebArea"), ["secretbridge: status"]);
        let tables = [
            "Vaults, by their last calls",
            "Routes: how long their answers took",
            "Workers",
            "Errors of late",
        ];
        assert_eq!(names("table"), tables, "on a phone too");
        for (role, name) in [("columnheader", "State"), ("rowheader", "team"), ("status", "")] {
            assert!(
                told.iter().any(|(of, named)| of == role && (name.is_empty() || named == name)),
                "{role} {name}: {told:?}"
            );
        }
    }

    // Light and dark, at the desk and on a phone, with pictures.
    browser.eval("document.activeElement.blur()");
    let mut grounds = Vec::new();
    for (screen, name) in
        [(&DESK, ""), (&DESK_DARK, "-dark"), (&PHONE, "-phone"), (&PHONE_DARK, "-phone-dark")]
    {
        browser.show_on(screen);
        browser
            .until("it is laid out", &format!("document.documentElement.clientWidth === {}", screen.width));
        assert_eq!(
            browser.eval("document.documentElement.scrollWidth <= document.documentElement.clientWidth"),
            true,
            "{name}: it scrolls sideways"
        );
        if screen.phone {
            assert_eq!(browser.eval(TOO_WIDE), json!([]), "{name}");
            assert_eq!(browser.eval("[...document.querySelectorAll('.scroll')].every((node) => node.scrollWidth <= node.clientWidth)"), true, "{name}");
        }
        assert_eq!(browser.eval(FAINT), json!([]), "{name}");
        grounds.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
        let path = picture(name, scratch.path());
        browser.picture(&path, !screen.phone);
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
    }
    assert!(grounds[0] != grounds[1] && grounds[0] == grounds[2] && grounds[1] == grounds[3], "{grounds:?}");

    // Never a value, and nothing from elsewhere.
    let whole = browser.eval("document.documentElement.outerHTML");
    assert!(!whole.as_str().unwrap().contains(CANARY) && !whole.as_str().unwrap().contains(TOKEN));
    assert!(!browser.events.iter().any(|event| event.to_string().contains(CANARY)));
    let asked = browser.asked();
    assert!(asked.iter().all(|url| url.starts_with(&origin) || url == "about:blank"), "{asked:?}");
    let complaints = browser.complaints();
    // Two answers of 401: without a token, and with a wrong one.
    assert!(complaints.keys().all(|text| text.contains("401") || text.contains("favicon")), "{complaints:?}");

    // It says so where the server is gone, and is live again when it is back.
    drop(server);
    browser.until(
        "it says that the server is gone",
        "document.getElementById('state').textContent.endsWith('trying again')",
    );
}

//! Headless Chromium, spoken to by the DevTools protocol over two pipes: no port, and nothing to install beside it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{self, children};
use super::{SOON, wait_for, wait_until};

/// An answer takes no longer, on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// A browser with one page.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// What it told of itself, such as requests and messages of its console.
    pub events: Vec<Value>,
    _profile: TempDir,
}

/// A size of a window, and how it is shown.
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub phone: bool,
    pub dark: bool,
}

impl Browser {
    /// The browser of this machine, or word that the test is skipped.
    pub fn start(test: &str) -> Option<Browser> {
        let found = Command::new("chromium").arg("--version").stderr(Stdio::null()).output();
        if !found.is_ok_and(|output| output.status.success()) {
            super::pwsh::say(&format!("SKIPPED (no chromium): {test}"));
            return None;
        }
        let profile = tempfile::tempdir().expect("a temporary folder");
        // It reads commands from number 3 and answers to number 4.
        let give = "exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec chromium \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", give, "sh", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.args([
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
        ]);
        command.arg("--hide-scrollbars").arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg("about:blank").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let events = Vec::new();
        let mut browser =
            Browser { child, input, messages, session: None, last: 0, events, _profile: profile };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": page, "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Log", "Runtime", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Calls a method of the protocol; what it told meanwhile is in `events`.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        loop {
            let answer =
                self.messages.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no answer to {method}"));
            if answer["id"] == self.last {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    /// Goes to a page.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.until("the page is there", "document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Looks until an expression is true in the page.
    #[track_caller]
    pub fn until(&mut self, what: &str, expression: &str) {
        wait_for(what, LIMIT, || (self.eval(expression) == true).then_some(()));
    }

    /// Types a text where the focus is.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key: `Tab`, `Enter` or ` `.
    pub fn press(&mut self, key: &str) {
        let (code, number, text) = match key {
            "Tab" => ("Tab", 9, ""),
            "Enter" => ("Enter", 13, "\r"),
            _ => ("Space", 32, " "),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Shows the page so from now on.
    pub fn show_on(&mut self, screen: &Screen) {
        let Screen { width, height, phone, dark } = screen;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": if *phone { 2 } else { 1 }, "mobile": phone });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if *dark { "dark" } else { "light" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A picture of the whole page, or of what the window shows.
    pub fn picture(&mut self, path: &Path, whole: bool) {
        let answer = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": whole }));
        let text = answer["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        File::create(path).and_then(|mut file| file.write_all(&bytes)).expect("written");
    }

    /// What a reader of screens is told: role and name of each node that it meets.
    pub fn told(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("nodes");
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        nodes
            .iter()
            .filter(|node| node["ignored"] != true)
            .map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }

    /// Every address that was asked for.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        requests.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    /// What the console complained of, such as what the page's policy forbids.
    pub fn complaints(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for event in &self.events {
            let text = match event["method"].as_str() {
                Some("Log.entryAdded") => &event["params"]["entry"]["text"],
                Some("Runtime.exceptionThrown") => &event["params"]["exceptionDetails"],
                _ => continue,
            };
            *found.entry(text.to_string()).or_default() += 1;
        }
        found
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own way first: it takes its helpers along.
        self.session = None;
        let _ = self.input.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let helpers = children(self.child.id());
        let end = tokio::time::Instant::now() + SOON;
        while matches!(self.child.try_wait(), Ok(None)) && tokio::time::Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            wait_until("its helpers are gone", SOON, || !helpers.iter().any(|pid| process::alive(*pid)));
        }
    }
}

//! Script mode over workers that run little programs in place of PowerShell.
//!
//! A block's text is a JSON list of asks, made one after the other; the last value is the answer. Asks that
//! begin with `~` are done by the worker itself.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::run::{Declared, RunError, RunOptions, declare_with};
use super::serve::ScriptSite;
use super::*;
use crate::access::Caller;
use crate::access::Peer;
use crate::http::{Admitted, Head, Reply, Request, Site};
use crate::worker::fake::{FakeLauncher, Reaction, ok};

mod declaring;
mod imports;
mod waiting;
mod writing;

/// What the fake workers know between them.
#[derive(Default)]
pub struct World {
    frames: Mutex<HashMap<u64, Vec<Frame>>>,
    blocks: Mutex<HashMap<(u64, u64), Vec<Value>>>,
    asked: Mutex<HashMap<u64, u64>>,
    /// By registered vault and key.
    pub secrets: Mutex<HashMap<(String, String), Value>>,
    /// Every call: the worker and the operation.
    pub calls: Mutex<Vec<(u64, Value)>>,
    /// The next write to this key is cut off between its delete and its add.
    pub cut: Mutex<Option<String>>,
    /// The password that unlocks; any, where there is none.
    pub password: Mutex<Option<String>>,
}

struct Frame {
    call: Value,
    kind: Kind,
    steps: std::vec::IntoIter<Value>,
    last: Value,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plan,
    Route,
    Custom,
}

impl World {
    fn react(&self, worker: u64, line: &Value) -> Reaction {
        if let Some(answer) = line.get("answer") {
            return self.go_on(worker, answer);
        }
        let op = &line["op"];
        let (name, fields) = op.as_object().unwrap().iter().next().unwrap();
        self.calls.lock().unwrap().push((worker, op.clone()));
        let key =
            || (fields["vault"].as_str().unwrap().to_owned(), fields["name"].as_str().unwrap().to_owned());
        let soon = |outcome: Value| Reaction::Later(Duration::from_millis(1), vec![ok(line, &outcome)]);
        match name.as_str() {
            "get" => match self.secrets.lock().unwrap().get(&key()) {
                Some(value) => soon(json!({ "value": value, "metadata": {} })),
                None => fault(line, "GetSecretNotFound", "The secret was not found."),
            },
            "set" => {
                let mut secrets = self.secrets.lock().unwrap();
                if self.cut.lock().unwrap().take_if(|cut| *cut == key().1).is_some() {
                    secrets.remove(&key());
                    return Reaction::Die;
                }
                secrets.insert(key(), fields["value"].clone());
                soon(json!({}))
            }
            "remove" => {
                self.secrets.lock().unwrap().remove(&key());
                soon(json!({}))
            }
            "register" => soon(json!({ "module": fields["module"], "metadata": true })),
            "configure" | "unlock" => {
                let wanted = self.password.lock().unwrap().clone();
                let given = fields["password"]["v"].as_str();
                if wanted.is_some() && given != wanted.as_deref() {
                    return fault(line, "SecretStoreUnlockFailed", "the password is wrong");
                }
                soon(json!({ "authentication": "Password", "password_timeout": 1000, "written": false }))
            }
            "invoke" => self.invoke(worker, line, fields),
            "info" => soon(json!({ "secrets": [] })),
            _ => soon(json!({})),
        }
    }

    fn invoke(&self, worker: u64, line: &Value, what: &Value) -> Reaction {
        if let Some(load) = what.get("load") {
            for block in load["blocks"].as_array().unwrap() {
                let steps = serde_json::from_str(block["text"].as_str().unwrap()).unwrap();
                self.blocks.lock().unwrap().insert((worker, block["id"].as_u64().unwrap()), steps);
            }
            return Reaction::Say(vec![ok(line, &json!({}))]);
        }
        let block = |fields: &Value| {
            let id = fields["block"].as_u64().unwrap();
            self.blocks
                .lock()
                .unwrap()
                .get(&(worker, id))
                .cloned()
                .expect("the block was loaded before its call")
        };
        let (kind, steps) = if let Some(plan) = what.get("plan") {
            (Kind::Plan, serde_json::from_str(plan["arguments"][0].as_str().unwrap()).unwrap())
        } else if let Some(custom) = what.get("custom") {
            (Kind::Custom, block(custom))
        } else {
            (Kind::Route, block(&what["route"]))
        };
        let frame =
            Frame { call: line.clone(), kind, steps: steps.into_iter(), last: json!({ "t": "null" }) };
        self.frames.lock().unwrap().entry(worker).or_default().push(frame);
        self.step(worker)
    }

    fn go_on(&self, worker: u64, answer: &Value) -> Reaction {
        if let Some(fault) = answer.get("fault") {
            let frame = self.frames.lock().unwrap().get_mut(&worker).unwrap().pop().unwrap();
            if frame.kind == Kind::Route {
                let response = json!({ "status": 500, "page": { "exception": { "message": fault["message"] } }, "failed": fault });
                return Reaction::Say(vec![ok(&frame.call, &json!({ "response": response }))]);
            }
            return Reaction::Say(vec![
                json!({ "reply": { "id": frame.call["id"], "fault": fault } }).to_string(),
            ]);
        }
        if let Some(value) = answer["ok"].get("value") {
            self.frames.lock().unwrap().get_mut(&worker).unwrap().last_mut().unwrap().last = value.clone();
        }
        self.step(worker)
    }

    fn step(&self, worker: u64) -> Reaction {
        let mut frames = self.frames.lock().unwrap();
        let stack = frames.get_mut(&worker).unwrap();
        let frame = stack.last_mut().unwrap();
        let mut wait = Duration::ZERO;
        let after = |wait: Duration, line: String| match wait {
            Duration::ZERO => Reaction::Say(vec![line]),
            wait => Reaction::Later(wait, vec![line]),
        };
        for step in frame.steps.by_ref() {
            match step["do"].as_str().unwrap() {
                "~value" => frame.last = step["value"].clone(),
                // Seconds that the block takes for itself.
                "~work" => wait += Duration::from_secs(step["seconds"].as_u64().unwrap()),
                "~die" => return Reaction::Die,
                "~hang" => return Reaction::Hang,
                _ => {
                    let mut asked = self.asked.lock().unwrap();
                    let seq = asked.entry(worker).or_default();
                    *seq += 1;
                    return after(wait, json!({ "ask": { "seq": *seq, "what": step } }).to_string());
                }
            }
        }
        let frame = stack.pop().unwrap();
        let outcome = match frame.kind {
            Kind::Plan => json!({ "served": true }),
            Kind::Custom => json!({ "value": frame.last }),
            Kind::Route => {
                json!({ "response": { "status": 200, "headers": [["X-Own", "1"]], "body": BASE64.encode(frame.last.to_string()) } })
            }
        };
        after(wait, ok(&frame.call, &outcome))
    }

    pub fn put(&self, vault: &str, key: &str, text: &str) {
        self.secrets.lock().unwrap().insert((vault.into(), key.into()), string(text));
    }

    pub fn value(&self, vault: &str, key: &str) -> Option<String> {
        let secrets = self.secrets.lock().unwrap();
        secrets
            .get(&(vault.to_owned(), key.to_owned()))
            .and_then(|value| value["v"].as_str().map(str::to_owned))
    }

    /// How many calls had this operation, or this way into it.
    pub fn count(&self, way: &[&str]) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(_, op)| way.iter().try_fold(op, |value, key| value.get(key)).is_some()).count()
    }
}

fn fault(call: &Value, id: &str, message: &str) -> Reaction {
    let fault = json!({ "id": id, "message": message });
    Reaction::Later(
        Duration::from_millis(1),
        vec![json!({ "reply": { "id": call["id"], "fault": fault } }).to_string()],
    )
}

pub fn string(text: &str) -> Value {
    json!({ "t": "string", "v": text })
}

pub fn block(steps: Value) -> Value {
    json!({ "text": steps.to_string(), "file": "/s/server.ps1", "line": 3 })
}

/// The start of every script: workers, an endpoint, a vault of the module, and a custom one.
pub fn script(threads: usize, module: &str, more: Vec<Value>) -> Vec<Value> {
    let mut steps = vec![
        json!({ "do": "server", "threads": threads, "root": "/s" }),
        json!({ "do": "endpoint-add", "address": "*", "port": 8080, "protocol": "Http" }),
        json!({ "do": "vault-add", "name": "v", "type": "secretmanagement", "module": module, "unlock": { "t": "securestring", "v": "pw" } }),
    ];
    steps.extend(more);
    steps
}

pub fn route(method: &str, path: &str, steps: Value) -> Value {
    json!({ "do": "route-add", "methods": [method], "path": path, "block": block(steps) })
}

pub fn mount(name: &str, vault: &str, key: &str) -> Value {
    json!({ "do": "mount", "name": name, "vault": vault, "key": key })
}

pub fn get(name: &str) -> Value {
    json!({ "do": "secret-get", "name": name })
}

pub fn update(name: &str, text: &str) -> Value {
    json!({ "do": "secret-set", "name": name, "value": string(text) })
}

pub fn custom(name: &str, blocks: Value) -> Value {
    json!({ "do": "vault-add", "name": name, "type": "custom", "blocks": blocks })
}

/// A script that has declared its steps, and its world.
pub struct Running {
    pub declared: Declared,
    pub world: Arc<World>,
    pub launcher: Arc<FakeLauncher>,
}

pub async fn declared(steps: Vec<Value>, options: RunOptions) -> Result<Running, RunError> {
    let world = Arc::new(World::default());
    declared_in(world, steps, options).await
}

async fn declared_in(world: Arc<World>, steps: Vec<Value>, options: RunOptions) -> Result<Running, RunError> {
    let in_launcher = world.clone();
    let launcher = Arc::new(FakeLauncher::new(move |worker, line| in_launcher.react(worker, line)));
    let parameters = vec![Value::Array(steps).to_string()];
    let options = RunOptions { script: "/s/server.ps1".into(), parameters, ..options };
    let declared = declare_with(&options, launcher.clone(), None).await?;
    Ok(Running { declared, world, launcher })
}

pub async fn running(steps: Vec<Value>) -> Running {
    let running = declared(steps, RunOptions::default()).await.unwrap();
    running.declared.start_workers().await.unwrap();
    running
}

pub fn head(method: &str, path: &str, headers: &[(&'static str, &str)]) -> Head {
    let mut map = HeaderMap::new();
    map.insert("host", HeaderValue::from_static("localhost"));
    for (name, value) in headers {
        map.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    Head {
        id: 1,
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: path.into(),
        query: None,
        headers: map,
        version: hyper::Version::HTTP_11,
        peer: Peer::Tcp("127.0.0.1:5000".parse().unwrap()),
        certificate: None,
        holder: None,
        listener: 0,
        received: Instant::now(),
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

pub fn request(head: Head, body: &str) -> Request {
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    Request { head: Arc::new(head), body, admitted: Admitted::new(Caller::Anyone, None) }
}

impl Running {
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let site = ScriptSite::new(self.declared.core().clone());
        site.answer(request(head(method, path, headers), body)).await
    }

    /// The status, and the value that the block ended with or the message that it threw.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let reply = self.ask("GET", path, &[("accept", "application/json")], "").await;
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        (reply.status.as_u16(), body["v"].as_str().unwrap_or_default().to_owned())
    }
}

// === tables that every worker sees ===

#[tokio::test(start_paused = true)]
async fn a_mount_made_in_a_route_is_seen_by_every_worker_at_once() {
    let steps = vec![
        route(
            "GET",
            "/mount",
            json!([mount("late", "v", "k"), { "do": "state-set", "name": "n", "value": string("seen") }]),
        ),
        route("GET", "/read", json!([get("late")])),
        route("GET", "/state", json!([{ "do": "state-get", "name": "N" }])),
        route("GET", "/add", json!([route("GET", "/added", json!([get("late")]))])),
    ];
    let running = Arc::new(running(script(3, crate::plan::AZ_KEY_VAULT, steps)).await);
    running.world.put("v", "k", "value");
    assert_eq!(running.get("/read").await.0, 500);
    assert_eq!(running.get("/mount").await.0, 200);
    let all: Vec<_> = (0..6)
        .map(|_| {
            let running = running.clone();
            tokio::spawn(async move { running.get("/read").await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), (200, "value".into()));
    }
    let workers: std::collections::HashSet<u64> = {
        let calls = running.world.calls.lock().unwrap();
        let ran = calls.iter().filter(|(_, op)| op["invoke"].get("route").is_some());
        ran.map(|(worker, _)| *worker).collect()
    };
    assert!(workers.len() > 1, "more than one worker read it");
    assert_eq!(running.get("/state").await, (200, "seen".into()));
    assert_eq!((running.get("/added").await.0, running.get("/add").await.0), (404, 200));
    assert_eq!(running.get("/added").await, (200, "value".into()));
}

#[tokio::test(start_paused = true)]
async fn a_vault_added_in_a_route_comes_to_other_workers_when_they_use_it() {
    let add = json!({ "do": "vault-add", "name": "late", "type": "secretmanagement", "module": "Az.KeyVault", "init": block(json!([])) });
    let steps = vec![
        route("GET", "/add", json!([add, mount("m", "late", "k")])),
        route("GET", "/read", json!([{ "do": "read", "vault": "late", "key": "k" }])),
    ];
    let running = Arc::new(running(script(2, "Az.KeyVault", steps)).await);
    running.world.put("late", "k", "value");
    assert_eq!(running.get("/add").await.0, 200);
    let (a, b) = tokio::join!(running.get("/read"), running.get("/read"));
    assert_eq!((a.0, b.0), (200, 200));
    running.get("/read").await;
    let calls = running.world.calls.lock().unwrap();
    let of = |worker: u64, way: &dyn Fn(&Value) -> bool| {
        calls.iter().filter(|(by, op)| *by == worker && way(op)).count()
    };
    let registered = [2, 3].map(|worker| of(worker, &|op| op["register"]["vault"] == "late"));
    assert_eq!(registered, [1, 1]);
    let mut began = [2, 3].map(|worker| of(worker, &|op| op["invoke"]["custom"]["kind"] == "init"));
    began.sort();
    assert_eq!(began, [0, 1], "the script itself has run it where it was added");
}

#[tokio::test(start_paused = true)]
async fn a_kept_value_is_read_once_and_a_write_from_any_worker_drops_it() {
    let kept = json!({ "do": "mount", "name": "m", "vault": "v", "key": "k", "cache_ttl": 5 });
    let steps = vec![
        kept,
        route("GET", "/read", json!([get("m")])),
        route("GET", "/write", json!([update("m", "new")])),
        route("GET", "/gone", json!([{ "do": "vault-remove", "name": "v" }])),
    ];
    let running = running(script(2, "Az.KeyVault", steps)).await;
    running.world.put("v", "k", "old");
    for _ in 0..5 {
        assert_eq!(running.get("/read").await, (200, "old".into()));
    }
    assert_eq!(running.world.count(&["get"]), 1);
    assert_eq!(running.get("/write").await.0, 200);
    assert_eq!(running.get("/read").await, (200, "new".into()));
    running.get("/gone").await;
    running.declared.core().arguments.left_over("V").expect("its store is remembered");
}

//! `/openapi.json`: the routes as OpenAPI 3.1 has them, made from the table that requests are matched with.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Map, Value, json};

use super::super::route::{Routes, Target};
use crate::plan::Action;

/// A description of these routes.
pub fn document(routes: &Routes) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (pattern, method, target) in routes.all() {
        // Others have no place in it.
        if method == Method::CONNECT || method.as_str().len() > 7 {
            continue;
        }
        let (path, places) = path_of(pattern);
        let at = paths.entry(path.clone()).or_default();
        at.insert(method.as_str().to_ascii_lowercase(), operation(&path, &places, method, target));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "secretbridge",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Secrets of PowerShell's SecretManagement vaults",
        },
        "paths": paths,
        "security": [{ "bearer": [] }],
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
            "responses": {
                "Error": {
                    "description": "The request was refused, or failed; `code` is stable.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
                },
            },
        },
    })
}

/// The path with its places as `{name}`, and their names; `{*rest}` takes slashes too, which OpenAPI cannot say.
fn path_of(pattern: &str) -> (String, Vec<String>) {
    let mut places = Vec::new();
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) if !segment.starts_with("{{") => {
            let name = name.trim_start_matches('*');
            places.push(name.to_owned());
            format!("{{{name}}}")
        }
        _ => segment.replace("{{", "{").replace("}}", "}"),
    };
    let path: Vec<String> = pattern.split('/').map(segment).collect();
    (path.join("/"), places)
}

fn operation(path: &str, places: &[String], method: &Method, target: &Target) -> Value {
    let words: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut operation = json!({
        "operationId": format!("{}{}", method.as_str().to_ascii_lowercase(), words.trim_end_matches('_')),
        "summary": summary(target),
        "responses": responses(target),
    });
    let parameters: Vec<Value> = places
        .iter()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .chain(query(target))
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = body(target) {
        operation["requestBody"] = body;
    }
    if target.is_public() {
        operation["security"] = json!([]);
    }
    operation
}

fn summary(target: &Target) -> &'static str {
    match target {
        Target::Action(Action::Respond(_)) => "Answers with secrets",
        Target::Action(Action::Update { .. }) => "Writes a secret",
        Target::Action(Action::Remove { .. }) | Target::Delete(_) => "Removes a secret",
        Target::Live => "Whether the process lives",
        Target::Health => "How the server is",
        Target::Ready => "Whether it serves",
        Target::Metrics => "Counts for Prometheus",
        Target::OpenApi => "This description",
        Target::Vaults => "Names the exposed vaults",
        Target::List(_) => "Lists the secrets of a vault, without values",
        Target::Get(_) => "Reads a secret",
        Target::Put(_) => "Writes a secret",
        Target::Patch(_) => "Writes a secret's metadata",
        Target::Unlock => "Unlocks a vault",
        Target::Lock => "Locks a vault",
        Target::Mounts => "Names the mounted secrets",
        Target::ClearCache => "Forgets the cached values",
        Target::RefreshCache => "Reads anew what has changed elsewhere",
        Target::StatusPage => "A page for people",
        Target::StatusEvents => "The state each second, as server-sent events",
    }
}

fn query(target: &Target) -> Vec<Value> {
    let parameter = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    match target {
        Target::Get(_) | Target::Action(Action::Respond(_)) => {
            vec![parameter("refresh", json!({ "type": "boolean" }), "Asks the vault and not the cache")]
        }
        Target::Put(_) => {
            vec![parameter("property", json!({ "type": "string" }), "Writes one member of a table")]
        }
        _ => Vec::new(),
    }
}

fn body(target: &Target) -> Option<Value> {
    let content = match target {
        Target::Put(_) => json!({
            "application/json": { "schema": { "oneOf": [{ "type": "string" }, reference("NewSecret")] } },
            "text/plain": { "schema": { "type": "string" } },
            "application/octet-stream": {},
            "application/x-www-form-urlencoded": { "schema": reference("Form") },
        }),
        Target::Patch(_) => json!({ "application/json": { "schema": {
            "type": "object", "required": ["Metadata"], "properties": { "Metadata": { "type": "object" } },
        } } }),
        Target::Action(Action::Update { field, .. }) => {
            let mut properties = Map::new();
            properties.insert(field.clone(), json!({ "type": "string" }));
            let schema = json!({ "type": "object", "required": [field], "properties": properties });
            json!({
                "application/json": { "schema": schema },
                "application/x-www-form-urlencoded": { "schema": schema },
            })
        }
        Target::Unlock => json!({ "application/json": { "schema": {
            "type": "object", "properties": { "Password": { "type": "string", "format": "password" } },
        } } }),
        Target::RefreshCache => json!({ "application/json": { "schema": { "type": ["object", "array"] } } }),
        _ => return None,
    };
    // Without a body it is unlocked with the server's own password.
    Some(json!({ "required": !matches!(target, Target::Unlock), "content": content }))
}

fn responses(target: &Target) -> Value {
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let (status, description, content) = match target {
        Target::Get(_) => (
            "200",
            "The secret",
            Some(json!({
                "application/json": { "schema": reference("Secret") },
                "text/plain": { "schema": { "type": "string" } },
                "application/octet-stream": {},
            })),
        ),
        Target::Put(_) | Target::Patch(_) | Target::Delete(_) => ("204", "The vault has it", None),
        Target::Unlock | Target::Lock | Target::ClearCache => ("204", "It is done", None),
        Target::Action(Action::Respond(_)) => ("200", "The secrets", Some(json_of(json!({})))),
        Target::Action(_) => ("200", "It is done", None),
        Target::RefreshCache => ("202", "What was found", Some(json_of(json!({ "type": "object" })))),
        Target::List(_) | Target::Vaults | Target::Mounts => {
            ("200", "The list", Some(json_of(json!({ "type": ["object", "array"] }))))
        }
        Target::Metrics => {
            ("200", "The counts", Some(json!({ "text/plain": { "schema": { "type": "string" } } })))
        }
        Target::StatusPage => ("200", "The page", Some(json!({ "text/html": {} }))),
        Target::StatusEvents => ("200", "The events", Some(json!({ "text/event-stream": {} }))),
        Target::Live | Target::Health | Target::Ready | Target::OpenApi => {
            ("200", "The state", Some(json_of(json!({ "type": "object" }))))
        }
    };
    let mut good = json!({ "description": description });
    if let Some(content) = content {
        good["content"] = content;
    }
    let mut all = Map::new();
    all.insert(status.to_owned(), good);
    all.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Error" }));
    all.into()
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn schemas() -> Value {
    let kinds = ["String", "SecureString", "ByteArray", "PSCredential", "Hashtable"];
    let value = json!({ "description": "A text, base64 of bytes, or an object, as the type has it" });
    json!({
        "Secret": {
            "type": "object",
            "required": ["Name", "Type", "Value"],
            "properties": { "Name": { "type": "string" }, "Type": { "enum": kinds }, "Value": value, "Metadata": { "type": "object" } },
        },
        "NewSecret": {
            "type": "object",
            "required": ["Value"],
            "properties": { "Type": { "enum": kinds }, "Value": value, "Metadata": { "type": "object" } },
        },
        "Form": { "type": "object", "required": ["Value"], "properties": { "Value": { "type": "string" } } },
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": { "error": {
                "type": "object",
                "required": ["code", "message", "hint"],
                "properties": { "code": { "type": "string" }, "message": { "type": "string" }, "hint": { "type": "string" } },
            } },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::{Plan, Route, Template};

    fn routes() -> Routes {
        let route =
            |method: &str, path: &str, action| Route { method: method.into(), path: path.into(), action };
        let respond = || Action::Respond(Template::Secret("S".to_owned()));
        let update = || Action::Update { secret: "S".to_owned(), field: "Value".to_owned() };
        let routes = vec![
            route("GET", "/secret", respond()),
            route("POST", "/secret", update()),
            route("GET", "/of/{user}/{*rest}", respond()),
            route("DELETE", "/secret", Action::Remove { secret: "S".to_owned() }),
        ];
        Routes::build(&Plan { routes, ..Plan::default() }, true).unwrap()
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let routes = routes();
        let document = document(&routes);
        let parsed: oas3::OpenApiV3Spec = oas3::from_json(document.to_string()).expect("OpenAPI 3.1");
        assert!(parsed.validate_version().is_ok());
        let described: BTreeSet<(String, String)> = parsed
            .operations()
            .map(|(path, method, _)| (path, method.as_str().to_ascii_uppercase()))
            .collect();
        let served: BTreeSet<(String, String)> =
            routes.all().map(|(pattern, method, _)| (path_of(pattern).0, method.to_string())).collect();
        assert_eq!(described, served);
        assert!(described.len() > 20);
    }

    #[test]
    fn places_are_parameters_operations_have_names_of_their_own_and_references_lead_somewhere() {
        let document = document(&routes());
        let mut names = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let places: Vec<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            for operation in operations.as_object().unwrap().values() {
                assert!(names.insert(operation["operationId"].to_string()), "{path}");
                let given: Vec<&str> = operation["parameters"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|parameter| parameter["in"] == "path")
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                assert_eq!(given, places, "{path}");
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}

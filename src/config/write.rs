//! Writes a plan as a configuration file.
//!
//! What [`super::parse`] reads from it is the same plan. What a file cannot say (script blocks, a password
//! given by value) stands there as a comment, so that nothing is lost in silence.

mod credentials;
mod spelling;

use std::fmt::Write as _;

use super::address::format_bind;
use crate::access::{self, GrantRule};
use crate::audit::{self, Destination};
use crate::plan::callers::{Callers, KeptToken};
use crate::plan::{
    Access, Action, AutoImport, CacheLimits, Expose, Extension, Keep, Limits, Listener, Mount, Plan,
    PoolLimits, Projection, Pwsh, Registry, Route, SecretSource, Tls, Vault,
};
use crate::secret::fold;
pub(super) use spelling::PLACEHOLDER;
use spelling::{duration, init_script, list, parameters, path, size, table, template_value, variable_for};
pub use spelling::{key, string};

/// Writes a plan as TOML. With `redact`, values of vault parameters are not shown. A password given by
/// value never is.
pub fn to_toml(plan: &Plan, redact: bool) -> String {
    let mut out = TomlWriter::default();
    out.unless("registry", plan.registry, Registry::Private, |_| string("user"));
    out.listeners(&plan.listeners);
    out.access(&plan.access, &plan.callers);
    out.pwsh(plan);
    out.pool(&plan.pool);
    out.limits(&plan.limits, &plan.callers.limits);
    out.cache(&plan.cache);
    out.credentials(plan.credentials.as_ref());
    out.audit(&plan.audit);
    out.auto_import(&plan.auto_import, &plan.vaults);
    for vault in &plan.vaults {
        out.vault(vault, redact);
    }
    for mount in &plan.mounts {
        out.mount(mount);
    }
    for route in &plan.routes {
        out.route(route);
    }
    out.text
}

#[derive(Default)]
struct TomlWriter {
    text: String,
}

impl TomlWriter {
    /// Starts a section; its keys follow.
    fn section(&mut self, header: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(header);
        self.text.push('\n');
    }

    /// Writes a line `key = value`, the value being TOML already.
    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{key} = {value}");
    }

    /// Writes the line if the value is not the default.
    fn unless<T: PartialEq + Copy>(&mut self, key: &str, value: T, default: T, show: impl Fn(T) -> String) {
        if value != default {
            self.line(key, show(value));
        }
    }

    fn comment(&mut self, text: &str) {
        self.text.push_str("# ");
        self.text.push_str(&text.replace(char::is_control, " "));
        self.text.push('\n');
    }

    // === sections ===

    fn listeners(&mut self, listeners: &[Listener]) {
        let address = |listener: &Listener| string(&format_bind(&listener.bind));
        if listeners.iter().all(|listener| listener.tls.is_none() && listener.name.is_none()) {
            match listeners {
                [] => {}
                [one] => self.line("listen", address(one)),
                many => self.line("listen", list(many.iter().map(address))),
            }
            return;
        }
        for listener in listeners {
            self.section("[[listeners]]");
            self.line("address", address(listener));
            match &listener.tls {
                Some(Tls::Files { certificate, key, clients }) => {
                    let files = [("certificate", path(certificate)), ("key", path(key))];
                    let clients = clients.as_ref().map(|clients| ("client_ca", path(clients)));
                    self.line("tls", table(files.into_iter().chain(clients)));
                }
                Some(Tls::SelfSigned) => self.line("tls", string("self-signed")),
                None => {}
            }
            if let Some(name) = &listener.name {
                self.line("name", string(name));
            }
        }
    }

    fn access(&mut self, access: &Access, callers: &Callers) {
        let rule = match access {
            Access::OwnToken | Access::Named => None,
            Access::TokenFile(file) => Some(("token_file", path(file))),
            Access::TokenEnv(name) => Some(("token_env", string(name))),
            Access::Open => Some(("open", "true".to_owned())),
        };
        if rule.is_some() || !callers.hosts.is_empty() || !callers.origins.is_empty() {
            self.section("[auth]");
        }
        rule.into_iter().for_each(|(key, value)| self.line(key, value));
        for (key, names) in [("allow_host", &callers.hosts), ("allow_origin", &callers.origins)] {
            if !names.is_empty() {
                self.line(key, list(names.iter().map(|name| string(name))));
            }
        }
        self.callers(callers);
    }

    fn callers(&mut self, callers: &Callers) {
        for token in &callers.tokens {
            self.section("[[tokens]]");
            self.line("name", string(&token.name));
            match &token.kept {
                KeptToken::File(file) => self.line("file", path(file)),
                KeptToken::Hash(hash) => self.line("hash", string(&hash.to_string())),
            }
            self.allow(&token.allow);
        }
        for peer in &callers.peers {
            self.section("[[peers]]");
            self.line("name", string(&peer.name));
            for (key, id) in [("uid", peer.uid), ("gid", peer.gid)] {
                id.into_iter().for_each(|id| self.line(key, id));
            }
            self.allow(&peer.allow);
        }
        for certificate in &callers.certificates {
            self.section("[[certificates]]");
            self.line("name", string(&certificate.name));
            for (key, name) in [("subject", &certificate.subject), ("san", &certificate.san)] {
                name.iter().for_each(|name| self.line(key, string(name)));
            }
            self.allow(&certificate.allow);
        }
    }

    fn allow(&mut self, rules: &[GrantRule]) {
        self.line("allow", list(rules.iter().map(|rule| string(&rule.to_string()))));
    }

    fn pwsh(&mut self, plan: &Plan) {
        let pwsh = &plan.pwsh;
        if *pwsh == Pwsh::default() && plan.init.is_empty() {
            return;
        }
        self.section("[pwsh]");
        if let Some(program) = &pwsh.path {
            self.line("path", path(program));
        }
        if !pwsh.module_path.is_empty() {
            self.line("module_path", list(pwsh.module_path.iter().map(|folder| path(folder))));
        }
        if !plan.init.is_empty() {
            self.line("init", list(plan.init.iter().map(init_script)));
        }
        if let Some(user) = &pwsh.user {
            self.line("user", string(user));
        }
        if let Some(home) = &pwsh.home {
            self.line("home", path(home));
        }
    }

    fn pool(&mut self, pool: &PoolLimits) {
        let default = PoolLimits::default();
        if *pool == default {
            return;
        }
        self.section("[pool]");
        // Both are written or neither: the default of one depends on the other.
        if (pool.min, pool.max) != (default.min, default.max) {
            self.line("min", pool.min);
            self.line("max", pool.max);
        }
        self.unless("queue", pool.queue, default.queue, |n| n.to_string());
        self.unless("max_calls", pool.max_calls, default.max_calls, |n| n.to_string());
        self.unless("max_age", pool.max_age, default.max_age, duration);
        self.unless("max_memory", pool.max_memory, default.max_memory, size);
        self.unless("start_limit", pool.start_limit, default.start_limit, duration);
    }

    fn cache(&mut self, cache: &CacheLimits) {
        let default = CacheLimits::default();
        if *cache == default {
            return;
        }
        self.section("[cache]");
        self.unless("max_entries", cache.max_entries, default.max_entries, |n| n.to_string());
        self.unless("max_bytes", cache.max_bytes as u64, default.max_bytes as u64, size);
    }

    fn limits(&mut self, limits: &Limits, callers: &access::CallLimits) {
        let default = Limits::default();
        if *limits == default && *callers == access::CallLimits::default() {
            return;
        }
        self.section("[limits]");
        for (key, count) in [
            ("rate_per_caller", callers.rate_per_caller),
            ("rate_per_address", callers.rate_per_address),
            ("concurrent_per_caller", callers.concurrent_per_caller),
            ("concurrent_per_address", callers.concurrent_per_address),
        ] {
            self.unless(key, count, 0, |n| n.to_string());
        }
        self.unless("deadline", limits.deadline, default.deadline, duration);
        self.unless("write_grace", limits.write_grace, default.write_grace, duration);
        self.unless("drain", limits.drain, default.drain, duration);
        self.unless("max_body", limits.max_body as u64, default.max_body as u64, size);
        self.unless("max_connections", limits.max_connections, default.max_connections, |n| n.to_string());
        let of_peer = (limits.max_connections_per_peer, default.max_connections_per_peer);
        self.unless("max_connections_per_peer", of_peer.0, of_peer.1, |n| n.to_string());
        self.unless("first_byte_timeout", limits.first_byte_timeout, default.first_byte_timeout, duration);
        self.unless("header_timeout", limits.header_timeout, default.header_timeout, duration);
        self.unless("idle_timeout", limits.idle_timeout, default.idle_timeout, duration);
        let (body, default) = (limits.body, default.body);
        let mut count = |key, value: usize, default| self.unless(key, value, default, |n| n.to_string());
        count("max_fields", body.max_fields, default.max_fields);
        count("max_parts", body.max_parts, default.max_parts);
        count("max_depth", body.max_depth, default.max_depth);
        count("max_digits", body.max_digits, default.max_digits);
        count("max_rows", body.max_rows, default.max_rows);
        count("max_values", body.max_values, default.max_values);
    }

    fn audit(&mut self, audit: &audit::AuditSettings) {
        if *audit == audit::AuditSettings::default() {
            return;
        }
        self.section("[audit]");
        match &audit.to {
            Destination::Stderr => {}
            Destination::File(path) => self.line("file", string(&path.to_string_lossy())),
            Destination::None => self.line("to", string("none")),
        }
        self.unless("chain", audit.chain, false, |flag| flag.to_string());
    }

    fn auto_import(&mut self, auto_import: &AutoImport, vaults: &[Vault]) {
        // An imported vault is not written as a vault: it is named in auto_import.expose.
        let imported = vaults
            .iter()
            .filter(|vault| vault.extension().is_some_and(|extension| extension.imported))
            .filter(|vault| auto_import.expose.iter().all(|expose| fold(&expose.vault) != fold(&vault.name)))
            .map(|vault| Expose { vault: vault.name.clone(), writable: !vault.read_only });
        let expose: Vec<Expose> = auto_import.expose.iter().cloned().chain(imported).collect();
        if auto_import.enabled && expose.is_empty() {
            return;
        }
        self.section("[auto_import]");
        self.unless("enabled", auto_import.enabled, true, |flag| flag.to_string());
        if !expose.is_empty() {
            let suffix = |writable| if writable { ":rw" } else { "" };
            self.line(
                "expose",
                list(expose.iter().map(|one| string(&format!("{}{}", one.vault, suffix(one.writable))))),
            );
        }
    }

    // === vaults, secrets, routes ===

    fn vault(&mut self, vault: &Vault, redact: bool) {
        let header = format!("[vaults.{}]", key(&vault.name));
        if vault.extension().is_some_and(|extension| extension.imported) {
            return;
        }
        if vault.custom().is_some() {
            self.section(&format!("# {header} is made of script blocks, which a file cannot hold"));
            return;
        }
        self.section(&header);
        if let Some((folder, key)) = vault.local() {
            self.line("local", true);
            for (name, file) in [("folder", folder), ("key", key)] {
                file.into_iter().for_each(|file| self.line(name, path(file)));
            }
        }
        if let Some(extension) = vault.extension() {
            self.extension(&vault.name, extension, redact);
        }
        self.keep(&vault.keep);
        self.unless("read_only", vault.read_only, false, |flag| flag.to_string());
        self.unless("expose", vault.exposed, false, |flag| flag.to_string());
        self.unless("repair", vault.repair, false, |flag| flag.to_string());
    }

    fn keep(&mut self, keep: &Keep) {
        let default = Keep::default();
        self.unless("cache_ttl", keep.ttl, default.ttl, duration);
        self.unless("negative_ttl", keep.negative_ttl, default.negative_ttl, duration);
        self.unless("max_stale", keep.max_stale, default.max_stale, duration);
        self.unless("refresh_ahead", keep.refresh_ahead, default.refresh_ahead, duration);
    }

    fn extension(&mut self, name: &str, extension: &Extension, redact: bool) {
        self.line("module", string(&extension.module));
        if extension.registered != name {
            self.line("vault_name", string(&extension.registered));
        }
        if !extension.parameters.0.is_empty() {
            self.line("parameters", parameters(extension, redact));
        }
        match &extension.unlock {
            Some(SecretSource::Env(name)) => self.line("unlock", table([("env", string(name))].into_iter())),
            Some(SecretSource::File(file)) => self.line("unlock", table([("file", path(file))].into_iter())),
            Some(SecretSource::Value(_)) => {
                let variable = variable_for(&extension.registered);
                self.comment("the password itself is not written here: put it in this variable");
                self.line("unlock", table([("env", string(&variable))].into_iter()));
            }
            None => {}
        }
        if !extension.unlock_interval.is_zero() {
            self.line("unlock_interval", duration(extension.unlock_interval));
        }
        self.unless("unlock_at_start", extension.unlock_at_start, true, |flag| flag.to_string());
        if let Some(parallel) = extension.parallel {
            self.line("parallel", parallel);
        }
        self.unless("keep_metadata", extension.keep_metadata, false, |flag| flag.to_string());
        if let Some(verify) = extension.verify {
            self.line("verify", verify);
        }
        match (extension.probe, extension.probe_every) {
            (false, _) => self.line("probe", false),
            (true, Some(every)) => self.line("probe", duration(every)),
            (true, None) => {}
        }
    }

    fn mount(&mut self, mount: &Mount) {
        self.section(&format!("[secrets.{}]", key(&mount.name)));
        self.line("vault", string(&mount.vault));
        if mount.key != mount.name {
            self.line("key", string(&mount.key));
        }
        match &mount.projection {
            Projection::Whole => {}
            Projection::Members(names) => self.line("property", list(names.iter().map(|name| string(name)))),
            Projection::Member(name) => self.line("expand_property", string(name)),
        }
        if let Some(ttl) = mount.cache_ttl {
            self.line("cache_ttl", duration(ttl));
        }
        self.unless("prefetch", mount.prefetch, false, |flag| flag.to_string());
    }

    fn route(&mut self, route: &Route) {
        self.section("[[routes]]");
        self.line("method", string(&route.method));
        self.line("path", string(&route.path));
        match &route.action {
            Action::Respond(template) => self.line("respond", template_value(template)),
            Action::Update { secret, field } => {
                self.line("update", string(secret));
                self.line("field", string(field));
            }
            Action::Remove { secret } => self.line("remove", string(secret)),
        }
    }
}

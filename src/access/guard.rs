//! The guard against web pages: what a browser sends on behalf of a page of another origin. Pure.
//!
//! A page gets at a server on its reader's machine or network in two ways. It sends requests from its own
//! origin; the browser then says so in `Origin`, `Sec-Fetch-Site` or `Referer`. Or it has its own name point to
//! the server (DNS rebinding); then `Host` is a name that is not the server's own. Programs send none of the
//! first, and call the server by its names and addresses.

use std::borrow::Cow;
use std::net::IpAddr;

use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN, REFERER, UPGRADE_INSECURE_REQUESTS};
use hyper::{HeaderMap, Method};

use super::AccessRefusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Which names are the server's own, and what was opened beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// In lower case, without a port: this machine's names.
    own: Vec<String>,
    /// As told: a name, `name:port`, `*.domain`, or `*` for all.
    hosts: Vec<String>,
    /// As told: `https://app.example`, `null`, or `*` for all.
    origins: Vec<String>,
}

impl Guard {
    /// Takes calls under these names, under any address, and under what `hosts` says; and requests of pages of
    /// its own and of `origins`.
    pub fn new(own: impl IntoIterator<Item = String>, hosts: &[String], origins: &[String]) -> Guard {
        let plain = |text: &String| text.trim().trim_end_matches('/').to_ascii_lowercase();
        Guard {
            own: own.into_iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect(),
            hosts: hosts.iter().map(plain).collect(),
            origins: origins.iter().map(plain).collect(),
        }
    }

    /// Says whether a request comes from no page but its own. HTTP/1.0 programs send no `Host`.
    pub fn judge(&self, method: &Method, headers: &HeaderMap) -> Result<(), AccessRefusal> {
        let host = match headers.get(HOST) {
            Some(host) => Some(lower_case(host.to_str().map_err(|_| AccessRefusal::Host)?)),
            None => None,
        };
        if host.as_deref().is_some_and(|host| !self.is_own(host)) {
            return Err(AccessRefusal::Host);
        }
        if self.may_ask(method, headers, host.as_deref()) { Ok(()) } else { Err(AccessRefusal::Browser) }
    }

    /// The origin of another site that was opened by name, if that is where the request comes from.
    pub fn opened<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut all = headers.get_all(ORIGIN).iter();
        let (origin, None) = (all.next()?, all.next()) else { return None };
        self.lists(origin.to_str().ok()?).then_some(origin)
    }

    fn may_ask(&self, method: &Method, headers: &HeaderMap, host: Option<&str>) -> bool {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let is_read = method == Method::GET || method == Method::HEAD;
        if headers.contains_key(ORIGIN) {
            let mut all = headers.get_all(ORIGIN).iter().map(|origin| origin.to_str().unwrap_or("?"));
            return all.all(|origin| self.lists(origin) || is_of_host(origin, host));
        }
        match text(&SEC_FETCH_SITE) {
            Some("same-origin" | "none") => return true,
            // A person follows a link; no page can read the answer.
            Some(_) => {
                let followed = text(&SEC_FETCH_MODE) == Some("navigate")
                    && matches!(text(&SEC_FETCH_DEST), None | Some("document"));
                return is_read && followed;
            }
            None => {}
        }
        // Browsers tell the above to trustworthy places alone; elsewhere there is the page's address, and for a
        // link the wish to go on by HTTPS.
        match text(&REFERER) {
            Some(from) => {
                let followed = is_read && headers.contains_key(UPGRADE_INSECURE_REQUESTS);
                followed || is_of_host(from, host) || origin_of(from).is_some_and(|from| self.lists(from))
            }
            None => true,
        }
    }

    fn lists(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.origins.iter().any(|listed| listed == "*" || *listed == origin)
    }

    fn is_own(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        let known =
            name == "localhost" || name.ends_with(".localhost") || self.own.iter().any(|own| own == name);
        // An address is what it says: only names can be made to point elsewhere.
        known || name.parse::<IpAddr>().is_ok() || self.hosts.iter().any(|listed| opens(listed, host, name))
    }
}

fn lower_case(text: &str) -> Cow<'_, str> {
    match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    }
}

fn opens(listed: &str, host: &str, name: &str) -> bool {
    match listed.strip_prefix("*.") {
        Some(domain) => name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
        None => listed == "*" || listed == name || listed == host,
    }
}

/// The name of an authority, without port, brackets and a last dot. Nothing where it is not an authority.
fn name_of(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => name,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty() && !name.contains(['@', '/', '\\', ' ', ','])).then_some(name)
}

/// `scheme://authority` of an address.
fn origin_of(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    address.get(..scheme.len() + 3 + authority.len())
}

/// Whether an origin, or an address, is of the host that was called. Behind a proxy that ends TLS the schemes
/// differ, so ports that are a scheme's own do not count.
fn is_of_host(origin: &str, host: Option<&str>) -> bool {
    let origin = origin.to_ascii_lowercase();
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let own = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let Some(host) = host else { return false };
    let bare = |text: &str| text.strip_suffix(own).unwrap_or(text).to_owned();
    !authority.is_empty() && bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(guard: &Guard, method: &str, fields: &[(&'static str, &str)]) -> Result<(), AccessRefusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        guard.judge(&method.parse().unwrap(), &headers)
    }

    fn guard() -> Guard {
        Guard::new(["Web1".to_owned(), "web1.corp.example".to_owned()], &[], &[])
    }

    #[test]
    fn the_machines_own_names_and_all_addresses_are_called_and_no_others() {
        for own in [
            "localhost",
            "LocalHost:8085",
            "127.0.0.1:8085",
            "[::1]:8085",
            "[::1]",
            "a.localhost",
            "10.1.2.3",
            "web1",
            "WEB1:80",
            "web1.",
            "web1.corp.example:8080",
            "192.168.7.9:8080",
        ] {
            assert_eq!(judge(&guard(), "GET", &[("host", own)]), Ok(()), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:8085",
            "localhost.evil.example",
            "web1.evil.example",
            "xweb1",
            "",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "[::1",
            "a,localhost",
            ":80",
        ] {
            assert_eq!(judge(&guard(), "GET", &[("host", foreign)]), Err(AccessRefusal::Host), "{foreign}");
        }
        assert_eq!(judge(&guard(), "GET", &[]), Ok(()), "HTTP/1.0");
    }

    #[test]
    fn a_proxys_names_are_opened_by_name_and_not_by_what_it_forwards() {
        let forwarded =
            [("host", "secrets.example"), ("x-forwarded-host", "localhost"), ("forwarded", "host=localhost")];
        assert_eq!(judge(&guard(), "GET", &forwarded), Err(AccessRefusal::Host));
        let opened = |hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            Guard::new([], &hosts, &[])
        };
        for (listed, host, may) in [
            ("secrets.example", "Secrets.Example:443", true),
            ("secrets.example:443", "secrets.example:443", true),
            ("secrets.example:443", "secrets.example:444", false),
            ("*.example", "secrets.example", true),
            ("*.example", "example", false),
            ("*.example", "notexample", false),
            ("*", "anything.test", true),
        ] {
            assert_eq!(judge(&opened(&[listed]), "GET", &[("host", host)]).is_ok(), may, "{listed} {host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused_in_every_shape() {
        let host = ("host", "127.0.0.1:8085");
        let ours = "http://127.0.0.1:8085";
        for (method, fields, may) in [
            ("POST", vec![], true),
            ("POST", vec![("origin", ours)], true),
            ("POST", vec![("origin", "https://127.0.0.1:8085")], true),
            ("POST", vec![("origin", "https://evil.example")], false),
            ("GET", vec![("origin", "https://evil.example")], false),
            ("POST", vec![("origin", "http://127.0.0.1:9999")], false),
            ("POST", vec![("origin", "http://localhost:8085")], false),
            ("POST", vec![("origin", "null")], false),
            ("POST", vec![("origin", ours), ("origin", "https://evil.example")], false),
            (
                "OPTIONS",
                vec![("origin", "https://evil.example"), ("access-control-request-private-network", "true")],
                false,
            ),
            (
                "GET",
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "no-cors"),
                    ("sec-fetch-dest", "image"),
                ],
                false,
            ),
            ("GET", vec![("sec-fetch-site", "same-site")], false),
            (
                "GET",
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                false,
            ),
            (
                "GET",
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                true,
            ),
            (
                "POST",
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                false,
            ),
            ("GET", vec![("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], true),
            ("POST", vec![("sec-fetch-site", "same-origin")], true),
            ("GET", vec![("referer", "http://evil.example/page")], false),
            ("GET", vec![("referer", "http://evil.example/page"), ("upgrade-insecure-requests", "1")], true),
            (
                "POST",
                vec![("referer", "http://evil.example/page"), ("upgrade-insecure-requests", "1")],
                false,
            ),
            ("POST", vec![("referer", "http://127.0.0.1:8085/form")], true),
            ("POST", vec![("referer", "http://127.0.0.1:8085.evil.example/")], false),
        ] {
            let all: Vec<_> = std::iter::once(host).chain(fields.iter().copied()).collect();
            assert_eq!(judge(&guard(), method, &all).is_ok(), may, "{method} {fields:?}");
        }
    }

    #[test]
    fn a_page_is_of_its_host_whatever_the_schemes_own_port() {
        for (origin, host, may) in [
            ("http://web1", "web1:80", true),
            ("https://web1", "web1:443", true),
            ("https://web1", "web1", true),
            ("http://web1", "web1:8080", false),
            ("file://", "web1", false),
        ] {
            assert_eq!(
                judge(&guard(), "POST", &[("host", host), ("origin", origin)]).is_ok(),
                may,
                "{origin} {host}"
            );
        }
    }

    #[test]
    fn origins_are_opened_by_name() {
        let guard = Guard::new([], &[], &["https://App.example/".to_owned()]);
        for (origin, may) in [
            ("https://app.example", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
        ] {
            let fields = [("host", "localhost"), ("origin", origin)];
            assert_eq!(judge(&guard, "POST", &fields).is_ok(), may, "{origin}");
        }
        assert!(
            judge(&guard, "GET", &[("host", "localhost"), ("referer", "https://app.example/x?y")]).is_ok()
        );
    }
}

use hyper::header::{HeaderName, HeaderValue};

use super::*;

const GOOD: &str = "0123456789abcdef";
const LOCAL: Peer =
    Peer::Tcp(std::net::SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 5000)));

fn ask(access: &AccessPolicy, peer: Peer, fields: &[(&'static str, &str)]) -> Result<Caller, AccessRefusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    access.identify(Knock { method: &Method::GET, headers: &headers, peer: &peer, certificate: None })
}

fn check_with(token: Option<&str>, fields: &[(&'static str, &str)]) -> Result<Caller, AccessRefusal> {
    let access =
        token.map_or_else(AccessPolicy::open, |text| AccessPolicy::token(&Token::from_text(text).unwrap()));
    ask(&access, LOCAL, fields)
}

#[test]
fn the_right_token_is_let_in_whatever_the_schemes_case() {
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let shown = format!("{scheme} {GOOD}");
        assert_eq!(check_with(Some(GOOD), &[("authorization", &shown)]), Ok(Caller::owner()));
    }
}

#[test]
fn a_wrong_token_is_told_from_a_missing_one() {
    for wrong in ["Bearer 0123456789abcdeX", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "Bearer "]
    {
        assert_eq!(
            check_with(Some(GOOD), &[("authorization", wrong)]),
            Err(AccessRefusal::WrongToken),
            "{wrong}"
        );
    }
    for missing in ["Basic 0123456789abcdef", "Bearer", "", GOOD] {
        assert_eq!(
            check_with(Some(GOOD), &[("authorization", missing)]),
            Err(AccessRefusal::NoToken),
            "{missing}"
        );
    }
    assert_eq!(check_with(Some(GOOD), &[]), Err(AccessRefusal::NoToken));
}

#[test]
fn two_authorization_fields_are_as_good_as_none() {
    let right = format!("Bearer {GOOD}");
    let both = [("authorization", right.as_str()), ("authorization", right.as_str())];
    assert_eq!(check_with(Some(GOOD), &both), Err(AccessRefusal::NoToken));
}

#[test]
fn a_browser_without_a_token_is_refused_and_one_with_it_is_not() {
    let page = [("host", "localhost"), ("origin", "https://evil.example")];
    let shown = format!("Bearer {GOOD}");
    let with_token = [page[0], page[1], ("authorization", shown.as_str())];
    assert_eq!(check_with(None, &page), Err(AccessRefusal::Browser));
    assert_eq!(check_with(Some(GOOD), &page), Err(AccessRefusal::Browser));
    // A token that no rule asks for says nothing about the caller.
    assert_eq!(check_with(None, &with_token), Err(AccessRefusal::Browser));
    assert_eq!(check_with(Some(GOOD), &with_token), Ok(Caller::owner()));
}

#[test]
fn a_foreign_name_is_refused_from_this_machine_and_from_others() {
    let remote = Peer::Tcp("192.0.2.7:1000".parse().unwrap());
    for peer in [LOCAL, remote] {
        assert_eq!(ask(&AccessPolicy::open(), peer, &[("host", "evil.example")]), Err(AccessRefusal::Host));
        assert_eq!(ask(&AccessPolicy::open(), peer, &[("host", "10.0.0.1:8080")]), Ok(Caller::Anyone));
    }
}

#[test]
fn each_token_has_its_holder_and_an_empty_list_lets_nobody_in() {
    let holder = |name: &str| Caller::Token(Holder::new(name, Vec::new()));
    let access = AccessPolicy::closed()
        .with_token(Hash::of(b"first-first-first"), holder("first"))
        .with_token(Hash::of(b"second-second-second"), holder("second"));
    for name in ["first", "second"] {
        let shown = format!("Bearer {name}-{name}-{name}");
        let caller = ask(&access, LOCAL, &[("authorization", &shown)]).unwrap();
        assert_eq!((caller.to_string(), caller.grants()), (format!("token:{name}"), &Grants::Nothing));
    }
    assert_eq!(ask(&AccessPolicy::closed(), LOCAL, &[]), Err(AccessRefusal::NoToken));
}

#[test]
fn a_user_of_this_machine_is_known_by_its_socket_alone() {
    let rule = |uid, gid, name| PeerRule { uid, gid, holder: Holder::new(name, Vec::new()) };
    let access = AccessPolicy::closed().with_peers(vec![
        rule(None, None, "nobody"),
        rule(Some(1001), Some(7), "both"),
        rule(Some(1001), None, "user"),
        rule(None, Some(9), "group"),
    ]);
    let unix = |uid, gid| Peer::Unix { uid, gid, pid: None };
    for (peer, who) in [
        (unix(Some(1001), Some(7)), Some("peer:both")),
        (unix(Some(1001), Some(8)), Some("peer:user")),
        (unix(Some(5), Some(9)), Some("peer:group")),
        (unix(Some(5), Some(8)), None),
        (unix(None, None), None),
        (LOCAL, None),
    ] {
        let caller = ask(&access, peer, &[]).ok().map(|caller| caller.to_string());
        assert_eq!(caller.as_deref(), who, "{peer:?}");
    }
}

#[test]
fn a_certificate_is_known_by_all_the_names_of_its_rule() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let rule = CertificateRule {
        names: names(&["CN=backup", "backup.example"]),
        holder: Holder::new("b", Vec::new()),
    };
    let access = AccessPolicy::closed().with_certificates(vec![rule]);
    for (shown, known) in [
        (Some(&["CN=backup", "backup.example", "other.example"][..]), true),
        (Some(&["CN=backup"][..]), false),
        (None, false),
    ] {
        let certificate = shown.map(|shown| Certificate { names: names(shown) });
        let headers = HeaderMap::new();
        let asked = Knock {
            method: &Method::GET,
            headers: &headers,
            peer: &LOCAL,
            certificate: certificate.as_ref(),
        };
        assert_eq!(access.identify(asked).is_ok(), known, "{shown:?}");
    }
}

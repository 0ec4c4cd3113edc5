use super::*;
use crate::plan::Tls;

fn on(bind: Bind) -> Listener {
    Listener { bind, tls: None, name: None }
}

fn on_tcp(address: &str) -> Listener {
    on(Bind::Tcp(address.parse().unwrap()))
}

fn error(listeners: &[Listener]) -> BindError {
    Door::bind(listeners).expect_err("must not bind")
}

#[tokio::test]
async fn port_zero_is_announced_as_the_port_taken() {
    let door = Door::bind(&[on_tcp("127.0.0.1:0"), on_tcp("127.0.0.1:0")]).unwrap();
    let urls: Vec<String> = door.addresses().iter().map(ToString::to_string).collect();
    assert!(urls.iter().all(|url| url.starts_with("http://127.0.0.1:") && !url.ends_with(":0")), "{urls:?}");
    assert_ne!(urls[0], urls[1]);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let door = Door::bind(&[on_tcp("127.0.0.1:0")]).unwrap();
    let Bind::Tcp(taken) = door.addresses()[0].bind else { unreachable!() };
    let error = error(&[on_tcp(&taken.to_string())]);
    assert!(matches!(error.kind, BindErrorKind::InUse));
    assert!(error.to_string().starts_with(&format!("cannot listen on http://{taken}: it is in use (hint: ")));
}

#[tokio::test]
async fn a_foreign_address_is_told_from_one_in_use() {
    // 192.0.2.0/24 is kept for documentation: no machine has it.
    assert!(matches!(error(&[on_tcp("192.0.2.1:0")]).kind, BindErrorKind::NotLocal));
}

#[tokio::test]
async fn one_bad_listener_frees_the_others() {
    let taken = Door::bind(&[on_tcp("127.0.0.1:0")]).unwrap();
    let free = taken.addresses()[0].to_string().replace("http://", "");
    drop(taken);
    error(&[on_tcp(&free), on_tcp("192.0.2.1:0")]);
    std::net::TcpListener::bind(free).expect("nobody listens there");
}

#[tokio::test]
async fn the_ipv6_wildcard_takes_ipv4_too() {
    let Ok(door) = Door::bind(&[on_tcp("[::]:0")]) else {
        eprintln!("skipped: no IPv6 on this machine");
        return;
    };
    let Bind::Tcp(address) = door.addresses()[0].bind else { unreachable!() };
    let BoundSocket::Tcp(_) = &door.entries[0].socket else { unreachable!() };
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).expect("reached over IPv4");
}

#[test]
fn the_ipv6_wildcard_leaves_ipv4_to_a_listener_of_its_own() {
    let all = [on_tcp("[::]:8085"), on_tcp("0.0.0.0:8085")];
    assert!(!dual_stack("[::]:8085".parse().unwrap(), &all));
    assert!(dual_stack("[::]:8086".parse().unwrap(), &all));
}

#[tokio::test]
async fn a_bad_certificate_names_address_and_file() {
    let tls = Tls::Files { certificate: "/absent.crt".into(), key: "/absent.key".into(), clients: None };
    let mut listener = on_tcp("127.0.0.1:0");
    listener.tls = Some(tls);
    let text = error(&[listener]).to_string();
    assert!(text.contains("https://127.0.0.1:0") && text.contains("/absent.crt"), "{text}");
}

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::Path;

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

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
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
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    error(&[on(Bind::Unix(path.clone())), on_tcp("192.0.2.1:0")]);
    assert!(!path.exists());
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
async fn a_unix_socket_is_private_and_goes_with_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let door = Door::bind(&[on(Bind::Unix(path.clone()))]).unwrap();
    assert_eq!(mode(&path), 0o600);
    drop(door);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let live = StdUnixListener::bind(&path).unwrap();
    let listener = on(Bind::Unix(path.clone()));
    assert!(matches!(error(std::slice::from_ref(&listener)).kind, BindErrorKind::InUse));
    drop(live);
    let _door = Door::bind(&[listener]).unwrap();
    UnixStream::connect(&path).expect("the new one answers");
}

#[tokio::test]
async fn a_file_in_the_way_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(error(&[on(Bind::Unix(path.clone()))]).kind, BindErrorKind::NotASocket));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[tokio::test]
async fn a_successor_keeps_its_socket_when_we_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let door = Door::bind(&[on(Bind::Unix(path.clone()))]).unwrap();
    // The successor's file exists beside ours before it takes the path, so the two cannot share an inode.
    let next = folder.path().join("next");
    let _successor = StdUnixListener::bind(&next).unwrap();
    std::fs::rename(&next, &path).unwrap();
    drop(door);
    assert!(path.exists());
}

#[tokio::test]
async fn a_socket_in_a_missing_folder_gets_its_hint() {
    let folder = tempfile::tempdir().unwrap();
    let error = error(&[on(Bind::Unix(folder.path().join("absent/socket")))]);
    assert!(matches!(error.kind, BindErrorKind::NoFolder), "{error}");
}

#[tokio::test]
async fn a_bad_certificate_names_address_and_file() {
    let tls = Tls::Files { certificate: "/absent.crt".into(), key: "/absent.key".into(), clients: None };
    let mut listener = on_tcp("127.0.0.1:0");
    listener.tls = Some(tls);
    let text = error(&[listener]).to_string();
    assert!(text.contains("https://127.0.0.1:0") && text.contains("/absent.crt"), "{text}");
}

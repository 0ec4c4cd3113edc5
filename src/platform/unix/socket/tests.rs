use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};

use super::*;
use crate::platform::testing::mode;

fn refusal(path: &Path) -> LocalBindError {
    SystemListener::bind(path).err().expect("must not bind")
}

#[tokio::test]
async fn a_socket_is_private_and_goes_with_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = SystemListener::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let live = StdUnixListener::bind(&path).unwrap();
    assert!(matches!(refusal(&path), LocalBindError::Io(error) if error.kind() == io::ErrorKind::AddrInUse));
    drop(live);
    let _listener = SystemListener::bind(&path).unwrap();
    StdUnixStream::connect(&path).expect("the new one answers");
}

#[tokio::test]
async fn a_file_in_the_way_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(refusal(&path), LocalBindError::NotASocket));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[tokio::test]
async fn a_successor_keeps_its_socket_when_we_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = SystemListener::bind(&path).unwrap();
    // The successor's file exists beside ours before it takes the path, so the two cannot share an inode.
    let next = folder.path().join("next");
    let _successor = StdUnixListener::bind(&next).unwrap();
    fs::rename(&next, &path).unwrap();
    drop(listener);
    assert!(path.exists());
}

#[tokio::test]
async fn a_missing_folder_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(refusal(&folder.path().join("absent/socket")), LocalBindError::NoFolder));
}

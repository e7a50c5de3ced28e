//! Managers of other versions, other managers, and what is no manager at all.

use campusgrid_identity::authority::Authority;
use campusgrid_identity::machine::{Trust, client_config, wrong_fingerprint};
use campusgrid_protocol::hello::from_manager;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::clock::now;

fn authority() -> Authority {
    let dir = tempfile::tempdir().unwrap();
    Authority::load_or_make(&dir.path().join("tls"), now()).unwrap()
}

/// Dials a manager that answers the hello with `answer`, then hangs up.
async fn dialled(authority: &Authority, trust: Trust, answer: &[u8]) -> Result<(), WorkerError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(authority.server_config(now).unwrap());
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(socket).await else { return };
        let mut hello = [0; HELLO_BYTES];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(answer).await.unwrap();
        let _ = stream.shutdown().await;
    };
    let manager = ManagerAddress { host: "127.0.0.1".to_owned(), port };
    let door = Door { manager, tls: client_config(trust, None).unwrap() };
    let (dialled, ()) = tokio::join!(dial(&door, ConnectionKind::Control), serve);
    dialled.map(|(_, fingerprint)| assert_eq!(fingerprint, authority.fingerprint()))
}

async fn check(answer: &[u8], expected: &str) {
    let error = dialled(&authority(), Trust::FirstUse, answer).await.unwrap_err();
    let error = anyhow::Error::new(error);
    assert!(format!("{error:#}").contains(expected), "{error:#}");
}

#[tokio::test]
async fn a_manager_of_another_version_is_told_apart_in_words() {
    let mut newer = from_manager(0);
    newer[4..8].copy_from_slice(&[7, 0, 9, 0]);
    check(&newer, "worker speaks protocol 5 to 5, manager 7 to 9: update the worker").await;
}

#[tokio::test]
async fn what_is_no_manager_is_recognised_as_such() {
    check(b"HTTP/1.1 400 Bad", "does not speak CampusGrid").await;
    check(b"short", "broke off before").await;
}

#[tokio::test]
async fn another_manager_than_the_one_that_is_known_hears_nothing() {
    let (known, other) = (authority(), authority());
    let trust = Trust::Pinned(known.fingerprint());
    let hello = from_manager(campusgrid_protocol::message::PROTOCOL_VERSION);
    dialled(&known, trust, &hello).await.unwrap();
    let error = dialled(&other, trust, &hello).await.unwrap_err();
    let wrong = wrong_fingerprint(&error).unwrap();
    assert_eq!((wrong.expected, wrong.seen), (known.fingerprint(), other.fingerprint()));
}

#[tokio::test]
async fn what_does_not_speak_tls_is_an_ordinary_failure() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"SSH-2.0-OpenSSH\r\n").await.unwrap();
    };
    let manager = ManagerAddress { host: "127.0.0.1".to_owned(), port };
    let door = Door { manager, tls: client_config(Trust::FirstUse, None).unwrap() };
    let (dialled, ()) = tokio::join!(dial(&door, ConnectionKind::Control), serve);
    let error = dialled.map(drop).unwrap_err();
    assert!(matches!(error, WorkerError::Handshake { .. }), "{error:?}");
    assert!(wrong_fingerprint(&error).is_none());
}

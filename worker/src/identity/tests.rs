//! Identities that are made, lost, damaged, renewed and forgotten.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use campusgrid_identity::authority::{Authority, MACHINE_LIFE};
use campusgrid_identity::request::ProvenKey;
use campusgrid_protocol::id::{VoucherId, VoucherSecret};
use tempfile::TempDir;

use super::*;
use crate::clock::now;

fn authority(dir: &TempDir) -> Authority {
    Authority::load_or_make(&dir.path().join("tls"), now()).unwrap()
}

fn token(authority: &Authority, id: u64) -> JoinToken {
    let (id, secret) = (VoucherId(id), VoucherSecret([7; 16]));
    JoinToken { fingerprint: authority.fingerprint(), id, secret }
}

fn certificate(authority: &Authority, identity: &Identity, life: Duration) -> Vec<u8> {
    let key = ProvenKey::from_request(&identity.request("laptop").unwrap()).unwrap();
    authority.issue(&key, "laptop", now(), life).unwrap().der
}

fn names(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data.join("identity")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_machine_keeps_its_key_and_nobody_else_can_read_it() {
    let (data, manager) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(data.path().join("key"), [7; 32]).unwrap();
    let mut first = Identity::open(data.path(), None).unwrap();
    assert!(first.must_enrol() && first.as_worker().unwrap().is_none());
    assert!(!data.path().join("key").exists(), "what it was known by before is gone");
    let authority = authority(&manager);
    let der = certificate(&authority, &first, MACHINE_LIFE);
    first.take(authority.fingerprint(), der).await.unwrap();
    let second = Identity::open(data.path(), None).unwrap();
    assert!(!second.must_enrol() && second.as_worker().unwrap().is_some());
    assert_eq!(first.key.hash(), second.key.hash());
    assert_eq!(second.manager, Some(authority.fingerprint()));
    assert_eq!(names(data.path()), ["certificate", "key.pem", "manager"]);
    for name in names(data.path()) {
        let path = data.path().join("identity").join(name);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_token_is_used_once_and_outlives_a_crash_before_that() {
    let (data, manager) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = authority(&manager);
    keep_token(data.path(), &token(&authority, 1)).unwrap();
    for _start in 0..2 {
        let identity = Identity::open(data.path(), None).unwrap();
        assert!(matches!(identity.proof(None), Proof::Token { id: VoucherId(1), .. }));
    }
    let mut identity = Identity::open(data.path(), None).unwrap();
    let der = certificate(&authority, &identity, MACHINE_LIFE);
    identity.take(authority.fingerprint(), der).await.unwrap();
    assert_eq!(names(data.path()), ["certificate", "key.pem", "manager", "spent"]);
    // A service that is given it at every start.
    let again = Identity::open(data.path(), Some(token(&authority, 1))).unwrap();
    assert!(!again.must_enrol());
    // A new one lets a machine in again that was removed.
    let anew = Identity::open(data.path(), Some(token(&authority, 2))).unwrap();
    assert!(anew.must_enrol() && anew.has_token());
}

#[tokio::test]
async fn another_managers_token_changes_nothing() {
    let (data, manager) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = tempfile::tempdir().unwrap();
    let (authority, other) = (authority(&manager), authority(&other));
    let mut identity = Identity::open(data.path(), None).unwrap();
    let der = certificate(&authority, &identity, MACHINE_LIFE);
    identity.take(authority.fingerprint(), der).await.unwrap();
    keep_token(data.path(), &token(&other, 1)).unwrap();
    let mut identity = Identity::open(data.path(), None).unwrap();
    let wrong = identity.take_foreign_token().await.unwrap();
    assert_eq!((wrong.expected, wrong.seen), (authority.fingerprint(), other.fingerprint()));
    let mut identity = Identity::open(data.path(), None).unwrap();
    assert!(identity.take_foreign_token().await.is_none() && !identity.must_enrol());
}

#[tokio::test]
async fn a_certificate_for_another_key_is_not_taken() {
    let (data, manager) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = authority(&manager);
    let mut identity = Identity::open(data.path(), None).unwrap();
    let other = Identity::open(manager.path(), None).unwrap();
    for der in [certificate(&authority, &other, MACHINE_LIFE), b"nonsense".to_vec(), Vec::new()] {
        let error = identity.take(authority.fingerprint(), der).await.unwrap_err();
        assert!(matches!(error, WorkerError::BadCertificate));
    }
    assert_eq!(names(data.path()), ["key.pem"]);
}

#[tokio::test]
async fn what_is_damaged_is_an_error_rather_than_another_identity() {
    let (data, manager) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = authority(&manager);
    let mut identity = Identity::open(data.path(), None).unwrap();
    let der = certificate(&authority, &identity, MACHINE_LIFE);
    identity.take(authority.fingerprint(), der).await.unwrap();
    for name in ["certificate", "key.pem", "manager"] {
        let path = data.path().join("identity").join(name);
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], &[], &[0xff, 0xfe]] {
            fs::write(&path, damaged).unwrap();
            let error = Identity::open(data.path(), None).unwrap_err();
            assert!(matches!(error, WorkerError::DamagedIdentity { .. }), "{name}: {error:?}");
        }
        fs::write(&path, whole).unwrap();
    }
    Identity::open(data.path(), None).unwrap();
    // A certificate without the manager it is of, or for another key.
    let path = data.path().join("identity/manager");
    fs::remove_file(&path).unwrap();
    Identity::open(data.path(), None).unwrap_err();
    fs::write(path, authority.fingerprint().to_string()).unwrap();
    fs::remove_file(data.path().join("identity/key.pem")).unwrap();
    Identity::open(data.path(), None).unwrap_err();
}

#[tokio::test]
async fn what_is_forgotten_is_gone_and_results_are_not() {
    let (data, manager) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = authority(&manager);
    assert_eq!(forget(data.path()).unwrap(), Forgotten::Nothing);
    let mut identity = Identity::open(data.path(), None).unwrap();
    let der = certificate(&authority, &identity, MACHINE_LIFE);
    identity.take(authority.fingerprint(), der).await.unwrap();
    fs::create_dir(data.path().join("spool")).unwrap();
    let manager = Some(authority.fingerprint().to_string());
    assert_eq!(forget(data.path()).unwrap(), Forgotten::Identity { manager });
    assert!(data.path().join("spool").exists() && !data.path().join("identity").exists());
    let anew = Identity::open(data.path(), None).unwrap();
    assert!(anew.must_enrol() && anew.key.hash() != identity.key.hash());
}

//! Real handshakes in memory between authorities, machines and strangers.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::{Authority, MACHINE_LIFE};
use crate::IdentityError;
use crate::fingerprint::Fingerprint;
use crate::machine::{
    Identity, MachineKey, Term, Trust, client_config, is_certificate_refused, key_hash,
    server_name, wrong_fingerprint,
};
use crate::request::ProvenKey;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn authority() -> Authority {
    let dir = tempfile::tempdir().unwrap();
    Authority::load_or_make(&dir.path().join("tls"), now()).unwrap()
}

fn serves(authority: &Authority) -> Arc<ServerConfig> {
    authority.server_config(now).unwrap()
}

fn pinned(authority: &Authority) -> Trust {
    Trust::Pinned(authority.fingerprint())
}

/// A certificate of `authority` for a key, made at a time.
fn issued(authority: &Authority, key: &MachineKey, at: SystemTime) -> Vec<u8> {
    let proven = ProvenKey::from_request(&key.request("laptop").unwrap()).unwrap();
    authority.issue(&proven, "laptop", at, MACHINE_LIFE).unwrap().der
}

/// What both ends make of each other: the manager's view of the machine, the machine's of the manager.
struct Met {
    machine: Option<[u8; 32]>,
    manager: Fingerprint,
}

/// Shakes hands; then each end sends a byte, since a machine learns with its first read only whether
/// its certificate was good.
fn meet(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Result<Met, io::Error> {
    let mut client = ClientConnection::new(client, server_name()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let other = io::Error::other;
    let mut first = None;
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes)?;
        server.read_tls(&mut &bytes[..])?;
        if let Err(error) = server.process_new_packets() {
            first.get_or_insert(error);
        }
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes)?;
        client.read_tls(&mut &bytes[..])?;
        client.process_new_packets().map_err(other)?;
    }
    if let Some(error) = first {
        return Err(other(error));
    }
    let machine = server.peer_certificates().map(|chain| key_hash(&chain[0]).unwrap());
    let manager = Fingerprint::of_chain(client.peer_certificates().unwrap()).unwrap();
    Ok(Met { machine, manager })
}

#[test]
fn an_authority_is_made_once_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    let made = Authority::load_or_make(&tls, now()).unwrap();
    let later = Authority::load_or_make(&tls, now() + MACHINE_LIFE).unwrap();
    assert_eq!(made.fingerprint(), later.fingerprint());
    let mode = |path: &str| fs::metadata(tls.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("ca.key")), (0o700, 0o600));
    // What was made before still meets what is read later.
    assert!(meet(client_config(pinned(&made), None).unwrap(), serves(&later)).is_ok());
    assert_ne!(made.fingerprint(), authority().fingerprint());
}

#[test]
fn a_start_that_was_broken_off_leaves_no_half_authority() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tls.new")).unwrap();
    fs::write(dir.path().join("tls.new/ca.key"), "half").unwrap();
    Authority::load_or_make(&dir.path().join("tls"), now()).unwrap();
    assert!(!dir.path().join("tls.new").exists());
}

#[test]
fn what_is_wrong_with_an_authority_is_said_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    let load = || Authority::load_or_make(&tls, now()).unwrap_err();
    let fingerprint = Authority::load_or_make(&tls, now()).unwrap().fingerprint();
    let key = fs::read(tls.join("ca.key")).unwrap();

    fs::set_permissions(tls.join("ca.key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(load(), IdentityError::KeyReadable { mode: 0o640, .. }));
    fs::set_permissions(tls.join("ca.key"), fs::Permissions::from_mode(0o600)).unwrap();

    fs::rename(tls.join("ca.pem"), dir.path().join("aside")).unwrap();
    assert!(matches!(load(), IdentityError::Incomplete { .. }));
    fs::write(tls.join("ca.pem"), "nonsense").unwrap();
    assert!(matches!(load(), IdentityError::Pem { .. }));
    fs::rename(dir.path().join("aside"), tls.join("ca.pem")).unwrap();

    fs::write(tls.join("ca.key"), MachineKey::make().unwrap().to_pem()).unwrap();
    assert!(matches!(load(), IdentityError::Mismatch { .. }));
    fs::write(tls.join("ca.key"), "nonsense").unwrap();
    assert!(matches!(load(), IdentityError::Key(_)));

    fs::write(tls.join("ca.key"), key).unwrap();
    assert_eq!(Authority::load_or_make(&tls, now()).unwrap().fingerprint(), fingerprint);
}

#[test]
fn a_machine_is_known_by_its_key_whatever_its_certificate() {
    let authority = authority();
    let key = MachineKey::make().unwrap();
    let kept = MachineKey::from_pem(&key.to_pem()).unwrap();
    for at in [now(), now() - MACHINE_LIFE / 2] {
        let certificate = issued(&authority, &key, at);
        let identity = Identity { certificate: &certificate, key: &kept };
        let client = client_config(pinned(&authority), Some(identity)).unwrap();
        let met = meet(client, serves(&authority)).unwrap();
        assert_eq!(met.machine, Some(key.hash()));
        assert_eq!(met.manager, authority.fingerprint());
    }
}

#[test]
fn who_shows_no_certificate_is_nobody() {
    let authority = authority();
    let client = client_config(Trust::FirstUse, None).unwrap();
    let met = meet(client, serves(&authority)).unwrap();
    assert_eq!((met.machine, met.manager), (None, authority.fingerprint()));
}

#[test]
fn a_certificate_out_of_date_is_refused() {
    let authority = authority();
    let key = MachineKey::make().unwrap();
    for at in [now() - MACHINE_LIFE - Duration::from_secs(1), now() + MACHINE_LIFE] {
        let certificate = issued(&authority, &key, at);
        let identity = Identity { certificate: &certificate, key: &key };
        let client = client_config(pinned(&authority), Some(identity)).unwrap();
        let refused = meet(client, serves(&authority)).err().unwrap();
        assert!(is_certificate_refused(&refused), "{refused:?}");
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (ours, other) = (authority(), authority());
    let key = MachineKey::make().unwrap();
    let certificate = issued(&other, &key, now());
    let identity = Identity { certificate: &certificate, key: &key };
    let client = client_config(pinned(&ours), Some(identity)).unwrap();
    let refused = meet(client, serves(&ours)).err().unwrap();
    assert!(is_certificate_refused(&refused), "{refused:?}");
}

#[test]
fn a_certificate_goes_with_its_key_only() {
    let authority = authority();
    let (key, other) = (MachineKey::make().unwrap(), MachineKey::make().unwrap());
    let certificate = issued(&authority, &key, now());
    let identity = Identity { certificate: &certificate, key: &other };
    let refused = client_config(pinned(&authority), Some(identity));
    assert!(matches!(refused, Err(IdentityError::Tls(_))));
}

#[test]
fn another_manager_is_found_out_before_anything_is_sent() {
    let (expected, other) = (authority(), authority());
    let client = client_config(pinned(&expected), None).unwrap();
    let refused = meet(client, serves(&other)).err().unwrap();
    let wrong = wrong_fingerprint(&refused).unwrap();
    assert_eq!((wrong.expected, wrong.seen), (expected.fingerprint(), other.fingerprint()));
    assert!(!is_certificate_refused(&refused));
}

/// Serves with this chain and key, whatever they are worth.
fn impostor(chain: Vec<CertificateDer<'static>>, key: &MachineKey) -> Arc<ServerConfig> {
    let key = rcgen::KeyPair::from_pem(&key.to_pem()).unwrap().serialize_der();
    let config = ServerConfig::builder_with_provider(crate::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, rustls::pki_types::PrivateKeyDer::Pkcs8(key.into()));
    Arc::new(config.unwrap())
}

#[test]
fn who_answers_in_place_of_every_host_is_no_other_manager() {
    let (expected, portal) = (authority(), authority());
    let names = ["login.example.org".to_owned()];
    let made = portal.dashboard_certificate(&names, now()).unwrap();
    let config = ServerConfig::builder_with_provider(crate::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(made.chain, made.key)
        .unwrap();
    let client = client_config(pinned(&expected), None).unwrap();
    let refused = meet(client, Arc::new(config)).err().unwrap();
    assert!(wrong_fingerprint(&refused).is_none());
}

#[test]
fn a_machine_cannot_pass_for_the_manager() {
    let authority = authority();
    let key = MachineKey::make().unwrap();
    let certificate = CertificateDer::from(issued(&authority, &key, now()));
    let ca = CertificateDer::from(authority.certificate().to_vec());
    let client = || client_config(pinned(&authority), None).unwrap();
    assert!(meet(client(), impostor(vec![certificate.clone(), ca.clone()], &key)).is_err());
    assert!(meet(client(), impostor(vec![certificate], &key)).is_err());
}

#[test]
fn the_real_authoritys_certificate_behind_a_strangers_helps_nobody() {
    let (ours, strangers) = (authority(), authority());
    let key = MachineKey::make().unwrap();
    let chain = vec![
        CertificateDer::from(issued(&strangers, &key, now())),
        CertificateDer::from(ours.certificate().to_vec()),
    ];
    for trust in [pinned(&ours), Trust::FirstUse] {
        let client = client_config(trust, None).unwrap();
        assert!(meet(client, impostor(chain.clone(), &key)).is_err());
    }
}

#[test]
fn the_dashboards_certificate_is_no_managers() {
    let authority = authority();
    let names = ["grid.example.org".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = authority.dashboard_certificate(&names, now()).unwrap();
    assert_eq!(made.chain.len(), 2);
    let config = ServerConfig::builder_with_provider(crate::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(made.chain, made.key)
        .unwrap();
    let client = client_config(pinned(&authority), None).unwrap();
    assert!(meet(client, Arc::new(config)).is_err());
    for name in ["manager.campusgrid", "MANAGER.campusgrid", "", "a b", "é", "*"] {
        let refused = authority.dashboard_certificate(&[name.to_owned()], now());
        assert!(matches!(refused, Err(IdentityError::Name { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn a_certificate_says_when_to_renew_it() {
    let authority = authority();
    let key = MachineKey::make().unwrap();
    let term = Term::of(&issued(&authority, &key, now())).unwrap();
    assert_eq!(term.until, now() + MACHINE_LIFE);
    assert_eq!(term.from, now() - Duration::from_secs(3600));
    let left = term.until.duration_since(term.renew_at()).unwrap();
    assert!(left > MACHINE_LIFE / 3 && left < MACHINE_LIFE / 3 + Duration::from_secs(3600));
    // From 2050 on, certificates write their dates in another way.
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    assert_eq!(Term::of(&issued(&authority, &key, later)).unwrap().until, later + MACHINE_LIFE);
    assert!(matches!(Term::of(b"nonsense"), Err(IdentityError::Certificate)));
    assert!(matches!(key_hash(b"nonsense"), Err(IdentityError::Certificate)));
}

#[test]
fn what_a_request_says_of_itself_counts_for_nothing() {
    let authority = authority();
    let key = MachineKey::make().unwrap();
    let pair = rcgen::KeyPair::from_pem(&key.to_pem()).unwrap();
    let mut wishes = rcgen::CertificateParams::new(vec!["manager.campusgrid".to_owned()]).unwrap();
    wishes.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    wishes.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let request = wishes.serialize_request(&pair).unwrap();
    let proven = ProvenKey::from_request(request.der()).unwrap();
    let issued = authority.issue(&proven, "laptop", now(), MACHINE_LIFE).unwrap();
    assert_eq!(issued.key_hash, key.hash());
    let found = |text: &[u8]| issued.der.windows(text.len()).any(|bytes| bytes == text);
    assert!(found(b"laptop") && !found(b"manager.campusgrid"));
    let ca = CertificateDer::from(authority.certificate().to_vec());
    let chain = vec![CertificateDer::from(issued.der), ca];
    let client = client_config(pinned(&authority), None).unwrap();
    assert!(meet(client, impostor(chain, &key)).is_err());
}

#[test]
fn secrets_do_not_reach_a_log() {
    let key = MachineKey::make().unwrap();
    assert_eq!(format!("{key:?}"), "MachineKey(…)");
    let authority = authority();
    assert_eq!(format!("{authority:?}"), format!("Authority({})", authority.fingerprint()));
}

//! The dashboard over TLS, as browsers of today and of some years ago speak it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use campusgrid_manager::web::TlsSetting;
use nix::sys::signal::{Signal, raise};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::site::{Answer, FORM, Site};

fn own() -> Site {
    Site::start_with(|config| config.web.tls = TlsSetting::Own { names: Vec::new() })
}

/// A connection as somebody has it who trusts this certificate.
fn connect(
    site: &Site,
    trusted: CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, site.connect())
}

fn ask(site: &Site, version: &'static SupportedProtocolVersion, request: &str) -> Answer {
    let trusted = CertificateDer::from(site.authority.certificate().to_vec());
    let mut stream = connect(site, trusted, version);
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    // A server that closes without a farewell is known to have said all by the length.
    drop(stream.read_to_string(&mut text));
    Answer::parse(&text)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

#[test]
fn browsers_of_two_generations_are_served_and_bound_to_encryption() {
    let site = own();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let answer = ask(&site, version, &get("/health"));
        assert_eq!((answer.status, answer.value()["status"].as_str()), (200, Some("ok")));
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    }
    let page = ask(&site, &rustls::version::TLS13, &get("/login"));
    assert_eq!(page.status, 200);
    let cookies: Vec<&String> = page
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value)
        .collect();
    for cookie in cookies {
        assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure"), "{cookie}");
    }
}

#[test]
fn a_page_that_came_without_encryption_is_another_site() {
    let site = own();
    let body = "name=ada&password=correct+horse+battery";
    let post = |origin: &str| {
        let length = body.len();
        let request = format!(
            "POST /register HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nOrigin: {origin}\r\n\
             {FORM}Content-Length: {length}\r\n\r\n{body}"
        );
        ask(&site, &rustls::version::TLS13, &request)
    };
    let foreign = post("http://localhost");
    assert_eq!(foreign.status, 403);
    assert!(foreign.body.contains("another site"), "{}", foreign.body);
    assert!(!post("https://localhost").body.contains("another site"));
}

#[test]
fn plain_http_is_told_where_to_go() {
    let site = own();
    let answer = site.ask("GET /jobs?everyone=true", "", "");
    let expected = format!("https://{}/jobs?everyone=true", site.address);
    assert_eq!((answer.status, answer.header("location")), (307, expected.as_str()));
    assert!(answer.body.contains("HTTPS only"));
    let answer = site.ask("POST /api/v1/login", "Content-Type: application/json\r\n", "{}");
    assert_eq!(answer.status, 400);
    let answer = site.ask("GET /api/v1/me", "Authorization: Bearer 00\r\n", "");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("revoke it"), "{}", answer.body);
}

#[test]
fn what_is_neither_ends_at_once_and_nobody_waits_for_the_silent() {
    let mut site = own();
    let mut other = site.connect();
    other.write_all(b"\x00\x01\x02 hello").unwrap();
    assert_eq!(other.read(&mut [0; 16]).unwrap_or(0), 0);
    let mut half = site.connect();
    half.write_all(b"\x16\x03\x01").unwrap(); // The beginning of a handshake.
    let silent = site.connect();
    assert_eq!(ask(&site, &rustls::version::TLS13, &get("/health")).status, 200);
    site.shutdown.cancel();
    site.server.take().unwrap().join().unwrap();
    drop((half, silent));
}

/// Writes a new certificate with its key; yields the certificate.
fn renew(directory: &Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(directory.join("certificate.pem"), certificate.pem()).unwrap();
    certificate.into()
}

#[test]
fn a_renewed_certificate_needs_no_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) =
        (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
    let first = renew(directory.path());
    let site = Site::start_with(|config| config.web.tls = TlsSetting::Files { certificate, key });
    let is_shown = |trusted: &CertificateDer<'static>| {
        let mut stream = connect(&site, trusted.clone(), &rustls::version::TLS13);
        stream.write_all(get("/health").as_bytes()).is_ok_and(|()| {
            drop(stream.read(&mut [0; 16]));
            stream.conn.peer_certificates().is_some_and(|shown| shown[0] == *trusted)
        })
    };
    assert!(is_shown(&first));
    let second = renew(directory.path());
    assert!(!is_shown(&second), "nobody has looked yet");
    raise(Signal::SIGHUP).unwrap();
    assert!((0..10_000).any(|_| is_shown(&second)));
    assert!(!is_shown(&first));
}

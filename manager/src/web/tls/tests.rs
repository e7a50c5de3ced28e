//! Certificates as people leave them in files, and as they change.

use std::fs;
use std::path::PathBuf;

use campusgrid_core::time::Timestamp;
use rcgen::{CertificateParams, KeyPair};

use super::{Certificates, Source, TlsError, parse_names};
use crate::clock::Clock;

/// A directory with a certificate and its key.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.renew();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a new pair; yields the certificate.
    fn renew(&self) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let names = vec!["grid.campus".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        fs::write(self.path("key"), key.serialize_pem()).unwrap();
        fs::write(self.path("certificate"), certificate.pem()).unwrap();
        certificate.der().to_vec()
    }

    fn open(&self) -> Result<Certificates, TlsError> {
        let source = Source::Files { certificate: self.path("certificate"), key: self.path("key") };
        Certificates::new(source, Clock::start(Timestamp(0)))
    }
}

fn shown(certificates: &Certificates) -> Vec<u8> {
    certificates.current.0.read().unwrap().cert[0].to_vec()
}

#[test]
fn what_is_wrong_with_files_is_said() {
    let files = Files::new();
    let good = |name: &str| fs::read(files.path(name)).unwrap();
    let (certificate, key) = (good("certificate"), good("key"));
    let of_other = {
        let other = Files::new();
        fs::read(other.path("key")).unwrap()
    };
    let check = |certificate: &[u8], key: &[u8], words: &str| {
        fs::write(files.path("certificate"), certificate).unwrap();
        fs::write(files.path("key"), key).unwrap();
        let error = files.open().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    check(b"", &key, "certificate has no certificate in PEM");
    check(b"\x30\x82", &key, "certificate has no certificate in PEM");
    check(&key, &key, "certificate has no certificate in PEM");
    check(
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        &key,
        "no certificate",
    );
    check(&certificate, b"", "key has no key in PEM");
    check(&certificate, &certificate, "key has no key in PEM");
    check(&certificate, &of_other, "is not that of the first certificate");
    check(&vec![b'x'; 2 << 20], &key, "bytes, which is no certificate");
    fs::remove_file(files.path("certificate")).unwrap();
    assert!(files.open().unwrap_err().to_string().starts_with("failed to read"));
    fs::create_dir(files.path("certificate")).unwrap();
    assert!(files.open().unwrap_err().to_string().starts_with("failed to read"));
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let files = Files::new();
    let mut certificates = files.open().unwrap();
    let first = shown(&certificates);
    certificates.look(false);
    assert_eq!(shown(&certificates), first, "nothing has changed");

    let second = files.renew();
    certificates.look(false);
    assert_eq!(shown(&certificates), second);

    fs::write(files.path("key"), "half writ").unwrap();
    certificates.look(false);
    certificates.look(true);
    assert_eq!(shown(&certificates), second, "what was good stays");

    let third = files.renew();
    certificates.look(false);
    assert_eq!(shown(&certificates), third);
    fs::remove_file(files.path("certificate")).unwrap();
    certificates.look(false);
    assert_eq!(shown(&certificates), third);
}

#[test]
fn names_are_hosts_or_addresses() {
    let names = parse_names(" grid.campus, 10.0.0.7,::1,").unwrap();
    assert_eq!(names, ["grid.campus", "10.0.0.7", "::1"]);
    for text in ["no name!", "a..b", "https://grid.campus", "grid.campus:5000"] {
        assert!(parse_names(text).is_err(), "{text}");
    }
}

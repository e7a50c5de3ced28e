//! What machines and people show to be let in: tokens, fingerprints, requests for certificates, keys.

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::{MachineKey, Term, key_hash};
use campusgrid_identity::request::ProvenKey;
use campusgrid_identity::token::JoinToken;

use crate::{Verdict, choice};

/// The first byte says what the rest is.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((kind, shown)) = choice(bytes) else { return Verdict::Refused };
    match kind % 5 {
        0 => Verdict::of(std::str::from_utf8(shown).ok().and_then(token)),
        1 => Verdict::of(std::str::from_utf8(shown).ok().and_then(fingerprint)),
        2 => Verdict::of(request(shown)),
        3 => Verdict::of(certificate(shown)),
        _ => Verdict::of(std::str::from_utf8(shown).ok().and_then(key)),
    }
}

/// A token has one text, but for the white space around it.
fn token(text: &str) -> Option<()> {
    let token: JoinToken = text.parse().ok()?;
    assert_eq!(token.to_string().to_ascii_lowercase(), text.trim().to_ascii_lowercase());
    assert_eq!(token.to_string().parse(), Ok(token));
    let secret = token.to_string().split('.').next_back().map(str::to_owned).expect("four parts");
    assert!(!format!("{token:?}").contains(&secret), "its secret would reach a log");
    Some(())
}

fn fingerprint(text: &str) -> Option<()> {
    let fingerprint: Fingerprint = text.parse().ok()?;
    assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    assert_eq!(fingerprint.grouped().parse(), Ok(fingerprint));
    Some(())
}

/// Only a request that its own key has signed proves anything.
fn request(der: &[u8]) -> Option<()> {
    let key = ProvenKey::from_request(der).ok()?;
    let mut changed = der.to_vec();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    assert_ne!(ProvenKey::from_request(&changed).ok(), Some(key), "a changed request is believed");
    Some(())
}

/// Of the other end of a connection, which has proved to hold its key; the rest may be what it likes.
fn certificate(der: &[u8]) -> Option<()> {
    let hash = key_hash(der).ok()?;
    assert_eq!(key_hash(der).ok(), Some(hash));
    if let Ok(term) = Term::of(der) {
        assert!(term.renew_at() >= term.from.min(term.until));
        assert!(term.renew_at() <= term.until.max(term.from));
    }
    Some(())
}

/// A worker's own file, which somebody may have written to.
fn key(pem: &str) -> Option<()> {
    let key = MachineKey::from_pem(pem).ok()?;
    let again = MachineKey::from_pem(&key.to_pem()).expect("what was written can be read");
    assert_eq!(again.hash(), key.hash());
    Some(())
}

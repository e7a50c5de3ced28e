//! A machine's request for a certificate (PKCS #10, RFC 2986): the key is taken from it, once it is
//! proved to be the sender's, and nothing else.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::IdentityError;
use crate::der::{BIT_STRING, INTEGER, Reader, SEQUENCE};

/// What comes before the 65 bytes of a point in the SubjectPublicKeyInfo of an ECDSA key on P-256
/// (RFC 5480): the one kind of key that machines make here.
const SPKI_START: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// `ecdsa-with-SHA256` (RFC 5758).
const SIGNATURE_KIND: [u8; 12] =
    [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// A machine's public key that has signed its own request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvenKey {
    /// Uncompressed: 4, then both coordinates.
    point: [u8; 65],
}

impl ProvenKey {
    /// Reads a request, DER.
    ///
    /// # Errors
    ///
    /// `Request` and `RequestSignature`.
    pub fn from_request(request: &[u8]) -> Result<Self, IdentityError> {
        let malformed = |what| IdentityError::Request { what };
        let (body, kind, signature) = parts(request).ok_or(malformed("it is not in its form"))?;
        if kind != SIGNATURE_KIND {
            return Err(malformed("it is signed in another way than ECDSA with SHA-256"));
        }
        let key = key(body).ok_or(malformed("it is not in its form"))?;
        let point = key.strip_prefix(&SPKI_START).and_then(|point| point.try_into().ok());
        let point: [u8; 65] = point.ok_or(malformed("its key is none on P-256"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point)
            .verify(body, signature)
            .map_err(|_| IdentityError::RequestSignature)?;
        Ok(Self { point })
    }

    /// What the machine is known by: see [`crate::machine::key_hash`].
    pub fn hash(&self) -> [u8; 32] {
        *blake3::Hasher::new().update(&SPKI_START).update(&self.point).finalize().as_bytes()
    }
}

impl rcgen::PublicKeyData for ProvenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// The signed part, how it is signed, and the signature.
fn parts(request: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut outer = Reader::new(request);
    let mut inner = Reader::new(outer.expect(SEQUENCE)?.content);
    let body = inner.expect(SEQUENCE)?.whole;
    let kind = inner.expect(SEQUENCE)?.whole;
    // The first byte counts the unused bits at the end.
    let signature = inner.expect(BIT_STRING)?.content.strip_prefix(&[0])?;
    (outer.is_at_end() && inner.is_at_end()).then_some((body, kind, signature))
}

/// The SubjectPublicKeyInfo.
fn key(body: &[u8]) -> Option<&[u8]> {
    let mut body = Reader::new(Reader::new(body).expect(SEQUENCE)?.content);
    let version = body.expect(INTEGER)?;
    let _subject = body.expect(SEQUENCE)?;
    (version.content == [0]).then_some(body.expect(SEQUENCE)?.whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ProvenKey;
    use crate::IdentityError;
    use crate::machine::MachineKey;

    #[test]
    fn a_key_that_signs_its_request_is_proven() {
        let key = MachineKey::make().unwrap();
        let request = key.request("laptop").unwrap();
        assert_eq!(ProvenKey::from_request(&request).unwrap().hash(), key.hash());
    }

    #[test]
    fn somebody_elses_key_is_not() {
        let (key, other) = (MachineKey::make().unwrap(), MachineKey::make().unwrap());
        let (request, others) = (key.request("laptop").unwrap(), other.request("laptop").unwrap());
        // The same name, so both keys lie at the same place.
        let at = request.windows(26).position(|bytes| bytes == super::SPKI_START).unwrap();
        let mut forged = request;
        forged[at + 26..at + 91].copy_from_slice(&others[at + 26..at + 91]);
        let refused = ProvenKey::from_request(&forged);
        assert!(matches!(refused, Err(IdentityError::RequestSignature)), "{refused:?}");
    }

    #[test]
    fn other_kinds_of_keys_are_refused() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        let refused = ProvenKey::from_request(request.der());
        assert!(matches!(refused, Err(IdentityError::Request { .. })), "{refused:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(ProvenKey::from_request(&bytes).is_err());
        }

        #[test]
        fn a_changed_request_is_refused(at: prop::sample::Index, change in 1_u8..) {
            let mut request = MachineKey::make().unwrap().request("laptop").unwrap();
            let at = at.index(request.len());
            request[at] ^= change;
            prop_assert!(ProvenKey::from_request(&request).is_err());
        }

        #[test]
        fn a_cut_request_is_refused(at: prop::sample::Index) {
            let request = MachineKey::make().unwrap().request("laptop").unwrap();
            prop_assert!(ProvenKey::from_request(&request[..at.index(request.len())]).is_err());
        }
    }
}

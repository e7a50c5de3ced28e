//! The fingerprint by which workers know their manager.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;

/// SHA-256 of the certificate of the manager's authority, DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

/// Why a text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 digits from 0 to 9 and a to f")]
pub struct FingerprintError;

impl Fingerprint {
    /// That of an authority's certificate.
    pub fn of(authority: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, authority);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// That of the authority at the end of the chain that a manager has shown, whoever it is.
    pub fn of_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        chain.last().map(Self::of)
    }

    /// In groups of four digits, for people to compare.
    pub fn grouped(&self) -> String {
        let digits = self.to_string();
        let groups: Vec<&str> =
            (0..digits.len()).step_by(4).map(|at| &digits[at..at + 4]).collect();
        groups.join(" ")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads what [`fmt::Display`] writes; spaces and colons between the digits, and capital letters,
    /// do not matter.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | ':')).collect();
        hex(&digits.to_ascii_lowercase()).map(Self).ok_or(FingerprintError)
    }
}

/// Reads exactly `N` bytes, two lower-case hexadecimal digits each.
pub(crate) fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn what_people_copy_is_read() {
        let fingerprint = Fingerprint(std::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        assert!(fingerprint.grouped().starts_with("0007 0e15 1c23 "));
        assert_eq!(fingerprint.grouped().len(), 64 + 15);
        for text in [
            fingerprint.to_string(),
            fingerprint.grouped(),
            fingerprint.to_string().to_uppercase(),
            fingerprint.grouped().replace(' ', ":"),
        ] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let digits = "a".repeat(64);
        for text in ["", "ab", &digits[1..], &format!("{digits}a"), &digits.replacen('a', "g", 1)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
        assert!("é".repeat(32).parse::<Fingerprint>().is_err());
    }
}

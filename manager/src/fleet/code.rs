//! The short code by which an owner vouches for a machine.

/// Letters and digits that cannot be mistaken for one another; 32, so that a byte's low five bits
/// choose one without bias.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// A fresh code of 40 random bits, written `XXXX-XXXX`.
pub(super) fn fresh() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has randomness to give");
    let letters = |bytes: &[u8]| -> String {
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
    };
    format!("{}-{}", letters(&bytes[..4]), letters(&bytes[4..]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_code_is_easy_to_type() {
        let code = super::fresh();
        assert_eq!(code.len(), 9);
        assert_eq!(&code[4..5], "-");
        assert_ne!(code, super::fresh());
    }
}

//! The token that lets a machine join: whom to trust, and why to be let in, in one word to copy.

use std::fmt;
use std::str::FromStr;

use campusgrid_protocol::id::{VoucherId, VoucherSecret};

use crate::fingerprint::{Fingerprint, hex};

/// Written `cg1.FINGERPRINT.ID.SECRET`: 64 hexadecimal digits, a number, 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinToken {
    pub fingerprint: Fingerprint,
    pub id: VoucherId,
    pub secret: VoucherSecret,
}

/// Why a text is no token to join by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("a token to join by begins with cg1. and has four parts; this is something else")]
    Form,
    #[error("a part of this token is missing: copy all of it, to the last of its 32 last digits")]
    Cut,
    #[error("this token's fingerprint is mistyped: it has 64 digits from 0 to 9 and a to f")]
    Fingerprint,
    #[error("this token's number is mistyped")]
    Id,
    #[error("this token's secret is mistyped: it has 32 digits from 0 to 9 and a to f")]
    Secret,
}

impl fmt::Display for JoinToken {
    /// Shows the secret: it is what the token is for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cg1.{}.{}.", self.fingerprint, self.id.0)?;
        self.secret.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [kind, parts @ ..] = &parts[..] else { return Err(TokenError::Form) };
        if *kind != "cg1" {
            return Err(TokenError::Form);
        }
        let (fingerprint, id, secret) = match parts {
            [fingerprint, id, secret] => (fingerprint, id, secret),
            [] | [_] | [_, _] => return Err(TokenError::Cut),
            _ => return Err(TokenError::Form),
        };
        if secret.len() < 32 {
            return Err(TokenError::Cut);
        }
        Ok(Self {
            fingerprint: hex(fingerprint).map(Fingerprint).ok_or(TokenError::Fingerprint)?,
            id: number(id).map(VoucherId).ok_or(TokenError::Id)?,
            secret: hex(secret).map(VoucherSecret).ok_or(TokenError::Secret)?,
        })
    }
}

/// Digits only, without a sign or leading zeros: one token has one text.
fn number(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::{VoucherId, VoucherSecret};
    use proptest::prelude::*;

    use super::{JoinToken, TokenError};
    use crate::fingerprint::Fingerprint;

    fn token() -> JoinToken {
        let secret = VoucherSecret([0xcd; 16]);
        JoinToken { fingerprint: Fingerprint([0xab; 32]), id: VoucherId(7), secret }
    }

    #[test]
    fn a_token_is_one_word() {
        let text = format!("cg1.{}.7.{}", "ab".repeat(32), "cd".repeat(16));
        assert_eq!(token().to_string(), text);
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token()));
    }

    #[test]
    fn its_secret_does_not_reach_a_log() {
        assert!(!format!("{:?}", token()).contains("cd"));
        assert!(!format!("{:?}", token()).contains("205"));
    }

    #[test]
    fn what_is_mistyped_is_said() {
        let text = token().to_string();
        let check = |text: &str, error| assert_eq!(text.parse::<JoinToken>(), Err(error), "{text}");
        check("", TokenError::Form);
        check("cgi.1.00", TokenError::Form);
        check(&format!("{text}.more"), TokenError::Form);
        check("cg1", TokenError::Cut);
        check(&text[..text.len() - 1], TokenError::Cut);
        check(&text[..50], TokenError::Cut);
        check(&text.replacen('a', "g", 1), TokenError::Fingerprint);
        check(&text.replacen(".7.", ".+7.", 1), TokenError::Id);
        check(&text.replacen(".7.", ".07.", 1), TokenError::Id);
        check(&text.replacen(".7.", "..", 1), TokenError::Id);
        check(&text.replace("cd", "cx"), TokenError::Secret);
        check(&format!("{text}0"), TokenError::Secret);
    }

    proptest! {
        #[test]
        fn every_token_comes_back(fingerprint: [u8; 32], id: u64, secret: [u8; 16]) {
            let (fingerprint, secret) = (Fingerprint(fingerprint), VoucherSecret(secret));
            let token = JoinToken { fingerprint, id: VoucherId(id), secret };
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }

        #[test]
        fn no_text_makes_it_panic(text in "cg1[.0-9a-fé]{0,120}") {
            let read = text.parse::<JoinToken>();
            prop_assert!(read.is_err() || read.is_ok_and(|token| token.to_string() == text));
        }
    }
}

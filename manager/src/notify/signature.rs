//! Signatures of webhooks as Standard Webhooks say (standardwebhooks.com): HMAC-SHA256 over identifier,
//! time and body, with a secret that only its user knows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What secrets begin with, so that they are recognised where they leak.
const PREFIX: &str = "whsec_";

/// Of the random part of a secret; the standard asks for 24 to 64. Bytes.
const SECRET_BYTES: usize = 32;

/// A new secret: `whsec_` and base64.
///
/// # Errors
///
/// If the system has no randomness to give.
pub fn new_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// What `webhook-signature` says; none for what is no secret.
pub(super) fn sign(secret: &str, id: &str, at_s: u64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let tag = hmac::sign(&key, format!("{id}.{at_s}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(tag)))
}

#[cfg(test)]
mod tests {
    use super::{new_secret, sign};

    /// The example of the standard's own libraries.
    #[test]
    fn a_signature_is_what_the_standard_says() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = "{\"test\": 2432232314}";
        let found = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(found.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn secrets_are_fresh_and_good_for_signing() {
        let (one, other) = (new_secret().unwrap(), new_secret().unwrap());
        assert!(one != other && one.starts_with("whsec_"));
        assert!(sign(&one, "a", 1, "b").is_some());
        assert_ne!(sign(&one, "a", 1, "b"), sign(&other, "a", 1, "b"));
        assert!(sign("no secret", "a", 1, "b").is_none());
    }
}

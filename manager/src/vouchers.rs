//! Makes the secrets that let machines and people in: the text to hand out, once, and its hash for the
//! grid.

use std::fmt;
use std::str::FromStr;

use campusgrid_core::input::VoucherWish;
use campusgrid_core::time::Timestamp;
use campusgrid_core::voucher::{Purpose, Shown};
use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::id::{UserId, VoucherId, VoucherSecret};

use crate::engine::handle::{AskError, EngineHandle};

/// Uses of one voucher.
pub const USES_MAX: u32 = 10_000;

/// How long one may last. Hours.
pub const HOURS_MAX: u32 = 30 * 24;

/// Why no voucher was made.
#[derive(Debug, thiserror::Error)]
pub enum VoucherError {
    #[error("failed to get randomness for a secret")]
    Random(#[source] getrandom::Error),
    #[error(transparent)]
    Ask(AskError),
}

/// How often and how long a voucher is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Who makes it.
    pub by: UserId,
    /// 1 to [`USES_MAX`].
    pub uses: u32,
    pub until: Timestamp,
}

/// Makes a token by which machines join as `owner`'s.
///
/// # Errors
///
/// `Random`; `Ask` with what the grid says.
pub async fn join_token(
    engine: &EngineHandle,
    fingerprint: Fingerprint,
    owner: UserId,
    terms: Terms,
) -> Result<JoinToken, VoucherError> {
    let (id, secret) = make(engine, Purpose::Join { owner }, terms).await?;
    Ok(JoinToken { fingerprint, id, secret })
}

/// Makes an invitation, by which people register.
///
/// # Errors
///
/// `Random`; `Ask` with what the grid says.
pub async fn invitation(engine: &EngineHandle, terms: Terms) -> Result<Invitation, VoucherError> {
    let (id, secret) = make(engine, Purpose::Invitation { by: terms.by }, terms).await?;
    Ok(Invitation { id, secret })
}

async fn make(
    engine: &EngineHandle,
    purpose: Purpose,
    terms: Terms,
) -> Result<(VoucherId, VoucherSecret), VoucherError> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(VoucherError::Random)?;
    let secret_hash = *blake3::hash(&secret).as_bytes();
    let Terms { by, uses, until } = terms;
    let id = engine.make_voucher(VoucherWish { by, purpose, secret_hash, uses, until }).await;
    Ok((id.map_err(VoucherError::Ask)?, VoucherSecret(secret)))
}

/// An invitation as it is handed out: `cgi.ID.SECRET`, a number and 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invitation {
    pub id: VoucherId,
    pub secret: VoucherSecret,
}

/// A text is no invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no invitation: copy all of it, from cgi. to the last of its 32 last digits")]
pub struct NotAnInvitation;

impl Invitation {
    /// As the grid is shown it.
    pub fn shown(&self) -> Shown {
        Shown { id: self.id, secret_hash: *blake3::hash(&self.secret.0).as_bytes() }
    }
}

impl fmt::Display for Invitation {
    /// Shows the secret: it is what the invitation is for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cgi.{}.", self.id.0)?;
        self.secret.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Invitation {
    type Err = NotAnInvitation;

    fn from_str(text: &str) -> Result<Self, NotAnInvitation> {
        let rest = text.trim().strip_prefix("cgi.").ok_or(NotAnInvitation)?;
        let (id, digits) = rest.split_once('.').ok_or(NotAnInvitation)?;
        let id = VoucherId(id.parse().map_err(|_| NotAnInvitation)?);
        let mut secret = [0; 16];
        if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NotAnInvitation);
        }
        for (byte, at) in secret.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| NotAnInvitation)?;
        }
        let invitation = Self { id, secret: VoucherSecret(secret) };
        // One text for one invitation: `+1` and `01` would be others.
        if invitation.to_string() == text.trim() { Ok(invitation) } else { Err(NotAnInvitation) }
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::{VoucherId, VoucherSecret};

    use super::Invitation;

    #[test]
    fn an_invitation_has_one_text() {
        let invitation = Invitation { id: VoucherId(12), secret: VoucherSecret([0xab; 16]) };
        let text = format!("cgi.12.{}", "ab".repeat(16));
        assert_eq!(invitation.to_string(), text);
        assert_eq!(format!(" {text}\n").parse(), Ok(invitation));
        assert!(!format!("{invitation:?}").contains("abab"));
        for other in [
            text.replace("12", "+12"),
            text.replace("12", "012"),
            text.replace("ab", "AB"),
            text.replace("abab", "é"),
            text[..text.len() - 1].to_owned(),
            format!("{text}0"),
            text.replace("cgi", "cg1"),
            String::new(),
        ] {
            assert!(other.parse::<Invitation>().is_err(), "{other}");
        }
    }
}

//! Vouchers: secrets that let a machine or a person in, a number of times and for a while.

use campusgrid_protocol::id::{UserId, VoucherId};

use crate::time::Timestamp;

/// A voucher may be used at most this often.
pub const USES_MAX: u32 = 10_000;

/// A voucher is good for at most this long. Milliseconds.
pub const MAX_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// One user may have this many vouchers that are not over.
pub const LIVE_MAX: u32 = 100;

/// What a voucher is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To join as this user's machine.
    Join { owner: UserId },
    /// To register as a user; made by this operator.
    Invitation { by: UserId },
}

impl Purpose {
    /// The user as whose machine one joins, or who invites.
    pub fn user(self) -> UserId {
        match self {
            Self::Join { owner } => owner,
            Self::Invitation { by } => by,
        }
    }
}

/// A secret that was handed out. It ends when its uses or its time are used up, or when it is
/// revoked; nothing of it is then kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    pub id: VoucherId,
    pub purpose: Purpose,
    /// BLAKE3 of the secret.
    pub secret_hash: [u8; 32],
    pub uses_left: u32,
    pub made_at: Timestamp,
    pub until: Timestamp,
}

/// A voucher as somebody shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub id: VoucherId,
    /// BLAKE3 of the secret.
    pub secret_hash: [u8; 32],
}

//! Reads people: accounts, logins, API tokens and vouchers. Secrets are on disk as hashes only, and but
//! for those of passwords these are never read back.

use campusgrid_core::time::Timestamp;
use campusgrid_core::user::{Role, Scopes, User};
use campusgrid_core::voucher::Purpose;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{ApiTokenId, LoginId, UserId, VoucherId};
use rusqlite::{Row, params};

use super::load::{parse_purpose, parse_role};
use super::read::{Reader, Viewer};
use super::{StoreError, statements};

pub use super::write_people::API_TOKENS_MAX;

statements! {
    LOGIN = "SELECT user.id, user.name, user.role, login.id
        FROM login JOIN user ON user.id = login.user
        WHERE login.token_hash = ?1 AND login.until > ?2";
    LOGINS = "SELECT id, opened_at, until, used_at, came_from, token_hash IS ?3 FROM login
        WHERE user = ?1 AND until > ?2 ORDER BY id DESC";
    API_TOKEN = "SELECT user.id, user.name, user.role, api_token.id, api_token.may_read,
            api_token.may_submit, api_token.may_own, api_token.may_operate
        FROM api_token JOIN user ON user.id = api_token.user
        WHERE api_token.token_hash = ?1 AND api_token.until > ?2";
    API_TOKENS = "SELECT id, name, may_read, may_submit, may_own, may_operate, made_at, until, used_at
        FROM api_token WHERE user = ?1 ORDER BY id DESC";
    PASSWORD = "SELECT id, name, role, password_hash FROM user WHERE lower(name) = lower(?1)";
    PASSWORD_OF = "SELECT password_hash FROM user WHERE id = ?1";
    NAMED = "SELECT id, name, role FROM user WHERE lower(name) = lower(?1)";
    VERIFIED = "SELECT verified_at FROM user WHERE id = ?1";
    IDENTITY = "SELECT count(*) FROM identity WHERE hash = ?1";
    OPERATORS = "SELECT id, name, role FROM user WHERE role = 'operator' ORDER BY id";
    USERS = "SELECT id, name, role, email, registered_at,
            (SELECT count(*) FROM worker WHERE owner = user.id AND removed_at IS NULL)
        FROM user WHERE id > ?1 ORDER BY id LIMIT ?2";
    VOUCHERS = "SELECT voucher.id, voucher.purpose, voucher.user, user.name, voucher.uses_left,
            voucher.made_at, voucher.until
        FROM voucher JOIN user ON user.id = voucher.user
        WHERE voucher.user = ?1 AND voucher.until > ?2 ORDER BY voucher.id DESC";
    VOUCHERS_OF_ALL = "SELECT voucher.id, voucher.purpose, voucher.user, user.name,
            voucher.uses_left, voucher.made_at, voucher.until
        FROM voucher JOIN user ON user.id = voucher.user
        WHERE voucher.until > ?1 ORDER BY voucher.id DESC LIMIT ?2";
    LIVE_KEY = "SELECT count(*) FROM worker WHERE key_hash = ?1 AND removed_at IS NULL";
}

/// Vouchers that an operator is shown at a time.
const VOUCHERS_SHOWN: u32 = 1000;

/// A login that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLogin {
    pub id: LoginId,
    pub opened_at: Timestamp,
    pub until: Timestamp,
    pub used_at: Timestamp,
    /// An address and a browser, in words.
    pub from: String,
    /// Whether it is the one that was asked about.
    pub is_current: bool,
}

/// An API token, over or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApiToken {
    pub id: ApiTokenId,
    pub name: String,
    pub scopes: Scopes,
    pub made_at: Timestamp,
    pub until: Timestamp,
    pub used_at: Option<Timestamp>,
}

/// A user, as operators see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUser {
    pub user: User,
    pub email: Option<String>,
    pub registered_at: Timestamp,
    /// Machines of theirs, connected or not.
    pub workers: u32,
}

/// A voucher that is good, without its secret's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVoucher {
    pub id: VoucherId,
    pub purpose: Purpose,
    /// Of the user as whose machine one joins, or who invites.
    pub user_name: String,
    pub uses_left: u32,
    pub made_at: Timestamp,
    pub until: Timestamp,
}

impl Reader {
    /// The user of a login that is open now, by the BLAKE3 hash of its token.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn login(
        &self,
        token_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<(User, LoginId)>, StoreError> {
        let map = |row: &Row<'_>| Ok((user(row)?, LoginId(row.get(3)?)));
        self.first("a login", LOGIN, params![token_hash, now.0], map)
    }

    /// A user's logins that are open now, newest first; the one of the token with the BLAKE3 hash
    /// `current` is marked.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn logins_of(
        &self,
        user: UserId,
        now: Timestamp,
        current: Option<&[u8; 32]>,
    ) -> Result<Vec<StoredLogin>, StoreError> {
        self.list("logins", LOGINS, params![user.0, now.0, current], |row| {
            Ok(StoredLogin {
                id: LoginId(row.get(0)?),
                opened_at: Timestamp(row.get(1)?),
                until: Timestamp(row.get(2)?),
                used_at: Timestamp(row.get(3)?),
                from: row.get(4)?,
                is_current: row.get(5)?,
            })
        })
    }

    /// The user of an API token that is good now, by the BLAKE3 hash of the token, and what it may be
    /// used for.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn api_token(
        &self,
        token_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<(User, Scopes, ApiTokenId)>, StoreError> {
        let map = |row: &Row<'_>| Ok((user(row)?, scopes(row, 4)?, ApiTokenId(row.get(3)?)));
        self.first("an API token", API_TOKEN, params![token_hash, now.0], map)
    }

    /// A user's API tokens, newest first: those that are over as well, so that it can be seen why a
    /// program no longer gets in.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn api_tokens_of(&self, user: UserId) -> Result<Vec<StoredApiToken>, StoreError> {
        self.list("API tokens", API_TOKENS, params![user.0], |row| {
            Ok(StoredApiToken {
                id: ApiTokenId(row.get(0)?),
                name: row.get(1)?,
                scopes: scopes(row, 2)?,
                made_at: Timestamp(row.get(6)?),
                until: Timestamp(row.get(7)?),
                used_at: row.get::<_, Option<u64>>(8)?.map(Timestamp),
            })
        })
    }

    /// A user and the hash of their password, by name.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn password(&self, name: &str) -> Result<Option<(User, String)>, StoreError> {
        self.first("a user", PASSWORD, params![name], |row| Ok((user(row)?, row.get(3)?)))
    }

    /// The hash of a user's password.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn password_of(&self, user: UserId) -> Result<Option<String>, StoreError> {
        self.first("a password", PASSWORD_OF, params![user.0], |row| row.get(0))
    }

    /// The user of a name, in whatever case.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        self.first("a user", NAMED, params![name], user)
    }

    /// All operators, those who have registered first before.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn operators(&self) -> Result<Vec<User>, StoreError> {
        self.list("operators", OPERATORS, params![], user)
    }

    /// Since when a user's address is known to be theirs; None if it is not.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn verified_at(&self, user: UserId) -> Result<Option<Timestamp>, StoreError> {
        let at = |row: &Row<'_>| Ok(row.get::<_, Option<u64>>(0)?.map(Timestamp));
        Ok(self.first("a user", VERIFIED, params![user.0], at)?.flatten())
    }

    /// Whether somebody was given starting credits for an address, by the BLAKE3 hash of its usual form.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn has_identity(&self, identity: &[u8; 32]) -> Result<bool, StoreError> {
        let count = |row: &Row<'_>| row.get::<_, u32>(0);
        Ok(self.first("an address", IDENTITY, params![identity], count)?.unwrap_or(0) > 0)
    }

    /// Users with a number above `after`, oldest first. For operators.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn users(&self, after: UserId, limit: u32) -> Result<Vec<StoredUser>, StoreError> {
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        self.list("users", USERS, params![after, limit], |row| {
            Ok(StoredUser {
                user: user(row)?,
                email: row.get(3)?,
                registered_at: Timestamp(row.get(4)?),
                workers: row.get(5)?,
            })
        })
    }

    /// Vouchers of the viewer's that are good now, newest first; of an operator, all people's.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn vouchers(
        &self,
        viewer: Viewer,
        now: Timestamp,
    ) -> Result<Vec<StoredVoucher>, StoreError> {
        if viewer.operator {
            return self.list("tokens", VOUCHERS_OF_ALL, params![now.0, VOUCHERS_SHOWN], voucher);
        }
        self.list("tokens", VOUCHERS, params![viewer.user.0, now.0], voucher)
    }

    /// Whether this is the key of a machine that has joined and has not been removed.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn is_live_key(&self, key_hash: &KeyHash) -> Result<bool, StoreError> {
        let count =
            self.first("a machine", LIVE_KEY, params![key_hash], |row| row.get::<_, u32>(0));
        Ok(count?.is_some_and(|count| count > 0))
    }
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let text: String = row.get(2)?;
    let role: Role = parse_role(&text).ok_or_else(|| nonsense(2, text))?;
    Ok(User { id: UserId(row.get(0)?), name: row.get(1)?, role })
}

/// Four columns from this one on.
fn scopes(row: &Row<'_>, from: usize) -> rusqlite::Result<Scopes> {
    Ok(Scopes {
        read: row.get(from)?,
        submit: row.get(from + 1)?,
        own: row.get(from + 2)?,
        operate: row.get(from + 3)?,
    })
}

fn voucher(row: &Row<'_>) -> rusqlite::Result<StoredVoucher> {
    let text: String = row.get(1)?;
    let purpose = parse_purpose(&text, UserId(row.get(2)?)).ok_or_else(|| nonsense(1, text))?;
    Ok(StoredVoucher {
        id: VoucherId(row.get(0)?),
        purpose,
        user_name: row.get(3)?,
        uses_left: row.get(4)?,
        made_at: Timestamp(row.get(5)?),
        until: Timestamp(row.get(6)?),
    })
}

fn nonsense(column: usize, text: String) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, text, rusqlite::types::Type::Text)
}

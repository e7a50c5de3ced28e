//! Writes what changed about people: accounts, logins, API tokens and vouchers.

use campusgrid_core::effect::Change;
use campusgrid_core::input::{NewApiToken, NewLogin};
use campusgrid_core::user::Scopes;
use campusgrid_core::voucher::{Purpose, Voucher};
use rusqlite::params;

use super::statements;
use super::write::{Writer, role};

statements! {
    USER_NEW = "INSERT INTO user (id, name, email, role, password_hash, registered_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    USER_ROLE = "UPDATE user SET role = ?2 WHERE id = ?1";
    PASSWORD = "UPDATE user SET password_hash = ?2 WHERE id = ?1";
    REHASH = "UPDATE user SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
    LOGIN_NEW = "INSERT INTO login (token_hash, user, opened_at, until, used_at, came_from)
        VALUES (?1, ?2, ?3, ?4, ?3, ?5)";
    LOGINS_BOUND = "DELETE FROM login WHERE user = ?1 AND id <= (
        SELECT id FROM login WHERE user = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    LOGIN_USED = "UPDATE login SET used_at = ?2 WHERE id = ?1";
    LOGIN_CLOSE = "DELETE FROM login WHERE token_hash = ?1";
    LOGIN_REVOKE = "DELETE FROM login WHERE id = ?1 AND user = ?2";
    LOGINS_REVOKE = "DELETE FROM login WHERE user = ?1 AND token_hash IS NOT ?2";
    LOGINS_OVER = "DELETE FROM login WHERE until < ?1";
    TOKEN_NEW = "INSERT INTO api_token (token_hash, user, name, may_read, may_submit, may_own,
            may_operate, made_at, until)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    TOKENS_BOUND = "DELETE FROM api_token WHERE user = ?1 AND id <= (
        SELECT id FROM api_token WHERE user = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    TOKEN_USED = "UPDATE api_token SET used_at = ?2 WHERE id = ?1";
    TOKEN_REVOKE = "DELETE FROM api_token WHERE id = ?1 AND user = ?2";
    TOKENS_REVOKE = "DELETE FROM api_token WHERE user = ?1";
    WEBHOOK_SECRET = "UPDATE user SET webhook_secret = ?2 WHERE id = ?1";
    USER_VERIFIED = "UPDATE user SET verified_at = coalesce(verified_at, ?2) WHERE id = ?1";
    IDENTITY_NEW = "INSERT OR IGNORE INTO identity (hash, user) VALUES (?1, ?2)";
    VOUCHER_NEW = "INSERT INTO voucher (id, purpose, user, secret_hash, uses_left, made_at, until)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    VOUCHER_USED = "UPDATE voucher SET uses_left = ?2 WHERE id = ?1";
    VOUCHER_OVER = "DELETE FROM voucher WHERE id = ?1";
}

/// Open logins that one user may have; beyond, the oldest ends, or a program that logs in again and
/// again would fill the disk.
const LOGINS_MAX: u32 = 100;

/// API tokens that one user may have. Whoever makes them is told before; this is for those who make
/// two at a time.
pub const API_TOKENS_MAX: u32 = 50;

impl Writer<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "change() has sorted out the others")]
    pub(super) fn person_change(&self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::UserRegistered { user, email, password_hash, at } => {
                let values =
                    params![user.id.0, user.name, email, role(user.role), password_hash, at.0];
                self.run(USER_NEW, values)
            }
            Change::RoleSet { by: _, user, role: to, at: _ } => {
                self.run(USER_ROLE, params![user.0, role(*to)])
            }
            Change::PasswordChanged { user, password_hash, at: _ } => {
                self.run(PASSWORD, params![user.0, password_hash])?;
                self.run(TOKENS_REVOKE, params![user.0])
            }
            Change::PasswordRehashed { user, from, to } => {
                self.run(REHASH, params![user.0, from, to])
            }
            Change::LoginOpened { login, at } => {
                let NewLogin { user, token_hash, until, from } = login;
                self.run(LOGIN_NEW, params![token_hash, user.0, at.0, until.0, from])?;
                self.run(LOGINS_BOUND, params![user.0, LOGINS_MAX])
            }
            Change::LoginClosed { token_hash } => self.run(LOGIN_CLOSE, params![token_hash]),
            Change::LoginRevoked { user, login } => {
                self.run(LOGIN_REVOKE, params![login.0, user.0])
            }
            Change::LoginsRevoked { user, but } => self.run(LOGINS_REVOKE, params![user.0, but]),
            Change::LoginsOver { at } => self.run(LOGINS_OVER, params![at.0]),
            Change::ApiTokenOpened { token, at } => {
                let NewApiToken { user, name, token_hash, scopes, until } = token;
                let Scopes { read, submit, own, operate } = scopes;
                let may =
                    params![token_hash, user.0, name, read, submit, own, operate, at.0, until.0];
                self.run(TOKEN_NEW, may)?;
                self.run(TOKENS_BOUND, params![user.0, API_TOKENS_MAX])
            }
            Change::ApiTokenRevoked { user, token } => {
                self.run(TOKEN_REVOKE, params![token.0, user.0])
            }
            Change::Used { logins, tokens } => {
                for (login, at) in logins {
                    self.run(LOGIN_USED, params![login.0, at.0])?;
                }
                tokens
                    .iter()
                    .try_for_each(|(token, at)| self.run(TOKEN_USED, params![token.0, at.0]))
            }
            Change::WebhookSecretSet { user, secret, at: _ } => {
                self.run(WEBHOOK_SECRET, params![user.0, secret])
            }
            Change::UserVerified { user, identity, at } => {
                self.run(USER_VERIFIED, params![user.0, at.0])?;
                self.run(IDENTITY_NEW, params![identity, user.0])
            }
            Change::VoucherMade(voucher) => self.voucher(voucher),
            Change::VoucherUsed { voucher, uses_left } => {
                self.run(VOUCHER_USED, params![voucher.0, uses_left])
            }
            Change::VoucherOver { voucher, at: _ } => self.run(VOUCHER_OVER, params![voucher.0]),
            other => unreachable!("not about a person: {other:?}"),
        }
    }

    fn voucher(&self, voucher: &Voucher) -> rusqlite::Result<()> {
        let Voucher { id, purpose, secret_hash, uses_left, made_at, until } = voucher;
        let words = match purpose {
            Purpose::Join { .. } => "join",
            Purpose::Invitation { .. } => "invitation",
        };
        let user = purpose.user().0;
        let values = params![id.0, words, user, secret_hash, uses_left, made_at.0, until.0];
        self.run(VOUCHER_NEW, values)
    }
}

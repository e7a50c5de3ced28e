//! What is asked on the socket and what is answered: one line of JSON each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest line. Bytes.
pub(super) const LINE_MAX: u64 = 64 << 10;

/// What the daemon is to do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Make a token by which machines join as this user's.
    Token { user: String, uses: u32, hours: u32 },
    /// Make an invitation, by which people register.
    Invite { uses: u32, hours: u32 },
    /// Give a user a role: `member` or `operator`.
    Role { user: String, role: String },
    /// Set a user's password and close all of their logins.
    Password { user: String, password: String },
    /// Check the books, and take jobs and results in again if they balance.
    Books {},
}

impl fmt::Debug for Order {
    /// Without passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token { .. } => "Token",
            Self::Invite { .. } => "Invite",
            Self::Role { .. } => "Role",
            Self::Password { .. } => "Password",
            Self::Books {} => "Books",
        })
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    Done {
        /// What was asked for, to be used as it is; empty if there is nothing to be had.
        value: String,
        /// For people to read, a line each.
        notes: Vec<String>,
    },
    /// It was done, and what was found is not good, in words.
    Bad { findings: Vec<String> },
    /// Nothing was done, and why, in words.
    Refused { reason: String },
}

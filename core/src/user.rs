//! People.

use campusgrid_protocol::id::UserId;

/// What a person may do beyond own jobs and machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Member,
    /// Sees everything.
    Operator,
}

/// A registered person. Password hashes and logins are on disk only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub role: Role,
}

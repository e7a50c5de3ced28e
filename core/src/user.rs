//! People.

use campusgrid_protocol::id::UserId;

/// Whoever administers the manager on its own machine: the number of no user, and as good as an
/// operator's.
pub const LOCAL: UserId = UserId(0);

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

/// What an API token may be used for. Whoever logs in with a password may do all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Look at everything that its user may see.
    pub read: bool,
    /// Submit and cancel jobs.
    pub submit: bool,
    /// Change its user's machines: join tokens, approve, remove, release.
    pub own: bool,
    /// What only operators may do, if its user is one.
    pub operate: bool,
}

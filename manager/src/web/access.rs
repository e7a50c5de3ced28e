//! What a route asks of whoever comes: nothing, a login, or an API token that is good for it.

/// Who may use a route. Whoever logged in with a password has every scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever comes, logged in or not.
    Anyone,
    /// To look at what the user may see.
    Read,
    /// To submit and cancel jobs.
    Submit,
    /// To change the user's machines.
    Own,
    /// To do what only operators may.
    Operate,
    /// To change the account itself: no API token is good for that.
    Person,
}

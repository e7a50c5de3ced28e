//! Whether the uids that tasks are to run as are free.

use nix::unistd::User;

/// Tells, in words, who of the machine's people has one of the `count` uids from `first` on, such
/// as a user of systemd-homed; `None` if nobody has.
#[must_use]
pub fn whose(first: u32, count: u32) -> Option<String> {
    let mut uids = first..first.saturating_add(count);
    let user = uids.find_map(|uid| User::from_uid(uid.into()).ok().flatten())?;
    Some(format!(
        "tasks would run as uid {}, which is {}'s: {count} uids from {first} on must be nobody's",
        user.uid, user.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_of_people_are_not_for_tasks() {
        assert!(whose(0, 10).unwrap().contains("uid 0, which is root's"));
        assert_eq!(whose(4_000_000_000, 10), None);
    }
}

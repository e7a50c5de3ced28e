//! Identifiers: who and what a message speaks of. All are given out by the manager.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! numbered {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

numbered!(
    /// A person who submits work, shares machines, or both.
    UserId,
    /// A machine that its owner shares.
    WorkerId,
    /// What a user submitted: 1…N tasks of one kind.
    JobId,
    /// One connection of a worker; a later one has a higher number.
    SessionId,
    /// A token to join by, or an invitation.
    VoucherId,
    /// A login of a user.
    LoginId,
    /// An API token of a user.
    ApiTokenId,
);

/// A task: what is scheduled. Written `JOB.POSITION`.
///
/// `index` is the task's position in its job, from 0 without gaps. What people and programs know it
/// by is its index in the job's array: [`crate::array::Indices`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub job: JobId,
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.index)
    }
}

/// One run of a task on one worker, written `JOB.INDEX#NUMBER`.
///
/// The number rises with every start of the task, from 1, and so serves as the fencing token: a
/// message about any but the newest attempt changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    pub task: TaskId,
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.number)
    }
}

/// The text is not an attempt's `JOB.INDEX#NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an attempt of the form JOB.INDEX#NUMBER")]
pub struct NotAnAttempt;

impl FromStr for AttemptId {
    type Err = NotAnAttempt;

    fn from_str(text: &str) -> Result<Self, NotAnAttempt> {
        let (task, number) = text.split_once('#').ok_or(NotAnAttempt)?;
        let (job, index) = task.split_once('.').ok_or(NotAnAttempt)?;
        let attempt = Self {
            task: TaskId {
                job: JobId(job.parse().map_err(|_| NotAnAttempt)?),
                index: index.parse().map_err(|_| NotAnAttempt)?,
            },
            number: number.parse().map_err(|_| NotAnAttempt)?,
        };
        // One name for one attempt: `01` and `+1` would be others.
        if attempt.to_string() == text { Ok(attempt) } else { Err(NotAnAttempt) }
    }
}

/// What makes a voucher good: 128 random bits. The manager keeps only its BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherSecret(pub [u8; 16]);

impl fmt::Debug for VoucherSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoucherSecret(…)") // A secret never reaches a log.
    }
}

/// The BLAKE3 hash that names a blob's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobHash(pub [u8; 32]);

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AttemptId, BlobHash, JobId, TaskId};

    #[test]
    fn an_attempt_has_one_name() {
        for text in [
            "",
            "1",
            "1.2",
            "1#2",
            "#",
            ".#",
            "1.2#",
            "1.2#3#4",
            "1.2.3#4",
            "-1.2#3",
            "+1.2#3",
            "01.2#3",
            "1.2#03",
            " 1.2#3",
            "1.2#3\n",
            "1.4294967296#1",
            "18446744073709551616.0#1",
            "../1.2#3",
            "١.2#3",
        ] {
            assert!(text.parse::<AttemptId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_hash_is_written_in_hexadecimal() {
        let mut bytes = [0; 32];
        bytes[0] = 0xab;
        let text = format!("ab{}", "0".repeat(62));
        assert_eq!(BlobHash(bytes).to_string(), text);
        assert_eq!(format!("{:?}", BlobHash(bytes)), text);
    }

    proptest! {
        #[test]
        fn an_attempt_reads_as_written(job in any::<u64>(), index in any::<u32>(), number in any::<u32>()) {
            let attempt = AttemptId { task: TaskId { job: JobId(job), index }, number };
            prop_assert_eq!(attempt.to_string().parse(), Ok(attempt));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<AttemptId>();
        }
    }
}

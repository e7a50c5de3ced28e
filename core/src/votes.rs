//! What machines have said of a task whose result is checked.

use campusgrid_protocol::id::{UserId, WorkerId};

use crate::money::Micros;

/// The results so far, none of which counts yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Votes {
    #[default]
    None,
    One(Vote),
    /// They disagree, and a third decides.
    Two(Vote, Vote),
}

/// The result of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The attempt's number.
    pub attempt: u32,
    pub worker: WorkerId,
    /// The machine's owner, who is paid even if the machine is gone by then.
    pub owner: UserId,
    /// BLAKE3 of how it ended, what it printed and what it left.
    pub digest: [u8; 32],
    /// What its owner gets if it counts.
    pub charge: Micros,
    pub run_ms: u64,
}

impl Votes {
    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Vote> {
        let (one, two) = match *self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Two(one, two) => (Some(one), Some(two)),
        };
        one.into_iter().chain(two)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::None
    }
}

/// What one more result leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ballot {
    /// Another machine has to run it.
    Open(Votes),
    /// The newest result and one before it agree: it counts. `liar` is who said otherwise.
    Agreed { with: Vote, liar: Option<Vote> },
    /// Three machines, three results. `first` is the number of the first attempt.
    Hopeless { first: u32 },
}

impl Votes {
    /// Counts one more result.
    pub(crate) fn and(self, new: Vote) -> Ballot {
        match self {
            Self::None => Ballot::Open(Self::One(new)),
            Self::One(one) if one.digest == new.digest => Ballot::Agreed { with: one, liar: None },
            Self::One(one) => Ballot::Open(Self::Two(one, new)),
            Self::Two(one, two) if one.digest == new.digest => {
                Ballot::Agreed { with: one, liar: Some(two) }
            }
            Self::Two(one, two) if two.digest == new.digest => {
                Ballot::Agreed { with: two, liar: Some(one) }
            }
            Self::Two(first, _) => Ballot::Hopeless { first: first.attempt },
        }
    }
}

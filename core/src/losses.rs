//! On which machines a task was lost while it ran: the mark of a task that takes them down.

use std::fmt;
use std::str::FromStr;

use campusgrid_protocol::id::WorkerId;

/// An attempt that ran when its machine was lost. In words: `WORKER#ATTEMPT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    pub worker: WorkerId,
    /// The number of the attempt.
    pub attempt: u32,
}

/// The first loss on each of the machines that a task has cost so far. In words: `7#1,9#3`.
///
/// There is no third: [`Losses::and`] tells of it, and the task ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Losses {
    #[default]
    None,
    One(Loss),
    Two(Loss, Loss),
}

/// Not a loss or two of them, on different machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be at most two different workers with their attempts, such as 7#1,9#3")]
pub struct LossesError;

impl Losses {
    /// Counts one more; a further one on the same machine counts for nothing.
    ///
    /// # Errors
    ///
    /// The three losses, if this is on the third machine.
    pub fn and(self, loss: Loss) -> Result<Self, [Loss; 3]> {
        match self {
            Self::None => Ok(Self::One(loss)),
            Self::One(first) if first.worker == loss.worker => Ok(self),
            Self::One(first) => Ok(Self::Two(first, loss)),
            Self::Two(first, second) if [first.worker, second.worker].contains(&loss.worker) => {
                Ok(self)
            }
            Self::Two(first, second) => Err([first, second, loss]),
        }
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::One(one) => one.fmt(f),
            Self::Two(one, two) => write!(f, "{one},{two}"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.worker, self.attempt)
    }
}

impl FromStr for Losses {
    type Err = LossesError;

    fn from_str(text: &str) -> Result<Self, LossesError> {
        let losses = text.split(',').filter(|_| !text.is_empty());
        losses.map(str::parse).try_fold(Self::None, |before, loss| {
            let after = before.and(loss?).map_err(|_| LossesError)?;
            if after == before { Err(LossesError) } else { Ok(after) }
        })
    }
}

impl FromStr for Loss {
    type Err = LossesError;

    fn from_str(text: &str) -> Result<Self, LossesError> {
        let (worker, attempt) = text.split_once('#').ok_or(LossesError)?;
        let worker = WorkerId(worker.parse().map_err(|_| LossesError)?);
        Ok(Self { worker, attempt: attempt.parse().map_err(|_| LossesError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Loss, Losses, LossesError};

    #[test]
    fn three_different_machines_are_told() {
        let loss = |text: &str| text.parse::<Loss>().unwrap();
        let two = ["7#1", "7#2", "9#3", "7#4", "9#5"]
            .into_iter()
            .fold(Losses::None, |losses, text| losses.and(loss(text)).unwrap());
        assert_eq!(two.to_string(), "7#1,9#3");
        assert_eq!(two.and(loss("8#6")), Err(["7#1", "9#3", "8#6"].map(loss)));
    }

    #[test]
    fn words_are_read_back() {
        for text in ["", "7#1", "7#1,9#3"] {
            assert_eq!(text.parse::<Losses>().unwrap().to_string(), text);
        }
        for text in [",", "7", "#", "7#", "7#1,", "7#1,7#2", "7#1,8#2,9#3", "7#-1", "x#1"] {
            assert_eq!(text.parse::<Losses>(), Err(LossesError), "{text}");
        }
    }
}

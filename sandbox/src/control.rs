//! What the caller of a plan says to it while it runs.

use std::time::Duration;

use tokio::sync::watch;

/// What a task that runs is to do. Once it is to stop, nothing else is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    GoOn,
    /// All its processes are stopped, and its time stands still.
    StandStill,
    /// It is ended as its time limit would.
    Stop,
    /// It is told to end and has so long for it; what it wants to go on from is kept.
    HandBack {
        grace: Duration,
    },
}

/// The end of a channel on which the newest word counts.
#[derive(Debug, Clone)]
pub struct Controls {
    words: watch::Receiver<Control>,
    heard: Control,
}

impl Controls {
    /// A channel that begins with [`Control::GoOn`]. When its sender is gone, its last word stands.
    pub fn channel() -> (watch::Sender<Control>, Self) {
        let (say, words) = watch::channel(Control::GoOn);
        (say, Self { words, heard: Control::GoOn })
    }

    /// For what nobody has anything to say to.
    pub fn none() -> Self {
        Self::channel().1
    }

    /// The next word that is another than the last; can be cancelled without losing it.
    pub async fn next(&mut self) -> Control {
        loop {
            let newest = *self.words.borrow_and_update();
            if newest != self.heard {
                self.heard = newest;
                return newest;
            }
            if self.words.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_news_are_heard_and_the_last_word_stands() {
        let (say, mut controls) = Controls::channel();
        say.send_replace(Control::StandStill);
        say.send_replace(Control::Stop);
        let mut other = controls.clone();
        drop(say);
        assert_eq!(controls.next().await, Control::Stop);
        assert_eq!(other.next().await, Control::Stop);
        let nothing = tokio::time::timeout(Duration::from_millis(1), other.next()).await;
        assert!(nothing.is_err());
    }
}

//! Writes down what the owner has said, in the order in which it was said, while the keeper goes on.

use campusgrid_protocol::rules::{ByHand, Rules};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use super::kept::Kept;

/// Wishes on their way to the disk; more are not kept.
const WISHES: usize = 8;

/// Something said by hand, and the way back for whether it is kept.
struct Wished {
    by_hand: Option<ByHand>,
    done: oneshot::Sender<Result<(), String>>,
}

/// Writes one thing of a kind after the other.
pub(super) struct Writer {
    /// Only the newest count.
    rules: watch::Sender<Option<Rules>>,
    wishes: mpsc::Sender<Wished>,
    writing: [JoinHandle<()>; 2],
}

impl Writer {
    pub(super) fn start(kept: Kept) -> Self {
        let (rules, mut newest) = watch::channel(None::<Rules>);
        let (wishes, mut wished) = mpsc::channel::<Wished>(WISHES);
        let theirs = kept.clone();
        let rules_writing = tokio::spawn(async move {
            while newest.changed().await.is_ok() {
                let Some(rules) = newest.borrow_and_update().clone() else { continue };
                let kept = theirs.clone();
                let _panicked = spawn_blocking(move || kept.keep_rules(&rules)).await;
            }
        });
        let wishes_writing = tokio::spawn(async move {
            while let Some(Wished { by_hand, done }) = wished.recv().await {
                let kept = kept.clone();
                let written = match spawn_blocking(move || kept.keep_by_hand(by_hand)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(format!(
                        "done, but only until the worker is started again: {:#}",
                        anyhow::Error::new(error)
                    )),
                    Err(error) => Err(format!("done, but it may not be kept: {error}")),
                };
                // Whoever has asked may be gone.
                let _ = done.send(written);
            }
        });
        Self { rules, wishes, writing: [rules_writing, wishes_writing] }
    }

    /// Has rules kept, unless newer ones come first.
    pub(super) fn keep_rules(&self, rules: Rules) {
        self.rules.send_replace(Some(rules));
    }

    /// Has what was said by hand kept; what comes tells whether it is, and otherwise why not.
    pub(super) fn keep_by_hand(
        &self,
        by_hand: Option<ByHand>,
    ) -> oneshot::Receiver<Result<(), String>> {
        let (done, told) = oneshot::channel();
        if let Err(unsent) = self.wishes.try_send(Wished { by_hand, done }) {
            let busy = "done, but not kept: the disk is busy; say it again";
            let _ = unsent.into_inner().done.send(Err(busy.to_owned()));
        }
        told
    }

    /// Waits until all is written.
    pub(super) async fn end(self) {
        let Self { rules, wishes, writing } = self;
        drop((rules, wishes));
        for writing in writing {
            let _panicked = writing.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::{Limits, Wish};

    use super::*;

    #[tokio::test]
    async fn what_was_said_last_is_what_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept::of(home.path());
        let writer = Writer::start(kept.clone());
        let by_hand = |until_ms| Some(ByHand { wish: Wish::Pause, until_ms: Some(until_ms) });
        for cores in 0..64 {
            let limits = Limits { cores: Some(cores), ..Limits::default() };
            writer.keep_rules(Rules { limits, ..Rules::default() });
            tokio::task::yield_now().await;
        }
        for until_ms in 0..WISHES as u64 {
            drop(writer.keep_by_hand(by_hand(until_ms)));
        }
        let told = writer.keep_by_hand(None);
        let refused = told.await.unwrap().unwrap_err();
        assert!(refused.starts_with("done, but not kept"), "{refused}");
        writer.end().await;
        assert_eq!(kept.rules().unwrap().unwrap().limits.cores, Some(63));
        assert_eq!(kept.by_hand().unwrap(), by_hand(WISHES as u64 - 1));
    }
}

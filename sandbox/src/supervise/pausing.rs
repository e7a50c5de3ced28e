//! How a task stands still and goes on: at its caller's word, and for the copies of what it goes on from.

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::{Cause, Stage, Supervision};
use crate::control::Control;
use crate::order::{FREEZE, THAW};
use crate::plan::Progress;
use crate::saving::Step;
use crate::stillness::{Stillness, Turn};

impl Supervision<'_> {
    pub(super) async fn obey(&mut self, control: Control) {
        match control {
            Control::GoOn => self.turn(Stillness::hold, false).await,
            Control::StandStill => self.turn(Stillness::hold, true).await,
            Control::Stop => self.terminate(Cause::Stopped, self.plan.limits.grace).await,
            Control::HandBack { grace } => self.terminate(Cause::HandedBack, grace).await,
        }
    }

    /// Changes one of the reasons to stand still, and tells the helper if that makes a difference.
    pub(super) async fn turn(
        &mut self,
        change: fn(&mut Stillness, bool, Instant) -> Option<Turn>,
        is_wanted: bool,
    ) {
        match change(&mut self.still, is_wanted, Instant::now()) {
            Some(Turn::Freeze) => {
                self.unanswered += 1;
                if self.stage == Stage::Step {
                    self.stopper.stop();
                }
                let _gone = self.commands.write_all(&[FREEZE]).await;
            }
            Some(Turn::Thaw(stood)) => {
                let _gone = self.commands.write_all(&[THAW]).await;
                self.deadline += stood;
                self.warning = self.warning.map(|warning| warning + stood);
                self.saving.shift(stood);
            }
            None => {}
        }
    }

    /// Whether neither the task's time nor the helper's passes.
    pub(super) fn is_clock_stopped(&self) -> bool {
        match self.stage {
            Stage::Helper | Stage::Step => self.still.is_on(),
            Stage::Terminating | Stage::Killing | Stage::Over => false,
        }
    }

    pub(super) async fn on_saving(&mut self, step: Step) {
        match step {
            Step::Nothing => self.saving.begin(Instant::now()),
            Step::Stop => self.turn(Stillness::copy, true).await,
            Step::Saved(saved) => {
                let run_ms = self.course.run_ms + self.step_ms();
                let is_whole = self.stage == Stage::Step && self.course.cause.is_none();
                if is_whole {
                    self.turn(Stillness::copy, false).await;
                    self.saving.begin(Instant::now());
                }
                // What was copied while the task was told to end is of no single moment.
                if let Some((directory, files)) = saved.filter(|_| is_whole) {
                    self.tell(Progress::Saved { files, directory, run_ms });
                }
            }
        }
    }

    /// How long the step of the moment has run.
    pub(super) fn step_ms(&self) -> u64 {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.began);
        let run = passed.saturating_sub(self.still.of_step(now));
        u64::try_from(run.as_millis()).unwrap_or(u64::MAX)
    }
}

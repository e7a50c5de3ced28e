//! How a task stands still and goes on: at its caller's word, and for the copies of what it goes on from.

use campusgrid_sandbox::control::Control;
use campusgrid_sandbox::plan::Progress;
use campusgrid_sandbox::stillness::Turn;
use tokio::time::Instant;

use super::{Cause, Stage, Supervision};
use crate::channel::Lost;
use crate::unpack::Part;
use crate::wire::Kind;

impl Supervision<'_> {
    pub(super) async fn obey(&mut self, control: Control) -> Result<(), Lost> {
        match control {
            Control::GoOn => self.hold(false).await,
            Control::StandStill => self.hold(true).await,
            Control::Stop => self.terminate(Cause::Stopped, self.plan.limits.grace).await,
            Control::HandBack { grace } => {
                self.latest += grace;
                self.terminate(Cause::HandedBack, grace).await
            }
        }
    }

    /// The machine's owner wants the task to stand still, or not any more.
    pub(super) async fn hold(&mut self, is_held: bool) -> Result<(), Lost> {
        let turn = self.still.hold(is_held, Instant::now());
        if let Some(Turn::Thaw(stood)) = turn {
            self.latest += stood; // Of copies it holds no matter how often they are made.
        }
        self.shift(turn);
        // While it stands still for a copy as well, the helper has to know what comes after that.
        self.channel.send(if is_held { Kind::Freeze } else { Kind::Thaw }, &[]).await
    }

    /// Moves all times of a task that goes on by how long it stood still.
    pub(super) fn shift(&mut self, turn: Option<Turn>) {
        if let Some(Turn::Thaw(stood)) = turn {
            self.deadline += stood;
            self.warning = self.warning.map(|warning| warning + stood);
            self.saving.shift(stood);
        }
    }

    /// Whether the time of the stage does not pass.
    pub(super) fn is_clock_stopped(&self) -> bool {
        match self.stage {
            Stage::Helper => self.still.is_held(),
            Stage::Step => self.still.is_on(),
            Stage::Terminating | Stage::Killing | Stage::Over => false,
        }
    }

    /// A part of what is kept of the task: of its outputs, or of what it goes on from.
    pub(super) async fn on_part(&mut self, part: Part) -> Result<(), Lost> {
        if self.saving.is_receiving() {
            self.saving.take(part).await;
            return Ok(());
        }
        self.check_is_done()?;
        self.wait_for_helper();
        self.unpacker.take(part).await;
        Ok(())
    }

    pub(super) fn on_saving(&mut self) -> Result<(), Lost> {
        let (is_over, is_back) =
            (self.course.done.is_some(), self.course.cause == Some(Cause::HandedBack));
        // What was asked of a task that was told to end meanwhile may come all the same.
        let is_due = if is_over { is_back } else { self.began.is_some() };
        if self.saving.is_receiving() || self.plan.checkpoints.is_none() || !is_due {
            return Err(Lost { why: "it saves what nobody has asked for".to_owned() });
        }
        self.saving.receive(is_over);
        if self.stage == Stage::Step {
            let _turn = self.still.copy(true, Instant::now());
        }
        Ok(())
    }

    pub(super) async fn on_saved(&mut self) -> Result<(), Lost> {
        if !self.saving.is_receiving() {
            return Err(Lost { why: "it has saved what it was not asked for".to_owned() });
        }
        let received = self.saving.received().await;
        if self.course.done.is_some() {
            self.wait_for_helper();
            self.saving.last = received.map(|(_, files)| files).unwrap_or_default();
            return Ok(());
        }
        let is_whole = self.stage == Stage::Step && self.course.cause.is_none();
        if !is_whole {
            return Ok(());
        }
        let run_ms = self.course.run_ms + self.step_ms();
        let turn = self.still.copy(false, Instant::now());
        self.shift(turn);
        self.saving.begin(Instant::now());
        if let Some((directory, files)) = received {
            self.tell(Progress::Saved { files, directory, run_ms });
        }
        Ok(())
    }

    /// How long the step of the moment has run.
    pub(super) fn step_ms(&self) -> u64 {
        let now = Instant::now();
        let passed = self.began.map(|began| now.saturating_duration_since(began));
        let run = passed.unwrap_or_default().saturating_sub(self.still.of_step(now));
        u64::try_from(run.as_millis()).unwrap_or(u64::MAX)
    }
}

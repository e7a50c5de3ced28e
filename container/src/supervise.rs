//! Follows one task in a container from its order to its last trace: time, streams, outputs.

mod ordering;
mod pausing;

use std::collections::VecDeque;
use std::time::Duration;

use campusgrid_protocol::task::Stream;
use campusgrid_sandbox::capture::Capture;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Collected, Plan, Progress, Restored};
use campusgrid_sandbox::stillness::Stillness;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};

use crate::channel::{Channel, Lost};
use crate::event::{Done, Ending, Event};
use crate::saving::Saving;
use crate::unpack::{Part, Unpacker};
use crate::wire::{Frame, Kind};
use ordering::{order, restored};

/// What the helper does by itself is done within this, or it shows that it is at it. Its share of a
/// core may be a hundredth, and the files to look at a hundred thousand.
const HELPER_TIME: Duration = Duration::from_secs(300);
/// What the helper may do by itself in all, shown or not.
const HELPER_TIME_IN_ALL: Duration = Duration::from_secs(1800);
/// Well within the silence that makes a helper give up.
const PING: Duration = Duration::from_secs(10);

/// Why we ended the task ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Stopped,
    /// As above, and what the task goes on from is kept.
    HandedBack,
    TimeLimit,
    OutputFlood,
}

/// What is known of a task.
#[derive(Debug)]
pub(crate) struct Course {
    /// The last step that began, from 0.
    pub(crate) step: usize,
    /// `None` if no step ended before the task did.
    pub(crate) ending: Option<Ending>,
    pub(crate) cause: Option<Cause>,
    pub(crate) run_ms: u64,
    /// `None` if the container was lost before nothing of the task was alive.
    pub(crate) done: Option<Done>,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    /// What a task that was handed back goes on from.
    pub(crate) checkpoint: Vec<Collected>,
    /// Whether the container can serve another task; otherwise why not.
    pub(crate) reusable: Result<(), String>,
}

/// Where a task stands; each stage but the last is left at a deadline at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The helper writes files, goes from one step to the next, sends outputs or cleans up.
    Helper,
    Step,
    /// SIGTERM has been sent.
    Terminating,
    /// SIGKILL has been sent.
    Killing,
    Over,
}

pub(crate) struct Supervision<'a> {
    plan: &'a Plan,
    channel: &'a mut Channel,
    unpacker: &'a Unpacker,
    stage: Stage,
    deadline: Instant,
    /// When the task is to hear that its time is soon over.
    warning: Option<Instant>,
    /// When all must be over, whatever the helper tells.
    latest: Instant,
    controls: Controls,
    still: Stillness,
    saving: Saving,
    /// When the step of the moment began.
    began: Option<Instant>,
    /// The step that may begin next.
    next: usize,
    course: Course,
    /// At most what one frame brings: no further one is read before this is empty.
    untold: VecDeque<Progress>,
    is_heard: bool,
}

impl<'a> Supervision<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        channel: &'a mut Channel,
        unpacker: &'a Unpacker,
        controls: Controls,
    ) -> Self {
        let keep = plan.limits.log_keep_bytes;
        // A helper that is in a task's hands could always seem to be at something.
        let walls = plan.steps.iter().map(|step| step.wall).sum::<Duration>();
        Self {
            plan,
            channel,
            unpacker,
            stage: Stage::Helper,
            deadline: Instant::now() + HELPER_TIME,
            warning: None,
            latest: Instant::now() + walls + plan.limits.grace + HELPER_TIME_IN_ALL,
            controls,
            still: Stillness::default(),
            saving: Saving::new(plan),
            began: None,
            next: 0,
            course: Course {
                step: 0,
                ending: None,
                cause: None,
                run_ms: 0,
                done: None,
                stdout: Capture::new(keep),
                stderr: Capture::new(keep),
                checkpoint: Vec::new(),
                reusable: Err("it was lost".to_owned()),
            },
            untold: VecDeque::new(),
            is_heard: true,
        }
    }

    /// Sends the order and follows the task to its end.
    ///
    /// The course tells how far it came; `Lost` beside it that the container was lost on the way.
    pub(crate) async fn follow(
        mut self,
        progress: mpsc::Sender<Progress>,
    ) -> (Course, Result<(), Lost>) {
        let late = |_| Err(endless());
        let followed = match timeout(HELPER_TIME, self.order()).await.unwrap_or_else(late) {
            Ok(()) => self.run(progress).await,
            Err(lost) => Err(lost),
        };
        if followed.is_err() {
            self.end_step(); // What ran until then is known by our own clock only.
        }
        self.course.checkpoint = std::mem::take(&mut self.saving.last);
        (self.course, followed)
    }

    async fn order(&mut self) -> Result<(), Lost> {
        let order = serde_json::to_vec(&order(self.plan))
            .map_err(|error| Lost { why: format!("the order cannot be written: {error}") })?;
        self.channel.send(Kind::Order, &order).await?;
        for (_, content) in &self.plan.files {
            self.channel.send_contents(content).await?;
        }
        for Restored { file, size_bytes, .. } in restored(self.plan) {
            self.channel.send_file(file, *size_bytes).await?;
        }
        Ok(())
    }

    async fn run(&mut self, progress: mpsc::Sender<Progress>) -> Result<(), Lost> {
        let mut pings = pings();
        while self.stage != Stage::Over {
            let may_read = self.untold.is_empty();
            let is_still = self.still.is_on();
            let may_ask = self.stage == Stage::Step && !is_still;
            tokio::select! {
                biased;
                control = self.controls.next(), if self.may_be_stopped() => {
                    self.obey(control).await?;
                }
                () = sleep_until(self.latest), if !self.still.is_held() => return Err(endless()),
                () = sleep_until(self.deadline), if !self.is_clock_stopped() => {
                    self.on_deadline().await?;
                }
                () = due(self.warning), if self.stage == Stage::Step && !is_still => {
                    self.warning = None;
                    self.channel.send(Kind::Warn, &[]).await?;
                }
                () = due(self.saving.due()), if may_ask => {
                    self.saving.asked();
                    self.channel.send(Kind::Save, &[]).await?;
                }
                _ = pings.tick() => self.channel.send(Kind::Ping, &[]).await?,
                permit = progress.reserve(), if !may_read => match permit {
                    Ok(permit) => {
                        if let Some(next) = self.untold.pop_front() {
                            permit.send(next);
                        }
                    }
                    Err(_) => self.stop_telling(),
                },
                frame = self.channel.next(), if may_read => self.on_frame(frame?).await?,
            }
        }
        Ok(())
    }

    fn may_be_stopped(&self) -> bool {
        self.course.cause.is_none() && self.course.done.is_none()
    }

    async fn terminate(&mut self, cause: Cause, grace: Duration) -> Result<(), Lost> {
        self.course.cause = Some(cause);
        self.stage = Stage::Terminating;
        self.deadline = Instant::now() + grace;
        self.still.end(Instant::now());
        self.saving.end();
        self.stop_telling_if_deaf();
        let kind = match cause {
            Cause::HandedBack => Kind::HandBack,
            Cause::Stopped | Cause::TimeLimit | Cause::OutputFlood => Kind::Terminate,
        };
        self.channel.send(kind, &[]).await
    }

    async fn kill(&mut self) -> Result<(), Lost> {
        self.stage = Stage::Killing;
        self.deadline = Instant::now() + HELPER_TIME;
        self.channel.send(Kind::Kill, &[]).await
    }

    async fn on_deadline(&mut self) -> Result<(), Lost> {
        match self.stage {
            Stage::Step => self.terminate(Cause::TimeLimit, self.plan.limits.grace).await,
            Stage::Terminating => {
                self.stop_telling_if_deaf();
                self.kill().await
            }
            // Only a listener can keep the helper waiting; it has had its time.
            Stage::Helper | Stage::Killing if !self.untold.is_empty() => {
                self.stop_telling();
                self.wait_for_helper();
                Ok(())
            }
            Stage::Helper | Stage::Killing => {
                Err(Lost { why: "its first process does nothing".to_owned() })
            }
            Stage::Over => Ok(()),
        }
    }

    fn wait_for_helper(&mut self) {
        self.stage = Stage::Helper;
        self.deadline = Instant::now() + HELPER_TIME;
    }

    async fn on_frame(&mut self, frame: Frame) -> Result<(), Lost> {
        match frame.kind {
            Kind::Event => {
                let event = serde_json::from_slice(&frame.payload);
                self.on_event(event.map_err(|error| Lost { why: error.to_string() })?).await
            }
            Kind::Stdout => self.on_printed(Stream::Stdout, frame.payload).await,
            Kind::Stderr => self.on_printed(Stream::Stderr, frame.payload).await,
            Kind::Data => self.on_part(Part::Data(frame.payload)).await,
            Kind::Order
            | Kind::Content
            | Kind::Terminate
            | Kind::HandBack
            | Kind::Kill
            | Kind::Warn
            | Kind::Freeze
            | Kind::Thaw
            | Kind::Save
            | Kind::Ping => Err(Lost { why: "it sends what only a worker may".to_owned() }),
        }
    }

    async fn on_event(&mut self, event: Event) -> Result<(), Lost> {
        match event {
            Event::Began { step } => {
                if self.began.is_some() || self.course.done.is_some() || step != self.next {
                    return Err(Lost { why: "it begins steps out of turn".to_owned() });
                }
                self.next += 1;
                self.course.step = step;
                let now = Instant::now();
                self.began = Some(now);
                self.still.begin_step(now);
                self.tell(Progress::Step(step));
                if self.course.cause.is_none() {
                    self.begin_step(step, now);
                }
            }
            Event::Ended { step, ending, run_ms: _ } => {
                if self.began.is_none() || step != self.course.step {
                    return Err(Lost { why: "it ends steps that do not run".to_owned() });
                }
                self.course.ending = Some(ending);
                self.end_step();
                self.saving.end();
                if self.course.cause.is_none() {
                    self.wait_for_helper();
                }
            }
            Event::Done(done) => {
                if self.began.is_some() || self.course.done.is_some() {
                    return Err(Lost { why: "it is done out of turn".to_owned() });
                }
                self.course.done = Some(done);
                self.wait_for_helper();
            }
            Event::File { path, size_bytes } => {
                self.on_part(Part::File { path, size_bytes }).await?;
            }
            Event::Left { path, why } => self.on_part(Part::Left { path, why }).await?,
            Event::Collected { unnamed } => self.on_part(Part::Unnamed(unnamed)).await?,
            Event::Frozen => {
                if self.still.is_held() {
                    self.tell(Progress::Still);
                }
            }
            Event::Saving => self.on_saving()?,
            Event::Saved => self.on_saved().await?,
            Event::Unchanged => {
                if self.stage == Stage::Step {
                    self.saving.begin(Instant::now());
                }
            }
            Event::Ready { residue } => {
                self.check_is_done()?;
                self.course.reusable = residue.map_or(Ok(()), Err);
                self.stage = Stage::Over;
            }
            Event::Failed { message } => return Err(Lost { why: message }),
            Event::Hello { .. } => return Err(Lost { why: "it began anew".to_owned() }),
        }
        Ok(())
    }

    fn begin_step(&mut self, step: usize, now: Instant) {
        self.stage = Stage::Step;
        let is_last = step + 1 == self.plan.steps.len();
        let step = self.plan.steps.get(step);
        let wall = step.map_or(Duration::ZERO, |step| step.wall);
        self.deadline = now + wall;
        let warn = step.and_then(|step| step.warn);
        self.warning = warn.map(|warn| now + wall.saturating_sub(warn));
        if is_last {
            self.saving.begin(now);
        }
    }

    /// Refuses what may come only when nothing of the task is alive.
    fn check_is_done(&self) -> Result<(), Lost> {
        let early = || Lost { why: "it sends outputs of a task that still runs".to_owned() };
        self.course.done.map(drop).ok_or_else(early)
    }

    async fn on_printed(&mut self, stream: Stream, bytes: Vec<u8>) -> Result<(), Lost> {
        if self.began.is_none() {
            return Err(Lost { why: "it prints while nothing runs".to_owned() });
        }
        match stream {
            Stream::Stdout => self.course.stdout.push(&bytes),
            Stream::Stderr => self.course.stderr.push(&bytes),
        }
        self.tell(Progress::Printed { stream, bytes });
        let printed = self.course.stdout.total_bytes() + self.course.stderr.total_bytes();
        let is_flood = printed > self.plan.limits.log_flood_bytes;
        if is_flood && self.course.cause != Some(Cause::OutputFlood) && self.course.done.is_none() {
            // At once: a task that is being asked to end must not go on flooding meanwhile.
            self.course.cause.get_or_insert(Cause::OutputFlood);
            self.kill().await?;
        }
        Ok(())
    }

    /// Adds the time of the step that has just ended, by our clock: the helper's is only for looks.
    fn end_step(&mut self) {
        self.course.run_ms += self.step_ms();
        self.began = None;
    }

    fn tell(&mut self, progress: Progress) {
        if self.is_heard {
            self.untold.push_back(progress);
        }
    }

    fn stop_telling(&mut self) {
        self.is_heard = false;
        self.untold.clear();
    }

    /// The helper's events come behind what was printed: a listener that does not listen must not
    /// keep us from hearing that the task has ended.
    fn stop_telling_if_deaf(&mut self) {
        if !self.untold.is_empty() {
            self.stop_telling();
        }
    }
}

fn endless() -> Lost {
    Lost { why: "it does not come to an end".to_owned() }
}

/// Waits until then; without a time for ever.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn pings() -> Interval {
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

#[cfg(test)]
mod tests;

//! Follows one task in a container from its order to its last trace: time, streams, outputs.

use std::collections::VecDeque;
use std::time::Duration;

use campusgrid_protocol::task::Stream;
use campusgrid_sandbox::capture::Capture;
use campusgrid_sandbox::plan::{Plan, Progress};
use campusgrid_sandbox::walk::given;
use tokio::sync::mpsc;
use tokio::time::{
    Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout, timeout_at,
};
use tokio_util::sync::CancellationToken;

use crate::channel::{Channel, Lost};
use crate::event::{Afterwards, Done, Ending, Event, OUTPUTS, Order};
use crate::unpack::{Part, Unpacker};
use crate::wire::{Frame, Kind};

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
    pub(crate) fn new(plan: &'a Plan, channel: &'a mut Channel, unpacker: &'a Unpacker) -> Self {
        let keep = plan.limits.log_keep_bytes;
        Self {
            plan,
            channel,
            unpacker,
            stage: Stage::Helper,
            deadline: Instant::now() + HELPER_TIME,
            warning: None,
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
        stop: CancellationToken,
    ) -> (Course, Result<(), Lost>) {
        // A helper that is in a task's hands could always seem to be at something.
        let walls = self.plan.steps.iter().map(|step| step.wall).sum::<Duration>();
        let latest = Instant::now() + walls + self.plan.limits.grace + HELPER_TIME_IN_ALL;
        let late = |_| Err(Lost { why: "it does not come to an end".to_owned() });
        let followed = match timeout(HELPER_TIME, self.order()).await.unwrap_or_else(late) {
            Ok(()) => timeout_at(latest, self.run(progress, stop)).await.unwrap_or_else(late),
            Err(lost) => Err(lost),
        };
        if followed.is_err() {
            self.end_step(); // What ran until then is known by our own clock only.
        }
        (self.course, followed)
    }

    async fn order(&mut self) -> Result<(), Lost> {
        let order = serde_json::to_vec(&order(self.plan))
            .map_err(|error| Lost { why: format!("the order cannot be written: {error}") })?;
        self.channel.send(Kind::Order, &order).await?;
        for (_, content) in &self.plan.files {
            self.channel.send_contents(content).await?;
        }
        Ok(())
    }

    async fn run(
        &mut self,
        progress: mpsc::Sender<Progress>,
        stop: CancellationToken,
    ) -> Result<(), Lost> {
        let mut pings = pings();
        while self.stage != Stage::Over {
            let may_read = self.untold.is_empty();
            tokio::select! {
                biased;
                () = stop.cancelled(), if self.may_be_stopped() => {
                    self.terminate(Cause::Stopped).await?;
                }
                () = sleep_until(self.deadline) => self.on_deadline().await?,
                () = due(self.warning), if self.stage == Stage::Step => {
                    self.warning = None;
                    self.channel.send(Kind::Warn, &[]).await?;
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

    async fn terminate(&mut self, cause: Cause) -> Result<(), Lost> {
        self.course.cause = Some(cause);
        self.stage = Stage::Terminating;
        self.deadline = Instant::now() + self.plan.limits.grace;
        self.stop_telling_if_deaf();
        self.channel.send(Kind::Terminate, &[]).await
    }

    async fn kill(&mut self) -> Result<(), Lost> {
        self.stage = Stage::Killing;
        self.deadline = Instant::now() + HELPER_TIME;
        self.channel.send(Kind::Kill, &[]).await
    }

    async fn on_deadline(&mut self) -> Result<(), Lost> {
        match self.stage {
            Stage::Step => self.terminate(Cause::TimeLimit).await,
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
            Kind::Data => {
                self.check_is_done()?;
                self.wait_for_helper();
                self.unpacker.take(Part::Data(frame.payload)).await;
                Ok(())
            }
            Kind::Order
            | Kind::Content
            | Kind::Terminate
            | Kind::Kill
            | Kind::Warn
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
                self.began = Some(Instant::now());
                self.tell(Progress::Step(step));
                if self.course.cause.is_none() {
                    self.stage = Stage::Step;
                    let step = self.plan.steps.get(step);
                    let wall = step.map_or(Duration::ZERO, |step| step.wall);
                    self.deadline = Instant::now() + wall;
                    let warn = step.and_then(|step| step.warn);
                    self.warning = warn.map(|warn| Instant::now() + wall.saturating_sub(warn));
                }
            }
            Event::Ended { step, ending, run_ms: _ } => {
                if self.began.is_none() || step != self.course.step {
                    return Err(Lost { why: "it ends steps that do not run".to_owned() });
                }
                self.course.ending = Some(ending);
                self.end_step();
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
                self.check_is_done()?;
                self.wait_for_helper();
                self.unpacker.take(Part::File { path, size_bytes }).await;
            }
            Event::Left { path, why } => {
                self.check_is_done()?;
                self.unpacker.take(Part::Left { path, why }).await;
            }
            Event::Collected { unnamed } => {
                self.check_is_done()?;
                self.wait_for_helper();
                self.unpacker.take(Part::Unnamed(unnamed)).await;
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
        if let Some(began) = self.began.take() {
            let passed = Instant::now().saturating_duration_since(began);
            self.course.run_ms += u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        }
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

fn order(plan: &Plan) -> Order {
    let length = |(path, content): &(String, Vec<u8>)| (path.clone(), content.len() as u64);
    let is_outputs = |(name, value): &(String, String)| name == "OUTPUT_DIR" && value == OUTPUTS;
    Order {
        files: plan.files.iter().map(length).collect(),
        links: plan.links.clone(),
        steps: plan.steps.iter().map(|step| step.argv.clone()).collect(),
        environment: plan.environment.clone(),
        has_outputs: plan.environment.iter().any(is_outputs),
        afterwards: match (&plan.family, plan.shared_tmp) {
            (None, _) => Afterwards::Nothing,
            (Some(_), false) => Afterwards::Remove,
            (Some(_), true) => Afterwards::RemoveButTmp,
        },
        file_bytes: crate::walls::file_bytes(plan),
        outputs: plan.limits.outputs,
        outputs_bytes: plan.limits.outputs_bytes,
        patterns: plan.outputs.clone(),
        given: given(plan),
    }
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

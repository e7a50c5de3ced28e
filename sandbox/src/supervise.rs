//! Follows one task from its order to its end: time, streams, commands to its helper.

mod pausing;

use std::collections::VecDeque;
use std::time::Duration;

use campusgrid_protocol::task::Stream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::capture::Capture;
use crate::checkpoint::Place;
use crate::control::Controls;
use crate::lane::Streams;
use crate::order::{Done, Ending, Event, KILL, TERMINATE, WARN};
use crate::plan::{Plan, Progress, SandboxError};
use crate::restore::restore;
use crate::saving::Saving;
use crate::stillness::Stillness;
use crate::stopper::Stopper;

/// What the helper does by itself (mounting, writing files, killing) is done within this.
const HELPER_TIME: Duration = Duration::from_secs(30);
/// How long a task's result waits for a listener that does not keep up.
const LISTENER_TIME: Duration = Duration::from_secs(1);
/// What a helper tells of any plan is far below this.
const EVENTS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A pipe of the kernel's default size is emptied at one go.
const READ_BYTES: usize = 64 * 1024;

/// Why we ended the task ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Stopped,
    /// As above, and what the task goes on from is kept.
    HandedBack,
    TimeLimit,
    OutputFlood,
}

/// What is known of a task when nothing of it is alive any more.
#[derive(Debug)]
pub(crate) struct Course {
    /// The last step that began, from 0.
    pub(crate) step: usize,
    pub(crate) has_begun: bool,
    /// `None` if no step ended before the task did.
    pub(crate) ending: Option<Ending>,
    pub(crate) cause: Option<Cause>,
    pub(crate) run_ms: u64,
    /// What the helper told at the end; `None` if it died with the task.
    pub(crate) done: Option<Done>,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
}

/// Where a task stands; each stage but the last is left at a deadline at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The helper makes the room, or goes from one step to the next.
    Helper,
    Step,
    /// SIGTERM has been sent.
    Terminating,
    /// SIGKILL has been sent.
    Killing,
    /// Nothing is alive; what the streams still hold is read, and told while there is time.
    Over,
}

/// Who wants a plan run: whom to tell of it, and what it says meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) progress: mpsc::Sender<Progress>,
    pub(crate) controls: Controls,
}

pub(crate) struct Supervision<'a> {
    plan: &'a Plan,
    events: Lines<BufReader<Take<OwnedReadHalf>>>,
    commands: OwnedWriteHalf,
    stage: Stage,
    deadline: Instant,
    /// When the task is to hear that its time is soon over.
    warning: Option<Instant>,
    controls: Controls,
    still: Stillness,
    stopper: Stopper,
    /// Stops that the helper has not answered yet.
    unanswered: u32,
    saving: Saving,
    /// When the step of the moment began.
    began: Instant,
    course: Course,
    /// Bounded by the pipe's size and the number of steps: streams are read only when it is empty.
    untold: VecDeque<Progress>,
    is_heard: bool,
}

/// One of a task's streams and whether it may still grow.
struct Source {
    pipe: pipe::Receiver,
    buffer: Vec<u8>,
    open: bool,
}

impl<'a> Supervision<'a> {
    /// Sends the order and follows the task to its end.
    ///
    /// # Errors
    ///
    /// `Start` if the room could not be made, `Host` if the helper is lost or stuck.
    pub(crate) async fn follow(
        plan: &'a Plan,
        streams: Streams,
        order: Vec<u8>,
        (place, stopper): (Place, Stopper),
        caller: Caller,
    ) -> Result<Course, SandboxError> {
        let Caller { progress, controls } = caller;
        let (events, mut commands) = streams.link.into_split();
        // A helper that is gone or does not read is noticed where its events are read.
        let _gone = timeout(HELPER_TIME, commands.write_all(&order)).await;
        drop(order);
        restore(plan, &mut commands).await?;
        let keep = plan.limits.log_keep_bytes;
        let supervision = Supervision {
            plan,
            events: BufReader::new(events.take(EVENTS_BYTES_MAX)).lines(),
            commands,
            stage: Stage::Helper,
            deadline: Instant::now() + HELPER_TIME,
            warning: None,
            controls,
            still: Stillness::default(),
            stopper,
            unanswered: 0,
            saving: Saving::new(plan, place),
            began: Instant::now(),
            course: Course {
                step: 0,
                has_begun: false,
                ending: None,
                cause: None,
                run_ms: 0,
                done: None,
                stdout: Capture::new(keep),
                stderr: Capture::new(keep),
            },
            untold: VecDeque::new(),
            is_heard: true,
        };
        supervision.run(Source::new(streams.stdout), Source::new(streams.stderr), progress).await
    }

    async fn run(
        mut self,
        mut stdout: Source,
        mut stderr: Source,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Course, SandboxError> {
        while self.stage != Stage::Over || stdout.open || stderr.open || !self.untold.is_empty() {
            let may_read = self.untold.is_empty();
            let alive = self.stage != Stage::Over;
            let is_still = self.still.is_on();
            tokio::select! {
                biased;
                control = self.controls.next(), if alive && self.course.cause.is_none() => {
                    self.obey(control).await;
                }
                () = sleep_until(self.deadline), if !self.is_clock_stopped() => {
                    // Somebody out of our reach may hold a stream open for ever.
                    if !alive && !self.is_heard {
                        break;
                    }
                    self.on_deadline().await?;
                }
                () = due(self.warning), if self.stage == Stage::Step && !is_still => {
                    self.warning = None;
                    let _gone = self.commands.write_all(&[WARN]).await;
                }
                () = due(self.saving.due()), if self.stage == Stage::Step && !is_still => {
                    self.saving.look();
                }
                step = self.saving.step(is_still), if alive => self.on_saving(step).await,
                line = self.events.next_line(), if alive => {
                    self.on_event(line.ok().flatten().as_deref()).await?;
                }
                permit = progress.reserve(), if !may_read => match permit {
                    Ok(permit) => {
                        if let Some(next) = self.untold.pop_front() {
                            permit.send(next);
                        }
                    }
                    Err(_) => self.stop_telling(),
                },
                read = stdout.read(), if may_read && stdout.open => {
                    let bytes = stdout.taken(read);
                    self.on_printed(Stream::Stdout, bytes).await;
                }
                read = stderr.read(), if may_read && stderr.open => {
                    let bytes = stderr.taken(read);
                    self.on_printed(Stream::Stderr, bytes).await;
                }
            }
        }
        // Dropped otherwise it would shut the socket down, and the helper would leave with the
        // scratch space before it is collected from.
        self.commands.forget();
        self.saving.finish().await;
        Ok(self.course)
    }

    async fn terminate(&mut self, cause: Cause, grace: Duration) {
        self.course.cause = Some(cause);
        self.stage = Stage::Terminating;
        self.deadline = Instant::now() + grace;
        self.still.end(Instant::now());
        self.saving.end();
        let _gone = self.commands.write_all(&[TERMINATE]).await;
    }

    async fn kill(&mut self) {
        self.stage = Stage::Killing;
        self.deadline = Instant::now() + HELPER_TIME;
        let _gone = self.commands.write_all(&[KILL]).await;
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.deadline = Instant::now() + LISTENER_TIME;
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

    async fn on_deadline(&mut self) -> Result<(), SandboxError> {
        match self.stage {
            Stage::Step => self.terminate(Cause::TimeLimit, self.plan.limits.grace).await,
            Stage::Terminating => self.kill().await,
            Stage::Over => {
                // What the streams still hold is kept all the same.
                self.stop_telling();
                self.end();
            }
            Stage::Helper | Stage::Killing => {
                return Err(SandboxError::Host {
                    operation: "hear from the sandbox's helper in time",
                    source: std::io::ErrorKind::TimedOut.into(),
                });
            }
        }
        Ok(())
    }

    /// Takes in one line of the helper's; `None` is the end of it.
    async fn on_event(&mut self, line: Option<&str>) -> Result<(), SandboxError> {
        let Some(line) = line else {
            self.end(); // It died; whoever asked looks for why.
            return Ok(());
        };
        let event = serde_json::from_str(line).map_err(|source| SandboxError::Host {
            operation: "understand the sandbox's helper",
            source: source.into(),
        })?;
        let is_ending = self.course.cause.is_some();
        match event {
            Event::Began { step } => {
                let next = if self.course.has_begun { self.course.step + 1 } else { 0 };
                let is_due = self.stage != Stage::Step && self.course.done.is_none();
                if step != next || !is_due {
                    return Err(SandboxError::Host {
                        operation: "follow the sandbox's helper from step to step",
                        source: std::io::ErrorKind::InvalidData.into(),
                    });
                }
                self.course.step = step;
                self.course.has_begun = true;
                self.tell(Progress::Step(step));
                self.began = Instant::now();
                self.still.begin_step(self.began);
                if !is_ending {
                    self.begin_step(step);
                }
            }
            Event::Ended { step, ending, run_ms } => {
                self.course.step = step;
                self.course.ending = Some(ending);
                let still = self.still.of_step(Instant::now()).as_millis();
                self.course.run_ms +=
                    run_ms.saturating_sub(u64::try_from(still).unwrap_or(u64::MAX));
                self.saving.end();
                if !is_ending {
                    self.stage = Stage::Helper;
                    self.deadline = Instant::now() + HELPER_TIME;
                    self.turn(Stillness::copy, false).await;
                }
            }
            Event::Frozen => {
                self.unanswered = self.unanswered.saturating_sub(1);
                // An answer to an earlier stop says nothing of this one.
                if self.unanswered == 0 && self.saving.is_stopping() {
                    self.saving.copy();
                }
                if self.unanswered == 0 && self.still.is_held() {
                    self.tell(Progress::Still);
                }
            }
            Event::Done(done) => {
                self.course.done = Some(done);
                self.end();
            }
            Event::Failed { message } => {
                return Err(SandboxError::Start { message });
            }
        }
        Ok(())
    }

    fn begin_step(&mut self, step: usize) {
        self.stage = Stage::Step;
        let is_last = step + 1 == self.plan.steps.len();
        let step = self.plan.steps.get(step);
        let wall = step.map_or(Duration::ZERO, |step| step.wall);
        self.deadline = self.began + wall;
        let warn = step.and_then(|step| step.warn);
        self.warning = warn.map(|warn| self.began + wall.saturating_sub(warn));
        if is_last {
            self.saving.begin(self.began);
        }
    }

    async fn on_printed(&mut self, stream: Stream, bytes: Vec<u8>) {
        match stream {
            Stream::Stdout => self.course.stdout.push(&bytes),
            Stream::Stderr => self.course.stderr.push(&bytes),
        }
        if !bytes.is_empty() {
            self.tell(Progress::Printed { stream, bytes });
        }
        let printed = self.course.stdout.total_bytes() + self.course.stderr.total_bytes();
        let is_flood = printed > self.plan.limits.log_flood_bytes;
        if is_flood && self.course.cause != Some(Cause::OutputFlood) && self.stage != Stage::Over {
            // At once: a task that is being asked to end must not go on flooding meanwhile.
            self.course.cause.get_or_insert(Cause::OutputFlood);
            self.kill().await;
        }
    }
}

/// Waits until then; without a time for ever.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Source {
    fn new(pipe: pipe::Receiver) -> Self {
        Self { pipe, buffer: vec![0; READ_BYTES], open: true }
    }

    async fn read(&mut self) -> usize {
        self.pipe.read(&mut self.buffer).await.unwrap_or(0)
    }

    fn taken(&mut self, read: usize) -> Vec<u8> {
        self.open = read > 0;
        self.buffer[..read].to_vec()
    }
}

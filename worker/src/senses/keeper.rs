//! The keeper of a machine's sharing: brings senses, rules and the owner's hand together, and tells the
//! verdict.

use std::time::{Duration, UNIX_EPOCH};

use campusgrid_protocol::rules::{ByHand, RULE_TIME_MAX_S, Wish};
use campusgrid_sharing::senses::{Now, Presence, Senses};
use campusgrid_sharing::sharing::Sharing;
use campusgrid_sharing::verdict::Verdict;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::kept::Kept;
use super::local::{Local, Looked, Wants};
use super::policy_file::PolicyFile;
use super::report::{Report, Said, Source, feed, first, presence};
use super::sources::{Asks, Sources};
use super::steady::Steady;
use super::writer::Writer;
use super::{Order, Places, Told};
use crate::clock;
use crate::control::{Answer, Asked, Door, Question, questions};
use crate::status::{SourceLine, Status};

/// How often the machine is looked at, though nothing says that something has changed.
const TICK: Duration = Duration::from_secs(2);

/// The ways by which the keeper hears and tells.
pub(super) struct Ways {
    pub(super) told: watch::Receiver<Told>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) door: Door,
}

/// Lives beside the daemon.
pub struct Keeper {
    sharing: Sharing,
    writer: Writer,
    sources: Sources,
    asks: watch::Sender<Asks>,
    /// None while it looks.
    local: Option<Local>,
    /// The look that is under way: batteries can be slow to read, and nobody waits for them.
    looking: Option<JoinHandle<(Local, Looked)>>,
    looked: Looked,
    /// When it began, by the boot clock.
    looking_since_ms: u64,
    /// What the look that began last is to find out, and what the one that ended last was to.
    wanted: Wants,
    seen: Wants,
    /// When somebody was here last.
    left: Steady,
    /// What all sources said last.
    reports: Vec<Report>,
    verdict: watch::Sender<Verdict>,
    ways: Ways,
    policy: PolicyFile,
}

impl Keeper {
    /// Looks for the first time.
    pub(super) async fn open(
        places: Places,
        sharing: Sharing,
        kept: Kept,
        policy: PolicyFile,
        ways: Ways,
    ) -> (Self, watch::Receiver<Verdict>) {
        let (asks, asked) = watch::channel(Asks { presence: sharing.asks_for_presence() });
        let sources = Sources::open(&places, asked).await;
        let (told, verdict) = watch::channel(sharing.verdict().clone());
        let mut keeper = Self {
            local: Some(Local::new(places)),
            looking: None,
            looking_since_ms: 0,
            looked: Looked::default(),
            wanted: Wants::of(&sharing),
            seen: Wants::of(&sharing),
            left: Steady::default(),
            reports: Vec::new(),
            verdict: told,
            sharing,
            writer: Writer::start(kept),
            sources,
            asks,
            ways,
            policy,
        };
        keeper.look_up();
        let looked = ended(&mut keeper.looking).await;
        keeper.take_look(looked);
        keeper.look();
        (keeper, verdict)
    }

    /// Keeps the verdict true until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (asked, mut questions) = questions();
        let door = std::mem::replace(&mut self.ways.door, Door::closed());
        let serving = tokio::spawn(door.serve(asked, shutdown.clone()));
        loop {
            let pause = self.pause();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(asked) = questions.recv() => self.answer(asked),
                changed = self.ways.told.changed() => match changed {
                    Ok(()) => {
                        self.take_rules();
                        self.look_up();
                    }
                    Err(_) => break,
                },
                looked = ended(&mut self.looking) => self.take_look(looked),
                () = self.sources.changed() => {}
                () = sleep(pause) => {
                    self.take_policy();
                    self.look_up();
                }
            }
            self.look();
        }
        self.writer.end().await;
        let _ = serving.await;
    }

    /// Until something may be over, or it is time to look again.
    fn pause(&self) -> Duration {
        let left = |at: u64| Duration::from_millis(at.saturating_sub(clock::boot_ms()));
        self.sharing.next_deadline().map_or(TICK, left).min(TICK)
    }

    /// Looks at everything, and tells the verdict if it is another one.
    fn look(&mut self) {
        let now = moment();
        if self.is_blind(now) {
            return;
        }
        let senses = self.sense();
        let verdict = self.sharing.look(now, &senses).clone();
        self.verdict.send_if_modified(|told| {
            if *told == verdict {
                return false;
            }
            if (told.shares.phase, &told.shares.why) != (verdict.shares.phase, &verdict.shares.why)
            {
                info!(phase = ?verdict.shares.phase, why = verdict.shares.why, "sharing");
            }
            *told = verdict;
            true
        });
    }

    /// Whether rules ask for what is only just being looked up: that it is not known yet must hand no
    /// task back. A pause does not wait for it, and nothing for long.
    fn is_blind(&self, now: Now) -> bool {
        let is_pause = |by_hand: ByHand| {
            by_hand.wish == Wish::Pause && by_hand.until_ms.is_none_or(|until| until > now.unix_ms)
        };
        let said = [self.sharing.by_hand(), self.sharing.rules().by_hand];
        let is_new = now.boot_ms.saturating_sub(self.looking_since_ms) < TICK.as_millis() as u64;
        self.looking.is_some()
            && is_new
            && self.seen != Wants::of(&self.sharing)
            && !said.into_iter().flatten().any(is_pause)
    }

    fn sense(&mut self) -> Senses {
        let mut reports = self.sources.reports();
        reports.extend(self.looked.reports.iter().cloned());
        let typed = self.sources.typed();
        for report in &mut reports {
            if let (Source::Terminals, Ok(Said::Presence(Presence::AwaySince { boot_ms }))) =
                (report.source, &mut report.said)
            {
                // The kernel's own note of it comes up to eight seconds later.
                *boot_ms = typed.max(*boot_ms);
            }
        }
        let mut senses = senses(&reports, self.looked.programs.clone());
        if let Presence::AwaySince { boot_ms } = &mut senses.presence {
            // Or words that name the minute would go back and forth.
            *boot_ms = self.left.take(*boot_ms);
        }
        self.reports = reports;
        senses
    }

    /// Begins to look up what does not tell by itself, on another thread, unless that is under way.
    fn look_up(&mut self) {
        let Some(mut local) = self.local.take() else { return };
        let wants = Wants::of(&self.sharing);
        self.wanted = wants.clone();
        self.looking_since_ms = clock::boot_ms();
        self.looking = Some(spawn_blocking(move || {
            let looked = local.look(moment(), &wants);
            (local, looked)
        }));
    }

    /// Takes in what was looked up, and looks again if rules ask for something else by now.
    fn take_look(&mut self, looked: Result<(Local, Looked), JoinError>) {
        self.looking = None;
        match looked {
            Ok((local, looked)) => {
                self.local = Some(local);
                self.looked = looked;
                self.seen = self.wanted.clone();
                if self.seen != Wants::of(&self.sharing) {
                    self.look_up();
                }
            }
            Err(error) => error!("this machine is not looked at any more: {error}"),
        }
    }

    /// Follows the rules that the dashboard gives, if they can be followed.
    fn take_rules(&mut self) {
        let Some(rules) = self.ways.told.borrow_and_update().rules.clone() else { return };
        if rules == *self.sharing.rules() {
            return;
        }
        if let Err(errors) = rules.check() {
            let first = errors.first().map(|error| format!("{} {}", error.field, error.message));
            warn!(
                "rules of the manager make no sense, those before stay: {}",
                first.unwrap_or_default()
            );
            return;
        }
        info!("the owner's rules have changed in the dashboard");
        self.sharing.set_rules(rules.clone());
        self.asks.send_replace(Asks { presence: self.sharing.asks_for_presence() });
        self.writer.keep_rules(rules);
    }

    /// Follows the policy file as it stands.
    fn take_policy(&mut self) {
        let Some(policy) = self.policy.changed() else { return };
        match &policy {
            Ok(_) => info!("the policy file has changed"),
            Err(why) => warn!("nothing is shared: {why}"),
        }
        self.sharing.set_policy(policy);
        self.asks.send_replace(Asks { presence: self.sharing.asks_for_presence() });
    }

    fn answer(&mut self, asked: Asked) {
        // Whoever asks has perhaps just written it.
        self.take_policy();
        let Asked { question, answer } = asked;
        let mut keeping = None;
        let done = match question {
            Question::Status => Ok(()),
            Question::ByHand { by_hand } => {
                self.say_by_hand(by_hand).map(|kept| keeping = Some(kept))
            }
            Question::Stop { attempt } => self.stop(&attempt),
        };
        if let Err(why) = done {
            // Whoever has asked may be gone, here and below.
            let _ = answer.send(Answer::Refused(why));
            return;
        }
        self.look();
        let status = Answer::Status(Box::new(self.status()));
        let Some(keeping) = keeping else {
            let _ = answer.send(status);
            return;
        };
        // The owner may come back while the disk takes its time.
        tokio::spawn(async move {
            let _ = match keeping.await {
                Ok(Ok(())) => answer.send(status),
                Ok(Err(why)) => answer.send(Answer::Refused(why)),
                Err(_) => answer.send(Answer::Refused("done, but not kept".to_owned())),
            };
        });
    }

    fn say_by_hand(
        &mut self,
        by_hand: Option<ByHand>,
    ) -> Result<oneshot::Receiver<Result<(), String>>, String> {
        let now_ms = moment().unix_ms;
        let latest_ms = now_ms + u64::from(RULE_TIME_MAX_S) * 1000;
        let until_ms = by_hand.and_then(|by_hand| by_hand.until_ms);
        if until_ms.is_some_and(|until_ms| until_ms <= now_ms || until_ms > latest_ms) {
            return Err("that time is over, or more than a year ahead".to_owned());
        }
        // At once, and then on disk: a pause must not wait for one.
        self.sharing.set_by_hand(by_hand);
        Ok(self.writer.keep_by_hand(by_hand))
    }

    /// Has one attempt handed back: named whole, or by its job or task if that is clear.
    fn stop(&self, named: &str) -> Result<(), String> {
        let told = self.ways.told.borrow();
        let is_meant = |attempt: &str| {
            let task = attempt.split('#').next().unwrap_or_default();
            let job = task.split('.').next().unwrap_or_default();
            [attempt, task, job].contains(&named)
        };
        let meant: Vec<&str> = told
            .works
            .iter()
            .map(|work| work.attempt.as_str())
            .filter(|attempt| is_meant(attempt))
            .collect();
        let attempt = match meant.as_slice() {
            [attempt] => attempt,
            [] => return Err(format!("nothing runs here that is called {named}")),
            several => return Err(format!("which one: {}?", several.join(", "))),
        };
        let attempt = attempt.parse().map_err(|error| format!("{attempt}: {error}"))?;
        self.ways
            .orders
            .try_send(Order::Stop { attempt })
            .map_err(|_| "the worker is busy; try again".to_owned())
    }

    fn status(&self) -> Status {
        let told = self.ways.told.borrow();
        let Verdict { shares, checkpoint_s } = self.sharing.verdict().clone();
        let now = moment();
        let sources = self.reports.iter().map(|report| SourceLine::of(report, now)).collect();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now_ms: now.unix_ms,
            works_for: told.works_for.clone(),
            earned_micros: told.earned_micros,
            phase: shares.phase,
            why: shares.why,
            since_ms: shares.since_ms,
            limits: shares.limits,
            checkpoint_s,
            by_hand: self.sharing.by_hand(),
            dashboard_by_hand: self.sharing.rules().by_hand,
            policy: self.policy.words(),
            works: told.works.clone(),
            sources,
        }
    }
}

/// Waits for the end of what is under way, if anything is.
async fn ended<T>(running: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match running {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

/// What reports come to.
fn senses(reports: &[Report], programs: Vec<String>) -> Senses {
    Senses {
        presence: presence(reports),
        feed: feed(reports),
        is_metered: first(reports, Said::metered).unwrap_or(false),
        programs,
        others_load_percent: first(reports, Said::load),
        temperature_c: first(reports, Said::temperature),
        is_asleep: first(reports, Said::asleep).unwrap_or(false),
    }
}

pub(crate) fn moment() -> Now {
    let unix = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
    Now { boot_ms: clock::boot_ms(), unix_ms }
}

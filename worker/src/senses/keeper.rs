//! The keeper of a machine's sharing: brings senses, rules and the owner's hand together, and tells the
//! verdict.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use campusgrid_protocol::rules::{ByHand, RULE_TIME_MAX_S};
use campusgrid_sharing::senses::{Now, Presence, Senses};
use campusgrid_sharing::sharing::Sharing;
use campusgrid_sharing::verdict::Verdict;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::kept::Kept;
use super::local::{Local, Looked, Wants};
use super::report::{Report, Said, feed, first, presence};
use super::sources::{Asks, Sources};
use super::steady::Steady;
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
    kept: Kept,
    sources: Sources,
    asks: watch::Sender<Asks>,
    /// None while it looks.
    local: Option<Local>,
    looked: Looked,
    /// When somebody was here last.
    left: Steady,
    /// What all sources said last.
    reports: Vec<Report>,
    verdict: watch::Sender<Verdict>,
    ways: Ways,
    /// The policy file that holds.
    policy: Option<PathBuf>,
}

impl Keeper {
    /// Looks for the first time.
    pub(super) async fn open(
        places: Places,
        sharing: Sharing,
        kept: Kept,
        policy: Option<PathBuf>,
        ways: Ways,
    ) -> (Self, watch::Receiver<Verdict>) {
        let (asks, asked) = watch::channel(Asks { presence: sharing.asks_for_presence() });
        let sources = Sources::open(&places, asked).await;
        let (told, verdict) = watch::channel(sharing.verdict().clone());
        let mut keeper = Self {
            local: Some(Local::new(places)),
            looked: Looked::default(),
            left: Steady::default(),
            reports: Vec::new(),
            verdict: told,
            sharing,
            kept,
            sources,
            asks,
            ways,
            policy,
        };
        keeper.look_up().await;
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
                Some(asked) = questions.recv() => self.answer(asked).await,
                changed = self.ways.told.changed() => match changed {
                    Ok(()) => {
                        self.take_rules();
                        self.look_up().await;
                    }
                    Err(_) => break,
                },
                () = self.sources.changed() => {}
                () = sleep(pause) => self.look_up().await,
            }
            self.look();
        }
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

    fn sense(&mut self) -> Senses {
        let mut reports = self.sources.reports();
        reports.extend(self.looked.reports.iter().cloned());
        let mut senses = senses(&reports, self.looked.programs.clone());
        if let Presence::AwaySince { boot_ms } = &mut senses.presence {
            // Or words that name the minute would go back and forth.
            *boot_ms = self.left.take(*boot_ms);
        }
        self.reports = reports;
        senses
    }

    /// Looks up what does not tell by itself, on another thread.
    async fn look_up(&mut self) {
        let Some(mut local) = self.local.take() else { return };
        let wants = Wants::of(&self.sharing);
        let looking = spawn_blocking(move || {
            let looked = local.look(moment(), &wants);
            (local, looked)
        });
        match looking.await {
            Ok((local, looked)) => {
                self.local = Some(local);
                self.looked = looked;
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
        let kept = self.kept.clone();
        spawn_blocking(move || kept.keep_rules(&rules));
    }

    async fn answer(&mut self, asked: Asked) {
        let done = match asked.question {
            Question::Status => Ok(()),
            Question::ByHand { by_hand } => self.say_by_hand(by_hand).await,
            Question::Stop { attempt } => self.stop(&attempt),
        };
        let answer = match done {
            Ok(()) => {
                self.look();
                Answer::Status(Box::new(self.status()))
            }
            Err(why) => Answer::Refused(why),
        };
        // Whoever has asked may be gone.
        let _ = asked.answer.send(answer);
    }

    async fn say_by_hand(&mut self, by_hand: Option<ByHand>) -> Result<(), String> {
        let now_ms = moment().unix_ms;
        let latest_ms = now_ms + u64::from(RULE_TIME_MAX_S) * 1000;
        let until_ms = by_hand.and_then(|by_hand| by_hand.until_ms);
        if until_ms.is_some_and(|until_ms| until_ms <= now_ms || until_ms > latest_ms) {
            return Err("that time is over, or more than a year ahead".to_owned());
        }
        // At once, and then on disk: a pause must not wait for one.
        self.sharing.set_by_hand(by_hand);
        self.look();
        let kept = self.kept.clone();
        match spawn_blocking(move || kept.keep_by_hand(by_hand)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!(
                "done, but only until the worker is started again: {:#}",
                anyhow::Error::new(error)
            )),
            Err(error) => Err(format!("done, but it may not be kept: {error}")),
        }
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
            policy: self.policy.as_ref().map(|path| path.display().to_string()),
            works: told.works.clone(),
            sources,
        }
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

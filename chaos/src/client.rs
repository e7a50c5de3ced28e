//! A client as a process of its own: submits, cancels, waits, downloads, and writes down all that it is
//! told. Killed and started again, it goes on where its journal ends.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest::{self, TaskState};
use fastrand::Rng;

use crate::api::{Api, ApiError, nothing};
use crate::error::ChaosError;
use crate::history::{Cancel, Event, Journal, Known, KnownJob};
use crate::work::{Kind, Work};

/// Longer than any answer but one that a fault holds up.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// How long the API is asked to wait for a job's end. Milliseconds.
const WATCH_MS: u32 = 500;

/// Jobs under way at once.
const OPEN_MAX: usize = 8;

/// Between two requests of which the first has failed. Milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 20..300;

/// The status of a cancel that comes too late: 409 Conflict.
const HAS_ENDED: u16 = 409;

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The dashboard's address, without a slash at its end.
    pub url: String,
    pub token: String,
    pub journal: PathBuf,
    pub seed: u64,
    /// Begins its idempotency keys.
    pub name: String,
    pub isolation: Option<Isolation>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed<'a> {
    Think,
    Submit { key: &'a str, work: Work },
    DecideToCancel(u64),
    Cancel(u64),
    Watch(u64),
    Collect(u64),
    LookAtCredits,
    Leave,
}

/// Whether there is to be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Working,
    /// What is begun is brought to its end, and nothing new begins.
    Finishing,
}

/// Works until standard input ends and everything is settled then.
///
/// # Errors
///
/// `Journal` and `JournalLine`; whatever the grid does is written down instead.
pub fn run(config: ClientConfig) -> Result<(), ChaosError> {
    let (journal, events) = Journal::open(&config.journal)?;
    let api = Api::new(&config.url, ANSWER_LIMIT).logged_in(&config.token);
    let seed = config.seed.wrapping_add(events.len() as u64);
    let random = Rng::with_seed(seed);
    let (told, refused) = (Known::of(&events), BTreeSet::new());
    let mut client = Client { config, api, journal, known: told, random, refused };
    let end = end_of_input();
    let mut mood = Mood::Working;
    loop {
        if mood == Mood::Working && end.try_recv().is_ok() {
            mood = Mood::Finishing;
        }
        let deed = next(&client.known, &mut client.random, mood);
        let done = match deed {
            Deed::Leave => return Ok(()),
            Deed::Think => client.think(),
            Deed::DecideToCancel(job) => client.note(Event::CancelIntended { job }),
            Deed::Submit { key, work } => client.submit(key.to_owned(), work),
            Deed::Cancel(job) => client.cancel(job),
            Deed::Watch(job) => client.watch(job),
            Deed::Collect(job) => client.collect(job),
            Deed::LookAtCredits => client.look_at_credits(),
        };
        let Err(error) = done else { continue };
        // Without a journal it would know nothing; whatever the grid does is no reason to end.
        let ChaosError::Api(error) = error else { return Err(error) };
        client.complain(&error)?;
        let pause = Duration::from_millis(client.random.u64(PAUSE_MS));
        if mood == Mood::Finishing {
            thread::sleep(pause);
        } else if let Ok(()) | Err(RecvTimeoutError::Disconnected) = end.recv_timeout(pause) {
            mood = Mood::Finishing;
        }
    }
}

/// Tells when standard input is over.
fn end_of_input() -> Receiver<()> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        let _ = sender.send(());
    });
    receiver
}

/// Decides by what is known alone, so that a client that was killed goes on.
fn next<'a>(known: &'a Known, random: &mut Rng, mood: Mood) -> Deed<'a> {
    let unanswered = known.intents.iter().find(|(_, intent)| intent.accepted.is_empty());
    if let Some((key, intent)) = unanswered {
        return Deed::Submit { key, work: intent.work };
    }
    let find =
        |is: fn(&KnownJob) -> bool| known.jobs.iter().find(|(_, job)| is(job)).map(|(&id, _)| id);
    if let Some(job) = find(|job| job.cancel == Cancel::Intended) {
        return Deed::Cancel(job);
    }
    if let Some(job) = find(|job| job.end.is_some() && !job.collected) {
        return Deed::Collect(job);
    }
    let is_endless = |job: &KnownJob| {
        job.work.kind == Kind::Endless && job.end.is_none() && job.cancel == Cancel::No
    };
    if let Some(job) = find(is_endless)
        && (mood == Mood::Finishing || random.u8(..4) == 0)
    {
        return Deed::DecideToCancel(job);
    }
    let open: Vec<u64> =
        known.jobs.iter().filter(|(_, job)| job.end.is_none()).map(|(&id, _)| id).collect();
    if mood == Mood::Working && open.len() < OPEN_MAX {
        return Deed::Think;
    }
    if random.u8(..8) == 0 && mood == Mood::Working {
        return Deed::LookAtCredits;
    }
    match random.choice(&open) {
        Some(&job) => Deed::Watch(job),
        None => Deed::Leave,
    }
}

struct Client {
    config: ClientConfig,
    api: Api,
    journal: Journal,
    known: Known,
    random: Rng,
    /// Complained about already.
    refused: BTreeSet<String>,
}

impl Client {
    /// On disk first, then believed, then told on standard output for whoever counts.
    fn note(&mut self, event: Event) -> Result<(), ChaosError> {
        self.journal.add(&event)?;
        self.known.learn(&event);
        let _ = writeln!(std::io::stdout().lock(), "{event:?}");
        Ok(())
    }

    fn think(&mut self) -> Result<(), ChaosError> {
        let key = format!("{}-{:05}", self.config.name, self.known.intents.len());
        let work = Work::draw(&mut self.random);
        self.note(Event::Intended { key, work })
    }

    fn submit(&mut self, key: String, work: Work) -> Result<(), ChaosError> {
        let body = work.body(self.config.isolation);
        let answer: rest::Submitted = self.api.post("jobs", &body, Some(&key))?.json()?;
        let rest::Submitted { job, held_micros } = answer;
        self.note(Event::Accepted { key, job, held_micros })
    }

    fn cancel(&mut self, job: u64) -> Result<(), ChaosError> {
        let answer = self.api.post(&format!("jobs/{job}/cancel"), &nothing(), None)?;
        if answer.status == HAS_ENDED {
            return self.note(Event::CancelTooLate { job });
        }
        answer.good()?;
        self.note(Event::CancelAccepted { job })
    }

    fn watch(&mut self, id: u64) -> Result<(), ChaosError> {
        let job: rest::Job = self.api.get(&format!("jobs/{id}?wait_ms={WATCH_MS}"))?.json()?;
        if job.ended_at_ms.is_none() {
            return Ok(());
        }
        let rest::Job { state, charged_micros, refunded_micros, .. } = job;
        self.note(Event::EndSeen { job: id, state, charged_micros, refunded_micros })
    }

    fn collect(&mut self, job: u64) -> Result<(), ChaosError> {
        for task in self.api.tasks(job)? {
            if !matches!(task.state, TaskState::Succeeded | TaskState::Failed) {
                continue;
            }
            for (file, blake3) in self.api.files(job, &task)? {
                self.note(Event::Downloaded { job, file, blake3 })?;
            }
        }
        self.note(Event::Collected { job })
    }

    fn look_at_credits(&mut self) -> Result<(), ChaosError> {
        let credits = self.api.credits()?;
        self.note(Event::CreditsSeen {
            balance_micros: credits.balance_micros,
            held_micros: credits.held_micros,
            spent_micros: credits.using_credit_micros,
        })
    }

    /// Writes down, once, what nobody should be told.
    fn complain(&mut self, error: &ApiError) -> Result<(), ChaosError> {
        let words = error.to_string();
        if error.is_passing() || !self.refused.insert(words.clone()) {
            return Ok(());
        }
        self.note(Event::Refused { words })
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::{Deed, Mood, OPEN_MAX, next};
    use crate::history::{Event, Known};
    use crate::work::{Kind, Work};

    fn known(kinds: &[Kind]) -> Known {
        let mut known = Known::default();
        for (number, &kind) in kinds.iter().enumerate() {
            let (key, work) = (number.to_string(), Work { kind, input: 1, tasks: 1 });
            known.learn(&Event::Intended { key: key.clone(), work });
            known.learn(&Event::Accepted { key, job: number as u64, held_micros: 1 });
        }
        known
    }

    #[test]
    fn what_was_begun_comes_first() {
        let mut known = known(&[Kind::Shell]);
        let work = Work { kind: Kind::Shell, input: 2, tasks: 1 };
        known.learn(&Event::Intended { key: "new".to_owned(), work });
        known.learn(&Event::CancelIntended { job: 0 });
        let mut random = Rng::with_seed(1);
        for mood in [Mood::Working, Mood::Finishing] {
            assert_eq!(next(&known, &mut random, mood), Deed::Submit { key: "new", work });
        }
        known.learn(&Event::Accepted { key: "new".to_owned(), job: 1, held_micros: 1 });
        assert_eq!(next(&known, &mut random, Mood::Working), Deed::Cancel(0));
    }

    #[test]
    fn who_finishes_begins_nothing_and_cancels_what_would_not_end() {
        let mut random = Rng::with_seed(1);
        let endless = known(&[Kind::Endless]);
        assert_eq!(next(&endless, &mut random, Mood::Finishing), Deed::DecideToCancel(0));
        assert_eq!(next(&known(&[Kind::Long]), &mut random, Mood::Finishing), Deed::Watch(0));
        assert_eq!(next(&known(&[]), &mut random, Mood::Finishing), Deed::Leave);
        assert_eq!(next(&known(&[]), &mut random, Mood::Working), Deed::Think);
    }

    #[test]
    fn there_is_an_end_to_what_is_under_way_at_once() {
        let full = known(&[Kind::Long; OPEN_MAX]);
        let mut random = Rng::with_seed(1);
        for _ in 0..100 {
            assert_ne!(next(&full, &mut random, Mood::Working), Deed::Think);
        }
    }
}

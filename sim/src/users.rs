//! People: they register, submit, cancel, hand out tokens, approve, remove and release machines, and
//! like every client repeat what was not answered, a submit under its own key.

use std::ops::Range;
use std::sync::Arc;

use campusgrid_core::effect::{Refusal, Reply};
use campusgrid_core::input::Request;
use campusgrid_core::money::Micros;
use campusgrid_core::voucher::Shown;
use campusgrid_protocol::id::{JobId, UserId, VoucherId, VoucherSecret, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::terms::Sale;

use crate::agenda::Agenda;
use crate::event::Event;
use crate::identity::Token;
use crate::oracle::Oracles;
use crate::plan::Plan;
use crate::record::Record;
use crate::want::Want;

/// How long a client waits for an answer.
const ANSWER_MS: u64 = 10_000;

/// How long it repeats itself: less than the manager keeps its key.
pub(crate) const PATIENCE_MS: u64 = 240_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskId(usize);

#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) people: Vec<Person>,
    asks: Vec<Ask>,
}

#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    /// The first one sits at the manager's own machine.
    pub(crate) local: bool,
    pub(crate) id: Option<UserId>,
    /// What an operator has handed out to whoever registers.
    pub(crate) invitation: Option<Shown>,
}

/// A want under way.
#[derive(Debug)]
struct Ask {
    person: usize,
    want: Want,
    tries: u32,
    give_up_ms: u64,
    open: bool,
    /// Of a job to submit, the same at every try.
    deadline_at_ms: Option<u64>,
    /// The jobs of the person that were open at the first try.
    jobs: Option<Vec<JobId>>,
}

impl Users {
    pub(crate) fn new(people: usize) -> Self {
        let person = |index| Person {
            name: format!("user-{index}"),
            local: index == 0,
            id: None,
            invitation: None,
        };
        Self { people: (0..people).map(person).collect(), asks: Vec::new() }
    }

    /// Nobody waits for an answer.
    pub(crate) fn are_quiet(&self) -> bool {
        self.asks.iter().all(|ask| !ask.open)
    }

    /// What people wait for.
    pub(crate) fn open(&self) -> Vec<&Want> {
        self.asks.iter().filter(|ask| ask.open).map(|ask| &ask.want).collect()
    }

    /// Whose account this is.
    pub(crate) fn person_of(&self, user: UserId, record: &Record) -> Option<usize> {
        let name = record.users.get(&user)?;
        self.people.iter().position(|person| person.name == *name)
    }

    pub(crate) fn want(&mut self, person: usize, want: Want, agenda: &mut Agenda) {
        let gives_up = !want.is_stubborn();
        let give_up_ms = if gives_up { agenda.now_ms() + PATIENCE_MS } else { u64::MAX };
        let (deadline_at_ms, jobs) = (None, None);
        let ask = Ask { person, want, tries: 0, give_up_ms, open: true, deadline_at_ms, jobs };
        self.asks.push(ask);
        self.try_now(AskId(self.asks.len() - 1), agenda);
    }

    /// The person has waited for the answer of a try.
    pub(crate) fn on_unanswered(&mut self, id: AskId, tries: u32, agenda: &mut Agenda) {
        let ask = &mut self.asks[id.0];
        if ask.open && ask.tries == tries {
            ask.open = agenda.now_ms() + ANSWER_MS < ask.give_up_ms;
            if ask.open {
                self.try_now(id, agenda);
            }
        }
    }

    /// The request of a try as it reaches the manager; none while the person has no account or no
    /// such machine.
    pub(crate) fn request(&mut self, id: AskId, record: &Record) -> Option<Request> {
        let ask = &mut self.asks[id.0];
        let person = &mut self.people[ask.person];
        // Whoever was registered and not told so can log in all the same.
        person.id = person.id.or_else(|| record.user_of_name(&person.name));
        if ask.jobs.is_none() {
            ask.jobs = Some(person.id.map(|id| record.open_jobs_of(id)).unwrap_or_default());
            if let Want::Submit { plan, .. } = &ask.want {
                ask.deadline_at_ms = plan.deadline_in_ms.map(|ms| record.newest.plus_ms(ms).0);
            }
        }
        ask.want.request(person, ask.deadline_at_ms, record)
    }

    pub(crate) fn on_answered(
        &mut self,
        id: AskId,
        reply: &Reply,
        oracles: &mut Oracles,
        agenda: &mut Agenda,
    ) {
        let ask = &mut self.asks[id.0];
        if let (Want::Submit { name, .. }, Reply::Submitted { job, .. }) = (&ask.want, reply) {
            oracles.promised(*job, name);
        }
        if let Reply::Registered { user } = reply {
            oracles.registered(user.id);
            oracles.invited(user.id, self.people[ask.person].invitation);
        }
        match (&ask.want, reply) {
            (Want::Cancel { job }, Reply::Done) => oracles.cancelled(*job),
            (Want::CancelTasks { job, tasks }, Reply::Done) => {
                oracles.tasks_cancelled(*job, tasks);
            }
            (Want::CancelAll, Reply::Cancelled { .. }) => {
                ask.jobs.iter().flatten().for_each(|job| oracles.cancelled(*job));
            }
            (Want::Hold { job }, Reply::Done) => oracles.held(*job),
            (Want::SetRules { key_hash, rules }, Reply::Done) => {
                oracles.rules_told(key_hash, rules);
            }
            (Want::Submit { plan, .. }, Reply::Submitted { job, .. }) if plan.on_hold => {
                oracles.held(*job);
            }
            (Want::Draft { name, .. }, Reply::Drafted { job }) => {
                oracles.draft_promised(*job, name)
            }
            (_, _) => {}
        }
        if let (Want::Revoke { voucher }, Reply::Done) = (&ask.want, reply) {
            oracles.revoked(*voucher);
        }
        if !ask.open || is_for_later(reply) {
            return; // Later, perhaps: it counts as not answered.
        }
        ask.open = false;
        if let Reply::Refused(_) = reply {
            oracles.count("refused");
        }
        let (person, want) = (ask.person, ask.want.clone());
        self.go_on(person, &want, reply, agenda);
    }

    /// What a person does about an answer.
    fn go_on(&mut self, person: usize, want: &Want, reply: &Reply, agenda: &mut Agenda) {
        match reply {
            Reply::Submitted { job, .. } => {
                if let Want::Submit { name, plan, .. } = want {
                    submitted(person, (name, plan), *job, agenda);
                    if plan.terms.sale != Sale::Formula {
                        offered(person, self.people.len(), *job, agenda);
                    }
                }
            }
            Reply::Drafted { job } => {
                if let Want::Draft { name, plan } = want {
                    drafted(person, (name, plan), *job, agenda);
                }
            }
            Reply::Cancelled { .. } => {}
            Reply::Registered { user } => self.people[person].id = Some(user.id),
            Reply::Refused(refusal) => {
                if let (Want::Register, Refusal::VoucherUnknown) = (want, refusal) {
                    let want = Want::invite(self.people.len(), agenda);
                    agenda.within(500..20_000, Event::Wants { person: 0, want });
                }
            }
            Reply::VoucherMade { voucher } => self.hand_out(person, want, *voucher, agenda),
            Reply::Approved { .. } | Reply::Enrolled { .. } | Reply::Done => {}
        }
    }

    fn hand_out(&mut self, person: usize, want: &Want, id: VoucherId, agenda: &mut Agenda) {
        match want {
            Want::Token { secret, machines, .. } => {
                let token = Token { id, secret: *secret };
                for &machine in machines {
                    agenda.within(500..60_000, Event::Handed { machine, token });
                }
                if agenda.chance(300) {
                    let want = Want::Revoke { voucher: id };
                    agenda.within(500..120_000, Event::Wants { person, want });
                }
            }
            Want::Invite { secret, .. } => {
                let shown = Some(shown(id, *secret));
                for (index, guest) in self.people.iter_mut().enumerate().filter(|it| !it.1.local) {
                    guest.invitation = shown;
                    let want = Want::Register;
                    agenda.within(500..20_000, Event::Wants { person: index, want });
                }
            }
            Want::Register
            | Want::Submit { .. }
            | Want::Draft { .. }
            | Want::Put { .. }
            | Want::RemoveFile { .. }
            | Want::Discard { .. }
            | Want::Cancel { .. }
            | Want::CancelTasks { .. }
            | Want::CancelAll
            | Want::Hold { .. }
            | Want::Unhold { .. }
            | Want::Prefer { .. }
            | Want::Revoke { .. }
            | Want::Approve { .. }
            | Want::Remove { .. }
            | Want::Release { .. }
            | Want::SetRules { .. }
            | Want::SetAsk { .. }
            | Want::Bid { .. }
            | Want::WithdrawBid { .. }
            | Want::Accept { .. }
            | Want::SetRole { .. } => {}
        }
    }

    fn try_now(&mut self, id: AskId, agenda: &mut Agenda) {
        let ask = &mut self.asks[id.0];
        ask.tries += 1;
        let tries = ask.tries;
        agenda.within(1..200, Event::Asked { ask: id });
        agenda.within(ANSWER_MS..ANSWER_MS + 1, Event::Unanswered { ask: id, tries });
    }

    /// A machine gets no tasks until its owner says so, who does when they see it.
    pub(crate) fn notice(&self, worker: WorkerId, record: &Record, agenda: &mut Agenda) {
        let owner = record.workers.get(&worker).map(|worker| worker.owner);
        if let Some(person) = owner.and_then(|owner| self.person_of(owner, record)) {
            let want = Want::Release { worker };
            agenda.within(5000..400_000, Event::Wants { person, want });
        }
    }
}

/// What a person does with a job that is under way.
fn submitted(person: usize, (name, plan): (&str, &Plan), job: JobId, agenda: &mut Agenda) {
    let wants = |ms: Range<u64>, want, agenda: &mut Agenda| {
        agenda.within(ms, Event::Wants { person, want });
    };
    if agenda.chance(200) {
        wants(100..200_000, Want::Cancel { job }, agenda);
    }
    if agenda.chance(200) {
        let mut tasks = Ranges::one(agenda.dice.u32(0..3));
        tasks.insert(agenda.dice.u32(0..5));
        wants(100..100_000, Want::CancelTasks { job, tasks }, agenda);
    }
    if agenda.chance(150) {
        let priority = agenda.dice.i8(-3..4);
        wants(100..100_000, Want::Prefer { job, priority }, agenda);
    }
    if agenda.chance(100) {
        // Not before the last time that the manager may be asked to hold it.
        wants(100..60_000, Want::Hold { job }, agenda);
        let later_ms = 60_000 + 3 * PATIENCE_MS;
        wants(later_ms..later_ms + 60_000, Want::Unhold { job }, agenda);
    } else if plan.on_hold {
        wants(5000..300_000, Want::Unhold { job }, agenda);
    }
    for follower in 0..2 {
        if agenda.chance(250)
            && let Some(plan) = plan.follower(job, agenda).map(Arc::new)
        {
            let name = format!("{name}, then {follower}");
            wants(100..60_000, Want::Submit { name, plan, draft: None }, agenda);
        }
    }
}

/// What people do about a job that one of them has put on the market.
fn offered(person: usize, people: usize, job: JobId, agenda: &mut Agenda) {
    for other in (0..people).filter(|other| *other != person) {
        for _ in 0..agenda.dice.u32(1..5) {
            let price = Micros(agenda.dice.i64(0..30_000_000));
            let start_within_s = agenda.dice.u32(3..60);
            let pick = agenda.dice.usize(0..10);
            let want = Want::Bid { job, pick, price, start_within_s };
            agenda.within(100..40_000, Event::Wants { person: other, want });
        }
        if agenda.chance(150) {
            let want = Want::WithdrawBid { job };
            agenda.within(5000..90_000, Event::Wants { person: other, want });
        }
    }
    // Nobody bids on their own.
    if agenda.chance(100) {
        let want = Want::Bid { job, pick: 0, price: Micros(1), start_within_s: 60 };
        agenda.within(100..90_000, Event::Wants { person, want });
    }
    for _ in 0..agenda.dice.u32(2..6) {
        agenda.within(10_000..200_000, Event::Wants { person, want: Want::Accept { job } });
    }
}

/// What a person does with a draft.
fn drafted(person: usize, (name, plan): (&str, &Arc<Plan>), job: JobId, agenda: &mut Agenda) {
    let wants = |ms: Range<u64>, want, agenda: &mut Agenda| {
        agenda.within(ms, Event::Wants { person, want });
    };
    for path in ["a", "a/b", "c/d"] {
        let path = || path.to_owned();
        if agenda.chance(600) {
            wants(100..60_000, Want::Put { job, path: path() }, agenda);
        }
        if agenda.chance(200) {
            wants(30_000..90_000, Want::RemoveFile { job, path: path() }, agenda);
        }
    }
    if agenda.chance(150) {
        wants(100..100_000, Want::Discard { job }, agenda);
    }
    if agenda.chance(850) {
        let (name, plan, draft) = (name.to_owned(), Arc::clone(plan), Some(job));
        wants(100..120_000, Want::Submit { name, plan, draft }, agenda);
    }
}

/// A voucher as somebody shows it.
pub(crate) fn shown(id: VoucherId, secret: VoucherSecret) -> Shown {
    Shown { id, secret_hash: *blake3::hash(&secret.0).as_bytes() }
}

/// Whether a client tries again though it was answered.
fn is_for_later(reply: &Reply) -> bool {
    match reply {
        Reply::Refused(
            Refusal::TooManyJobs { .. } | Refusal::DiskFull | Refusal::BooksBroken | Refusal::Moved,
        ) => true,
        Reply::Refused(_) => false,
        Reply::Registered { .. }
        | Reply::Submitted { .. }
        | Reply::Drafted { .. }
        | Reply::Cancelled { .. }
        | Reply::Approved { .. }
        | Reply::Enrolled { .. }
        | Reply::VoucherMade { .. }
        | Reply::Done => false,
    }
}

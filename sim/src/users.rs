//! People: they register, submit, cancel, approve and remove machines, and like every client repeat
//! what was not answered, a submit under its own key.

use std::sync::Arc;

use campusgrid_core::effect::{Refusal, Reply};
use campusgrid_core::input::{Registration, Request, Submission};
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::task::TaskSpec;

use crate::agenda::Agenda;
use crate::event::Event;
use crate::oracle::Oracles;
use crate::record::Record;

/// How long a client waits for an answer.
const ANSWER_MS: u64 = 10_000;

/// How long it repeats itself: less than the manager keeps its key.
pub(crate) const PATIENCE_MS: u64 = 240_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskId(usize);

/// What a person can want.
#[derive(Debug, Clone)]
pub(crate) enum Want {
    Register,
    /// The name is also the key.
    Submit {
        name: String,
        spec: Arc<TaskSpec>,
    },
    Cancel {
        job: JobId,
    },
    Approve {
        code: String,
    },
    Remove {
        key_hash: KeyHash,
    },
}

#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) people: Vec<Person>,
    asks: Vec<Ask>,
}

#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    id: Option<UserId>,
}

/// A want under way.
#[derive(Debug)]
struct Ask {
    person: usize,
    want: Want,
    tries: u32,
    give_up_ms: u64,
    open: bool,
}

impl Users {
    pub(crate) fn new(people: usize) -> Self {
        let person = |index| Person { name: format!("user-{index}"), id: None };
        Self { people: (0..people).map(person).collect(), asks: Vec::new() }
    }

    /// Nobody waits for an answer.
    pub(crate) fn are_quiet(&self) -> bool {
        self.asks.iter().all(|ask| !ask.open)
    }

    pub(crate) fn want(&mut self, person: usize, want: Want, agenda: &mut Agenda) {
        let give_up_ms = agenda.now_ms() + PATIENCE_MS;
        self.asks.push(Ask { person, want, tries: 0, give_up_ms, open: true });
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
        let ask = &self.asks[id.0];
        let person = &mut self.people[ask.person];
        if let Want::Register = ask.want {
            return Some(Request::Register(Registration {
                name: person.name.clone(),
                email: None,
                password_hash: "secret".to_owned(),
                local: false,
            }));
        }
        // Whoever was registered and not told so can log in all the same.
        person.id = person.id.or_else(|| record.user_of_name(&person.name));
        let user = person.id?;
        match &ask.want {
            Want::Register => None,
            Want::Submit { name, spec } => Some(Request::Submit(Submission {
                user,
                key: Some(name.clone()),
                name: name.clone(),
                spec: (**spec).clone(),
            })),
            Want::Cancel { job } => Some(Request::Cancel { user, job: *job }),
            Want::Approve { code } => Some(Request::ApproveWorker { user, code: code.clone() }),
            Want::Remove { key_hash } => {
                let worker = record.worker_of(key_hash)?;
                Some(Request::RemoveWorker { user, worker })
            }
        }
    }

    pub(crate) fn on_answered(
        &mut self,
        id: AskId,
        reply: &Reply,
        oracles: &mut Oracles,
        agenda: &mut Agenda,
    ) {
        let ask = &mut self.asks[id.0];
        match (&ask.want, reply) {
            (Want::Submit { name, .. }, Reply::Submitted { job, .. }) => {
                oracles.promised(*job, name);
            }
            (Want::Register, Reply::Registered { user }) => oracles.registered(user.id),
            (Want::Cancel { job }, Reply::Done) => oracles.cancelled(*job),
            (
                Want::Submit { .. }
                | Want::Register
                | Want::Cancel { .. }
                | Want::Approve { .. }
                | Want::Remove { .. },
                _,
            ) => {}
        }
        if !ask.open {
            return;
        }
        if let Reply::Refused(Refusal::TooManyJobs { .. }) = reply {
            return; // Later, perhaps: it counts as not answered.
        }
        ask.open = false;
        let person = ask.person;
        match reply {
            Reply::Submitted { job, .. } => {
                if agenda.chance(250) {
                    let want = Want::Cancel { job: *job };
                    agenda.within(100..200_000, Event::Wants { person, want });
                }
            }
            Reply::Registered { user } => self.people[person].id = Some(user.id),
            Reply::Refused(_) => oracles.count("refused"),
            Reply::Approved { .. } | Reply::Done => {}
        }
    }

    fn try_now(&mut self, id: AskId, agenda: &mut Agenda) {
        let ask = &mut self.asks[id.0];
        ask.tries += 1;
        let tries = ask.tries;
        agenda.within(1..200, Event::Asked { ask: id });
        agenda.within(ANSWER_MS..ANSWER_MS + 1, Event::Unanswered { ask: id, tries });
    }
}

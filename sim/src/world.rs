//! One made-up world: all parts on one clock, from a storm of faults to the last end.

use campusgrid_core::input::Request;
use campusgrid_manager::store::Store;

use crate::agenda::Agenda;
use crate::event::{Event, Inside};
use crate::machine::Machine;
use crate::manager::Manager;
use crate::network::Network;
use crate::oracle::{Finding, Oracle, Oracles, Report};
use crate::saboteur::{Bug, Saboteur};
use crate::story;
use crate::users::{AskId, Users};
use crate::want::Want;

/// How long people who have looked through what they have wait before they do so again.
const LOOKS_AGAIN_MS: u64 = 10 * 60_000;

/// After the storm everything must have ended within this time.
const CALM_MS: u64 = 4 * 3_600_000;

/// The world that a seed makes.
pub(crate) struct World {
    agenda: Agenda,
    network: Network,
    manager: Manager,
    machines: Vec<Machine>,
    users: Users,
    oracles: Oracles,
    saboteur: Saboteur,
    storm: bool,
}

/// What all parts share.
pub(crate) struct Stage<'a> {
    pub(crate) agenda: &'a mut Agenda,
    pub(crate) network: &'a mut Network,
    pub(crate) oracles: &'a mut Oracles,
    pub(crate) saboteur: &'a Saboteur,
}

/// Plays the world of a seed on a store that nobody has used yet, with or without a planted bug.
///
/// # Errors
///
/// The first thing that an oracle found.
pub fn run(seed: u64, store: Store, bug: Option<Bug>) -> Result<Report, Finding> {
    World::new(seed, store, bug).play()
}

impl World {
    fn new(seed: u64, store: Store, bug: Option<Bug>) -> Self {
        let mut agenda = Agenda::new(seed);
        let users = Users::new(agenda.dice.usize(2..4));
        let policy = story::policy(&mut agenda);
        let machines = story::machines(&users, &mut agenda);
        agenda.at(0, Event::ManagerStarts);
        story::plan(&policy, &machines, &users, &mut agenda);
        let manager = Manager::new(policy, store);
        let labels = machines.iter().map(|machine| machine.config.labels.clone()).collect();
        Self {
            agenda,
            network: Network::default(),
            manager,
            machines,
            users,
            oracles: Oracles::new(labels),
            saboteur: Saboteur::new(bug),
            storm: true,
        }
    }

    fn play(mut self) -> Result<Report, Finding> {
        while self.storm || !self.is_quiet() {
            let Some(event) = self.agenda.next() else { break };
            self.oracles.now_ms = self.agenda.now_ms();
            if self.agenda.now_ms() < self.manager.still_until_ms && is_for_the_manager(&event) {
                self.agenda.at(self.manager.still_until_ms, event);
                continue;
            }
            if self.agenda.now_ms() > story::STORM_MS + CALM_MS {
                let words = self.why();
                self.oracles.find(Oracle::EverythingEnds, words);
            }
            self.step(event);
            for worker in std::mem::take(&mut self.oracles.set_aside) {
                self.users.notice(worker, &self.oracles.record, &mut self.agenda);
            }
            if let Some(finding) = self.oracles.finding.take() {
                return Err(finding);
            }
        }
        let (manager, _, mut stage) = self.stage();
        manager.start(&mut stage);
        manager.close_the_books(&mut stage);
        stage.oracles.lasted();
        self.oracles.finding.take().map_or(Ok(self.oracles.report), Err)
    }

    /// All jobs have ended, nothing runs, nothing waits to be confirmed or answered.
    fn is_quiet(&self) -> bool {
        self.oracles.record.jobs.values().all(|job| job.ended)
            && self.manager.is_up()
            && self.machines.iter().all(Machine::is_quiet)
            && self.users.are_quiet()
    }

    /// What goes on, in words.
    fn why(&self) -> String {
        let busy = self.machines.iter().filter(|machine| !machine.is_quiet());
        let busy: Vec<String> = busy.map(Machine::why).collect();
        format!("{}; busy: {busy:?}; waiting: {:?}", self.manager.why(), self.users.open())
    }

    pub(super) fn stage(&mut self) -> (&mut Manager, &mut Vec<Machine>, Stage<'_>) {
        let Self { agenda, network, manager, machines, oracles, saboteur, .. } = self;
        (manager, machines, Stage { agenda, network, oracles, saboteur })
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Down { connection, .. } => {
                let machine = self.network.connection(connection).machine;
                self.at_machine(machine, event);
            }
            Event::Inside { machine, boot, .. } => {
                if self.machines[machine].is_of(boot) {
                    self.at_machine(machine, event);
                }
            }
            Event::Up { connection, what } => {
                let (manager, _, mut stage) = self.stage();
                manager.on_up(connection, what, &mut stage);
            }
            Event::AtManager { life, what } => {
                let (manager, _, mut stage) = self.stage();
                manager.on_event(life, what, &mut stage);
            }
            Event::ManagerStarts => {
                let (manager, _, mut stage) = self.stage();
                manager.start(&mut stage);
            }
            Event::Upload { machine, boot, attempt, blobs } => {
                let lost = self.storm && self.agenda.chance(50);
                let taken = !lost && self.manager.take_blobs(&blobs);
                let what = if taken {
                    Inside::Uploaded { attempt }
                } else {
                    Inside::UploadFailed { attempt }
                };
                self.agenda.within(1..50, Event::Inside { machine, boot, what });
            }
            Event::Save { machine, boot, attempt, saved } => {
                let lost = self.storm && self.agenda.chance(50);
                if !lost && self.manager.take_blobs(&[saved.manifest]) {
                    let what = Inside::Saved { attempt, saved };
                    self.agenda.within(1..50, Event::Inside { machine, boot, what });
                }
            }
            Event::Owner { machine, visit } => {
                let (_, machines, mut stage) = self.stage();
                machines[machine].visited(visit, &mut stage);
            }
            Event::Wants { person, want } => self.users.want(person, want, &mut self.agenda),
            Event::Asked { ask } => self.on_asked(ask),
            Event::Answered { ask, reply } => {
                if !(self.storm && self.agenda.chance(50)) {
                    let (oracles, agenda) = (&mut self.oracles, &mut self.agenda);
                    self.users.on_answered(ask, &reply, oracles, agenda);
                }
            }
            Event::Unanswered { ask, tries } => {
                self.users.on_unanswered(ask, tries, &mut self.agenda);
            }
            Event::Handed { machine, token } => self.machines[machine].identity.token = Some(token),
            Event::LookedThrough => self.look_through(),
            Event::Fault(fault) => self.strike(fault),
            Event::StormOver => self.storm = false,
        }
    }

    /// People release what they have on hold, and give up what nobody may ever run: what is for sale, and
    /// what a second owner's machine is to check.
    fn look_through(&mut self) {
        let record = &self.oracles.record;
        let on_hold = record.jobs.iter().filter(|(_, job)| job.on_hold && !job.ended);
        for (&job, known) in on_hold {
            if let Some(person) = self.users.person_of(known.owner, record) {
                self.users.want(person, Want::Unhold { job }, &mut self.agenda);
            }
        }
        let mut goes_on = false;
        for (&job, known) in record.jobs.iter().filter(|(_, job)| !job.ended) {
            if known.may_wait_for_ever()
                && let Some(person) = self.users.person_of(known.owner, record)
            {
                self.users.want(person, Want::Cancel { job }, &mut self.agenda);
                goes_on = true;
            }
        }
        if goes_on {
            self.agenda.within(LOOKS_AGAIN_MS..LOOKS_AGAIN_MS + 1, Event::LookedThrough);
        }
    }

    fn on_asked(&mut self, ask: AskId) {
        if let Some(request) = self.users.request(ask, &self.oracles.record) {
            if let Request::ReleaseWorker { worker, .. } = &request {
                self.oracles.release_asked(*worker);
            }
            if let Request::SetHold { job, on_hold: false, .. } = &request {
                self.oracles.unhold_asked(*job);
            }
            if let Request::SetRules { worker, .. } = &request {
                self.oracles.rules_asked(*worker);
            }
            if let Request::Accept { job, worker, price, .. } = &request {
                self.oracles.accept_asked(*job, (*worker, *price));
            }
            if let Request::Submit(new) = &request {
                self.oracles.record.want(new);
            }
            // One that finds no manager is repeated like one whose answer is lost.
            self.manager.ask(ask, request, &mut self.agenda);
        }
    }

    /// Something happens at a machine, now or when it wakes up.
    fn at_machine(&mut self, index: usize, event: Event) {
        let now_ms = self.agenda.now_ms();
        let wakes = matches!(event, Event::Inside { what: Inside::Wake, .. });
        if self.machines[index].is_asleep() && !wakes {
            return self.machines[index].put_off(now_ms, event);
        }
        let (_, machines, mut stage) = self.stage();
        if let Event::Down { connection, what } = event {
            machines[index].on_down(connection, what, &mut stage);
        } else if let Event::Inside { what, .. } = event {
            machines[index].on_inside(what, &mut stage);
        }
        for machine in machines.iter() {
            if let Some(attempt) = machine.moves_though_frozen() {
                stage.oracles.moves_though_frozen(machine.index, attempt);
            }
        }
        let believers = machines.iter().flat_map(|machine| machine.believers(now_ms));
        let believers: Vec<_> = believers.collect();
        stage.oracles.never_twice(&believers);
    }
}

/// Whether it waits when the manager stands still.
fn is_for_the_manager(event: &Event) -> bool {
    match event {
        Event::Up { .. }
        | Event::AtManager { .. }
        | Event::Upload { .. }
        | Event::Save { .. }
        | Event::Asked { .. } => true,
        Event::Down { .. }
        | Event::Inside { .. }
        | Event::ManagerStarts
        | Event::Owner { .. }
        | Event::Wants { .. }
        | Event::Answered { .. }
        | Event::Unanswered { .. }
        | Event::Handed { .. }
        | Event::LookedThrough
        | Event::Fault(_)
        | Event::StormOver => false,
    }
}

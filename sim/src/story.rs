//! What a seed makes of a world: its rules, its people and laptops, what they want, and when what
//! goes wrong.

use std::sync::Arc;

use campusgrid_core::ask::Ask;
use campusgrid_core::money::Micros;
use campusgrid_core::policy::{Admission, Billing, Policy};
use campusgrid_core::pricing::Prices;
use campusgrid_core::user::Role;
use campusgrid_protocol::resource::{Capacity, Gpu, Isolation, Speed};
use campusgrid_protocol::rules::{Kind, Limits, Phase, Rules, Shares, Whose};
use campusgrid_sharing::verdict::Verdict;
use campusgrid_worker::agent::AgentConfig;

use crate::agenda::Agenda;
use crate::event::{Event, Inside};
use crate::fault::{Fault, SET_FORTH_MAX_MS};
use crate::identity::Identity;
use crate::machine::Machine;
use crate::owner::Visit;
use crate::plan::Plan;
use crate::users::{PATIENCE_MS, Users};
use crate::want::{Want, secret};

/// How long faults strike and people want things.
pub(crate) const STORM_MS: u64 = 15 * 60_000;

/// When nobody waits for the answer to a submit any more.
const LOOKED_THROUGH_MS: u64 = STORM_MS + 40 * 60_000;

/// What can go wrong in one world; in most it is less.
const FAULTS_MAX: u32 = 80;

/// More than all that the clock may be set forth in one world.
const CLOCKS_MS: u64 = FAULTS_MAX as u64 * SET_FORTH_MAX_MS.unsigned_abs();

/// The largest laptop, which every job fits.
const LARGEST: [u32; 3] = [4000, 8192, 10_000];

/// What laptops offer by name; the largest one offers all.
const LABELS: [&str; 4] = ["R", "python3.11", "image:lab/*", "octave"];

pub(crate) fn policy(agenda: &mut Agenda) -> Policy {
    Policy {
        admission: if agenda.chance(700) { Admission::Open } else { Admission::Invitation },
        starting_credits: Micros::from_credits(agenda.dice.u32(40..1500)),
        prices: Prices {
            base: Micros::from_credits(5),
            core: Micros::from_credits(2),
            ram_gib: Micros::from_credits(1),
            gpu: Micros::from_credits(10),
            minute: Micros::from_credits(1),
            ..Prices::default()
        },
        rate_permille: if agenda.dice.bool() { 1000 } else { agenda.dice.u32(1..3000) },
        premium: agenda.chance(300),
        verified_grants: false,
        billing: if agenda.chance(750) { Billing::Actual } else { Billing::Quoted },
        fee_permille: if agenda.dice.bool() { 0 } else { agenda.dice.u32(1..300) },
        tries: agenda.dice.u32(2..5),
        lease_ms: 90_000,
        heartbeat_ms: 10_000,
        active_jobs_max: 8,
        draft_ms: agenda.dice.u64(30_000..600_000),
        // Where the clock may be set, a client would else be forgotten before it gives up.
        submit_key_ms: PATIENCE_MS + if agenda.chance(500) { 60_000 } else { CLOCKS_MS },
    }
}

pub(crate) fn machines(users: &Users, agenda: &mut Agenda) -> Vec<Machine> {
    let machine = |index: usize| {
        let person = agenda.dice.usize(0..users.people.len());
        let [cpu_millis, ram_mib, disk_mib] =
            LARGEST.map(|most| if index == 0 { most } else { agenda.dice.u32(most / 8..=most) });
        let gpus = if index == 0 || agenda.chance(400) { agenda.dice.u32(1..4) } else { 0 };
        let sizes = [8192, 4096, 16_384];
        let gpus = sizes.into_iter().take(gpus as usize).map(gpu).collect();
        let labels = LABELS.into_iter().filter(|_| index == 0 || agenda.chance(400));
        let labels = labels.map(str::to_owned).collect();
        let claim = agenda.dice.bool().then(|| users.people[person].name.clone());
        let weak = index > 0 && agenda.chance(300);
        let config = AgentConfig {
            name: format!("laptop-{index}"),
            capacity: Capacity { cpu_millis, ram_mib, disk_mib, gpus },
            isolation: if weak { Isolation::None } else { Isolation::Full },
            isolation_notes: Vec::new(),
            labels,
            speed: Speed { core_permille: 1000, all_permille: 1000 },
            verdict: unlimited(),
        };
        let mut machine = Machine::new(person, Identity::new(index, claim), config);
        machine.lies = index > 0 && agenda.chance(250);
        let on = machine.inside(Inside::PowerOn);
        agenda.within(0..60_000, on);
        machine
    };
    (0..=users.people.len()).map(machine).collect()
}

/// Of a machine that is shared whatever happens.
fn unlimited() -> Verdict {
    let (why, limits) = (String::new(), Limits::default());
    Verdict { shares: Shares { phase: Phase::Open, why, since_ms: 0, limits }, checkpoint_s: 10 }
}

fn gpu(memory_mib: u32) -> Gpu {
    Gpu { model: "made up".to_owned(), memory_mib, driver: "1.0".to_owned() }
}

/// Plans what people want and what goes wrong, and the end of both.
pub(crate) fn plan(policy: &Policy, machines: &[Machine], users: &Users, agenda: &mut Agenda) {
    if policy.admission == Admission::Invitation {
        let want = Want::invite(users.people.len(), agenda);
        agenda.within(0..20_000, Event::Wants { person: 0, want });
    }
    for person in 0..users.people.len() {
        if person == 0 || policy.admission == Admission::Open {
            agenda.within(0..20_000, Event::Wants { person, want: Want::Register });
        }
        tokens(person, machines, agenda);
        if person > 0 && agenda.chance(300) {
            let name = users.people[person].name.clone();
            for role in [Role::Operator, Role::Member] {
                let want = Want::SetRole { name: name.clone(), role };
                agenda.within(20_000..STORM_MS, Event::Wants { person: 0, want });
            }
        }
        for job in 0..agenda.dice.u32(2..6) {
            let name = format!("job {job} of user-{person}");
            let plan = Arc::new(Plan::draw(agenda));
            let want = if agenda.chance(250) {
                Want::Draft { name, plan }
            } else {
                Want::Submit { name, plan, draft: None }
            };
            agenda.within(1000..STORM_MS, Event::Wants { person, want });
        }
    }
    if agenda.chance(150) {
        let person = agenda.dice.usize(0..users.people.len());
        agenda.within(STORM_MS / 4..STORM_MS, Event::Wants { person, want: Want::CancelAll });
    }
    for machine in machines {
        if agenda.chance(200) {
            let want = Want::Remove { key_hash: machine.identity.key_hash() };
            let person = machine.person;
            agenda.within(60_000..STORM_MS, Event::Wants { person, want });
        }
    }
    for machine in machines {
        visits(machine.index, agenda);
        if machine.index > 0 {
            wishes(policy, machine, agenda);
        }
    }
    let most = if agenda.chance(150) { FAULTS_MAX } else { 24 };
    for _ in 0..agenda.dice.u32(0..most) {
        let fault = Fault::draw(machines.len(), agenda);
        if matches!(fault, Fault::ClockSet { .. }) && policy.submit_key_ms < CLOCKS_MS {
            continue;
        }
        agenda.within(20_000..STORM_MS, Event::Fault(fault));
    }
    agenda.at(STORM_MS, Event::StormOver);
    agenda.at(LOOKED_THROUGH_MS, Event::LookedThrough);
}

/// When a machine's owner is at it. Whatever they do, they leave in the end.
fn visits(machine: usize, agenda: &mut Agenda) {
    for _ in 0..agenda.dice.u32(0..5) {
        let mut at_ms = agenda.dice.u64(20_000..STORM_MS);
        let shares = |phase| Event::Owner { machine, visit: Visit::Shares(phase) };
        if agenda.chance(800) {
            agenda.at(at_ms, shares(Phase::Frozen));
            at_ms += agenda.dice.u64(1000..60_000);
        }
        if agenda.chance(600) {
            agenda.at(at_ms, shares(Phase::Closed));
            at_ms += agenda.dice.u64(1000..300_000);
        }
        agenda.at(at_ms, shares(Phase::Open));
    }
    if agenda.chance(200) {
        let visit = Visit::StopsOne;
        agenda.within(20_000..STORM_MS, Event::Owner { machine, visit });
    }
}

/// What an owner wants of those who use a machine.
fn wishes(policy: &Policy, machine: &Machine, agenda: &mut Agenda) {
    let (person, key_hash) = (machine.person, machine.identity.key_hash());
    if agenda.chance(300) {
        let limits = Limits {
            cores: agenda.dice.bool().then(|| agenda.dice.u32(1..5)),
            at_once: agenda.dice.bool().then(|| agenda.dice.u32(1..3)),
            longest_s: agenda.chance(300).then(|| agenda.dice.u32(60..150)),
            whose: if agenda.chance(200) { Whose::Mine } else { Whose::Everyone },
            kinds: if agenda.chance(200) { vec![Kind::Shell] } else { Vec::new() },
            ..Limits::default()
        };
        let rules = Box::new(Rules { limits, ..Rules::default() });
        let want = Want::SetRules { key_hash, rules };
        agenda.within(60_000..STORM_MS, Event::Wants { person, want });
    }
    if agenda.chance(400) {
        let formula = policy.prices;
        let base = Micros::from_credits(agenda.dice.u32(0..10));
        let core_minute = Micros::from_credits(agenda.dice.u32(0..2));
        let prices = Prices { base, core_minute, ..formula };
        let prices = agenda.chance(700).then_some(prices);
        let ask = Ask { prices, automatic: agenda.chance(600) };
        let want = Want::SetAsk { key_hash, ask };
        agenda.within(60_000..STORM_MS, Event::Wants { person, want });
    }
}

/// Tokens for a person's machines, some for fewer of them than they are handed to.
fn tokens(person: usize, machines: &[Machine], agenda: &mut Agenda) {
    for _ in 0..agenda.dice.u32(0..3) {
        let own = machines.iter().filter(|machine| machine.person == person);
        let mut machines: Vec<usize> = own.map(|machine| machine.index).collect();
        machines.retain(|_| agenda.chance(700));
        let (secret, uses) = (secret(agenda), agenda.dice.u32(1..3));
        let for_ms = agenda.dice.u64(10_000..600_000);
        let want = Want::Token { secret, uses, for_ms, machines };
        agenda.within(1000..STORM_MS / 2, Event::Wants { person, want });
    }
}

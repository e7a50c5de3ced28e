//! What a seed makes of a world: its rules, its people and laptops, what they want, and when what
//! goes wrong.

use std::sync::Arc;

use campusgrid_core::money::Micros;
use campusgrid_core::policy::{Billing, Policy};
use campusgrid_core::pricing::Prices;
use campusgrid_protocol::id::WorkerKey;
use campusgrid_protocol::resource::{Capacity, Gpu, Isolation, Needs};
use campusgrid_protocol::task::{Packages, TaskSpec, Work};
use campusgrid_worker::agent::AgentConfig;

use crate::agenda::Agenda;
use crate::event::{Event, Inside};
use crate::fault::Fault;
use crate::machine::Machine;
use crate::users::{PATIENCE_MS, Users, Want};

/// How long faults strike and people want things.
pub(crate) const STORM_MS: u64 = 15 * 60_000;

/// The largest laptop, which every job fits.
const LARGEST: [u32; 3] = [4000, 8192, 10_000];

/// What laptops offer by name; the largest one offers all.
const LABELS: [&str; 4] = ["R", "python3.11", "image:lab/*", "octave"];

/// What jobs require by name.
const REQUIRED: [&[&str]; 4] =
    [&["R"], &["image:lab/gcc"], &["R", "python3.11"], &["image:lab/r", "octave"]];

pub(crate) fn policy(agenda: &mut Agenda) -> Policy {
    Policy {
        starting_credits: Micros::from_credits(agenda.dice.u32(40..300)),
        prices: Prices {
            base: Micros::from_credits(5),
            core: Micros::from_credits(2),
            ram_gib: Micros::from_credits(1),
            gpu: Micros::from_credits(10),
            minute: Micros::from_credits(1),
            rate_permille: if agenda.dice.bool() { 1000 } else { agenda.dice.u32(1..3000) },
        },
        billing: if agenda.chance(750) { Billing::Actual } else { Billing::Quoted },
        fee_permille: if agenda.dice.bool() { 0 } else { agenda.dice.u32(1..300) },
        tries: agenda.dice.u32(2..5),
        lease_ms: 90_000,
        heartbeat_ms: 10_000,
        active_jobs_max: 6,
        submit_key_ms: PATIENCE_MS + 60_000,
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
            key: WorkerKey([u8::try_from(index).expect("laptops are few"); 32]),
            name: format!("laptop-{index}"),
            owner: claim,
            capacity: Capacity { cpu_millis, ram_mib, disk_mib, gpus },
            isolation: if weak { Isolation::None } else { Isolation::Full },
            isolation_notes: Vec::new(),
            labels,
        };
        let machine = Machine::new(index, person, config);
        let on = machine.inside(Inside::PowerOn);
        agenda.within(0..60_000, on);
        machine
    };
    (0..=users.people.len()).map(machine).collect()
}

fn gpu(memory_mib: u32) -> Gpu {
    Gpu { model: "made up".to_owned(), memory_mib, driver: "1.0".to_owned() }
}

/// Plans what people want and what goes wrong, and the end of both.
pub(crate) fn plan(machines: &[Machine], users: &Users, agenda: &mut Agenda) {
    for person in 0..users.people.len() {
        agenda.within(0..20_000, Event::Wants { person, want: Want::Register });
        for job in 0..agenda.dice.u32(2..6) {
            let name = format!("job {job} of user-{person}");
            let want = Want::Submit { name, spec: Arc::new(spec(agenda)) };
            agenda.within(1000..STORM_MS, Event::Wants { person, want });
        }
    }
    for machine in machines {
        if agenda.chance(200) {
            let key_hash = *blake3::hash(&machine.config.key.0).as_bytes();
            let want = Want::Remove { key_hash };
            let person = machine.person;
            agenda.within(60_000..STORM_MS, Event::Wants { person, want });
        }
    }
    for _ in 0..agenda.dice.u32(0..24) {
        let fault = Fault::draw(machines.len(), agenda);
        agenda.within(20_000..STORM_MS, Event::Fault(fault));
    }
    agenda.at(STORM_MS, Event::StormOver);
}

fn spec(agenda: &mut Agenda) -> TaskSpec {
    let gpus = u16::from(agenda.chance(200));
    let labels =
        if agenda.chance(200) { REQUIRED[agenda.dice.usize(0..REQUIRED.len())] } else { &[] };
    let work = if agenda.chance(400) {
        let (requirements, requires_python) = (vec!["numpy".to_owned()], None);
        let packages = Packages::Names { requirements, requires_python };
        Work::Python { source: "1".to_owned(), packages }
    } else {
        Work::Shell { command: "true".to_owned() }
    };
    TaskSpec {
        work,
        needs: Needs {
            cpu_millis: agenda.dice.u32(1..8) * 500,
            ram_mib: agenda.dice.u32(1..16) * 256,
            disk_mib: agenda.dice.u32(1..10) * 100,
            gpus,
            gpu_memory_mib: u32::from(gpus) * 4096,
        },
        time_limit_s: agenda.dice.u32(1..150),
        isolation: if agenda.chance(800) { Isolation::Full } else { Isolation::None },
        labels: labels.iter().copied().map(str::to_owned).collect(),
        image: None,
        shared_tmp: false,
        tasks: agenda.dice.u32(1..5),
    }
}

//! What can go wrong from outside: links, laptops, their owners, the manager, its disk and its clock.

use campusgrid_core::input::Shut;

use crate::agenda::Agenda;
use crate::event::Inside;
use crate::machine::{Death, Machine};
use crate::manager::Doom;
use crate::network::{Notices, Way};
use crate::world::{Stage, World};

#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Cut {
        machine: usize,
        notices: Notices,
    },
    /// One way of a link is dead, the other lives, and nobody is told.
    HalfOpen {
        machine: usize,
        way: Way,
    },
    Stall {
        machine: usize,
        ways: [bool; 2],
        for_ms: u64,
    },
    Death {
        machine: usize,
        death: Death,
    },
    Sleep {
        machine: usize,
        for_ms: u64,
    },
    Leave {
        machine: usize,
    },
    /// Its next join is long on its way, and the connection lost to the worker alone.
    OvertakenJoin {
        machine: usize,
    },
    /// The next start for this machine finds its outbox full.
    TooSlow {
        machine: usize,
    },
    /// All that this machine is given comes back before it begins.
    Broken {
        machine: usize,
        for_ms: u64,
    },
    /// Its power fails while it writes its next end.
    PowerLossMidWrite {
        machine: usize,
    },
    SlowSpool {
        machine: usize,
        for_ms: u64,
    },
    CertificateLapses {
        machine: usize,
    },
    ManagerDies,
    ManagerIsDoomed(Doom),
    /// It is stopped, or its machine suspended.
    ManagerStandsStill {
        for_ms: u64,
    },
    /// Its disk takes seconds for every batch.
    ManagerIsSlow {
        for_ms: u64,
    },
    /// Nothing is taken in.
    Shut {
        why: Shut,
        for_ms: u64,
    },
    /// Its wall clock is set. The manager sees it when it starts the next time.
    ClockSet {
        by_ms: i64,
    },
}

impl Fault {
    pub(crate) fn draw(machines: usize, agenda: &mut Agenda) -> Self {
        let machine = agenda.dice.usize(0..machines);
        let dice = &mut agenda.dice;
        match dice.u32(0..100) {
            0..8 => {
                let notices = Notices { worker: dice.bool(), manager: dice.bool() };
                Self::Cut { machine, notices }
            }
            8..14 => {
                let way = if dice.bool() { Way::Up } else { Way::Down };
                Self::HalfOpen { machine, way }
            }
            14..20 => Self::OvertakenJoin { machine },
            20..26 => {
                let ways = [[true, true], [true, false], [false, true]][dice.usize(0..3)];
                Self::Stall { machine, ways, for_ms: dice.u64(500..150_000) }
            }
            26..35 => {
                let death = if dice.bool() { Death::Crash } else { Death::PowerLoss };
                Self::Death { machine, death }
            }
            35..47 => Self::Sleep { machine, for_ms: dice.u64(1000..240_000) },
            47..51 => Self::Leave { machine },
            51..57 => Self::TooSlow { machine },
            57..60 => Self::Broken { machine, for_ms: dice.u64(60_000..600_000) },
            60..62 => Self::PowerLossMidWrite { machine },
            62..64 => Self::SlowSpool { machine, for_ms: dice.u64(10_000..120_000) },
            64..66 => Self::CertificateLapses { machine },
            66..72 => Self::ManagerDies,
            72..80 => Self::ManagerIsDoomed(Doom::BeforeCommit),
            80..88 => Self::ManagerIsDoomed(Doom::AfterCommit),
            88..91 => Self::ManagerStandsStill { for_ms: dice.u64(5000..180_000) },
            91..94 => Self::ManagerIsSlow { for_ms: dice.u64(5000..120_000) },
            94..97 => Self::Shut { why: why(dice.bool()), for_ms: dice.u64(1000..240_000) },
            _ => Self::ClockSet { by_ms: dice.i64(-2 * DAY_MS..SET_FORTH_MAX_MS) },
        }
    }
}

const DAY_MS: i64 = 24 * 3600 * 1000;

/// No clock is set forth by more at once: longer than a certificate is good.
pub(crate) const SET_FORTH_MAX_MS: i64 = 40 * DAY_MS;

fn why(disk: bool) -> Shut {
    if disk { Shut::DiskFull } else { Shut::BooksBroken { findings: vec!["a finding".to_owned()] } }
}

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        let (manager, machines, mut stage) = self.stage();
        let now_ms = stage.agenda.now_ms();
        match fault {
            Fault::Cut { machine, notices } => {
                if let Some(connection) = machines[machine].connection() {
                    stage.oracles.count("link cut");
                    stage.network.cut(connection, notices, stage.agenda);
                }
            }
            Fault::HalfOpen { machine, way } => {
                if let Some(connection) = machines[machine].connection() {
                    stage.oracles.count("link half open");
                    stage.network.lose(connection, way);
                }
            }
            Fault::Stall { machine, ways, for_ms } => {
                if let Some(connection) = machines[machine].connection() {
                    stage.oracles.count("link stalled");
                    for (way, _) in [Way::Up, Way::Down].into_iter().zip(ways).filter(|it| it.1) {
                        stage.network.stall(connection, way, now_ms + for_ms);
                    }
                }
            }
            Fault::Death { machine, death } => {
                stage.oracles.count(match death {
                    Death::Crash => "worker crashed",
                    Death::PowerLoss => "worker lost power",
                });
                machines[machine].die(death, &mut stage);
            }
            Fault::Sleep { machine, for_ms } => sleep(&mut machines[machine], for_ms, &mut stage),
            Fault::Leave { machine } => {
                if !machines[machine].is_asleep() {
                    machines[machine].leave(&mut stage);
                }
            }
            Fault::OvertakenJoin { machine } => stage.network.overtaken = Some(machine),
            Fault::TooSlow { machine } => manager.too_slow = Some(machine),
            Fault::Broken { machine, for_ms } => {
                stage.oracles.count("worker broken");
                machines[machine].broken_until_ms = now_ms + for_ms;
            }
            Fault::PowerLossMidWrite { machine } => machines[machine].fails_at_write = true,
            Fault::SlowSpool { machine, for_ms } => {
                stage.oracles.count("worker's disk slow");
                machines[machine].slow_until_ms = now_ms + for_ms;
            }
            Fault::CertificateLapses { machine } => {
                stage.oracles.count("certificate lapsed");
                machines[machine].identity.certificate = None;
            }
            Fault::ManagerDies => {
                stage.oracles.count("manager died between batches");
                manager.die(&mut stage);
            }
            Fault::ManagerIsDoomed(doom) => manager.doom(doom),
            Fault::ManagerStandsStill { for_ms } => {
                stage.oracles.count("manager stood still");
                manager.still_until_ms = now_ms + for_ms;
            }
            Fault::ManagerIsSlow { for_ms } => {
                stage.oracles.count("manager's disk slow");
                manager.slow_until_ms = now_ms + for_ms;
            }
            Fault::Shut { why, for_ms } => manager.shut(why, now_ms + for_ms, &mut stage),
            Fault::ClockSet { by_ms } => {
                stage.oracles.count("clock set");
                manager.wall_ms += by_ms;
            }
        }
    }
}

fn sleep(machine: &mut Machine, for_ms: u64, stage: &mut Stage<'_>) {
    let now_ms = stage.agenda.now_ms();
    if machine.is_up() && !machine.is_asleep() {
        stage.oracles.count("worker suspended");
        machine.sleep(now_ms);
        let wake = machine.inside(Inside::Wake);
        stage.agenda.at(now_ms + for_ms, wake);
    }
}

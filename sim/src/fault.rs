//! What can go wrong from outside: links, laptops, their owners, the manager.

use crate::agenda::Agenda;
use crate::event::Inside;
use crate::machine::{Death, Machine};
use crate::manager::Doom;
use crate::network::Notices;
use crate::world::{Stage, World};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Cut {
        machine: usize,
        notices: Notices,
    },
    Stall {
        machine: usize,
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
    ManagerDies,
    ManagerIsDoomed(Doom),
}

impl Fault {
    pub(crate) fn draw(machines: usize, agenda: &mut Agenda) -> Self {
        let machine = agenda.dice.usize(0..machines);
        match agenda.dice.u32(0..100) {
            0..10 => {
                let notices = Notices { worker: agenda.dice.bool(), manager: agenda.dice.bool() };
                Self::Cut { machine, notices }
            }
            10..17 => Self::OvertakenJoin { machine },
            17..25 => Self::Stall { machine, for_ms: agenda.dice.u64(500..150_000) },
            25..37 => {
                let death = if agenda.dice.bool() { Death::Crash } else { Death::PowerLoss };
                Self::Death { machine, death }
            }
            37..55 => Self::Sleep { machine, for_ms: agenda.dice.u64(1000..240_000) },
            55..60 => Self::Leave { machine },
            60..68 => Self::TooSlow { machine },
            68..76 => Self::ManagerDies,
            76..88 => Self::ManagerIsDoomed(Doom::BeforeCommit),
            _ => Self::ManagerIsDoomed(Doom::AfterCommit),
        }
    }
}

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        let (manager, machines, mut stage) = self.stage();
        match fault {
            Fault::Cut { machine, notices } => {
                if let Some(connection) = machines[machine].connection() {
                    stage.oracles.count("link cut");
                    stage.network.cut(connection, notices, stage.agenda);
                }
            }
            Fault::Stall { machine, for_ms } => {
                if let Some(connection) = machines[machine].connection() {
                    stage.oracles.count("link stalled");
                    let until_ms = stage.agenda.now_ms() + for_ms;
                    stage.network.stall(connection, until_ms);
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
            Fault::ManagerDies => {
                stage.oracles.count("manager died between batches");
                manager.die(&mut stage);
            }
            Fault::ManagerIsDoomed(doom) => manager.doom(doom),
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

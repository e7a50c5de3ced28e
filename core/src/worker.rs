//! Machines: who owns them, and while they are connected what they have free.

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, SessionId, UserId, WorkerId};
use campusgrid_protocol::resource::{Capacity, Isolation, Load, Needs, Speed};
use campusgrid_protocol::rules::{Phase, Rules, Shares};

use crate::ask::Ask;
use crate::gpus::GpuSet;
use crate::input::Ticket;
use crate::offer::Offer;
use crate::record::Record;
use crate::sharing::{Cap, is_shared_by, is_shut_by};
use crate::time::Timestamp;

/// BLAKE3 of a worker's public key, as its certificate has it (SubjectPublicKeyInfo, DER).
pub type KeyHash = [u8; 32];

/// A machine that somebody has approved as theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub id: WorkerId,
    pub key_hash: KeyHash,
    pub name: String,
    pub owner: UserId,
    /// Why it gets no tasks until its owner says so, if it is set aside.
    pub set_aside: Option<Arc<str>>,
    /// Its owner's, as made in the dashboard.
    pub rules: Arc<Rules>,
    pub ask: Ask,
    pub record: Record,
}

/// A connection of a machine and what came with it. In memory only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub session: SessionId,
    pub capacity: Capacity,
    pub isolation: Isolation,
    pub isolation_notes: Vec<String>,
    pub offer: Arc<Offer>,
    pub load: Load,
    pub connected_at: Timestamp,
    pub heard_at: Timestamp,
    /// What the capacity has left beside what runs there.
    pub free: Free,
    /// GPUs on which something ran when it last said so, though nobody had been granted them.
    pub taken: GpuSet,
    /// It gives its tasks back because it ends: it gets nothing more on this connection.
    pub leaving: bool,
    /// What it has said of its sharing; nothing, if it speaks an older version: it is open then.
    pub shares: Option<Arc<Shares>>,
    /// The most that its owner shares of the capacity.
    pub cap: Cap,
    pub speed: Option<Speed>,
}

impl Link {
    /// What is free beside these attempts and beside what the owner does.
    pub fn room(&self, occupancy: &Occupancy) -> Free {
        Free::beside(&self.capacity, (occupancy, self.taken), &self.cap)
    }

    /// All that is shared of it.
    pub fn whole(&self) -> Free {
        Free::beside(&self.capacity, (&Occupancy::new(), GpuSet::NONE), &self.cap)
    }

    /// Whether its owner wants it to take tasks right now. What a machine says when it comes back may be
    /// older than what its owner has said in the dashboard meanwhile.
    pub(crate) fn is_open(&self, rules: &Rules, now: Timestamp) -> bool {
        match &self.shares {
            Some(shares) => shares.phase == Phase::Open && !is_shut_by(rules, now),
            None => is_shared_by(rules, now),
        }
    }

    /// The GPUs that are in use, by what the machine says, and granted to none of these attempts.
    pub(crate) fn taken_beside(&self, occupancy: &Occupancy) -> GpuSet {
        let numbered = (0..GpuSet::NUMBERS).zip(&self.load.gpus);
        let in_use = numbered.filter(|(_, load)| load.processes > 0).map(|(number, _)| number);
        let is_granted =
            |number: &u16| occupancy.values().any(|grant| grant.gpus.contains(*number));
        in_use.filter(|number| !is_granted(number)).collect()
    }
}

/// A machine that waits for its owner's word. In memory only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    pub key_hash: KeyHash,
    pub name: String,
    pub address: String,
    /// The one user who may approve it, where the worker named one.
    pub claimed_owner: Option<String>,
    pub code: String,
    /// Under which it is answered.
    pub ticket: Ticket,
}

/// What a machine runs for the grid, connected or not.
pub type Occupancy = BTreeMap<AttemptId, Grant>;

/// What one attempt takes up of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub needs: Needs,
    /// Nobody else's as long as the attempt has them.
    pub gpus: GpuSet,
    /// Whether the machine has spoken of the attempt since it was started, or since the grid last
    /// stood still if that is later.
    pub heard_of: bool,
    /// Whether the grid stood still meanwhile: it was restarted, or paused.
    pub spans_outage: bool,
}

impl Grant {
    /// Of an attempt whose start is about to be sent.
    pub(crate) fn new(needs: Needs, gpus: GpuSet) -> Self {
        Self { needs, gpus, heard_of: false, spans_outage: false }
    }

    /// The grid stood still: what its machine lost then was not the task's doing.
    pub(crate) fn outlast(&mut self) {
        (self.heard_of, self.spans_outage) = (false, true);
    }
}

/// Connected machines in the order of what they have free, tightest first: what the scheduler walks
/// along. Ties go to the one that has been connected longest, which is the one least likely to
/// leave, then to the lowest number: a fixed order, since random ties cost five points of GPU use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Room {
    pub(crate) gpus: usize,
    pub(crate) cpu_millis: u32,
    pub(crate) ram_mib: u32,
    pub(crate) connected_at: Timestamp,
    pub(crate) worker: WorkerId,
}

impl Room {
    pub(crate) fn of(worker: WorkerId, link: &Link) -> Self {
        let Free { cpu_millis, ram_mib, disk_mib: _, gpus } = &link.free;
        Self {
            gpus: gpus.len(),
            cpu_millis: *cpu_millis,
            ram_mib: *ram_mib,
            connected_at: link.connected_at,
            worker,
        }
    }

    /// Before all machines that have this much free.
    pub(crate) fn least(gpus: usize, cpu_millis: u32, ram_mib: u32) -> Self {
        Self { gpus, cpu_millis, ram_mib, connected_at: Timestamp(0), worker: WorkerId(0) }
    }
}

/// What is left of a capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free {
    pub cpu_millis: u32,
    pub ram_mib: u32,
    pub disk_mib: u32,
    /// Smallest first, then by number.
    pub gpus: Vec<FreeGpu>,
}

/// A GPU that nobody has. In the order in which GPUs are granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FreeGpu {
    pub memory_mib: u32,
    pub number: u16,
}

impl Free {
    /// All of a capacity.
    pub fn whole(capacity: &Capacity) -> Self {
        let numbered = (0..GpuSet::NUMBERS).zip(&capacity.gpus);
        let mut gpus: Vec<FreeGpu> =
            numbered.map(|(number, gpu)| FreeGpu { memory_mib: gpu.memory_mib, number }).collect();
        gpus.sort_unstable();
        Self {
            cpu_millis: capacity.cpu_millis,
            ram_mib: capacity.ram_mib,
            disk_mib: capacity.disk_mib,
            gpus,
        }
    }

    /// What a capacity has left, within what its owner shares, beside these attempts and these GPUs;
    /// never below nothing, since a machine may return with less than it had.
    pub fn beside(capacity: &Capacity, (running, taken): (&Occupancy, GpuSet), cap: &Cap) -> Self {
        let mut free = Self::whole(capacity);
        free.cpu_millis = free.cpu_millis.min(cap.cpu_millis);
        free.ram_mib = free.ram_mib.min(cap.ram_mib);
        free.disk_mib = free.disk_mib.min(cap.disk_mib);
        if running.len() >= cap.at_once {
            return Self { cpu_millis: 0, ram_mib: 0, disk_mib: 0, gpus: Vec::new() };
        }
        let mut granted = 0;
        for grant in running.values() {
            free.take(grant);
            granted += grant.gpus.len() as usize;
        }
        free.gpus.retain(|gpu| !taken.contains(gpu.number));
        // The largest stay, or a task that needs one of them would never fit.
        let surplus = free.gpus.len().saturating_sub(cap.gpus.saturating_sub(granted));
        free.gpus.drain(..surplus);
        free
    }

    /// Whether a task of these needs fits.
    pub fn fits(&self, needs: &Needs) -> bool {
        self.cpu_millis >= needs.cpu_millis
            && self.ram_mib >= needs.ram_mib
            && self.disk_mib >= needs.disk_mib
            && self.large_enough(needs).count() >= needs.gpus.into()
    }

    /// The GPUs that a task that fits is to be granted: the smallest that are large enough, so that
    /// the large ones are left for those who need them.
    pub fn choose(&self, needs: &Needs) -> GpuSet {
        self.large_enough(needs).take(needs.gpus.into()).map(|gpu| gpu.number).collect()
    }

    fn large_enough(&self, needs: &Needs) -> impl Iterator<Item = &FreeGpu> {
        self.gpus.iter().filter(|gpu| gpu.memory_mib >= needs.gpu_memory_mib)
    }

    /// Takes the room of a task.
    pub fn take(&mut self, grant: &Grant) {
        let Grant { needs, gpus, heard_of: _, spans_outage: _ } = grant;
        self.cpu_millis = self.cpu_millis.saturating_sub(needs.cpu_millis);
        self.ram_mib = self.ram_mib.saturating_sub(needs.ram_mib);
        self.disk_mib = self.disk_mib.saturating_sub(needs.disk_mib);
        if !gpus.is_empty() {
            self.gpus.retain(|gpu| !gpus.contains(gpu.number));
        }
    }
}

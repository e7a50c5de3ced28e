//! What this machine does not take, whatever its manager says: more than it has or than its owner
//! lends, and work that the owner has not agreed to.

use campusgrid_protocol::resource::Capacity;
use campusgrid_protocol::rules::Limits;
use campusgrid_protocol::task::WorkerFault;

use super::Agent;
use super::effect::Order;
use super::room::Room;

/// For so long after the owner's limits have changed the manager may still have placed by the old
/// ones; a task that breaks the new ones is then handed back, which costs nobody anything.
const LAG_MS: u64 = 60_000;

impl Agent {
    /// Why this machine cannot do what it is told to, if so.
    pub(super) fn refusal(&self, now_ms: u64, order: &Order) -> Option<WorkerFault> {
        let spec = &order.spec;
        let sandbox = |message: String| Some(WorkerFault::Sandbox { message });
        if self.leaving.is_some() || self.is_closed() {
            return Some(WorkerFault::Leaving);
        }
        if let Some(message) = wrong_gpus(order, &self.config.capacity) {
            return Some(WorkerFault::Gpu { message });
        }
        if !Room::default().takes(&order.grant(), &self.config.capacity) {
            return sandbox("the task needs more than this machine offers".to_owned());
        }
        if let Some(message) = self.against_limits(order) {
            let is_race = now_ms.saturating_sub(self.limits_since_ms) < LAG_MS;
            return if is_race { Some(WorkerFault::Leaving) } else { sandbox(message) };
        }
        if spec.isolation > self.config.isolation {
            return sandbox(
                "the task asks for a stronger sandbox than this machine has".to_owned(),
            );
        }
        let lacks = |label: &&String| !self.config.labels.iter().any(|own| stands_for(own, label));
        let missing = spec.labels.iter().find(lacks)?;
        sandbox(format!("the task requires {missing}, which this machine does not offer"))
    }

    /// What the owner's limits have against an order on a machine that does nothing else.
    fn against_limits(&self, order: &Order) -> Option<String> {
        let (limits, spec) = (&self.verdict.shares.limits, &*order.spec);
        let is_own = self.owner.as_ref().is_some_and(|owner| *owner == order.whose);
        let words = if !is_own && !limits.whose.includes(&order.whose) {
            "runs no jobs of this user's"
        } else if !limits.kinds.is_empty() && !limits.kinds.contains(&spec.kind()) {
            "runs no programs of this kind"
        } else if limits.longest_s.is_some_and(|longest_s| spec.time_limit_s > longest_s) {
            "runs no tasks of this length"
        } else if !Room::default().takes(&order.grant(), &lent(&self.config.capacity, limits))
            || limits.at_once == Some(0)
            || limits.gpus.is_some_and(|most| order.gpus.len() > usize::from(most))
        {
            "does not share as much as the task needs"
        } else {
            return None;
        };
        Some(format!("by its owner's rules this machine {words}"))
    }
}

/// What of a machine its owner lends, GPUs aside: any of those that it has may be among those lent.
pub(super) fn lent(capacity: &Capacity, limits: &Limits) -> Capacity {
    let least = |there: u32, lent: Option<u32>| lent.map_or(there, |lent| lent.min(there));
    let cpu_millis = limits.cores.map(|cores| cores.saturating_mul(1000));
    Capacity {
        cpu_millis: least(capacity.cpu_millis, cpu_millis),
        ram_mib: least(capacity.ram_mib, limits.ram_mib),
        disk_mib: least(capacity.disk_mib, limits.disk_mib),
        gpus: capacity.gpus.clone(),
    }
}

/// What is wrong with the GPUs that the manager grants, if anything is.
fn wrong_gpus(order: &Order, capacity: &Capacity) -> Option<String> {
    let (granted, needed) = (order.gpus.len(), usize::from(order.spec.needs.gpus));
    if granted != needed {
        return Some(format!("{granted} are granted to a task that needs {needed}"));
    }
    let missing = order.gpus.iter().find(|&&gpu| usize::from(gpu) >= capacity.gpus.len())?;
    Some(format!("number {missing} is granted, which this machine does not have"))
}

/// Whether an offered label is the required one, or stands for all that begin as it does.
fn stands_for(offered: &str, required: &str) -> bool {
    match offered.strip_suffix('*') {
        Some(begin) => required.starts_with(begin),
        None => offered == required,
    }
}

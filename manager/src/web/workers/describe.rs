//! A machine as a row of the list of machines.

use campusgrid_core::snapshot::{LinkView, WorkerView};
use campusgrid_protocol::rest::workers::Worker;
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::LABEL_4;

use super::{gpus, may_change, silent_ms};
use crate::web::Site;
use crate::web::auth::Login;

/// A machine as this user may see it.
pub(super) fn describe(site: &Site, view: &WorkerView, login: &Login) -> Worker {
    let link = view.link.as_ref();
    // In the machine's own words, which are for whoever can do something about it.
    let noted = link.filter(|_| may_change(view, login));
    let silent_ms = link.and_then(|link| silent_ms(site, link));
    let capacity = link.map(|link| &link.capacity);
    let free = link.map(|link| &link.free);
    let shares = link.and_then(|link| link.shares.as_ref());
    // Whether somebody sits at it, and since when, is for nobody else to know.
    let own_shares = shares.filter(|_| noted.is_some());
    Worker {
        worker: view.id.0,
        name: view.name.clone(),
        owner: view.owner_name.clone(),
        own: view.owner == login.id(),
        online: link.is_some() && silent_ms.is_none(),
        silent_ms,
        set_aside: view.set_aside.as_deref().map(str::to_owned),
        isolation: link.map(|link| link.isolation),
        isolation_notes: noted.map(|link| link.isolation_notes.clone()).unwrap_or_default(),
        cpu_millis: capacity.map_or(0, |capacity| capacity.cpu_millis),
        cpu_free_millis: free.map_or(0, |free| free.cpu_millis),
        ram_mib: capacity.map_or(0, |capacity| capacity.ram_mib),
        ram_free_mib: free.map_or(0, |free| free.ram_mib),
        disk_mib: capacity.map_or(0, |capacity| capacity.disk_mib),
        disk_free_mib: free.map_or(0, |free| free.disk_mib),
        gpus: link.map(gpus).unwrap_or_default(),
        gpus_free: free.map_or(0, |free| u16::try_from(free.gpus.len()).unwrap_or(u16::MAX)),
        labels: link.map(labels).unwrap_or_default(),
        running: view.running,
        cpu_busy_permille: link.map_or(0, |link| link.load.cpu_busy_permille),
        ram_used_mib: link.map_or(0, |link| link.load.ram_used_mib),
        speed: link.and_then(|link| link.speed),
        phase: shares.map(|shares| told_phase(shares.phase, noted.is_some())),
        why: own_shares.map(|shares| shares.why.clone()).unwrap_or_default(),
        since_ms: own_shares.map(|shares| shares.since_ms),
        score_permille: view.score_permille,
    }
}

/// Others learn whether a machine is shared, and not that its tasks stand still because its owner is back.
pub(in crate::web) fn told_phase(phase: Phase, is_own: bool) -> Phase {
    match phase {
        Phase::Frozen if !is_own => Phase::Closed,
        Phase::Open | Phase::Frozen | Phase::Closed => phase,
    }
}

/// What jobs may require of a connected machine by name, but for what says a version of it.
fn labels(link: &LinkView) -> Vec<String> {
    link.offer.labels().iter().filter(|label| label.as_str() != LABEL_4).cloned().collect()
}

//! Lists machines, and takes them out of the grid.

use campusgrid_protocol::rest::accounts::Me;
use campusgrid_protocol::rest::workers::{self, Approved, Worker};
use campusgrid_protocol::rules::Phase;
use serde_json::json;
use ureq::http::Method;

use crate::arguments::machine::{Approve, Unshare, Workers};
use crate::error::CliError;
use crate::screen::{Cell, Tone};
use crate::session::Session;
use crate::units::{mib, score};

pub(super) fn list(session: &Session, wanted: &Workers) -> Result<(), CliError> {
    let mut workers: Vec<Worker> = session.client.get("workers")?;
    if wanted.mine {
        let me: Me = session.client.get("me")?;
        workers.retain(|worker| worker.owner == me.user);
    }
    workers.retain(|worker| worker.online || !wanted.online);
    workers.iter().for_each(|worker| session.screen.object(worker));
    if workers.is_empty() {
        session.screen.say("No machines: campusgrid share makes this one the first.");
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = workers.iter().map(row).collect();
    let head = ["MACHINE", "NAME", "OWNER", "STATE", "CORES", "MEMORY", "GPUS", "RUNS", "SCORE"];
    session.screen.table(&head, &rows);
    Ok(())
}

fn row(worker: &Worker) -> Vec<Cell> {
    let (state, tone) = match (&worker.set_aside, worker.online, worker.phase) {
        (Some(_), _, _) => ("set aside", Tone::Bad),
        (None, false, _) => ("offline", Tone::Faint),
        (None, true, None | Some(Phase::Open)) => ("online", Tone::Good),
        (None, true, Some(Phase::Frozen)) => ("frozen", Tone::Busy),
        (None, true, Some(Phase::Closed)) => ("not shared", Tone::Faint),
    };
    let why = if worker.why.is_empty() { String::new() } else { format!(": {}", worker.why) };
    vec![
        Cell::number(worker.worker),
        worker.name.as_str().into(),
        worker.owner.as_str().into(),
        Cell::toned(format!("{state}{why}"), tone),
        format!("{}/{} free", worker.cpu_free_millis / 1000, worker.cpu_millis / 1000).into(),
        format!("{}/{} free", mib(worker.ram_free_mib), mib(worker.ram_mib)).into(),
        format!("{}/{} free", worker.gpus_free, worker.gpus.len()).into(),
        Cell::number(worker.running),
        Cell::number(score(worker.score_permille)),
    ]
}

pub(super) fn approve(session: &Session, wanted: &Approve) -> Result<(), CliError> {
    let body = workers::Approve { code: wanted.code.clone() };
    let made: Approved = session.client.send(Method::POST, "workers/approve", &body, None)?;
    let worker = made.worker;
    session.screen.say(format!("Machine {worker} is yours now: campusgrid rules {worker}"));
    session.screen.object(&made);
    Ok(())
}

pub(super) fn remove(session: &Session, wanted: &Unshare) -> Result<(), CliError> {
    let workers: Vec<Worker> = session.client.get("workers")?;
    for text in &wanted.machines {
        let worker = one_of(&workers, text)?;
        session.client.delete(format!("workers/{}", worker.worker))?;
        session
            .screen
            .say(format!("Machine {} ({}) is out of the grid.", worker.worker, worker.name));
        session.screen.object(&json!({ "worker": worker.worker, "removed": true }));
    }
    Ok(())
}

/// The machine of this number or name, whoever owns it.
///
/// # Errors
///
/// `Usage` if there is not exactly one; as `get` of the client.
pub(super) fn any_machine(session: &Session, text: &str) -> Result<Worker, CliError> {
    let workers: Vec<Worker> = session.client.get("workers")?;
    one_of(&workers, text).cloned()
}

/// The same, of one's own: others may have machines of the same name.
///
/// # Errors
///
/// As [`any_machine`].
pub(super) fn own_machine(session: &Session, text: &str) -> Result<Worker, CliError> {
    let mut workers: Vec<Worker> = session.client.get("workers")?;
    if let Ok(number) = text.parse::<u64>() {
        // Whether it may be changed, the manager says: operators may change others' machines.
        workers.retain(|worker| worker.worker == number);
    } else {
        let me: Me = session.client.get("me")?;
        workers.retain(|worker| worker.owner == me.user);
    }
    one_of(&workers, text).cloned()
}

fn one_of<'a>(workers: &'a [Worker], text: &str) -> Result<&'a Worker, CliError> {
    let number = text.parse::<u64>().ok();
    let mut named = workers.iter().filter(|one| Some(one.worker) == number || one.name == text);
    match (named.next(), named.next()) {
        (Some(worker), None) => Ok(worker),
        (None, _) | (Some(_), Some(_)) => Err(CliError::Usage(format!(
            "{text:?} is not the number or name of one machine: campusgrid workers lists them"
        ))),
    }
}

//! Lists machines, and takes them out of the grid.

use campusgrid_protocol::rest::accounts::Me;
use campusgrid_protocol::rest::workers::Worker;
use serde_json::json;

use crate::arguments::machine::{Unshare, Workers};
use crate::error::CliError;
use crate::screen::{Cell, Tone};
use crate::session::Session;
use crate::units::mib;

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
    let head = ["MACHINE", "NAME", "OWNER", "STATE", "CORES", "MEMORY", "GPUS", "RUNS"];
    session.screen.table(&head, &rows);
    Ok(())
}

fn row(worker: &Worker) -> Vec<Cell> {
    let (state, tone) = match (&worker.set_aside, worker.online) {
        (Some(_), _) => ("set aside", Tone::Bad),
        (None, true) => ("online", Tone::Good),
        (None, false) => ("offline", Tone::Faint),
    };
    vec![
        Cell::number(worker.worker),
        worker.name.as_str().into(),
        worker.owner.as_str().into(),
        Cell::toned(state, tone),
        format!("{}/{} free", worker.cpu_free_millis / 1000, worker.cpu_millis / 1000).into(),
        format!("{}/{} free", mib(worker.ram_free_mib), mib(worker.ram_mib)).into(),
        format!("{}/{} free", worker.gpus_free, worker.gpus.len()).into(),
        Cell::number(worker.running),
    ]
}

pub(super) fn remove(session: &Session, wanted: &Unshare) -> Result<(), CliError> {
    let workers: Vec<Worker> = session.client.get("workers")?;
    for text in &wanted.machines {
        let number = text.parse::<u64>().ok();
        let mut named =
            workers.iter().filter(|one| Some(one.worker) == number || one.name == *text);
        let (Some(worker), None) = (named.next(), named.next()) else {
            return Err(CliError::Usage(format!(
                "{text:?} is not the number or name of one machine: campusgrid workers lists them"
            )));
        };
        session.client.delete(format!("workers/{}", worker.worker))?;
        session
            .screen
            .say(format!("Machine {} ({}) is out of the grid.", worker.worker, worker.name));
        session.screen.object(&json!({ "worker": worker.worker, "removed": true }));
    }
    Ok(())
}

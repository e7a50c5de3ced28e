//! What one's machines have earned.

use campusgrid_protocol::rest::workers::{Earned, Earnings, Paid, WorkerEarnings};

use super::workers::own_machine;
use crate::arguments::owner;
use crate::error::CliError;
use crate::screen::Cell;
use crate::session::Session;
use crate::units::{credits, moment, span};

/// Rows of one request.
const PAGE: u32 = 100;

pub(super) fn show(session: &Session, wanted: &owner::Earnings) -> Result<(), CliError> {
    if let Some(machine) = &wanted.machine {
        let machine = own_machine(session, machine)?;
        return of_machine(session, machine.worker, wanted.limit);
    }
    let found: Earnings = session.client.get("earnings")?;
    session.screen.object(&found);
    if found.machines.is_empty() {
        session.screen.say("No machines: campusgrid share makes this one the first.");
        return Ok(());
    }
    let row = |number: Cell, name: Cell, earned: &Earned| {
        let cell = |micros| Cell::number(credits(micros));
        let Earned { today_micros, week_micros, ever_micros } = *earned;
        vec![number, name, cell(today_micros), cell(week_micros), cell(ever_micros)]
    };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for machine in &found.machines {
        let gone = if machine.removed { " (removed)" } else { "" };
        let name = format!("{}{gone}", machine.name);
        rows.push(row(Cell::number(machine.worker), name.into(), &machine.earned));
    }
    rows.push(row(Cell::number(""), "all".into(), &found.all));
    session.screen.table(&["MACHINE", "NAME", "24 H", "7 DAYS", "EVER"], &rows);
    Ok(())
}

fn of_machine(session: &Session, worker: u64, limit: u32) -> Result<(), CliError> {
    let (mut left, mut before) = (limit, String::new());
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut earned = None;
    loop {
        let path = format!("workers/{worker}/earnings?limit={}{before}", left.clamp(1, PAGE));
        let found: WorkerEarnings = session.client.get(path)?;
        session.screen.object(&found);
        earned = earned.or(Some(found.earned));
        rows.extend(found.paid.items.iter().map(row));
        left = left.saturating_sub(u32::try_from(found.paid.items.len()).unwrap_or(u32::MAX));
        match found.paid.next {
            Some(next) if left > 0 => before = format!("&before={next}"),
            Some(_) | None => break,
        }
    }
    let earned = earned.unwrap_or_default();
    session.screen.pairs(&[
        ("in 24 h", credits(earned.today_micros).into()),
        ("in 7 days", credits(earned.week_micros).into()),
        ("ever", credits(earned.ever_micros).into()),
    ]);
    if !rows.is_empty() {
        session.screen.say("");
        session.screen.table(&["WHEN", "JOB", "NAME", "BY", "RAN", "CREDITS"], &rows);
    }
    Ok(())
}

fn row(paid: &Paid) -> Vec<Cell> {
    vec![
        moment(paid.at_ms).into(),
        Cell::number(paid.job),
        paid.job_name.as_str().into(),
        paid.submitter.as_str().into(),
        span(paid.run_ms).into(),
        Cell::number(credits(paid.earned_micros)),
    ]
}

//! The market: jobs that take bids, and what work costs.

use campusgrid_protocol::rest::Page;
use campusgrid_protocol::rest::market::{GoingRates, OpenJob, PriceTerms, Receipt, SoldBy};

use super::jobs::{ago, word};
use crate::arguments::job::OneJob;
use crate::arguments::market::{Market, Prices};
use crate::clock::now_ms;
use crate::error::CliError;
use crate::screen::Cell;
use crate::session::Session;
use crate::units::{credits, mib, moment, rate, span};

/// Rows of one request.
const PAGE: u32 = 100;

pub(super) fn list(session: &Session, wanted: &Market) -> Result<(), CliError> {
    let fits = if wanted.fits { "&fits=true" } else { "" };
    let (mut left, mut before) = (wanted.limit, String::new());
    let mut jobs: Vec<OpenJob> = Vec::new();
    while left > 0 {
        let path = format!("market/jobs?limit={}{fits}{before}", left.min(PAGE));
        let page: Page<OpenJob> = session.client.get(path)?;
        page.items.iter().for_each(|job| session.screen.object(job));
        left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        jobs.extend(page.items);
        let Some(next) = page.next else { break };
        before = format!("&before={next}");
    }
    if jobs.is_empty() {
        session.screen.say("No job takes bids right now.");
        return Ok(());
    }
    let now = now_ms();
    let rows: Vec<Vec<Cell>> = jobs.iter().map(|job| row(job, now)).collect();
    let head =
        ["JOB", "NAME", "BY", "KIND", "NEEDS", "LIMIT", "FORMULA", "CLOSES", "BIDS", "MACHINES"];
    session.screen.table(&head, &rows);
    Ok(())
}

fn row(job: &OpenJob, now: u64) -> Vec<Cell> {
    let needs = &job.needs;
    let mut asks = format!("{} cores, {}", needs.cpu_millis / 1000, mib(needs.ram_mib));
    if needs.gpus > 0 {
        asks.push_str(&format!(", {} GPUs", needs.gpus));
    }
    let closes = match (job.sold_by, job.closes_at_ms) {
        (SoldBy::Rule, Some(at)) if at <= now => "closed".to_owned(),
        (SoldBy::Rule, Some(at)) => format!("in {}", span(at.saturating_sub(now))),
        (SoldBy::Rule | SoldBy::Hand, _) => "by hand".to_owned(),
    };
    let machines = if job.own {
        "its own".to_owned()
    } else {
        let one = |one: &campusgrid_protocol::rest::market::OwnMachine| -> String {
            format!("{} ({})", one.name, credits(one.ask_micros))
        };
        job.machines.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    vec![
        Cell::number(job.job),
        job.name.as_str().into(),
        job.submitter.as_str().into(),
        word(&job.kind).into(),
        asks.into(),
        span(u64::from(job.time_limit_s) * 1000).into(),
        Cell::number(credits(job.formula_micros)),
        closes.into(),
        Cell::number(job.bids),
        machines.into(),
    ]
}

pub(super) fn prices(session: &Session, wanted: &Prices) -> Result<(), CliError> {
    let found: GoingRates = session.client.get(format!("market/prices?hours={}", wanted.hours))?;
    session.screen.object(&found);
    let price = |micros: Option<i64>| match micros {
        Some(micros) => Cell::from(format!("{} credits", credits(micros))),
        None => Cell::from("none was worked in the last 24 h"),
    };
    session.screen.pairs(&[
        ("a core-hour", price(found.day.core_hour_micros)),
        ("a GPU-hour", price(found.day.gpu_hour_micros)),
        ("formula", formula(&found.formula).into()),
        ("factor", rate(found.rate_permille).into()),
        ("tasks wait", found.tasks_queued.to_string().into()),
        ("machines", format!("{} online", found.workers_online).into()),
    ]);
    if found.history.is_empty() {
        return Ok(());
    }
    session.screen.say("");
    let number = |micros: Option<i64>| Cell::number(micros.map_or("-".to_owned(), credits));
    let hour = |hour: &campusgrid_protocol::rest::market::PriceHour| {
        vec![
            moment(hour.at_ms).into(),
            number(hour.going.core_hour_micros),
            number(hour.going.gpu_hour_micros),
        ]
    };
    let rows: Vec<Vec<Cell>> = found.history.iter().map(hour).collect();
    session.screen.table(&["HOUR", "CORE-HOUR", "GPU-HOUR"], &rows);
    Ok(())
}

/// A price in words, its terms that are nothing left out.
pub(super) fn formula(terms: &PriceTerms) -> String {
    let parts = [
        (terms.base_micros, "a run"),
        (terms.core_micros, "a core"),
        (terms.ram_gib_micros, "a GiB"),
        (terms.gpu_micros, "a GPU"),
        (terms.minute_micros, "a minute"),
        (terms.core_minute_micros, "a core-minute"),
        (terms.ram_gib_minute_micros, "a GiB-minute"),
        (terms.gpu_minute_micros, "a GPU-minute"),
    ];
    let part = |&(micros, what): &(i64, &str)| format!("{} {what}", credits(micros));
    let said: Vec<_> = parts.iter().filter(|(micros, _)| *micros != 0).map(part).collect();
    let said = if said.is_empty() { "nothing".to_owned() } else { said.join(" + ") };
    match terms.minimum_micros {
        0 => said,
        least => format!("{said}, at least {}", credits(least)),
    }
}

pub(super) fn receipt(session: &Session, wanted: &OneJob) -> Result<(), CliError> {
    let found: Receipt = session.client.get(format!("jobs/{}/receipt", wanted.job))?;
    session.screen.object(&found);
    let ended = found.ended_at_ms.map_or("-".to_owned(), |at| ago(now_ms(), at));
    session.screen.pairs(&[
        ("job", format!("{} {}", found.job, found.name).into()),
        ("submitted", moment(found.submitted_at_ms).into()),
        ("ended", ended.into()),
        ("one run", format!("at most {} credits", credits(found.task_micros)).into()),
        ("factor", rate(found.rate_permille).into()),
        ("held", credits(found.held_micros).into()),
        ("charged", credits(found.charged_micros).into()),
        ("returned", credits(found.refunded_micros).into()),
    ]);
    let line = |line: &campusgrid_protocol::rest::market::ReceiptLine| {
        vec![
            Cell::number(line.index),
            Cell::number(line.attempt),
            line.worker_name.as_str().into(),
            span(line.run_ms).into(),
            Cell::number(credits(line.charged_micros)),
        ]
    };
    let rows: Vec<Vec<Cell>> = found.lines.iter().map(line).collect();
    if !rows.is_empty() {
        session.screen.say("");
        session.screen.table(&["TASK", "RUN", "MACHINE", "RAN", "CREDITS"], &rows);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rest::market::PriceTerms;

    use super::formula;

    #[test]
    fn a_price_is_said_in_words() {
        assert_eq!(formula(&PriceTerms::default()), "nothing");
        let terms = PriceTerms {
            base_micros: 5_000_000,
            core_minute_micros: 20_000,
            minimum_micros: 1_000_000,
            ..PriceTerms::default()
        };
        assert_eq!(formula(&terms), "5 a run + 0.02 a core-minute, at least 1");
    }
}

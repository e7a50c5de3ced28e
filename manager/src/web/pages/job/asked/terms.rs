//! What a job asks of the grid beyond what its tasks are, in words.

use campusgrid_protocol::rest::JobDetail;
use campusgrid_protocol::rest::market::JobMarket;

use crate::web::pages::market::row;
use crate::web::pages::submit::CHECKPOINT_S;
use crate::web::words;

/// Indices that are told in full. Bytes; longer ones are cut.
const INDICES_SHOWN: usize = 200;

/// A title and words for each that is not as usual.
pub(super) fn words_of(detail: &JobDetail) -> Vec<(&'static str, String)> {
    let mut terms = Vec::new();
    if detail.job.tasks > 1 || detail.array != "0" {
        terms.push(("Indices", indices(&detail.array)));
    }
    if let Some(path) = &detail.lines_file {
        terms.push(("Lines of", words::visible(path)));
    }
    if let Some(at_once) = detail.at_once {
        terms.push((
            "At once",
            format!("at most {}", words::counted(at_once.into(), "task", "tasks")),
        ));
    }
    if !detail.outputs.is_empty() {
        terms.push(("Files to keep", words::visible(&detail.outputs.join(" "))));
    }
    if let Some(market) = &detail.market {
        terms.push(("Sold", sold(market)));
    }
    if detail.verify {
        terms.push(("Checked", "two owners’ machines have to agree on the result".to_owned()));
    } else if detail.deterministic {
        let words = "it leaves the same wherever it runs; a part of such results is checked";
        terms.push(("Checked", words.to_owned()));
    }
    if detail.checkpoint_s != CHECKPOINT_S {
        let words = match detail.checkpoint_s {
            0 => "only when the machine is taken back".to_owned(),
            s => format!("every {}", words::span(u64::from(s) * 1000)),
        };
        terms.push(("Checkpoints", words));
    }
    if detail.retries > 0 {
        let times = words::counted(detail.retries.into(), "time", "times");
        let pause = match detail.backoff_s {
            0 => String::new(),
            s => format!(", first after {}", words::span(u64::from(s) * 1000)),
        };
        terms.push(("Retries", format!("up to {times}{pause}")));
    }
    if detail.warn_s > 0 {
        let before = words::span(u64::from(detail.warn_s) * 1000);
        terms.push(("Warning", format!("SIGUSR1, {before} before the time limit")));
    }
    if let Some(at_ms) = detail.deadline_at_ms {
        let at = words::Moment::new(at_ms, campusgrid_core::time::Timestamp(at_ms)).text;
        terms.push(("Deadline", at));
    }
    if detail.job.priority != 0 {
        terms.push(("Priority", detail.job.priority.to_string()));
    }
    terms.extend(notices(detail).map(|notices| ("Notices", notices)));
    terms
}

/// By whose choice, and within which bounds.
fn sold(market: &JobMarket) -> String {
    let mut words = format!("by bids; {}", row::sold(market.sold_by));
    if let Some(micros) = market.max_price_micros {
        words.push_str(&format!(", at most {} credits", words::exact_credits(micros)));
    }
    if let Some(s) = market.close_after_s {
        words.push_str(&format!(", after {}", words::span(u64::from(s) * 1000)));
    }
    words
}

fn indices(array: &str) -> String {
    match array.char_indices().nth(INDICES_SHOWN) {
        None => array.to_owned(),
        Some((end, _)) => format!("{} …", &array[..end]),
    }
}

fn notices(detail: &JobDetail) -> Option<String> {
    let notify = &detail.notify;
    if !notify.is_wanted() {
        return None;
    }
    let of = [(notify.start, "start"), (notify.failure, "failure"), (notify.end, "end")];
    let of: Vec<&str> = of.into_iter().filter(|(is_on, _)| *is_on).map(|(_, word)| word).collect();
    let webhook = notify.webhook.as_deref().map(words::visible);
    let by = [notify.mail.then(|| "by e-mail".to_owned()), webhook.map(|url| format!("to {url}"))];
    let by: Vec<String> = by.into_iter().flatten().collect();
    Some(format!("{}, {}", of.join(", "), by.join(" and ")))
}

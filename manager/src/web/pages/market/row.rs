//! A job that takes bids, in words.

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::resource::Needs;
use campusgrid_protocol::rest::market::{OpenJob, SoldBy};

use crate::web::words;

/// A job that takes bids.
pub(super) struct OpenRow {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) submitter: String,
    pub(super) own: bool,
    pub(super) kind: &'static str,
    pub(super) needs: String,
    /// How long it may run.
    pub(super) limit: String,
    pub(super) labels: Vec<String>,
    /// Empty if it runs on the machine's own system.
    pub(super) image: String,
    pub(super) isolation: &'static str,
    /// Who chooses among the bids.
    pub(super) sold: &'static str,
    /// Whether nobody sees others' bids.
    pub(super) sealed: bool,
    /// When it closes; empty if it does not by itself.
    pub(super) closes: String,
    pub(super) round: u32,
    pub(super) bids: String,
    pub(super) has_bids: bool,
    /// Its price by the formula.
    pub(super) formula: String,
    /// The visitor's machines that could run it.
    pub(super) machines: usize,
    /// The lowest of what these ask.
    pub(super) asked: Option<String>,
}

impl OpenRow {
    pub(super) fn new(job: &OpenJob, now: Timestamp) -> Self {
        let image = job.image.clone().unwrap_or_default();
        // An image is required by a label, and told by its own name.
        let of_image = format!("image:{image}");
        let labels = job.labels.iter().filter(|label| **label != of_image);
        let asked = job.machines.iter().map(|machine| machine.ask_micros).min();
        Self {
            id: job.job,
            name: words::visible(&job.name),
            submitter: job.submitter.clone(),
            own: job.own,
            kind: words::kind(job.kind),
            needs: needs(&job.needs, job.time_limit_s),
            limit: words::span(u64::from(job.time_limit_s) * 1000),
            labels: labels.map(|label| words::visible(label)).collect(),
            image: words::visible(&image),
            isolation: words::least_isolation(job.isolation),
            sold: sold(job.sold_by),
            sealed: job.sold_by == SoldBy::Rule,
            closes: job.closes_at_ms.map(|at| closes(at, now)).unwrap_or_default(),
            round: job.round,
            bids: bids(job.bids),
            has_bids: job.bids > 0,
            formula: words::credits(job.formula_micros),
            machines: job.machines.len(),
            asked: asked.map(words::credits),
        }
    }
}

/// Who chooses among the bids, in words.
pub(in crate::web::pages) fn sold(by: SoldBy) -> &'static str {
    match by {
        SoldBy::Hand => "its submitter chooses among the bids",
        SoldBy::Rule => "sealed bids; the grid chooses the best",
    }
}

/// When it closes, in words.
pub(in crate::web::pages) fn closes(at_ms: u64, now: Timestamp) -> String {
    match at_ms.saturating_sub(now.0) {
        0 => "closes now".to_owned(),
        left_ms => format!("closes in {}", words::span(left_ms.div_ceil(1000) * 1000)),
    }
}

/// How many bids stand, in words.
pub(in crate::web::pages) fn bids(count: u32) -> String {
    match count {
        0 => "no bids yet".to_owned(),
        count => words::counted(count.into(), "bid", "bids"),
    }
}

/// What a machine must give for it, in words.
fn needs(needs: &Needs, time_limit_s: u32) -> String {
    let mut parts = vec![
        words::counted(u64::from(needs.cpu_millis / 1000), "core", "cores"),
        format!("{} memory", words::mib(needs.ram_mib)),
        format!("{} disk", words::mib(needs.disk_mib)),
    ];
    if needs.gpus > 0 {
        let mut gpus = words::counted(needs.gpus.into(), "GPU", "GPUs");
        if needs.gpu_memory_mib > 0 {
            gpus.push_str(&format!(" with at least {}", words::mib(needs.gpu_memory_mib)));
        }
        parts.push(gpus);
    }
    parts.push(format!("at most {}", words::span(u64::from(time_limit_s) * 1000)));
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::resource::Needs;

    use super::{bids, closes, needs};

    #[test]
    fn what_is_open_is_said_in_words() {
        assert_eq!(closes(61_000, Timestamp(500)), "closes in 1 min 1 s");
        assert_eq!(closes(1, Timestamp(500)), "closes now");
        assert_eq!([bids(0), bids(1), bids(2)], ["no bids yet", "1 bid", "2 bids"]);
        let mut needed =
            Needs { cpu_millis: 4000, ram_mib: 8192, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 };
        assert_eq!(needs(&needed, 600), "4 cores · 8 GiB memory · 256 MiB disk · at most 10 min");
        (needed.gpus, needed.gpu_memory_mib) = (1, 4096);
        assert!(needs(&needed, 600).contains("1 GPU with at least 4 GiB"));
    }
}

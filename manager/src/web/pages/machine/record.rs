//! How reliable a machine has been, and what that is made of, in words.

use campusgrid_protocol::rest::workers::Record;

use crate::web::words::counted;

/// How a score comes about.
const HOW: &str = "The share of what went well: each run brought to an end and each result that another \
    owner’s machine confirmed counts 8 for it (and everybody begins with four runs). Against it count each \
    run that was lost (8), each accepted bid that was not started in time (16) and each result that two \
    others contradicted (80), and 8 for everybody. Runs that its owner took back count for nothing, and \
    runs of one’s own jobs nowhere.";

/// How reliable a machine has been.
pub(in crate::web::pages) struct RecordView {
    pub(in crate::web::pages) score: String,
    /// A line for each count; the first ones are always there.
    pub(in crate::web::pages) lines: Vec<String>,
    pub(in crate::web::pages) how: &'static str,
}

impl RecordView {
    pub(in crate::web::pages) fn new(record: &Record, score_permille: u32) -> Self {
        Self { score: score(score_permille), lines: lines(record), how: HOW }
    }
}

/// A score in per cent.
pub(in crate::web::pages) fn score(permille: u32) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

/// The counts in one line; the ones of which there are none are left out.
pub(in crate::web::pages) fn in_short(record: &Record) -> String {
    let delivered = format!("{} delivered", record.delivered);
    let rest = [
        (record.handed_back, "handed back"),
        (record.lost, "lost"),
        (record.bids_failed, "bids failed"),
        (record.valid, "confirmed"),
        (record.invalid, "contradicted"),
    ];
    let rest = rest.into_iter().filter(|(count, _)| *count > 0);
    let rest = rest.map(|(count, words)| format!("{count} {words}"));
    [delivered].into_iter().chain(rest).collect::<Vec<_>>().join(", ")
}

fn lines(record: &Record) -> Vec<String> {
    let mut lines = vec![
        format!("{} brought to an end", counted(record.delivered.into(), "run", "runs")),
        format!("{} taken back by the owner", counted(record.handed_back.into(), "run", "runs")),
        format!("{} lost", counted(record.lost.into(), "run", "runs")),
    ];
    if record.bids_failed > 0 {
        let bids = counted(record.bids_failed.into(), "accepted bid", "accepted bids");
        lines.push(format!("{bids} not started in time"));
    }
    if record.valid + record.invalid > 0 {
        let valid = counted(record.valid.into(), "result", "results");
        lines.push(format!(
            "{valid} confirmed by another owner’s machine, {} of them in a row",
            record.valid_in_row
        ));
        lines.push(format!("{} contradicted by two others", record.invalid));
    }
    lines
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rest::workers::Record;

    use super::{in_short, lines, score};

    #[test]
    fn counts_that_say_nothing_are_left_out() {
        let mut record = Record { delivered: 1, ..Record::default() };
        assert_eq!(in_short(&record), "1 delivered");
        assert_eq!(lines(&record).len(), 3);
        (record.lost, record.valid) = (2, 3);
        assert_eq!(in_short(&record), "1 delivered, 2 lost, 3 confirmed");
        assert_eq!(lines(&record)[0], "1 run brought to an end");
        assert_eq!([score(1000), score(975), score(4)], ["100.0 %", "97.5 %", "0.4 %"]);
    }
}

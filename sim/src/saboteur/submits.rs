//! What of a submit may be ignored.

use campusgrid_core::input::Submission;

use super::{Bug, Saboteur};

impl Saboteur {
    pub(super) fn submits(&self, submission: &mut Submission) {
        let Submission { key, terms, on_hold, after, .. } = submission;
        match self.bug {
            Some(Bug::IgnoresSubmitKeys) => *key = None,
            Some(Bug::IgnoresChains) => after.clear(),
            Some(Bug::IgnoresAtOnce) => terms.at_once = None,
            Some(Bug::IgnoresDeadlines) => terms.deadline_at_ms = None,
            Some(Bug::IgnoresBackoff) => terms.backoff_s = 0,
            Some(Bug::RetriesOnceMore) => terms.retries += u8::from(terms.retries > 0),
            Some(Bug::IgnoresHolds) => *on_hold = false,
            Some(_) | None => {}
        }
    }
}

//! What of a job's page is asked for.

use campusgrid_protocol::id::JobId;
use serde::Deserialize;

use super::files::place_of;
use super::tasks::{TasksWanted, name_of, state_of};
use crate::web::pages::account::encode;

/// What of a job to show. Fields of forms may be empty, and what is no number shows what is shown
/// without.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Shown {
    /// Whose log, by its index.
    pub(super) task: String,
    /// Of which run.
    pub(super) attempt: String,
    /// Which tasks are in the table.
    state: String,
    from: String,
    to: String,
    /// The output after which the list begins.
    pub(super) outputs: String,
    /// The job of which this one runs tasks again.
    pub(super) of: String,
}

impl Shown {
    pub(super) fn wanted(&self) -> TasksWanted {
        let number = |text: &str| text.trim().parse().ok();
        TasksWanted { state: state_of(&self.state), from: number(&self.from), to: number(&self.to) }
    }

    /// The page's own address, to fetch it again.
    pub(super) fn address(&self, job: JobId, task: u32) -> String {
        let mut address = format!("/jobs/{job}?task={task}");
        let wanted = self.wanted();
        let attempt = self.attempt.parse::<u32>().ok();
        for (name, number) in [("attempt", attempt), ("from", wanted.from), ("to", wanted.to)] {
            if let Some(number) = number {
                address.push_str(&format!("&{name}={number}"));
            }
        }
        if let Some(state) = wanted.state {
            address.push_str(&format!("&state={}", name_of(state)));
        }
        if let Some((task, path)) = place_of(&self.outputs) {
            address.push_str(&format!("&outputs={task}:{}", encode(&path)));
        }
        address
    }
}

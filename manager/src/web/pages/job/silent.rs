//! Tasks of a job that run on machines which are not heard of right now.

use campusgrid_core::snapshot::WorkerView;
use campusgrid_protocol::rest::{Attempt, JobDetail};

use crate::web::workers::silent_ms;
use crate::web::{Site, words};

/// Notes that are told; one machine that is gone can have many tasks.
const NOTES_MAX: usize = 5;

/// A sentence for each task whose machine is silent or gone, the first ones only.
pub(super) fn notes(site: &Site, detail: &JobDetail) -> Vec<String> {
    let snapshot = site.engine.snapshot();
    let under_way = detail.task_list.iter().filter_map(|task| {
        let attempt = task.attempts.last().filter(|attempt| attempt.ended_at_ms.is_none())?;
        Some((task.index, attempt))
    });
    let told = under_way.filter_map(|(index, attempt)| {
        let found = snapshot.workers.iter().find(|view| view.id.0 == attempt.worker);
        let what = if detail.job.tasks > 1 { format!("Task {index}") } else { "It".to_owned() };
        Some(format!("{what} is on {}", silence(site, found, attempt)?))
    });
    told.take(NOTES_MAX).collect()
}

fn silence(site: &Site, view: Option<&WorkerView>, attempt: &Attempt) -> Option<String> {
    let name = words::visible(&attempt.worker_name);
    let lease = words::span(site.engine.policy().lease_ms.into());
    match view?.link.as_ref() {
        Some(link) => {
            let silent = words::span(silent_ms(site, link)?);
            Some(format!(
                "{name}, which has been silent for {silent}; after {lease} it starts anew elsewhere."
            ))
        }
        None => Some(format!(
            "{name}, which is not connected; if it does not come back within {lease}, it starts anew \
             elsewhere."
        )),
    }
}

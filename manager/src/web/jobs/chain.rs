//! What a job waits for, as the engine needs it: of jobs that are over, how their tasks ended.

use std::collections::BTreeMap;

use campusgrid_core::effect::Refusal;
use campusgrid_core::job::{After, EndedTasks};
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest;

use crate::engine::handle::AskError;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;

/// Jobs that another one waits for.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) after: Vec<After>,
    /// Those that are over.
    pub(super) ended: BTreeMap<JobId, EndedTasks>,
}

/// Looks up what a job of this user is to wait for.
///
/// # Errors
///
/// `Ask(Refused(AfterUnknown))` for a job that is not there, not launched or not this user's, operator
/// or not; `Read`.
pub(super) async fn resolve(
    site: &Site,
    login: &Login,
    after: &[rest::After],
) -> Result<Chain, WebError> {
    if after.is_empty() {
        return Ok(Chain::default());
    }
    let named: Vec<JobId> = after.iter().map(|after| JobId(after.job)).collect();
    let viewer = login.as_owner();
    let found = site.readers.read(move |reader| reader.ended_tasks(viewer, &named)).await?;
    let mut chain = Chain::default();
    for &rest::After { job, when, each } in after {
        let job = JobId(job);
        if !found.contains_key(&job) {
            return Err(AskError::Refused(Refusal::AfterUnknown { job }).into());
        }
        chain.after.push(After { job, when, each });
    }
    chain.ended = found.into_iter().filter_map(|(job, ended)| Some((job, ended?))).collect();
    Ok(chain)
}

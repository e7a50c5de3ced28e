//! What has become of a container that was lost with a task in it, and of its engine.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{EventsOptions, InspectContainerOptions};
use campusgrid_sandbox::plan::Exit;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use crate::berth::Berth;
use crate::channel::Lost;
use crate::clock::unix_seconds;
use crate::engine::Shared;
use crate::error::EngineError;

/// Between two looks for it.
const LOOKING: Duration = Duration::from_millis(250);
/// For an answer that needs no work.
pub(crate) const ANSWERING: Duration = Duration::from_secs(10);

/// Finds out why a container was lost, and removes it.
///
/// It may have run out of memory together with its helper: that is how the task ended. Otherwise
/// the engine is at fault; it is given some time to come back, so that nothing is left in it.
///
/// # Errors
///
/// `Gone`, or `Helper` if that has said something before it went.
pub(crate) async fn autopsy(
    shared: &Shared,
    mut berth: Berth,
    lost: &Lost,
) -> Result<Exit, EngineError> {
    let Shared { docker, patience, .. } = shared;
    // What the helper said last may still be on its way.
    let said_all = async {
        while timeout(LOOKING, berth.channel.next()).await.is_ok_and(|next| next.is_ok()) {}
    };
    let _goes_on = timeout(ANSWERING, said_all).await;
    let said = berth.channel.said();
    let gone = EngineError::Gone { reason: format!("a container was lost: {}", lost.why) };
    if wait_for(docker, *patience).await.is_err() {
        return Err(gone); // Its container is dropped, and swept when the engine is back.
    }
    let has_oom = timeout(ANSWERING, has_run_out(shared, &berth.container.id)).await;
    berth.container.remove().await;
    match (has_oom, said.is_empty()) {
        (Ok(Ok(true)), _) => Ok(Exit::OutOfMemory),
        (_, false) => Err(EngineError::Helper { message: said }),
        (_, true) => Err(gone),
    }
}

/// Waits until the engine answers.
///
/// # Errors
///
/// `Gone` if it does not come back.
pub(crate) async fn wait_for(docker: &Docker, patience: Duration) -> Result<(), EngineError> {
    let deadline = Instant::now() + patience;
    loop {
        if timeout(ANSWERING, docker.ping()).await.is_ok_and(|answer| answer.is_ok()) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(EngineError::silent("come back", patience));
        }
        sleep(LOOKING).await;
    }
}

/// Whether the engine remembers that this container ran out of memory.
async fn has_run_out(shared: &Shared, id: &str) -> Result<bool, Error> {
    let docker = &shared.docker;
    if shared.is_podman {
        loop {
            match docker.inspect_container(id, None::<InspectContainerOptions>).await {
                // While Podman still tidies up, it is in a state that Docker has no word for.
                Err(Error::JsonDataError { .. }) => sleep(LOOKING).await,
                Err(error) => return Err(error),
                Ok(found) => {
                    let killed = found.state.and_then(|state| state.oom_killed);
                    return Ok(killed.unwrap_or(false));
                }
            }
        }
    }
    let word = |word: &str| vec![word.to_owned()];
    let options = EventsOptions {
        since: Some("1".to_owned()),
        // The end of this second, since without an end the engine would go on telling.
        until: Some((unix_seconds() + 1).to_string()),
        filters: Some(
            [("container".to_owned(), word(id)), ("event".to_owned(), word("oom"))].into(),
        ),
    };
    let mut events = Box::pin(docker.events(Some(options)));
    match events.next().await {
        Some(Ok(_)) => Ok(true),
        Some(Err(error)) => Err(error),
        None => Ok(false),
    }
}

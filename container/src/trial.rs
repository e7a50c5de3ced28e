//! Tries containers with a real one, without any image but an empty one of our own.

use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use campusgrid_sandbox::plan::{Check, Holds, Limits, Network, Plan};
use futures_util::StreamExt;

use crate::berth::Berth;
use crate::connect::{chain, missing, there};
use crate::engine::Shared;
use crate::error::EngineError;
use crate::image::{self, DEFAULT_TAG, Image};
use crate::walls::Walls;

/// An image without anything in it: our helper brings what it needs.
const PROBE_TAG: &str = "campusgrid/probe:latest";

/// Sweeps, then starts a container with all that belongs to one; tells what came of it.
pub(crate) async fn try_it(shared: &mut Shared, checks: &mut Vec<Check>) -> bool {
    let tried = match sweep_and_start(shared).await {
        // Podman's word for an option of tmpfs that it does not know.
        Err(EngineError::Refused { message, .. }) if message.contains("nr_inodes") => {
            shared.limits_files = false;
            sweep_and_start(shared).await
        }
        tried => tried,
    };
    if let Err(error) = tried {
        let mend = match error {
            EngineError::Limit { .. } => Some("use an engine of root's, or cgroup v2"),
            EngineError::Gone { .. }
            | EngineError::Image { .. }
            | EngineError::Pull { .. }
            | EngineError::Refused { .. }
            | EngineError::Plan { .. }
            | EngineError::Helper { .. }
            | EngineError::Host { .. }
            | EngineError::NotRoot
            | EngineError::Program { .. } => None,
        };
        checks.push(missing("container limits", &chain(&error), mend));
        return false;
    }
    tell(shared, checks);
    checks.push(match image::labels(&shared.docker, &shared.images).await {
        Ok(labels) if labels.iter().any(|label| label == "image:default") => {
            there("default image", DEFAULT_TAG)
        }
        Ok(_) | Err(_) => Check {
            what: "default image".to_owned(),
            state: Holds::Optional,
            found: "not built".to_owned(),
            mend: Some("sudo campusgrid-worker build-image".to_owned()),
        },
    });
    true
}

async fn sweep_and_start(shared: &Shared) -> Result<(), EngineError> {
    let swept = shared.roster.sweep(&shared.docker).await?;
    if swept > 0 {
        tracing::info!(containers = swept, "removed what an earlier worker has left");
    }
    let image = probe_image(&shared.docker).await?;
    let berth = Berth::start(shared, Walls::new(&probe_plan(), image)).await?;
    berth.container.remove().await;
    Ok(())
}

fn tell(shared: &Shared, checks: &mut Vec<Check>) {
    let cores = if shared.pins_cores { "cores, " } else { "" };
    let files = if shared.limits_files { " and its files" } else { "" };
    let found = format!(
        "memory, swap, processor time, {cores}processes, scratch space{files}, system calls, no \
         network, no privileges: read back in a container"
    );
    checks.push(there("container limits", &found));
    if !shared.limits_files {
        checks.push(Check {
            what: "number of files".to_owned(),
            state: Holds::Optional,
            found: "this engine cannot limit it; memory does, which files count against".to_owned(),
            mend: None,
        });
    }
}

/// Makes the empty image, where there is none yet.
async fn probe_image(docker: &Docker) -> Result<Image, EngineError> {
    if let Some(image) = image::tagged(docker, PROBE_TAG).await? {
        return Ok(image);
    }
    let (repo, tag) = PROBE_TAG.split_once(':').unwrap_or((PROBE_TAG, "latest"));
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        ..CreateImageOptions::default()
    };
    let nothing = bollard::body_full(bytes::Bytes::from_static(&[0; 10240])); // An empty tar file.
    let mut imported = Box::pin(docker.create_image(Some(options), Some(nothing), None));
    while let Some(step) = imported.next().await {
        step.map_err(|error| EngineError::from_answer("take an image", error))?;
    }
    let image = image::tagged(docker, PROBE_TAG).await?;
    image.ok_or_else(|| EngineError::Refused {
        operation: "keep an image",
        message: format!("{PROBE_TAG} is not there after it was taken"),
    })
}

/// One for which a container can be made, without a step.
pub(crate) fn probe_plan() -> Plan {
    Plan {
        name: "probe".to_owned(),
        files: Vec::new(),
        links: Vec::new(),
        steps: Vec::new(),
        environment: Vec::new(),
        read_only: Vec::new(),
        read_write: Vec::new(),
        devices: Vec::new(),
        network: Network::None,
        family: None,
        shared_tmp: false,
        outputs: Vec::new(),
        checkpoints: None,
        limits: Limits {
            cpu_millis: 1000,
            core_percent: 100,
            ram_mib: 64,
            scratch_mib: 1,
            scratch_files: 16,
            file_mib: 1,
            processes: 16,
            log_keep_bytes: 0,
            log_flood_bytes: 0,
            outputs: 0,
            outputs_bytes: 0,
            grace: Duration::ZERO,
        },
        results: PathBuf::new(),
    }
}

//! One container with a helper in it that waits for a task.

use std::time::Duration;

use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, StartContainerOptions,
};
use campusgrid_sandbox::cpus::CpuShare;
use tokio::time::timeout;

use crate::channel::{Channel, Lost};
use crate::engine::Shared;
use crate::error::EngineError;
use crate::event::{Event, VERSION};
use crate::roster::{Container, LABEL};
use crate::slots::Slot;
use crate::walls::{Particulars, Walls};
use crate::wire::Kind;

/// Starting a container takes a third of a second, on a machine that is very busy several.
const STARTING: Duration = Duration::from_secs(60);

/// Dropping it has its container removed.
#[derive(Debug)]
pub(crate) struct Berth {
    pub(crate) container: Container,
    pub(crate) channel: Channel,
    pub(crate) walls: Walls,
    _slot: Slot,
    _share: CpuShare,
}

impl Berth {
    /// Makes a container, starts it and waits until its helper has told which limits hold.
    ///
    /// # Errors
    ///
    /// `Gone`, `Refused`, `Helper`, `Limit`; nothing is left then.
    pub(crate) async fn start(shared: &Shared, walls: Walls) -> Result<Self, EngineError> {
        let slot = shared.slots.take().ok_or_else(|| EngineError::Plan {
            reason: "too many containers are there already".to_owned(),
        })?;
        let share = shared.cpus.take(walls.cpu_millis());
        let cores: Vec<String> = share.cpus.iter().map(u32::to_string).collect();
        let particulars = Particulars {
            uid: match walls.is_builders() {
                true => shared.builder_uid,
                false => shared.first_job_uid + slot.number,
            },
            cores: shared.pins_cores.then(|| cores.join(",")),
            label: (LABEL, &shared.roster.instance),
            kit: &shared.kit,
            is_podman: shared.is_podman,
            limits_files: shared.limits_files,
            seccomp: &shared.seccomp,
        };
        let started = timeout(STARTING, Self::begin(shared, walls, &particulars, slot, share));
        let mut berth =
            started.await.map_err(|_| EngineError::silent("start a container", STARTING))??;
        match timeout(STARTING, berth.hello(&particulars)).await {
            Ok(Ok(())) => Ok(berth),
            Ok(Err(error)) => {
                berth.container.remove().await;
                Err(error)
            }
            Err(_) => {
                berth.container.remove().await;
                Err(EngineError::silent("start a container's first process", STARTING))
            }
        }
    }

    async fn begin(
        shared: &Shared,
        walls: Walls,
        particulars: &Particulars<'_>,
        slot: Slot,
        share: CpuShare,
    ) -> Result<Self, EngineError> {
        let failed = |operation| move |error| EngineError::from_answer(operation, error);
        let docker = &shared.docker;
        let request = walls.request(particulars);
        let created = docker.create_container(None::<CreateContainerOptions>, request).await;
        let id = created.map_err(failed("make a container"))?.id;
        let container = shared.roster.enter(docker.clone(), id);
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = docker.attach_container(&container.id, Some(options)).await;
        let channel = Channel::new(attached.map_err(failed("attach to a container"))?);
        let started = docker.start_container(&container.id, None::<StartContainerOptions>).await;
        if let Err(error) = started {
            container.remove().await;
            return Err(failed("start a container")(error));
        }
        Ok(Self { container, channel, walls, _slot: slot, _share: share })
    }

    /// Hears the helper's first word, and checks what it has read back.
    async fn hello(&mut self, expected: &Particulars<'_>) -> Result<(), EngineError> {
        let first = self.channel.next().await;
        let first = first.map_err(|Lost { why }| EngineError::Helper {
            message: format!("{why} {}", self.channel.said()),
        })?;
        let event = match first.kind {
            Kind::Event => serde_json::from_slice(&first.payload).ok(),
            Kind::Order
            | Kind::Content
            | Kind::Terminate
            | Kind::Kill
            | Kind::Ping
            | Kind::Warn
            | Kind::Freeze
            | Kind::Thaw
            | Kind::Save
            | Kind::HandBack
            | Kind::Stdout
            | Kind::Stderr
            | Kind::Data => None,
        };
        match event {
            Some(Event::Hello { version: VERSION, held }) => self.walls.check(&held, expected),
            Some(_) | None => {
                Err(EngineError::Helper { message: "it is not of this worker's build".to_owned() })
            }
        }
    }
}

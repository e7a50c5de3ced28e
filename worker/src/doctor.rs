//! `campusgrid-worker doctor`: what this machine has for tasks, what is missing, what mends it.

mod machine;
mod owner;
mod report;

use std::collections::BTreeMap;
use std::io;

use campusgrid_protocol::resource::Isolation;
use campusgrid_sandbox::plan::{Check, Holds};

use crate::config::Config;
use crate::connection::ManagerAddress;
use crate::features;
use crate::gpu::Gpus;
use crate::senses::Places;
use crate::trial::Trial;
use crate::walls::Walls;

pub use self::report::{Format, print};

/// What was found.
#[derive(Debug)]
pub struct Findings {
    /// The level that a worker would report here.
    pub isolation: Isolation,
    pub checks: Vec<Check>,
    /// Whether there is a policy file that cannot be followed: nothing is shared then.
    pub is_forbidden: bool,
}

impl Findings {
    /// Whether other people's tasks can run here, be it those alone that accept weaker walls:
    /// without its owner's leave no machine is `Restricted`.
    pub fn is_fit(&self) -> bool {
        self.isolation >= Isolation::Restricted && !self.is_forbidden
    }
}

/// Looks at everything that a worker of this configuration needs, without being one.
///
/// Disturbs no worker that runs beside it.
///
/// # Errors
///
/// When there is no room for a trial, neither with the worker's data nor among temporary files.
pub async fn examine(config: &Config, variables: BTreeMap<String, String>) -> io::Result<Findings> {
    // A place of its own: that of a running worker must not be touched.
    let trial = Trial::make(&config.data_dir, config.weaker)?;
    let (gpus, gpu_checks) = Gpus::find().await;
    let walls = Walls::probe(config, &trial.path, trial.instance.clone());
    let (walls, labels) = tokio::join!(walls, features::probe(features::SYSTEM.as_ref()));
    let isolation = walls.isolation;
    let (gpus, withheld) = gpus.behind_walls(isolation);
    let mut checks = machine::system();
    checks.extend(walls.checks.iter().cloned());
    if let Some(engine) = &walls.engine {
        engine.close().await;
    }
    drop(walls); // With what it keeps ready, which lies in the scratch directory.
    checks.extend(gpu_checks.into_iter().chain(withheld));
    checks.extend(machine::capacity(config, &gpus));
    if isolation != Isolation::Docker {
        // In containers tasks see the image's tools.
        checks.extend(machine::tools(&labels));
    }
    checks.push(machine::uv(config, &variables));
    checks.extend(machine::service());
    checks.extend(owner::sources(&Places::default()).await);
    checks.extend(owner::time());
    let policy = owner::policy(&config.policy);
    let is_forbidden = policy.state == Holds::No;
    checks.push(policy);
    if !config.manager_host.is_empty() {
        let manager =
            ManagerAddress { host: config.manager_host.clone(), port: config.manager_port };
        checks.push(machine::manager(&manager, &config.data_dir).await);
    }
    Ok(Findings { isolation, checks, is_forbidden })
}

//! One task's GPUs, from the moment they are its own until they are free again.

use std::path::PathBuf;

use tokio::sync::OwnedMutexGuard;

use super::Gpus;
use super::error::GpuError;

/// What a task may use, and what of the host it must see for that.
#[derive(Debug, Default)]
pub struct Grant {
    /// Device nodes.
    pub devices: Vec<PathBuf>,
    /// Files of the driver: host path, path inside.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    pub environment: Vec<(String, String)>,
    pub(super) held: Option<Held>,
}

/// What is held of the GPUs themselves.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) gpus: Gpus,
    pub(super) numbers: Vec<u16>,
    pub(super) _guards: Vec<OwnedMutexGuard<()>>,
}

impl Grant {
    /// Gives the GPUs back once nothing computes on them. Dropping a grant gives them back at
    /// once; whoever is granted them next then waits instead.
    ///
    /// # Errors
    ///
    /// `Busy` when something is left on one after 15 s. They are given back all the same.
    pub async fn release(self) -> Result<(), GpuError> {
        match self.held {
            Some(held) => held.gpus.until_free(&held.numbers).await,
            None => Ok(()),
        }
    }
}

//! What the GPUs are busy with, asked on a thread of its own: a wedged driver must not hold up
//! heartbeats.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use campusgrid_protocol::resource::GpuLoad;

use super::Gpus;

/// More often than heartbeats, so that each finds something new.
const PERIOD: Duration = Duration::from_secs(4);

/// The newest loads. The thread ends when it is dropped, or after the driver's next answer.
#[derive(Debug)]
pub(crate) struct Meter {
    newest: Arc<Mutex<Vec<GpuLoad>>>,
    /// Dropped to end the thread; nothing is ever sent.
    _alive: Option<SyncSender<()>>,
}

impl Meter {
    /// Begins to measure; without GPUs there is no thread.
    pub(crate) fn start(gpus: &Gpus) -> Self {
        let newest = Arc::new(Mutex::new(Vec::new()));
        let uuids: Vec<String> = gpus.offered.iter().map(|(card, _)| card.uuid.clone()).collect();
        let Some(driver) = gpus.driver.clone().filter(|_| !uuids.is_empty()) else {
            return Self { newest, _alive: None };
        };
        let (alive, ended) = sync_channel(0);
        let told = Arc::clone(&newest);
        let measure = move || {
            loop {
                let loads: Result<Vec<GpuLoad>, _> =
                    uuids.iter().map(|uuid| driver.load(uuid)).collect();
                *told.lock().unwrap_or_else(PoisonError::into_inner) = loads.unwrap_or_default();
                if ended.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("gpu-meter".to_owned()).spawn(measure);
        Self { newest, _alive: started.is_ok().then_some(alive) }
    }

    /// What was measured since the last call, in the order in which GPUs are offered; empty if
    /// nothing was.
    pub(crate) fn take(&self) -> Vec<GpuLoad> {
        std::mem::take(&mut self.newest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

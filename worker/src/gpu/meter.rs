//! What the GPUs are busy with, asked on a thread of its own: a wedged driver must not hold up
//! heartbeats.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use campusgrid_protocol::resource::GpuLoad;
use tracing::warn;

use super::{ANSWER_LIMIT, Driver, Gpus, chain};
use crate::clock::boot_ms;

/// More often than heartbeats, so that each finds something new.
const PERIOD: Duration = Duration::from_secs(4);

/// Of a GPU of which the driver does not tell: the manager grants none on which something computes.
const UNKNOWN: GpuLoad =
    GpuLoad { busy_permille: 0, memory_used_mib: 0, temperature_c: 0, processes: 1 };

/// The newest loads. The thread ends when it is dropped, or after the driver's next answer.
#[derive(Debug)]
pub(crate) struct Meter {
    told: Arc<Mutex<Told>>,
    gpus: usize,
    /// Dropped to end the thread; nothing is ever sent.
    _alive: Option<SyncSender<()>>,
}

/// What the driver has told.
#[derive(Debug)]
struct Told {
    /// Since somebody asked.
    loads: Vec<GpuLoad>,
    at_ms: u64,
}

impl Meter {
    /// Begins to measure; without GPUs there is no thread.
    pub(crate) fn start(gpus: &Gpus) -> Self {
        let told = Arc::new(Mutex::new(Told { loads: Vec::new(), at_ms: boot_ms() }));
        let uuids: Vec<String> =
            gpus.offered.iter().map(|offered| offered.card.uuid.clone()).collect();
        let gpus_offered = uuids.len();
        let Some(driver) = gpus.driver.clone().filter(|_| gpus_offered > 0) else {
            return Self { told, gpus: 0, _alive: None };
        };
        let (alive, ended) = sync_channel(0);
        let tell = Arc::clone(&told);
        let measure = move || {
            let mut silent = BTreeSet::new();
            loop {
                let loads = loads(&*driver, &uuids, &mut silent);
                *tell.lock().unwrap_or_else(PoisonError::into_inner) =
                    Told { loads, at_ms: boot_ms() };
                if ended.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("gpu-meter".to_owned()).spawn(measure);
        Self { told, gpus: gpus_offered, _alive: started.is_ok().then_some(alive) }
    }

    /// What was measured since the last call, in the order in which GPUs are offered; empty if
    /// nothing was.
    pub(crate) fn take(&self) -> Vec<GpuLoad> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.take(self.gpus, boot_ms())
    }
}

impl Told {
    fn take(&mut self, gpus: usize, now_ms: u64) -> Vec<GpuLoad> {
        let silence = Duration::from_millis(now_ms.saturating_sub(self.at_ms));
        if silence > PERIOD + ANSWER_LIMIT {
            return vec![UNKNOWN; gpus];
        }
        std::mem::take(&mut self.loads)
    }
}

/// One load for each GPU, so that one that is broken hides no other.
///
/// `silent` are those of which the driver did not tell the last time.
fn loads(driver: &dyn Driver, uuids: &[String], silent: &mut BTreeSet<String>) -> Vec<GpuLoad> {
    let load = |uuid: &String| match driver.load(uuid) {
        Ok(load) => {
            silent.remove(uuid);
            load
        }
        Err(error) => {
            if silent.insert(uuid.clone()) {
                warn!(uuid, "a GPU does not tell its load: {}", chain(error));
            }
            UNKNOWN
        }
    };
    uuids.iter().map(load).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_of_a_wedged_driver_count_as_busy() {
        let load = GpuLoad { processes: 0, ..UNKNOWN };
        let mut told = Told { loads: vec![load; 2], at_ms: 1000 };
        let processes =
            |loads: Vec<GpuLoad>| -> Vec<u16> { loads.iter().map(|load| load.processes).collect() };
        assert_eq!(processes(told.take(2, 5000)), [0, 0]);
        // Nothing new is nothing bad: heartbeats come when they come.
        assert!(told.take(2, 15_000).is_empty());
        assert_eq!(processes(told.take(2, 15_001)), [1, 1]);
    }
}

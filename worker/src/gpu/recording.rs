//! A driver that answers from a recording, for machines without a GPU.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use campusgrid_protocol::resource::{Gpu, GpuLoad};
use nvml_wrapper::error::NvmlError;
use serde::Deserialize;

use super::error::GpuError;
use super::{Card, Driver};

#[derive(Debug, Deserialize)]
pub(super) struct Recording {
    driver: String,
    cuda: String,
    cards: Vec<RecordedCard>,
    /// How often each card was asked for its processes.
    #[serde(skip)]
    asked: Mutex<BTreeMap<String, usize>>,
    /// UUIDs of cards that have fallen off the bus.
    #[serde(skip)]
    lost: Mutex<BTreeSet<String>>,
    /// While it is, nothing answers that asks for processes.
    #[serde(skip)]
    pub(super) is_wedged: AtomicBool,
}

#[derive(Debug, Deserialize)]
struct RecordedCard {
    uuid: String,
    minor: u32,
    model: String,
    memory_mib: u32,
    #[serde(default)]
    is_split: bool,
    busy_percent: u16,
    memory_used_mib: u32,
    temperature_c: u16,
    /// One after another; the last stays.
    processes: Vec<u16>,
}

impl Recording {
    pub(super) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    pub(super) fn asked(&self, uuid: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(uuid).copied().unwrap_or(0)
    }

    /// The card falls off the bus.
    pub(super) fn lose(&self, uuid: &str) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(uuid.to_owned());
    }

    fn card(&self, uuid: &str) -> Result<&RecordedCard, GpuError> {
        let is_lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).contains(uuid);
        let card = self.cards.iter().find(|card| card.uuid == uuid && !is_lost);
        card.ok_or(GpuError::Ask { what: "a GPU", source: NvmlError::GpuLost })
    }
}

impl Driver for Recording {
    fn cards(&self) -> Result<Vec<Result<Card, GpuError>>, GpuError> {
        let card = |card: &RecordedCard| Card {
            uuid: card.uuid.clone(),
            minor: card.minor,
            is_split: card.is_split,
            gpu: Gpu {
                model: card.model.clone(),
                memory_mib: card.memory_mib,
                driver: self.driver.clone(),
            },
            cuda: self.cuda.clone(),
        };
        Ok(self.cards.iter().map(|recorded| self.card(&recorded.uuid).map(card)).collect())
    }

    fn load(&self, uuid: &str) -> Result<GpuLoad, GpuError> {
        let card = self.card(uuid)?;
        Ok(GpuLoad {
            busy_permille: card.busy_percent * 10,
            memory_used_mib: card.memory_used_mib,
            temperature_c: card.temperature_c,
            processes: self.processes(uuid)?,
        })
    }

    fn processes(&self, uuid: &str) -> Result<u16, GpuError> {
        let processes = &self.card(uuid)?.processes;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = asked.entry(uuid.to_owned()).or_default();
        let now = processes.get(*times).or(processes.last()).copied().unwrap_or(0);
        *times += 1;
        drop(asked);
        while self.is_wedged.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Ok(now)
    }
}

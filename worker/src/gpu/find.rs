//! Looks for GPUs that tasks can be granted, and says of each that cannot what it lacks.

use std::sync::Arc;

use campusgrid_sandbox::plan::{Check, Holds};
use nvml_wrapper::error::NvmlError;

use super::error::GpuError;
use super::library::Shown;
use super::nodes::Nodes;
use super::{Driver, Gpus, Offered, Places, Root, answer, chain, check, nvml};

impl Gpus {
    /// Looks for GPUs, and says what there is. A machine without is no error.
    pub async fn find() -> (Self, Vec<Check>) {
        match answer(&Arc::default(), || Ok(Self::open())).await {
            Ok(found) => found,
            Err(error) => Self::without(Places::usual(), Holds::No, chain(error)),
        }
    }

    /// May block.
    fn open() -> (Self, Vec<Check>) {
        let places = Places::usual();
        match nvml::Nvidia::open() {
            Ok(driver) => Self::behind(Arc::new(driver), places),
            Err(GpuError::Open { source: NvmlError::LibloadingError(_) }) => {
                Self::without(places, Holds::Optional, "none with an NVIDIA driver".to_owned())
            }
            Err(error) => Self::without(places, Holds::No, chain(error)),
        }
    }

    fn without(places: Places, state: Holds, found: String) -> (Self, Vec<Check>) {
        let mut checks = vec![check(state, found, None)];
        checks.extend(other_makers(&places));
        let gpus = Self { driver: None, places: Arc::new(places), offered: Arc::from([]) };
        (gpus, checks)
    }

    /// Offers what `driver` has and a task could use.
    pub(super) fn behind(driver: Arc<dyn Driver>, places: Places) -> (Self, Vec<Check>) {
        let cards = match driver.cards() {
            Ok(cards) => cards,
            Err(error) => return Self::without(places, Holds::No, chain(error)),
        };
        let mut checks = Vec::new();
        let mut offered = Vec::new();
        for (place, card) in cards.into_iter().enumerate() {
            let card = match card {
                Ok(card) => card,
                Err(error) => {
                    let found = format!("number {place} of the driver: {}", chain(error));
                    checks.push(check(Holds::No, found, None));
                    continue;
                }
            };
            let name = format!(
                "{}, {} MiB, driver {}, CUDA {}",
                card.gpu.model, card.gpu.memory_mib, card.gpu.driver, card.cuda
            );
            if card.is_split {
                let found = format!("{name}: split into instances (MIG), which are not offered");
                checks.push(check(Holds::Optional, found, None));
                continue;
            }
            // Without its nodes or its libraries a task could not use it: not offered is honest.
            let usable = Nodes::find(&places.dev, &[card.minor])
                .and_then(|_| Shown::find(&places, &card.gpu.driver, Root::Machine));
            match usable {
                Ok(_) => {
                    checks.push(check(Holds::Yes, name, None));
                    let (held, turn) = (Arc::default(), Arc::default());
                    offered.push(Offered { card, held, turn });
                }
                Err(GpuError::Node { path, mend }) => {
                    let found = format!("{name}: {} is not there", path.display());
                    checks.push(check(Holds::No, found, Some(mend)));
                }
                Err(GpuError::ClosedNode { path, mend }) => {
                    let found = format!("{name}: tasks may not use {}", path.display());
                    checks.push(check(Holds::No, found, Some(mend)));
                }
                Err(error) => {
                    checks.push(check(Holds::No, format!("{name}: {}", chain(error)), None));
                }
            }
        }
        if checks.is_empty() {
            checks.push(check(Holds::Optional, "none that NVIDIA's driver knows".to_owned(), None));
        }
        checks.extend(other_makers(&places));
        let places = Arc::new(places);
        (Self { driver: Some(driver), places, offered: offered.into() }, checks)
    }
}

/// GPUs that this worker cannot grant, so that nobody looks for them in vain.
fn other_makers(places: &Places) -> Vec<Check> {
    [("kfd", "an AMD GPU, which is not offered"), ("dxg", "a GPU of WSL2, which is not offered")]
        .into_iter()
        .filter(|(node, _)| places.dev.join(node).exists())
        .map(|(_, found)| check(Holds::Optional, found.to_owned(), None))
        .collect()
}

//! NVML, the library of NVIDIA's driver, loaded at run time.

use campusgrid_protocol::resource::{Gpu, GpuLoad};
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};

use super::error::GpuError;
use super::{Card, Driver};

const MIB: u64 = 1 << 20;

/// An open NVML. While it is, the driver stays loaded, also where nothing else uses a GPU.
#[derive(Debug)]
pub(super) struct Nvidia(Nvml);

impl Nvidia {
    /// # Errors
    ///
    /// `Open`; a `LibloadingError` in it means that there is no driver of NVIDIA's at all.
    pub(super) fn open() -> Result<Self, GpuError> {
        Nvml::init().map(Self).map_err(|source| GpuError::Open { source })
    }

    fn device(&self, uuid: &str) -> Result<Device<'_>, GpuError> {
        self.0.device_by_uuid(uuid).map_err(asked("a GPU"))
    }
}

impl Driver for Nvidia {
    fn cards(&self) -> Result<Vec<Result<Card, GpuError>>, GpuError> {
        let driver = self.0.sys_driver_version().map_err(asked("its version"))?;
        let cuda = self.0.sys_cuda_driver_version().map_err(asked("its version of CUDA"))?;
        let (major, minor) = (cuda_driver_version_major(cuda), cuda_driver_version_minor(cuda));
        let count = self.0.device_count().map_err(asked("the number of GPUs"))?;
        let card = |index| -> Result<Card, NvmlError> {
            let device = self.0.device_by_index(index)?;
            let memory_mib = device.memory_info()?.total / MIB;
            Ok(Card {
                uuid: device.uuid()?,
                minor: device.minor_number()?,
                // Not supported by the card or by an old driver: not split.
                is_split: device.mig_mode().is_ok_and(|mode| mode.current != 0),
                gpu: Gpu {
                    model: device.name()?,
                    memory_mib: u32::try_from(memory_mib).unwrap_or(u32::MAX),
                    driver: driver.clone(),
                },
                cuda: format!("{major}.{minor}"),
            })
        };
        Ok((0..count).map(|index| card(index).map_err(asked("a GPU's properties"))).collect())
    }

    fn load(&self, uuid: &str) -> Result<GpuLoad, GpuError> {
        let device = self.device(uuid)?;
        let memory = device.memory_info().map_err(asked("the memory in use"))?.used / MIB;
        // Some laptops' GPUs measure neither; that they do not is no reason to say nothing.
        let busy_percent = device.utilization_rates().map_or(0, |rates| rates.gpu.min(100));
        let temperature_c = device.temperature(TemperatureSensor::Gpu).unwrap_or(0);
        Ok(GpuLoad {
            busy_permille: u16::try_from(busy_percent * 10).unwrap_or(1000),
            memory_used_mib: u32::try_from(memory).unwrap_or(u32::MAX),
            temperature_c: u16::try_from(temperature_c).unwrap_or(u16::MAX),
            processes: self.processes(uuid)?,
        })
    }

    fn processes(&self, uuid: &str) -> Result<u16, GpuError> {
        let processes = self.device(uuid)?.running_compute_processes();
        let count = processes.map_err(asked("the processes on a GPU"))?.len();
        Ok(u16::try_from(count).unwrap_or(u16::MAX))
    }
}

fn asked(what: &'static str) -> impl Fn(NvmlError) -> GpuError {
    move |source| GpuError::Ask { what, source }
}

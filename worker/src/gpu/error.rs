//! Why a GPU cannot be used, by the operation that failed or the rule that was broken.

use std::path::PathBuf;

use nvml_wrapper::error::NvmlError;

/// Why a GPU cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    #[error("failed to open the NVIDIA driver's library")]
    Open { source: NvmlError },
    #[error("failed to ask the NVIDIA driver for {what}")]
    Ask { what: &'static str, source: NvmlError },
    #[error("the NVIDIA driver gave no answer for {limit_s} s")]
    Silence { limit_s: u64 },
    #[error("GPU {number} is granted, and this machine offers {offered}")]
    Unknown { number: u16, offered: usize },
    #[error("GPU {number} is granted twice")]
    Twice { number: u16 },
    #[error("GPU {number} is still held by another task")]
    Held { number: u16 },
    #[error("GPU {number} is busy: {processes} processes compute on it")]
    Busy { number: u16, processes: u16 },
    #[error("{path} is not there; on the machine itself: {mend}")]
    Node { path: PathBuf, mend: String },
    #[error("{path} may not be used by tasks; on the machine itself: {mend}")]
    ClosedNode { path: PathBuf, mend: String },
    #[error("the libraries of NVIDIA's driver {driver} are not to be found")]
    Libraries { driver: String },
}

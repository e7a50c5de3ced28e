//! The device nodes through which a process reaches the GPUs that it is granted, and no others.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, access};

use super::error::GpuError;

/// Everybody who computes needs these two, whichever GPU it is.
const NEEDED: [&str; 2] = ["nvidiactl", "nvidia-uvm"];
/// For profilers and debuggers; older drivers have none.
const WELCOME: &str = "nvidia-uvm-tools";
/// The driver makes the nodes, and so decides who may use them.
const OPEN: &str = "echo 'options nvidia NVreg_DeviceFileMode=0666' | sudo tee \
                    /etc/modprobe.d/campusgrid.conf && sudo chmod a+rw /dev/nvidia*";

/// Nodes that exist. `nvidia-modeset`, for drawing, and `nvidia-caps`, for parts of GPUs, are never
/// among them.
#[derive(Debug)]
pub(super) struct Nodes(pub(super) Vec<PathBuf>);

impl Nodes {
    /// The nodes for GPUs of these minor numbers.
    ///
    /// They follow from what the driver tells, never from a file that lists nodes: nothing but a
    /// GPU can be handed out by mistake.
    ///
    /// # Errors
    ///
    /// `Node` and `ClosedNode`, with the command that mends it: inside a sandbox no program could.
    pub(super) fn find(dev: &Path, minors: &[u32]) -> Result<Self, GpuError> {
        let needed = NEEDED.map(str::to_owned).into_iter();
        let own = minors.iter().map(|minor| format!("nvidia{minor}"));
        let mut nodes = Vec::new();
        for name in needed.chain(own) {
            let path = dev.join(&name);
            if !is_node(&path) {
                let mend = if name == "nvidia-uvm" {
                    "sudo modprobe nvidia-uvm && sudo nvidia-modprobe -u -c 0".to_owned()
                } else {
                    let minor = name.strip_prefix("nvidia").filter(|rest| *rest != "ctl");
                    format!("sudo nvidia-modprobe -c {}", minor.unwrap_or("0"))
                };
                return Err(GpuError::Node { path, mend });
            }
            if !is_open(&path) {
                return Err(GpuError::ClosedNode { path, mend: OPEN.to_owned() });
            }
            nodes.push(path);
        }
        nodes.extend(Some(dev.join(WELCOME)).filter(|path| is_node(path)));
        Ok(Self(nodes))
    }
}

fn is_node(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device())
}

/// Whether tasks may use a node: as this user, or, where this is root, as users of their own.
fn is_open(path: &Path) -> bool {
    let is_to_all = fs::metadata(path).is_ok_and(|node| node.permissions().mode() & 0o006 == 0o006);
    let is_to_us = || access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_ok();
    is_to_all || (!Uid::effective().is_root() && is_to_us())
}

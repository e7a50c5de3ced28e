//! What a container sees of the machine and where it can write.

use std::path::{Path, PathBuf};

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
};

use campusgrid_sandbox::stat::STAT;

use super::{Particulars, Walls};
use crate::event::{JOB, WRITABLE};
use crate::kit::{INSIDE, KITS_STAT};

/// Places that Podman makes writable in a read-only container, without a limit.
const PODMANS_OWN: [&str; 2] = ["/run", "/var/tmp"];

impl Walls {
    /// The directories belong to root, sticky and open to all: so a task can leave nothing on the
    /// directories themselves, such as their permissions or attributes.
    pub(super) fn tmpfs(&self, limits_files: bool) -> Vec<(String, String)> {
        let files =
            if limits_files { format!(",nr_inodes={}", self.scratch_files) } else { String::new() };
        let options = |place: &str| {
            let exec = if place == JOB || place == "/tmp" { "exec" } else { "noexec" };
            format!("rw,nosuid,nodev,{exec},mode=1777,size={}{files}", self.scratch_bytes)
        };
        WRITABLE.iter().map(|&place| (place.to_owned(), options(place))).collect()
    }

    pub(super) fn mounts(&self, particulars: &Particulars<'_>) -> Vec<Mount> {
        let kit = (particulars.kit.directory.clone(), PathBuf::from(INSIDE));
        let stat = (particulars.kit.directory.join(KITS_STAT), PathBuf::from(STAT));
        let shown =
            self.read_only.iter().chain([&kit, &stat]).map(|(host, inside)| bind(host, inside));
        let changed = self
            .read_write
            .iter()
            .map(|(host, inside)| Mount { read_only: Some(false), ..bind(host, inside) });
        // A volume of an image would be a place on the machine's disk without any limit.
        let is_ours = |volume: &&str| {
            let mut ours = self.read_only.iter().chain(&self.read_write);
            WRITABLE.contains(volume) || ours.any(|(_, inside)| inside == Path::new(volume))
        };
        let volumes = self.image.volumes.iter().map(String::as_str);
        let covered = volumes.filter(|volume| !is_ours(volume));
        let podmans = PODMANS_OWN.into_iter().filter(|place| {
            particulars.is_podman && !self.image.volumes.iter().any(|volume| volume == place)
        });
        shown.chain(changed).chain(covered.chain(podmans).map(nothing)).collect()
    }
}

/// What is there on the machine, to be read.
fn bind(host: &Path, inside: &Path) -> Mount {
    Mount {
        target: Some(inside.to_string_lossy().into_owned()),
        source: Some(host.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

/// An empty place that nobody can write to.
fn nothing(inside: &str) -> Mount {
    Mount {
        target: Some(inside.to_owned()),
        typ: Some(MountType::TMPFS),
        read_only: Some(true),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(4096),
            mode: Some(0o555),
            ..MountTmpfsOptions::default()
        }),
        ..Mount::default()
    }
}

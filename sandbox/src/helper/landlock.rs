//! Landlock: a second wall around what a task may open, in terms of paths.
//!
//! The view of the file system and its read-only mounts already hold what is here denied, but for
//! device nodes and, on newer kernels, abstract sockets and signals.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{O_CLOEXEC, O_PATH};

use super::kernel::{self, Ruleset};

/// The first version that lets files move between directories; with one before, they cannot.
pub(crate) const ABI_MIN: u32 = 2;
/// The first that keeps abstract sockets and signals within a task.
pub(crate) const ABI_SCOPES: u32 = 6;

// `LANDLOCK_ACCESS_FS_…` of the kernel's `landlock.h`.
const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
/// The rights of ABI 1 to 5, by what each version added.
const RIGHTS: [u64; 5] = [(1 << 13) - 1, 1 << 13, 1 << 14, 0, 1 << 15];
const TRUNCATE: u64 = RIGHTS[2];
const IOCTL: u64 = RIGHTS[4];
/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`.
const SCOPES: u64 = 0b11;

const SEE: u64 = EXECUTE | READ_FILE | READ_DIR;
const USE: u64 = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL;
const ON_FILES: u64 = EXECUTE | USE;

/// Rules that are still being made.
pub(super) struct Rules {
    handled: u64,
    rules: OwnedFd,
}

impl Rules {
    /// Denies everything, as far as this version goes.
    pub(super) fn new(abi: u32) -> nix::Result<Self> {
        let handled = RIGHTS.iter().take(abi as usize).fold(0, |all, rights| all | rights);
        let scopes = if abi >= ABI_SCOPES { SCOPES } else { 0 };
        let rules = kernel::landlock_create(&Ruleset { files: handled, network: 0, scopes })?;
        Ok(Self { handled, rules })
    }

    /// Allows to read and to execute what is here.
    pub(super) fn see(&self, path: &Path) -> nix::Result<()> {
        self.allow(path, SEE)
    }

    /// Allows to list directories here and beneath, but to open nothing.
    pub(super) fn list(&self, path: &Path) -> nix::Result<()> {
        self.allow(path, READ_DIR)
    }

    /// Allows to do everything here but to make device nodes.
    pub(super) fn change(&self, path: &Path) -> nix::Result<()> {
        self.allow(path, !(MAKE_CHAR | MAKE_BLOCK))
    }

    /// Allows to use a device.
    pub(super) fn use_device(&self, path: &Path) -> nix::Result<()> {
        self.allow(path, USE)
    }

    /// Holds this process and its children to the rules.
    pub(super) fn restrict(&self) -> nix::Result<()> {
        kernel::landlock_restrict(&self.rules)
    }

    fn allow(&self, path: &Path, access: u64) -> nix::Result<()> {
        let opened = File::options().read(true).custom_flags(O_PATH | O_CLOEXEC).open(path);
        let file = opened.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        let is_directory = file.metadata().is_ok_and(|metadata| metadata.is_dir());
        let access = if is_directory { access } else { access & ON_FILES };
        kernel::landlock_allow(&self.rules, &file.into(), access & self.handled)
    }
}

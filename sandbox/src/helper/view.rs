//! The file system that the tasks of a lane see: built once, copied for each step.
//!
//! It holds /usr, a few files of /etc, five devices, and empty places for what each task gets of
//! its own. Whatever is mounted in it is read-only with all beneath it, without setuid and device
//! nodes, and cut off from what the machine mounts later.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::NixPath;
use nix::libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use crate::order::{LANE, SCRATCH};
use crate::plan::{Network, SandboxError};
use crate::stat::{self, STAT};

use super::privileges::User;
use super::{host, io_failed, kernel};

pub(super) const READ_ONLY: u64 = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
pub(super) const READ_WRITE: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
pub(super) const DEVICE: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
const PROC: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/// The machine's /proc, as the helper of a lane sees it.
pub(super) const HOST_PROC: &str = "/.lane/proc";
/// A `/tmp` that outlives the tasks of a lane.
pub(super) const SHARED_TMP: &str = "/.lane/tmp";

/// Where the view is built: every machine has this directory.
const WORKBENCH: &str = "/sys";
/// Bytes and files of our own in the view and beside the scratch space.
const SMALL: &str = "mode=0755,size=1m,nr_inodes=1k";

/// What our own directories and small files in the scratch space take of its limits.
const OUR_BYTES: u64 = 64 * 1024;
const OUR_FILES: u64 = 64;

/// Of the machine's /etc only what programs need to start: no names of people, no secrets.
pub(super) const ETC: [&str; 12] = [
    "alternatives",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "protocols",
    "services",
    "timezone",
];
/// And what finds and trusts other machines, for those of our own tools that may reach them.
pub(super) const ETC_OF_NETWORK: [&str; 6] =
    ["ca-certificates", "gai.conf", "host.conf", "pki", "resolv.conf", "ssl"];
/// Links into /usr, or directories of their own where a distribution has not merged them.
pub(super) const SYSTEM: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

/// Where files lie that tasks find in /proc instead of the kernel's own, and which those are.
const TOLD: &str = "/.told";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const NONE: Option<&str> = None;

/// Builds the view and makes it the root of this mount namespace. Returns the places in it that
/// tasks may read.
///
/// # Errors
///
/// `Host`.
pub(super) fn build(user: User, network: Network) -> Result<Vec<PathBuf>, SandboxError> {
    let root = Path::new(WORKBENCH);
    host("mount the tasks' root", mount_small(root))?;
    let mut view = View { root, readable: Vec::new() };
    view.show_system()?;
    io_failed("write the tasks' /etc", view.write_etc(user, network))?;
    io_failed("write what tasks are told of the machine", view.write_told())?;
    view.show_etc(network)?;
    view.show_devices()?;
    for (name, mode) in [("proc", 0o555), ("job", 0o755), ("tmp", 0o755), (&LANE[1..], 0o700)] {
        io_failed("make the tasks' directories", make_directory(&root.join(name), mode))?;
    }
    let readable = view.readable;
    move_in(root)?;
    Ok(readable)
}

/// Makes `root` the root, with what the lane has for itself, and lets go of the machine's.
fn move_in(root: &Path) -> Result<(), SandboxError> {
    let lane = root.join(&LANE[1..]);
    host("mount the lane's own", mount_small(&lane))?;
    for name in ["proc", "scratch", "tmp", "old"] {
        io_failed("make the lane's own", make_directory(&lane.join(name), 0o755))?;
    }
    let proc = host("copy /proc", kernel::copy_mounts(Path::new("/proc")))?;
    host("restrict /proc", kernel::restrict_mounts(&proc, PROC))?;
    host("attach /proc", kernel::attach_mounts(&proc, &lane.join("proc")))?;
    let old = lane.join("old");
    host("enter the tasks' root", pivot_root(root, &old))?;
    host("go to the tasks' root", chdir("/"))?;
    let old = Path::new(LANE).join("old");
    host("let go of the machine's root", umount2(&old, MntFlags::MNT_DETACH))?;
    io_failed("clean up the lane's own", fs::remove_dir(&old))
}

struct View<'a> {
    root: &'a Path,
    readable: Vec<PathBuf>,
}

impl View<'_> {
    fn show_system(&mut self) -> Result<(), SandboxError> {
        self.show(Path::new("/usr"), READ_ONLY)?;
        for name in SYSTEM {
            let path = Path::new("/").join(name);
            match fs::read_link(&path) {
                Ok(target) => {
                    let made = symlink(target, self.root.join(name));
                    io_failed("make the system's links", made)?;
                }
                Err(_) => self.show(&path, READ_ONLY)?,
            }
        }
        Ok(())
    }

    fn show_etc(&mut self, network: Network) -> Result<(), SandboxError> {
        let more: &[&str] = match network {
            Network::None => &[],
            Network::Host => &ETC_OF_NETWORK,
        };
        for name in ETC.iter().chain(more) {
            self.show(&Path::new("/etc").join(name), READ_ONLY)?;
        }
        self.readable.push("/etc".into());
        Ok(())
    }

    fn write_etc(&self, user: User, network: Network) -> io::Result<()> {
        let (uid, gid) = user.ids();
        let etc = self.root.join("etc");
        make_directory(&etc, 0o755)?;
        let passwd = format!(
            "root:x:0:0:root:/:/usr/sbin/nologin\njob:x:{uid}:{gid}:job:/job:/bin/sh\n\
             nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
        );
        let group = format!("root:x:0:\njob:x:{gid}:\nnogroup:x:65534:\n");
        let mut hosts = "127.0.0.1 localhost job\n::1 localhost\n".to_owned();
        if network == Network::Host {
            hosts.push_str(&fs::read_to_string("/etc/hosts").unwrap_or_default());
        }
        for (name, content) in [("passwd", passwd), ("group", group), ("hosts", hosts)] {
            fs::write(etc.join(name), content)?;
            fs::set_permissions(etc.join(name), fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    /// What programs read of /proc that must not let a task watch the owner, each interrupt of a
    /// keyboard being counted there: as it was when the lane was made, or empty.
    fn write_told(&self) -> io::Result<()> {
        let told = self.root.join(&TOLD[1..]);
        make_directory(&told, 0o755)?;
        let boot_id = "00000000-0000-0000-0000-000000000000\n".to_owned();
        for (path, content) in [(STAT, stat::still()?), (BOOT_ID, boot_id)] {
            fs::write(told.join(name_of(path)), content)?;
        }
        Ok(())
    }

    fn show_devices(&mut self) -> Result<(), SandboxError> {
        let dev = self.root.join("dev");
        io_failed("make the tasks' /dev", make_directory(&dev, 0o755))?;
        io_failed("make the tasks' /dev/shm", make_directory(&dev.join("shm"), 0o755))?;
        for name in DEVICES {
            self.show(&Path::new("/dev").join(name), DEVICE)?;
        }
        for (target, name) in DEVICE_LINKS {
            io_failed("make the links of /dev", symlink(target, dev.join(name)))?;
        }
        Ok(())
    }

    /// Shows what the machine has at this path, if it has it.
    fn show(&mut self, path: &Path, attributes: u64) -> Result<(), SandboxError> {
        if !path.exists() {
            return Ok(());
        }
        let inside = path.strip_prefix("/").expect("all paths here are absolute");
        let target = self.root.join(inside);
        io_failed("make a place for the system's files", make_place(path.is_dir(), &target))?;
        let mounts = host("copy the system's mounts", kernel::copy_mounts(path))?;
        host("restrict the system's mounts", kernel::restrict_mounts(&mounts, attributes))?;
        host("attach the system's mounts", kernel::attach_mounts(&mounts, &target))?;
        if attributes == READ_ONLY {
            self.readable.push(path.to_path_buf());
        }
        Ok(())
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A place where a directory or a file can be mounted.
pub(super) fn make_place(is_directory: bool, place: &Path) -> io::Result<()> {
    if is_directory { make_directory(place, 0o755) } else { fs::write(place, "") }
}

/// A directory with these permissions, whatever our umask.
pub(super) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn mount_small(target: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(SMALL))
}

/// These many bytes and files, and what our own directories and small files take of them.
pub(super) fn with_ours(bytes: u64, files: u64) -> (u64, u64) {
    (bytes.saturating_add(OUR_BYTES), files.saturating_add(OUR_FILES))
}

/// Mounts an empty space of this size, which belongs to the task.
pub(super) fn mount_space<P: NixPath + ?Sized>(
    target: &P,
    (uid, gid): (u32, u32),
    bytes: u64,
    files: u64,
) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = format!("mode=0755,uid={uid},gid={gid},size={bytes},nr_inodes={files}");
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))
}

/// Lets the task's directories appear where it looks for them, in a copy of the lane's namespace.
///
/// Afterwards nothing but the task's own and the system is left in it, and the root is read-only.
///
/// # Errors
///
/// `Host`.
pub(super) fn finish(shared_tmp: bool, masked: &[PathBuf]) -> Result<(), SandboxError> {
    let scratch = |name: &str| format!("{SCRATCH}/{name}");
    let tmp = if shared_tmp { format!("{SHARED_TMP}/tmp") } else { scratch("tmp") };
    let places = [(scratch("job"), "/job"), (tmp, "/tmp"), (scratch("shm"), "/dev/shm")];
    for (source, target) in &places {
        let bound = mount(Some(source.as_str()), *target, NONE, MsFlags::MS_BIND, NONE);
        host("attach the task's directories", bound)?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    // Other users' processes are the machine's business, and our own process above the task's is
    // none of its: without the right to trace it, it is not even listed.
    let mounted = mount(Some("proc"), "/proc", Some("proc"), flags, Some("hidepid=invisible"));
    host("mount /proc", mounted)?;
    host("let go of the lane's own", umount2(LANE, MntFlags::MNT_DETACH))?;
    host("make the task's root read-only", kernel::make_read_only(c"/"))?;
    for path in masked {
        // Both are read-only by now, and the place that the lane's own has left is empty.
        let empty = if path.is_dir() { LANE } else { "/dev/null" };
        let bound = mount(Some(empty), path.as_path(), NONE, MsFlags::MS_BIND, NONE);
        host("mask what /proc tells of the machine", bound)?;
    }
    for path in [STAT, BOOT_ID] {
        let told = format!("{TOLD}/{}", name_of(path));
        let bound = mount(Some(told.as_str()), path, NONE, MsFlags::MS_BIND, NONE);
        host("tell tasks less of the machine than /proc does", bound)?;
    }
    host("go to the task's directory", chdir("/job"))
}

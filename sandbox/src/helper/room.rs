//! Makes the room that a task runs in: rlimits, a mount namespace with the scratch space, a uid.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid};

use crate::order::{Order, SCRATCH, Walls};
use crate::plan::SandboxError;

use super::{bare, host, io_failed};

/// What our own directories and small files in the scratch space take of its limits.
const OUR_BYTES: u64 = 64 * 1024;
const OUR_FILES: u64 = 64;

/// Moves this process into the task's room. Returns the order as it reads from there.
pub(super) fn enter(order: Order) -> Result<Order, SandboxError> {
    umask(Mode::from_bits_truncate(0o077));
    host("give up new privileges", prctl::set_no_new_privs())?;
    match &order.walls {
        Walls::Namespaces { job_uid, scratch_bytes, scratch_files, cores, .. } => {
            if let Some(cores) = cores {
                keep_to(cores)?;
            }
            let (uid, gid) = match job_uid {
                Some(uid) => (*uid, *uid),
                None => (Uid::current().as_raw(), Gid::current().as_raw()),
            };
            limit_resources(*scratch_bytes)?;
            make_namespace(job_uid.is_some(), uid, gid)?;
            let options = format!(
                "mode=0755,uid={uid},gid={gid},size={},nr_inodes={}",
                scratch_bytes.saturating_add(OUR_BYTES),
                scratch_files.saturating_add(OUR_FILES),
            );
            mount_scratch(&options)?;
            bind_read_only(&order)?;
            if job_uid.is_some() {
                drop_to(uid, gid)?;
            }
            furnish(Path::new(SCRATCH))?;
            Ok(order)
        }
        Walls::Nothing { directory } => {
            let made = fs::create_dir_all(directory.join("job"));
            io_failed("make the task's directory", made)?;
            Ok(bare::on_host(order))
        }
    }
}

/// Makes programs see, and begin with, these cores only.
fn keep_to(cores: &BTreeSet<u32>) -> Result<(), SandboxError> {
    let mut set = CpuSet::new();
    for core in cores {
        host("keep to a core of this number", set.set(*core as usize))?;
    }
    host("keep to the task's cores", sched_setaffinity(Pid::from_raw(0), &set))
}

/// Lowers what a process may take of things that no cgroup counts.
fn limit_resources(scratch_bytes: u64) -> Result<(), SandboxError> {
    let limits = [
        // Not 0: only with 1 is a core_pattern that is a pipe not started either.
        (Resource::RLIMIT_CORE, 1),
        // Above what the scratch space can hold: "no space left" is what a program understands.
        (Resource::RLIMIT_FSIZE, scratch_bytes.saturating_add(2 * OUR_BYTES)),
        (Resource::RLIMIT_NOFILE, 1024),
        (Resource::RLIMIT_MEMLOCK, 64 * 1024),
        (Resource::RLIMIT_MSGQUEUE, 64 * 1024),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_SIGPENDING, 512),
    ];
    for (resource, wanted) in limits {
        let (_, hard) = host("read a resource limit", getrlimit(resource))?;
        let limit: rlim_t = hard.min(wanted);
        host("set a resource limit", setrlimit(resource, limit, limit))?;
    }
    Ok(())
}

/// A mount namespace of our own; as an ordinary user this takes a user namespace around it.
fn make_namespace(is_root: bool, uid: u32, gid: u32) -> Result<(), SandboxError> {
    if is_root {
        host("make a mount namespace", unshare(CloneFlags::CLONE_NEWNS))?;
    } else {
        let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
        host("make a user namespace", unshare(flags))?;
        let mapped = fs::write("/proc/self/setgroups", "deny")
            .and_then(|()| fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")))
            .and_then(|()| fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")));
        io_failed("map our user into its namespace", mapped)?;
    }
    // Slaves, not private: what the owner unmounts meanwhile must not stay busy because of us.
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    host("keep our mounts to ourselves", mount(NONE, "/", NONE, flags, NONE))
}

const NONE: Option<&str> = None;

fn mount_scratch(options: &str) -> Result<(), SandboxError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = mount(Some("tmpfs"), SCRATCH, Some("tmpfs"), flags, Some(options));
    host("mount the scratch space", mounted)
}

/// Brings what the task may read to where the job's uid can reach it, while we still can.
fn bind_read_only(order: &Order) -> Result<(), SandboxError> {
    for (number, (source, _)) in order.read_only.iter().enumerate() {
        let target = Path::new(SCRATCH).join(format!("ro{number}"));
        let made = fs::metadata(source).and_then(|metadata| {
            if metadata.is_dir() { fs::create_dir(&target) } else { fs::write(&target, "") }
        });
        io_failed("find what the task may read", made)?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        let bound = mount(Some(source.as_path()), target.as_path(), NONE, flags, NONE);
        host("show the task what it may read", bound)?;
    }
    Ok(())
}

fn drop_to(uid: u32, gid: u32) -> Result<(), SandboxError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    host("give up our groups", setgroups(&[]))?;
    host("give up our group", setresgid(gid, gid, gid))?;
    host("give up our user", setresuid(uid, uid, uid))?;
    // Otherwise our own /proc/self would still be root's, and so out of our reach.
    host("own our entry in /proc", prctl::set_dumpable(true))
}

/// The task's directories, and the few files of /etc that differ from the machine's.
fn furnish(scratch: &Path) -> Result<(), SandboxError> {
    let furnished = (|| {
        for (name, mode) in [("job", 0o700), ("tmp", 0o1777), ("shm", 0o1777), ("etc", 0o755)] {
            let directory = scratch.join(name);
            fs::create_dir(&directory)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
        }
        let etc = scratch.join("etc");
        for (name, content) in [
            (
                "passwd",
                "root:x:0:0:root:/:/usr/sbin/nologin\n\
                 job:x:60000:60000:job:/job:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
            ),
            ("group", "root:x:0:\njob:x:60000:\nnogroup:x:65534:\n"),
            ("hosts", "127.0.0.1 localhost job\n::1 localhost\n"),
        ] {
            fs::write(etc.join(name), content)?;
            fs::set_permissions(etc.join(name), fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    })();
    io_failed("furnish the scratch space", furnished)
}

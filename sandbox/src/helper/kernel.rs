//! System calls without a safe wrapper in what we build on: the only unsafe code of the crate.
#![expect(unsafe_code, reason = "each block makes one system call and says why it is sound")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;
use nix::libc::{self, c_long, c_uint};
use nix::sched::CloneFlags;
use nix::sys::signal::SigSet;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::Pid;

use crate::order::Ending;

/// Which of the two processes after a fork this is.
pub(super) enum Forked {
    Parent(Pid),
    Child,
}

/// Forks; the child is the first process of these namespaces.
pub(super) fn fork_into(namespaces: CloneFlags) -> nix::Result<Forked> {
    let flags = c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child has a copy of all memory, its stack included, and this
    // process has no other thread that could hold a lock meanwhile.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    Ok(match Errno::result(pid)? {
        0 => Forked::Child,
        pid => Forked::Parent(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?)),
    })
}

/// Runs `program` in a child that shares all memory with this process, which waits until the child
/// has executed something else or has ended with the code that `program` returns.
///
/// Of what such a fork does not copy there is nothing to clean up, either, and cheaper is none.
pub(super) fn fork_to_execute(program: &mut dyn FnMut() -> i32) -> nix::Result<Pid> {
    const STACK_BYTES: usize = 256 * 1024;
    let mut stack = vec![0; STACK_BYTES];
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    let child = Box::new(|| exit_now(program()) as isize);
    // SAFETY: with CLONE_VFORK this process goes on only when the child has left its memory, and
    // this stack with it; until then nobody else uses any of it. The child ends without returning.
    unsafe { nix::sched::clone(child, &mut stack, flags, Some(libc::SIGCHLD)) }
}

/// Ends this process at once, without what a program does at its end.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: it takes no pointers.
    unsafe { libc::_exit(code) }
}

/// Lets all others of the machine go before this process, and what it will start: in the use of
/// cores and of disks.
///
/// To be called for a process of a single thread; `pid` 0 is this one.
pub(super) fn step_back(pid: Pid) -> nix::Result<()> {
    const NICEST: libc::c_int = 19;
    // Linux has no header for these: ioprio_set(2).
    const OF_PROCESS: c_long = 1;
    const IDLE: c_long = 3 << 13;
    let pid = pid.as_raw();
    // SAFETY: neither call takes pointers.
    let nice = unsafe { libc::setpriority(libc::PRIO_PROCESS, pid.cast_unsigned(), NICEST) };
    Errno::result(nice)?;
    // SAFETY: as above.
    let idle = unsafe { libc::syscall(libc::SYS_ioprio_set, OF_PROCESS, c_long::from(pid), IDLE) };
    Errno::result(idle).map(drop)
}

/// What a process and those of its children that it waited for have used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) cpu_us: u64,
    pub(super) ram_peak_kib: u64,
}

/// A child that has died and was reaped.
pub(super) struct Death {
    pub(super) pid: Pid,
    pub(super) ending: Ending,
    pub(super) used: Used,
}

/// Reaps a child that is dead; `None` if none is.
pub(super) fn reap() -> nix::Result<Option<Death>> {
    wait(libc::WNOHANG)
}

/// Waits for the death of any child and reaps it.
pub(super) fn wait_and_reap() -> nix::Result<Death> {
    loop {
        match wait(0) {
            Ok(Some(death)) => return Ok(death),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn wait(flags: i32) -> nix::Result<Option<Death>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to memory of ours of the right size, for the call only.
    let pid = unsafe { libc::wait4(-1, &raw mut status, flags, usage.as_mut_ptr()) };
    let pid = Errno::result(pid)?;
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: all zeros are a valid value, and the kernel has filled it in.
    let usage = unsafe { usage.assume_init() };
    let micros = |time: libc::timeval| u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec);
    let used = Used {
        cpu_us: micros(usage.ru_utime).unwrap_or(0) + micros(usage.ru_stime).unwrap_or(0),
        ram_peak_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    };
    // By hand: nix knows no real-time signals, and a task may well die of one.
    let ending = if libc::WIFSIGNALED(status) {
        Ending::Signal(libc::WTERMSIG(status))
    } else {
        Ending::Code(libc::WEXITSTATUS(status))
    };
    Ok(Some(Death { pid: Pid::from_raw(pid), ending, used }))
}

/// Gives all signals the meaning that they have for a program that was just started.
pub(super) fn reset_signals() -> nix::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: the default handler is none of our code. Of some signals it cannot be set.
        let _fixed = unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    SigSet::empty().thread_set_mask()
}

/// A detached copy of what is mounted at `path` and beneath it; links are followed.
pub(super) fn copy_mounts(path: &Path) -> nix::Result<OwnedFd> {
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE.cast_unsigned();
    let fd = path.with_nix_path(|path| {
        // SAFETY: the path ends with a zero and lives as long as the call.
        unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) }
    })?;
    owned(fd)
}

/// Attaches a detached copy at `target`.
pub(super) fn attach_mounts(mounts: &OwnedFd, target: &Path) -> nix::Result<()> {
    let done = target.with_nix_path(|target| {
        // SAFETY: both paths end with a zero and live as long as the call.
        unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                mounts.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_FDCWD,
                target.as_ptr(),
                libc::MOVE_MOUNT_F_EMPTY_PATH,
            )
        }
    })?;
    Errno::result(done).map(drop)
}

/// Sets attributes (`MOUNT_ATTR_…`) of detached mounts, all of them, and cuts them off from what
/// is mounted and unmounted elsewhere.
pub(super) fn restrict_mounts(mounts: &OwnedFd, attributes: u64) -> nix::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    mount_setattr(mounts.as_fd(), c"", flags, attributes, libc::MS_PRIVATE)
}

/// Makes the one mount at `path` read-only for this mount namespace.
pub(super) fn make_read_only(path: &CStr) -> nix::Result<()> {
    // SAFETY: the kernel's AT_FDCWD is a valid value wherever a directory is meant.
    let here = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };
    mount_setattr(here, path, 0, libc::MOUNT_ATTR_RDONLY, 0)
}

fn mount_setattr(
    at: BorrowedFd,
    path: &CStr,
    flags: i32,
    attributes: u64,
    propagation: u64,
) -> nix::Result<()> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation, userns_fd: 0 };
    // SAFETY: path and structure are ours, valid for the call, the size is the structure's.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(done).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn raise_loopback() -> nix::Result<()> {
    let kind = SockType::Datagram;
    let socket = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    let mut name = [0; libc::IFNAMSIZ];
    (name[0], name[1]) = (b'l' as libc::c_char, b'o' as libc::c_char);
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: this request reads an `ifreq`, which `request` is.
    let done =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    Errno::result(done).map(drop)
}

/// Closes all descriptors but the standard streams.
pub(super) fn close_most() -> nix::Result<()> {
    close(3, c_uint::MAX)
}

/// Closes all descriptors but the standard streams and this one, which is none of them.
pub(super) fn close_others(kept: &OwnedFd) -> nix::Result<()> {
    let kept = kept.as_raw_fd().cast_unsigned();
    if kept > 3 {
        close(3, kept - 1)?;
    }
    close(kept + 1, c_uint::MAX)
}

fn close(first: c_uint, last: c_uint) -> nix::Result<()> {
    // SAFETY: nothing that owns one of these descriptors is used or dropped afterwards: a process
    // comes here when it has just begun, or between a fork and the execution of a program.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Errno::result(done).map(drop)
}

/// Gives up all capabilities but those in use, for what will be executed.
pub(super) fn empty_bounding_set() -> nix::Result<()> {
    for capability in 0.. {
        // SAFETY: it takes no pointers.
        let done = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match Errno::result(done) {
            Ok(_) => {}
            Err(Errno::EINVAL) => break, // The kernel has no more.
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gives up all capabilities.
pub(super) fn drop_capabilities() -> nix::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`, this process.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    const NONE: [u32; 6] = [0; 6];
    // SAFETY: of this version, the kernel reads a header of 8 bytes and data of 24.
    let done = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), NONE.as_ptr()) };
    Errno::result(done).map(drop)
}

/// Filters the system calls of this process and its children from now on.
pub(super) fn filter_calls(program: &[libc::sock_filter]) -> nix::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `length` instructions from the slice and changes nothing.
    let done = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    Errno::result(done).map(drop)
}

/// The kernel's version of Landlock; 0 where there is none or it is switched off.
pub(crate) fn landlock_abi() -> u32 {
    const VERSION: c_uint = 1;
    // SAFETY: with this flag it takes no pointer.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION)
    };
    u32::try_from(abi).unwrap_or(0)
}

/// `struct landlock_ruleset_attr` up to ABI 6; older kernels take more than they know if it is 0.
#[repr(C)]
pub(super) struct Ruleset {
    pub(super) files: u64,
    pub(super) network: u64,
    pub(super) scopes: u64,
}

/// Makes a set of rules that denies all this but where a rule allows it.
pub(super) fn landlock_create(handled: &Ruleset) -> nix::Result<OwnedFd> {
    // SAFETY: the pointer is to a structure of the size that is told.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(handled),
            size_of::<Ruleset>(),
            0,
        )
    };
    owned(fd)
}

/// Allows `access` to `beneath` and what is beneath it.
pub(super) fn landlock_allow(rules: &OwnedFd, beneath: &OwnedFd, access: u64) -> nix::Result<()> {
    const PATH_BENEATH: c_uint = 1;
    /// `struct landlock_path_beneath_attr`, which is packed.
    #[repr(C, packed)]
    struct Rule {
        access: u64,
        beneath: i32,
    }
    let rule = Rule { access, beneath: beneath.as_raw_fd() };
    // SAFETY: the pointer is to a structure of the kind that is told.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            PATH_BENEATH,
            &raw const rule,
            0,
        )
    };
    Errno::result(done).map(drop)
}

/// Holds this process and its children to the rules from now on.
pub(super) fn landlock_restrict(rules: &OwnedFd) -> nix::Result<()> {
    // SAFETY: it takes no pointers.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    Errno::result(done).map(drop)
}

/// Reads one byte from a socket and the descriptors that came with it, two at most; `None` at its
/// end.
pub(super) fn receive_byte(from: BorrowedFd) -> io::Result<Option<(u8, Vec<OwnedFd>)>> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut byte = [0];
    let mut space = nix::cmsg_space!([i32; 2]);
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(from.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    let is_end = message.bytes == 0;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just made them for us, and nobody else knows them.
            let own = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
            descriptors.extend(received.into_iter().map(own));
        }
    }
    Ok((!is_end).then_some((byte[0], descriptors)))
}

fn owned(fd: c_long) -> nix::Result<OwnedFd> {
    let fd = i32::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

//! The table: what tasks need of the kernel, and under which conditions.
//!
//! The base is what Docker lets containers do, less what reads other processes, gets at files past
//! their paths, changes the machine, or is known for its holes.

use nix::libc::{self, c_long};

use super::{Around, Test, Values};
use crate::calls::{BTRFS, LEASES, MAP_HUGE, MEMFD_HUGE, OPTIONS, SOCKET_LEVEL, SOCKET_PROGRAMS};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Allow,
    /// With this error.
    Refuse(i32),
    /// Succeeds and does nothing.
    Pretend,
    /// If all tests hold.
    If(&'static [Test]),
    /// If this argument has another value than that, or all tests hold.
    IfWhere {
        argument: u32,
        value: u32,
        tests: &'static [Test],
    },
    /// If all tests for this value of the first argument hold; other values get the error.
    ByFirst(&'static [(u32, &'static [Test])], i32),
}

macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// Calls that need no look at their arguments.
pub(super) const ALLOWED: [&[c_long]; 8] = [FILES, MEMORY, PROCESSES, TIME, TALK, NUMA, OLD, NEW];

/// Files by path and by descriptor, and waiting for them.
const FILES: &[c_long] = calls![
    SYS_chdir SYS_close SYS_close_range SYS_copy_file_range SYS_dup SYS_dup3
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2
    SYS_faccessat SYS_faccessat2 SYS_fallocate SYS_fchdir SYS_fchmod
    SYS_fchmodat SYS_fchown SYS_fchownat SYS_fdatasync SYS_fgetxattr SYS_flistxattr
    SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate
    SYS_getcwd SYS_getdents64 SYS_getxattr SYS_lgetxattr SYS_linkat SYS_listxattr
    SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_mkdirat SYS_newfstatat
    SYS_openat SYS_openat2 SYS_pipe2 SYS_ppoll SYS_pread64 SYS_preadv
    SYS_pselect6 SYS_pwrite64 SYS_pwritev SYS_read SYS_readahead SYS_readlinkat
    SYS_readv SYS_removexattr SYS_renameat2 SYS_sendfile SYS_setxattr SYS_signalfd4
    SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_tee SYS_truncate SYS_umask
    SYS_unlinkat SYS_utimensat SYS_write SYS_writev
];

const MEMORY: &[c_long] = calls![
    SYS_brk SYS_madvise SYS_membarrier SYS_mincore SYS_mlock SYS_mlock2 SYS_mlockall
    SYS_mprotect SYS_mremap SYS_mseal SYS_msync SYS_munlock SYS_munlockall
    SYS_munmap SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect
];

/// Processes, users, signals, threads: each within its own namespaces and without capabilities.
const PROCESSES: &[c_long] = calls![
    SYS_capget SYS_capset SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_futex
    SYS_futex_waitv SYS_get_robust_list SYS_getcpu SYS_getegid SYS_geteuid SYS_getgid
    SYS_getgroups SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom
    SYS_getresgid SYS_getresuid SYS_getrusage SYS_getsid SYS_gettid SYS_getuid
    SYS_ioprio_get SYS_ioprio_set SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset
    SYS_landlock_restrict_self SYS_pidfd_open SYS_pidfd_send_signal
    SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask
    SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler
    SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam
    SYS_sched_setscheduler SYS_sched_yield SYS_set_robust_list
    SYS_set_tid_address SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setpgid
    SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setsid
    SYS_setuid SYS_sigaltstack SYS_sysinfo SYS_tgkill SYS_times SYS_tkill SYS_uname SYS_wait4 SYS_waitid
];

/// Reading clocks, and timers.
const TIME: &[c_long] = calls![
    SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_getitimer SYS_gettimeofday
    SYS_nanosleep SYS_setitimer SYS_timer_create SYS_timer_delete SYS_timer_getoverrun
    SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime
    SYS_timerfd_settime
];

/// Sockets that are open, System V and POSIX inter-process communication.
const TALK: &[c_long] = calls![
    SYS_accept SYS_accept4 SYS_bind SYS_connect SYS_getpeername SYS_getsockname
    SYS_getsockopt SYS_listen SYS_mq_getsetattr SYS_mq_notify SYS_mq_open
    SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_msgctl SYS_msgget SYS_msgrcv
    SYS_msgsnd SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_semctl SYS_semget SYS_semop
    SYS_semtimedop SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_shmat SYS_shmctl
    SYS_shmdt SYS_shmget SYS_shutdown
];

/// Where memory lies; numerical libraries ask for it, and it reaches no other user's process.
const NUMA: &[c_long] = calls![
    SYS_get_mempolicy SYS_mbind SYS_set_mempolicy SYS_set_mempolicy_home_node
];

/// What only the oldest architecture still has, newer ones having replaced it.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = calls![
    SYS_getrlimit SYS_renameat SYS_setrlimit SYS_sync_file_range SYS_access SYS_alarm
    SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_wait
    SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_lchown SYS_link
    SYS_lstat SYS_mkdir SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename
    SYS_rmdir SYS_select SYS_signalfd SYS_stat SYS_symlink SYS_time SYS_unlink SYS_utime
    SYS_utimes SYS_vfork
];
/// Those that it has all the same: `renameat`, `sync_file_range`, `getrlimit`, `setrlimit`.
#[cfg(target_arch = "aarch64")]
const OLD: &[c_long] = &[38, 84, 163, 164];

/// Too new for a name here: `fchmodat2`, `map_shadow_stack`, `futex_wake`,
/// `futex_wait`, `futex_requeue`. Their numbers are the same everywhere.
const NEW: &[c_long] = &[452, 453, 454, 455, 456];

const EPERM: i32 = libc::EPERM;
const ANY: u32 = u32::MAX;

/// No namespaces; only of `clone`, since of `clone3` the kernel cannot see the flags in time.
const CLONE: &[Test] = &[Test {
    argument: 0,
    // CLONE_NEW: NEWTIME (which shares its bit with the exit signal), NS, CGROUP, UTS, IPC, USER,
    // PID, NET.
    mask: 0x7e02_0000,
    one_of: Values::In(&[0]),
    errno: EPERM,
}];
/// Nothing that types into a terminal: TIOCSTI and TIOCLINUX. The kernel compares 32 bits as well.
/// And nothing of btrfs, by which anybody has the machine's disk written out.
const IOCTL: &[Test] = &[
    Test { argument: 1, mask: ANY, one_of: Values::NotIn(&[0x5412, 0x541c]), errno: EPERM },
    Test { argument: 1, mask: 0xff00, one_of: Values::NotIn(&[BTRFS]), errno: libc::ENOTTY },
];
/// What takes nothing of the machine's: see [`OPTIONS`].
const PRCTL: &[Test] =
    &[Test { argument: 0, mask: ANY, one_of: Values::In(&OPTIONS), errno: libc::EINVAL }];
/// What everybody reads is not thrown out of the machine's memory (POSIX_FADV_DONTNEED); programs
/// that say they need something no more are not interested in what becomes of it.
const FADVISE: &[Test] = &[Test { argument: 3, mask: ANY, one_of: Values::NotIn(&[4]), errno: 0 }];
/// Nor is it told what is there (RWF_NOWAIT), or thrown out again (RWF_DONTCACHE).
const READ_OR_WRITE: &[Test] =
    &[Test { argument: 5, mask: 0x88, one_of: Values::In(&[0]), errno: libc::EOPNOTSUPP }];
const FCNTL: &[Test] =
    &[Test { argument: 1, mask: ANY, one_of: Values::NotIn(&LEASES), errno: EPERM }];
const SETSOCKOPT: &[Test] =
    &[Test { argument: 2, mask: ANY, one_of: Values::NotIn(&SOCKET_PROGRAMS), errno: EPERM }];
const MMAP: &[Test] =
    &[Test { argument: 3, mask: MAP_HUGE, one_of: Values::In(&[0]), errno: libc::ENOMEM }];
const MEMFD: &[Test] =
    &[Test { argument: 1, mask: MEMFD_HUGE, one_of: Values::In(&[0]), errno: libc::EINVAL }];
/// PER_LINUX and PER_LINUX32, each with UNAME26, ADDR_NO_RANDOMIZE (sanitizers start themselves
/// again with it), and the question which it is.
const PERSONALITY: &[Test] = &[Test {
    argument: 0,
    mask: ANY,
    one_of: Values::In(&[0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, 0xffff_ffff]),
    errno: EPERM,
}];
/// Pipes, files and sockets, but no device nodes: S_IFMT is neither S_IFCHR nor S_IFBLK.
const fn node(argument: u32) -> Test {
    Test { argument, mask: 0o170_000, one_of: Values::NotIn(&[0o020_000, 0o060_000]), errno: EPERM }
}
#[cfg(target_arch = "x86_64")]
const MKNOD: &[Test] = &[node(1)];
const MKNODAT: &[Test] = &[node(2)];
/// Only the caller's own limits: its init has the same user.
const PRLIMIT: &[Test] = &[Test { argument: 0, mask: ANY, one_of: Values::In(&[0]), errno: EPERM }];

const UNIX: u32 = libc::AF_UNIX as u32;
const INET: u32 = libc::AF_INET as u32;
const INET6: u32 = libc::AF_INET6 as u32;
/// `getifaddrs` asks through it.
const NETLINK: u32 = libc::AF_NETLINK as u32;
const NO_FAMILY: i32 = libc::EAFNOSUPPORT;

/// 0, TCP and UDP: of the others most are loaded into the kernel when first asked for.
const PROTOCOLS: &[Test] = &[Test {
    argument: 2,
    mask: ANY,
    one_of: Values::In(&[0, 6, 17]),
    errno: libc::EPROTONOSUPPORT,
}];
/// NETLINK_ROUTE.
const ROUTES: &[Test] =
    &[Test { argument: 2, mask: ANY, one_of: Values::In(&[0]), errno: libc::EPROTONOSUPPORT }];
/// Families whose sockets stay within the network namespace.
const FAMILIES: &[(u32, &[Test])] =
    &[(UNIX, &[]), (INET, PROTOCOLS), (INET6, PROTOCOLS), (NETLINK, ROUTES)];
/// With the machine's network, no sockets of its other programs: abstract ones have no path.
const FAMILIES_OF_HOST: &[(u32, &[Test])] =
    &[(INET, PROTOCOLS), (INET6, PROTOCOLS), (NETLINK, ROUTES)];
const SOCKETPAIR: &[Test] =
    &[Test { argument: 0, mask: ANY, one_of: Values::In(&[UNIX]), errno: NO_FAMILY }];

/// What all programs of a machine have in common where there are no namespaces, and Landlock knows
/// nothing of: queues and memory with a number for a name.
pub(super) const SHARED: &[c_long] = calls![
    SYS_shmget SYS_shmat SYS_shmctl SYS_semget SYS_semop SYS_semtimedop SYS_semctl SYS_msgget
    SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink
];

/// Calls whose arguments decide, and those that are answered otherwise than with "unknown".
pub(super) fn checked(around: Around) -> Vec<(c_long, Rule)> {
    let families = match around {
        Around::Nothing => FAMILIES,
        Around::Network => FAMILIES_OF_HOST,
        Around::Machine => &[],
    };
    vec![
        (libc::SYS_clone, Rule::If(CLONE)),
        (libc::SYS_ioctl, Rule::If(IOCTL)),
        (libc::SYS_prctl, Rule::If(PRCTL)),
        (libc::SYS_fadvise64, Rule::If(FADVISE)),
        (libc::SYS_preadv2, Rule::If(READ_OR_WRITE)),
        (libc::SYS_pwritev2, Rule::If(READ_OR_WRITE)),
        (
            libc::SYS_setsockopt,
            Rule::IfWhere { argument: 1, value: SOCKET_LEVEL, tests: SETSOCKOPT },
        ),
        (libc::SYS_mmap, Rule::If(MMAP)),
        (libc::SYS_memfd_create, Rule::If(MEMFD)),
        (libc::SYS_fcntl, Rule::If(FCNTL)),
        (libc::SYS_personality, Rule::If(PERSONALITY)),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, Rule::If(MKNOD)),
        (libc::SYS_mknodat, Rule::If(MKNODAT)),
        (libc::SYS_prlimit64, Rule::If(PRLIMIT)),
        (libc::SYS_socket, Rule::ByFirst(families, NO_FAMILY)),
        (libc::SYS_socketpair, Rule::If(SOCKETPAIR)),
        // They write out what everybody on the machine has changed, and whoever calls them is not
        // interested in the result.
        (libc::SYS_sync, Rule::Pretend),
        (libc::SYS_syncfs, Rule::Pretend),
        (libc::SYS_unshare, Rule::Refuse(EPERM)),
        (libc::SYS_setns, Rule::Refuse(EPERM)),
        (libc::SYS_mount, Rule::Refuse(EPERM)),
        (libc::SYS_umount2, Rule::Refuse(EPERM)),
        (libc::SYS_pivot_root, Rule::Refuse(EPERM)),
        (libc::SYS_chroot, Rule::Refuse(EPERM)),
        (libc::SYS_ptrace, Rule::Refuse(EPERM)),
        (libc::SYS_syslog, Rule::Refuse(EPERM)),
        (libc::SYS_sethostname, Rule::Refuse(EPERM)),
        (libc::SYS_setdomainname, Rule::Refuse(EPERM)),
        (libc::SYS_settimeofday, Rule::Refuse(EPERM)),
        (libc::SYS_clock_settime, Rule::Refuse(EPERM)),
        (libc::SYS_adjtimex, Rule::Refuse(EPERM)),
        (libc::SYS_clock_adjtime, Rule::Refuse(EPERM)),
        (libc::SYS_perf_event_open, Rule::Refuse(EPERM)),
        (libc::SYS_bpf, Rule::Refuse(EPERM)),
        (libc::SYS_reboot, Rule::Refuse(EPERM)),
        (libc::SYS_swapon, Rule::Refuse(EPERM)),
        (libc::SYS_swapoff, Rule::Refuse(EPERM)),
        (libc::SYS_init_module, Rule::Refuse(EPERM)),
        (libc::SYS_finit_module, Rule::Refuse(EPERM)),
        (libc::SYS_delete_module, Rule::Refuse(EPERM)),
    ]
}

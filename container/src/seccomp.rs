//! The system calls that a container may use, as the profile that engines take.
//!
//! Of the entries that Docker's own profile allows to everybody, without those by which programs
//! look into each other, reach what no namespace separates, or have been a way out of the kernel:
//! ptrace, process_vm_*, io_uring_*, memfd_secret, name_to_handle_at, fanotify_mark, modify_ldt,
//! adjtimex, statmount, listmount, sync and syncfs, cachestat, vmsplice, remap_file_pages,
//! inotify_*; or take what has one limit for the whole machine: seccomp, io_setup and its like. Those
//! of older processors are not in it either.

use campusgrid_sandbox::calls::{
    BTRFS, LEASES, MAP_HUGE, MEMFD_HUGE, OPTIONS, SOCKET_LEVEL, SOCKET_PROGRAMS,
};
use serde_json::{Value, json};

/// ENOSYS: the C library then tries the older call, whose arguments a filter can read.
const NO_SUCH_CALL: u32 = 38;
/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NEW_NAMESPACES: u64 = 0x7E02_0000;
/// What the kernel looks at of most arguments.
const ALL: u64 = 0xFFFF_FFFF;
/// AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. Others are not separated by network namespaces, such as
/// AF_VSOCK, or are parts of the kernel that nobody needs.
const FAMILIES: [u64; 4] = [1, 2, 10, 16];
/// PER_LINUX, PER_LINUX32, UNAME26 with either, and the question.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// What may be advised of a file, without POSIX_FADV_DONTNEED: what everybody reads stays in memory.
const ADVICE: [u64; 5] = [0, 1, 2, 3, 5];
/// RWF_NOWAIT and RWF_DONTCACHE, which tell what is in memory and throw it out.
const CACHE_FLAGS: u64 = 0x88;

/// Commands of `fcntl`: those of all systems, and from 1024 on those of Linux.
const COMMANDS: [std::ops::Range<u32>; 2] = [0..39, 1024..1040];
/// All options that sockets have by themselves, and some to come.
const SOCKET_OPTIONS: std::ops::Range<u32> = 1..100;

const ALLOWED: &str = "accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres \
    clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 \
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 \
    execve execveat exit exit_group faccessat faccessat2 fallocate fchdir fchmod fchmodat \
    fchmodat2 fchown fchownat fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr \
    fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake \
    futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents getdents64 \
    getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid \
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt \
    gettid gettimeofday getuid getxattr ioprio_get ioprio_set kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listxattr \
    llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack mbind membarrier \
    mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mprotect mq_getsetattr mq_notify \
    mq_open mq_timedreceive mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd mseal \
    msync munlock munlockall munmap nanosleep newfstatat open openat openat2 pause pidfd_open \
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll pread64 preadv \
    process_mrelease pselect6 pwrite64 pwritev read readahead readlink readlinkat readv recvfrom \
    recvmmsg recvmsg removexattr rename renameat renameat2 restart_syscall rmdir rseq \
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
    rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min \
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval \
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield select semctl \
    semget semop semtimedop sendfile sendmmsg sendmsg sendto set_mempolicy set_robust_list \
    set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid \
    setpriority setregid setresgid setresuid setreuid setrlimit setsid setuid setxattr shmat \
    shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair splice stat statfs \
    statx symlink symlinkat sync_file_range sysinfo tee tgkill time timer_create timer_delete \
    timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime \
    times tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork wait4 waitid \
    write writev";

/// The profile in JSON, for processors of the kind that this program was built for.
pub(crate) fn profile() -> String {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "SCMP_ARCH_AARCH64",
        _ => "SCMP_ARCH_X86_64",
    };
    let names: Vec<&str> = ALLOWED.split_whitespace().collect();
    let mut calls = vec![
        json!({ "names": names, "action": "SCMP_ACT_ALLOW", "args": [] }),
        json!({
            "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": NO_SUCH_CALL, "args": [],
        }),
        allowed_if("clone", 0, NEW_NAMESPACES, 0),
        // Of other processes, the helper among them, limits are none of a task's business.
        allowed_if("prlimit64", 0, ALL, 0),
        allowed_if("preadv2", 5, CACHE_FLAGS, 0),
        allowed_if("pwritev2", 5, CACHE_FLAGS, 0),
        allowed_if("mmap", 3, MAP_HUGE.into(), 0),
        allowed_if("memfd_create", 1, MEMFD_HUGE.into(), 0),
    ];
    let options = SOCKET_OPTIONS.filter(|option| !SOCKET_PROGRAMS.contains(option));
    calls.extend(options.map(|option| {
        let is = |index, value| test(index, ALL, u64::from(value));
        json!({
            "names": ["setsockopt"],
            "action": "SCMP_ACT_ALLOW",
            "args": [is(1, SOCKET_LEVEL), is(2, option)],
        })
    }));
    let commands = COMMANDS.into_iter().flatten().filter(|command| !LEASES.contains(command));
    calls.extend(commands.map(|command| allowed_if("fcntl", 1, ALL, command.into())));
    calls.extend(FAMILIES.map(|family| allowed_if("socket", 0, ALL, family)));
    calls.extend(PERSONALITIES.map(|kind| allowed_if("personality", 0, ALL, kind)));
    calls.extend(ADVICE.map(|advice| allowed_if("fadvise64", 3, ALL, advice)));
    calls.extend(OPTIONS.map(|option| allowed_if("prctl", 0, ALL, option.into())));
    calls.extend(allowed_unless("setsockopt", 1, 0..32, SOCKET_LEVEL));
    // Of btrfs's, anybody may have the machine's disk written out.
    calls.extend(allowed_unless("ioctl", 1, 8..16, BTRFS));
    // Calls of other architectures, the 32-bit ones among them, kill who makes them.
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": NO_SUCH_CALL,
        "architectures": [architecture],
        "syscalls": calls,
    })
    .to_string()
}

/// Allows a call if an argument, of which only the bits of `mask` are looked at, has this value.
fn allowed_if(name: &str, argument: u32, mask: u64, value: u64) -> Value {
    json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": [test(argument, mask, value)] })
}

/// Allows a call if an argument, of which only these bits are looked at, has another value: one bit
/// differs. Engines can compare for that themselves, but not 32 bits only, as the kernel does.
fn allowed_unless(
    name: &str,
    argument: u32,
    bits: std::ops::Range<u32>,
    value: u32,
) -> impl Iterator<Item = Value> {
    bits.map(|bit| 1 << bit)
        .map(move |bit| allowed_if(name, argument, bit, !u64::from(value) & bit))
}

fn test(argument: u32, mask: u64, value: u64) -> Value {
    json!({ "index": argument, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dangerous_is_not_on_the_list() {
        let names: Vec<&str> = ALLOWED.split_whitespace().collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), names.len(), "a call is named twice");
        for name in [
            "ptrace",
            "process_vm_readv",
            "keyctl",
            "add_key",
            "request_key",
            "io_uring_setup",
            "bpf",
            "mount",
            "unshare",
            "setns",
            "memfd_secret",
            "modify_ldt",
            "userfaultfd",
            "clone",
            "clone3",
            "socket",
            "personality",
            "prlimit64",
            "perf_event_open",
            "kexec_load",
            "chroot",
            "pivot_root",
            "name_to_handle_at",
            "open_by_handle_at",
            "sync",
            "seccomp",
            "prctl",
            "ioctl",
            "cachestat",
            "vmsplice",
            "syslog",
            "acct",
            "io_setup",
            "inotify_init1",
            "setsockopt",
            "fcntl",
            "mmap",
            "memfd_create",
        ] {
            assert!(!names.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_profile_is_json_with_a_default_that_refuses() {
        let profile: Value = serde_json::from_str(&profile()).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        assert_eq!(
            profile["syscalls"].as_array().unwrap().len(),
            8 + (99 - 4) + (39 + 16 - 2) + 4 + 5 + 5 + OPTIONS.len() + 32 + 8
        );
    }
}

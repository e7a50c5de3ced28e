//! What filters of system calls have in common, those of containers included.

/// Of the calls of files, the kind that btrfs has for itself: the second byte of their numbers.
pub const BTRFS: u32 = 0x9400;

/// Commands of `fcntl` by which a task makes others wait that open a file, or hears of what they do
/// to it: F_SETLEASE and F_NOTIFY.
pub const LEASES: [u32; 2] = [1024, 1026];

/// SOL_SOCKET; the options of other levels have the same numbers.
pub const SOCKET_LEVEL: u32 = 1;

/// Options of sockets that take programs for the kernel to compile and run: SO_ATTACH_FILTER,
/// SO_ATTACH_BPF and those of port groups. What their memory is counted in has one limit for the
/// whole machine.
pub const SOCKET_PROGRAMS: [u32; 4] = [26, 50, 51, 52];

/// MAP_HUGETLB, of which no limit of a task's memory counts the pages.
pub const MAP_HUGE: u32 = 0x4_0000;

/// MFD_HUGETLB, for the same reason.
pub const MEMFD_HUGE: u32 = 4;

/// The options of `prctl` that programs need.
///
/// Above all no filters of a task's own (PR_SET_SECCOMP, and so not the call `seccomp` either): what
/// the kernel compiles them to has one limit for the whole machine, and is in no task's memory.
/// Nor cookies for cores (PR_SCHED_CORE), merging of memory, or registers of the processor.
pub const OPTIONS: [u32; 36] = [
    1,           // PR_SET_PDEATHSIG
    2,           // PR_GET_PDEATHSIG
    3,           // PR_GET_DUMPABLE
    4,           // PR_SET_DUMPABLE
    7,           // PR_GET_KEEPCAPS
    8,           // PR_SET_KEEPCAPS
    15,          // PR_SET_NAME
    16,          // PR_GET_NAME
    21,          // PR_GET_SECCOMP
    23,          // PR_CAPBSET_READ
    24,          // PR_CAPBSET_DROP
    25,          // PR_GET_TSC
    27,          // PR_GET_SECUREBITS
    29,          // PR_SET_TIMERSLACK
    30,          // PR_GET_TIMERSLACK
    34,          // PR_MCE_KILL_GET
    36,          // PR_SET_CHILD_SUBREAPER
    37,          // PR_GET_CHILD_SUBREAPER
    38,          // PR_SET_NO_NEW_PRIVS
    39,          // PR_GET_NO_NEW_PRIVS
    40,          // PR_GET_TID_ADDRESS
    41,          // PR_SET_THP_DISABLE
    42,          // PR_GET_THP_DISABLE
    47,          // PR_CAP_AMBIENT
    50,          // PR_SVE_SET_VL
    51,          // PR_SVE_GET_VL
    52,          // PR_GET_SPECULATION_CTRL
    54,          // PR_PAC_RESET_KEYS
    55,          // PR_SET_TAGGED_ADDR_CTRL
    56,          // PR_GET_TAGGED_ADDR_CTRL
    63,          // PR_SME_SET_VL
    64,          // PR_SME_GET_VL
    65,          // PR_SET_MDWE
    66,          // PR_GET_MDWE
    0x5356_4d41, // PR_SET_VMA
    0x5961_6d61, // PR_SET_PTRACER
];

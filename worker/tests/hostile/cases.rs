//! All programs by group: how each must end, and what stops it.

use nix::unistd::Uid;

use crate::case::Case;
use crate::job::Ran;

/// What a job of one core may take of all cores, with some room for the clocks. Thousandths.
const CORE_PERMILLE: u64 = 1100;

fn one_core(ran: &Ran) {
    let share = ran.peaks.cpu_permille;
    assert!(share > 0 && share <= CORE_PERMILLE, "{share} thousandths of a core");
}

pub(crate) const RESOURCES: &[Case] = &[
    Case::new("a01_forkbomb_sh", &["time limit", "too many processes"], "limit of processes"),
    Case::new("a02_forkbomb_c", &["time limit"], "limit of processes, wall time"),
    Case::new("a03_threadbomb", &["done"], "limit of processes, which counts threads"),
    Case::new("a04_memhog", &["out of memory"], "memory limit of the group"),
    Case::new("a06_memfd_hog", &["done"], "size limit of a file"),
    Case::new("a07_tmp_filler", &["done"], "scratch space"),
    Case::new("a08_shm_filler", &["done"], "scratch space"),
    Case::new("a09_disk_filler", &["done"], "scratch space"),
    Case::new("a10_inode_bomb", &["done"], "number of files in scratch space"),
    Case::new("a12_stdout_flood", &["output flood"], "limit of what is printed").check(|ran| {
        assert!(ran.ended.stdout.cut_bytes > 0 && ran.stdout.len() < 2 << 20);
    }),
    Case::new("a13_stderr_flood", &["output flood"], "limit of what is printed").check(|ran| {
        assert!(ran.ended.stderr.cut_bytes > 0 && ran.stderr.len() < 2 << 20);
    }),
    Case::new("a14_ignore_term", &["time limit"], "wall time: SIGTERM, grace, SIGKILL"),
    Case::new("a15_daemon", &["done"], "PID namespace"),
    Case::new("a17_cpu_burner", &["time limit"], "CPU quota and cpuset").alone().check(one_core),
    Case::new("a18_affinity_escape", &["done"], "cpuset"),
    Case::new("a19_rt_priority", &["done"], "no capabilities"),
    Case::new("a20_raise_rlimits", &["done"], "hard limits"),
    Case::new("a22_pipe_memory", &["done"], "number of descriptors, pool of the uid"),
    Case::new("a24_mlock", &["done"], "limit of locked memory"),
    Case::new("a25_huge_argv", &["done"], "kernel's bound on arguments"),
    Case::new("a26_core_dump", &["done"], "core limit of one byte"),
    Case::new("a27_pty_exhaustion", &["done"], "no pseudo-terminals"),
    Case::new("a28_inotify_exhaustion", &["done"], "pool of the job's own uid"),
    Case::new("a29_swap", &["done"], "no swap beyond the memory limit"),
    Case::new("a31_sysv_shm", &["done"], "IPC namespace"),
    Case::new("a32_posix_mq", &["done"], "limit of message queues, IPC namespace"),
    Case::new("a34_deep_dirs", &["done"], "depth limit of the collector"),
];

pub(crate) const OUR_RESOURCES: &[Case] = &[
    Case::new("d01_deaf_family", &["time limit"], "wall time, kill of the whole group").wall(2),
    Case::new("d02_every_memory", &["out of memory"], "memory limit of the group"),
    Case::new("d03_flying_sockets", &["done"], "limit of descriptors in flight"),
    Case::new("d04_segments", &["out of memory"], "memory limit of the group, IPC namespace"),
    Case::new("d05_descriptors", &["done"], "limits of descriptors and processes"),
    Case::new("d06_timers", &["done"], "limit of queued signals"),
    Case::new("d07_watches", &["done"], "pool of the job's own uid"),
    Case::new("d08_huge_environment", &["done"], "kernel's bound on arguments"),
    Case::new("d09_sparse", &["done"], "size limit of a file"),
    Case::new("d10_slow_flood", &["done"], "live log in pieces").check(|ran| {
        assert_eq!((ran.stdout.len(), ran.stderr.len()), (150_000, 150_000));
        assert!(ran.live.pieces < 1000, "{:?}", ran.live);
    }),
    Case::new("d11_junk", &["done"], "logs are bytes").check(|ran| {
        let all: Vec<u8> = (0..30).flat_map(|_| 0..=255).collect();
        assert!(ran.stdout == all && ran.stderr.len() == 9 + 1000 + 9, "{:?}", ran.stderr);
    }),
    Case::new("d12_held_streams", &["done"], "PID namespace").check(|ran| {
        assert!(ran.ended.usage.run_ms < 10_000, "{:?}", ran.ended.usage);
    }),
    Case::new("d13_closed_streams", &["exit code 5"], "–"),
    Case::new("d14_stopped", &["time limit"], "wall time, SIGKILL").wall(2),
    Case::new("d15_zombies", &["time limit"], "limit of processes, wall time").wall(2),
    Case::new("d16_many_spinners", &["time limit"], "CPU quota and cpuset")
        .wall(3)
        .alone()
        .check(one_core),
    Case::new("d17_oom_shield", &["out of memory"], "memory limit of the group"),
    Case::new("d18_quiet_death", &["out of memory"], "kernel's count of kills"),
    Case::new("d19_full", &["scratch full"], "scratch space"),
    Case::new("d20_one_big_file", &["scratch full"], "scratch space"),
    Case::new("d21_forks_refused", &["too many processes"], "limit of processes"),
    Case::new("d22_names", &["done"], "number of files in scratch space"),
    Case::new("d23_mappings", &["done"], "kernel's bound on mappings"),
    Case::new("d24_page_cache", &["done"], "memory limit of the group"),
    Case::new("d25_exec_storm", &["exit code 6"], "–"),
    Case::new("d26_kernel_queues", &["done"], "seccomp"),
    Case::new("d27_network_buffers", &["done", "out of memory"], "limit of network buffers"),
    Case::new("d28_huge_pages", &["done"], "seccomp"),
    Case::new("d29_large_sparse", &["file too large"], "size limit of a file"),
    Case::new("d30_own_pipe", &["exit code 3", "output flood"], "limit of what is printed"),
    Case::new("d31_attributes", &["done"], "memory limit of the group"),
    Case::new("d32_own_filters", &["done"], "seccomp"),
];

pub(crate) const ESCAPES: &[Case] = &[
    Case::new("b01_mount", &["done"], "seccomp, no capabilities"),
    Case::new("b02_userns", &["done"], "seccomp"),
    Case::new("b03_keyctl", &["done"], "seccomp"),
    Case::new("b04_io_uring", &["done"], "seccomp"),
    Case::new("b06_admin", &["done"], "seccomp, no capabilities"),
    Case::new("b07_setuid", &["done"], "no new privileges, no capabilities"),
    Case::new("b09_raw_sockets", &["done"], "seccomp"),
    Case::new("b10_net_loopback", &["done"], "network namespace"),
    Case::new("b11_net_metadata", &["done"], "network namespace"),
    Case::new("b13_unix_path", &["done"], "mount namespace"),
    Case::new("b14_kill_all", &["done"], "PID namespace"),
    Case::new("b15_host_proc", &["done"], "PID namespace, empty environment of init"),
    Case::new("b17_fd_leak", &["done"], "descriptors closed on exec"),
    Case::new("b18_secrets_files", &["done"], "mount namespace"),
    Case::new("b21_tiocsti", &["done"], "no terminal, seccomp"),
    Case::new("b23_chroot_escape", &["done"], "seccomp, no capabilities"),
    Case::new("b24_write_usr", &["done"], "read-only mounts"),
    Case::new("b25_hardlink_out", &["done"], "mounts of their own"),
    Case::new("b26_personality", &["done"], "seccomp"),
    Case::new("b28_pdeathsig_off", &["done"], "PID namespace"),
    Case::new("b29_setsid_pgrp", &["time limit"], "PID namespace, kill of the whole group"),
    Case::new("b31_cgroup_escape", &["done"], "no cgroup file system"),
    Case::new("b32_dmesg_kallsyms", &["done"], "seccomp, no capabilities"),
    Case::new("b34_sudo_polkit_dbus", &["done"], "no new privileges, mount namespace"),
    Case::new("b35_shared_locks", &["done"], "file belongs to root"),
    Case::new("b36_env_poison", &["done"], "read-only mounts"),
    Case::new("b38_proc_net", &["done"], "network namespace"),
];

pub(crate) const OUR_ESCAPES: &[Case] = &[
    Case::new("e01_watching_calls", &["done"], "seccomp"),
    Case::new("e02_foreign_abi", &["done"], "seccomp: architecture and number"),
    Case::new("e03_new_namespaces", &["done"], "seccomp"),
    Case::new("e04_init_through_proc", &["done"], "init cannot be traced, read-only mounts"),
    Case::new("e05_signals", &["exit code 7"], "PID namespace"),
    Case::new("e06_limits_of_init", &["exit code 9"], "init belongs to another user"),
    Case::new("e07_keyrings", &["done"], "seccomp"),
    Case::new("e08_socket_families", &["done"], "seccomp, no capabilities"),
    Case::new("e09_exfiltration", &["done"], "network namespace"),
    Case::new("e10_neighbours", &["done"], "namespaces"),
    Case::new("e11_handles", &["done"], "seccomp"),
    Case::new("e12_devices", &["done"], "own /dev, no capabilities"),
    Case::new("e13_kernel_files", &["done"], "own /proc, no /sys"),
    Case::new("e14_pivot", &["done"], "seccomp, no capabilities"),
    Case::new("e15_privileges", &["done"], "no new privileges, no capabilities"),
    Case::new("e16_host_traits", &["done"], "mount and UTS namespaces"),
    Case::new("e17_clocks", &["done"], "no capabilities"),
    Case::new("e18_priorities", &["done"], "no capabilities, cpuset"),
    Case::new("e19_pidfds", &["done"], "init cannot be traced"),
    Case::new("e20_terminals", &["done"], "no terminal, seccomp"),
    Case::new("e21_shared_files", &["done"], "read-only mounts"),
    Case::new("e22_programs_in_the_kernel", &["done"], "seccomp"),
    Case::new("e23_owner_watched", &["done"], "seccomp, masked parts of /proc"),
    Case::new("e24_standard_streams", &["done"], "descriptors closed on exec"),
    Case::new("e25_busy_machine", &["done"], "seccomp, masked parts of /proc"),
];

/// The paths of outputs.
fn paths(ran: &Ran) -> Vec<&str> {
    ran.outputs.keys().map(String::as_str).collect()
}

fn only_ok(ran: &Ran) {
    assert_eq!(paths(ran), ["ok.txt"], "{}", ran.ended.left_behind);
}

fn nothing(ran: &Ran) {
    assert!(ran.outputs.is_empty(), "{:?}", paths(ran));
}

pub(crate) const OUTPUTS: &[Case] = &[
    Case::new("c01_symlink_out", &["done"], "collector follows no links").into_outputs().check(
        |ran| {
            only_ok(ran);
            let left = &ran.ended.left_behind;
            assert!(left.contains("token (a symbolic link)"), "{left}");
        },
    ),
    Case::new(
        "c03_weird_names",
        &["done"],
        "collector refuses bad names, the rest is shown escaped",
    )
    .into_outputs()
    .check(|ran| {
        assert!(ran.outputs.contains_key("ok.txt") && ran.outputs.contains_key("-rf"));
        assert!(!ran.ended.left_behind.is_empty());
    }),
    Case::new("c04_many_files", &["too many files"], "number of files in scratch space")
        .into_outputs()
        .check(|ran| assert_eq!(ran.outputs.len(), 1000)),
    Case::new("c05_sparse_output", &["done"], "collector counts apparent bytes")
        .into_outputs()
        .check(|ran| {
            let bytes: usize = ran.outputs.values().map(Vec::len).sum();
            assert!(bytes <= 64 << 20, "{bytes} bytes of outputs");
        }),
    Case::new("c07_setuid_output", &["done"], "modes are not collected")
        .into_outputs()
        .check(|ran| assert_eq!(paths(ran), ["ok.txt", "sid"])),
    Case::new("c09_ansi_log", &["done"], "logs are bytes, escaped where they are shown")
        .check(|ran| assert!(ran.stdout.starts_with(b"\x1b]0;owned\x07"), "{:?}", ran.stdout)),
    Case::new("c10_one_long_line", &["done"], "middle of a long log is cut").check(|ran| {
        assert!(ran.ended.stdout.cut_bytes > 10 << 20 && ran.stdout.len() < 2 << 20);
    }),
    Case::new("c11_bad_utf8", &["done"], "logs are bytes").check(|ran| {
        assert_eq!(ran.stdout, b"\xff\xfe\x00\x01 ok\n");
    }),
    Case::new("c13_zip_bomb", &["done"], "scratch space"),
    Case::new("c15_import_hijack", &["done"], "worker runs no interpreter there"),
    Case::new("c18_template_bomb", &["done"], "stack limit of the compiler, memory limit"),
    Case::new("c19_ld_preload", &["done"], "jobs choose no variables"),
    Case::new("c21_clock_spin", &["time limit"], "wall time"),
    Case::new("c22_exec_deleted", &["done"], "PID namespace"),
    Case::new("c25_gpu_nodes", &["done"], "own /dev"),
];

pub(crate) const OUR_OUTPUTS: &[Case] = &[
    Case::new("f01_strange_nodes", &["done"], "collector takes regular files with one name")
        .check(|ran| assert_eq!(paths(ran), ["a/b/deep.txt", "ok.txt"])),
    Case::new("f02_names", &["done"], "collector refuses bad names, the rest is shown escaped")
        .check(|ran| {
            assert!(ran.outputs.contains_key("ok.txt") && ran.outputs.contains_key("e\u{301}"));
        }),
    Case::new("f03_locked_tree", &["done"], "collector does not depend on modes").check(|ran| {
        // Without rights of its own the worker can only tell that it was shut out.
        let is_shut_out = !Uid::effective().is_root() && !ran.ended.left_behind.is_empty();
        let is_taken = ran.outputs.contains_key("ok.txt");
        assert!(is_taken || is_shut_out, "{:?}", ran.ended.left_behind);
    }),
    Case::new("f04_too_many", &["done"], "number and depth of outputs").check(|ran| {
        assert_eq!(ran.outputs.len(), 1000);
        assert!(!ran.ended.left_behind.is_empty());
    }),
    Case::new("f05_swapped", &["done"], "collector follows no links").check(nothing),
    Case::new("f06_swapped_for_pipe", &["done"], "collector opens without waiting").check(nothing),
    Case::new("f07_growing", &["done"], "collection after the last death").check(|ran| {
        assert!(ran.outputs.keys().all(|path| ["grows", "moved", "ok.txt"].contains(&&**path)));
    }),
    Case::new("f08_bits", &["done"], "modes are not collected").check(|ran| {
        assert_eq!(paths(ran), ["all", "ok.txt", "sgid", "suid"]);
    }),
    Case::new("f09_terminal_log", &["done"], "logs are bytes, escaped where they are shown").check(
        |ran| assert!(ran.stdout.starts_with(b"\x1b]0;owned\x07\x1b[2J"), "{:?}", ran.stdout),
    ),
    Case::new("f10_includes_shadow", &["compile error"], "compiler runs in the sandbox"),
    Case::new("f11_incbin", &["compile error"], "compiler runs in the sandbox"),
    Case::new("f12_endless_include", &["out of memory"], "memory limit of the group"),
    Case::new("f13_macro_bomb", &["out of memory"], "memory limit of the group"),
    Case::new("f14_huge_object", &["compile error"], "size limit of a file"),
    Case::new("f15_hungry_templates", &["out of memory"], "memory limit of the group"),
    Case::new("f16_compiler_doors", &["done"], "compiler runs in the sandbox"),
    Case::new("f17_interpreter_tricks", &["exit code 4"], "worker runs no interpreter there"),
    Case::new("f18_zip_of_death", &["done"], "scratch space, read-only mounts"),
    Case::new("f19_json_names", &["done"], "outputs are named apart from all else").check(|ran| {
        assert!(paths(ran).contains(&"stdout") && !paths(ran).contains(&"escape.txt"));
    }),
    Case::new("f20_longest_end", &["done"], "number of outputs, cut words").check(|ran| {
        assert_eq!((ran.outputs.len(), ran.stdout.len(), ran.stderr.len()), (1000, 65536, 65536));
    }),
];

pub(crate) const RESIDUE: &[Case] = &[
    Case::new("b37_job_residue", &["done"], "fresh scratch space"),
    Case::new("g01_residue", &["done"], "fresh namespaces and scratch space"),
];

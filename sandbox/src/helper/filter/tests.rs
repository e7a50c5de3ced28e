//! Runs the program by hand: the kernel would not let us go on after a wrong call.

use super::*;

/// What the kernel would answer; arguments that are not given are 0.
fn answer_to(program: &[sock_filter], architecture: u32, number: u32, arguments: &[u64]) -> u32 {
    let load = |offset: u32| match offset {
        NUMBER => number,
        ARCH => architecture,
        offset => {
            let argument = (offset - ARGUMENTS) as usize / 8;
            assert_eq!(offset as usize, ARGUMENTS as usize + 8 * argument);
            arguments.get(argument).copied().unwrap_or(0) as u32
        }
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let instruction = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
        match u32::from(instruction.code) {
            LOAD => accumulator = load(instruction.k),
            AND => accumulator &= instruction.k,
            IF_EQUAL => at += jump(accumulator == instruction.k),
            IF_LEAST => at += jump(accumulator >= instruction.k),
            JUMP => at += instruction.k as usize,
            RETURN => return instruction.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn call(number: libc::c_long, arguments: &[u64]) -> u32 {
    let program = compile(Around::Nothing);
    answer_to(&program, ARCHITECTURE, number.try_into().unwrap(), arguments)
}

fn refused(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.cast_unsigned()
}

#[test]
fn every_call_of_the_table_and_no_other_is_allowed() {
    let program = compile(Around::Nothing);
    assert!(program.len() < 500, "{} instructions", program.len());
    let allowed: Vec<u32> =
        ALLOWED.into_iter().flatten().map(|call| super::number(*call)).collect();
    let checked: Vec<u32> =
        checked(Around::Nothing).iter().map(|(call, _)| super::number(*call)).collect();
    for number in 0..1000 {
        let answer = answer_to(&program, ARCHITECTURE, number, &[]);
        assert!(!(allowed.contains(&number) && checked.contains(&number)), "{number} twice");
        if !checked.contains(&number) {
            let wanted = if allowed.contains(&number) { ALLOW } else { UNKNOWN };
            assert_eq!(answer, wanted, "{number}");
        }
    }
}

#[test]
fn calls_of_another_architecture_kill() {
    let program = compile(Around::Nothing);
    assert_eq!(answer_to(&program, 0x4000_0003, 1, &[]), KILL);
    #[cfg(target_arch = "x86_64")]
    assert_eq!(answer_to(&program, ARCHITECTURE, 0x4000_0001, &[]), KILL);
}

#[test]
fn arguments_decide() {
    let new_user = libc::CLONE_NEWUSER as u64;
    assert_eq!(call(libc::SYS_clone, &[libc::SIGCHLD as u64]), ALLOW);
    assert_eq!(call(libc::SYS_clone, &[new_user | libc::SIGCHLD as u64]), refused(libc::EPERM));
    assert_eq!(call(libc::SYS_clone3, &[]), UNKNOWN);
    assert_eq!(call(libc::SYS_ioctl, &[0, libc::TIOCGWINSZ]), ALLOW);
    // The upper half is what the kernel ignores as well.
    assert_eq!(call(libc::SYS_ioctl, &[0, 0x5412 | 1 << 40]), refused(libc::EPERM));
    assert_eq!(call(libc::SYS_fcntl, &[0, libc::F_GETFL as u64]), ALLOW);
    assert_eq!(call(libc::SYS_fcntl, &[0, libc::F_SETLEASE as u64]), refused(libc::EPERM));
    assert_eq!(call(libc::SYS_personality, &[0xffff_ffff]), ALLOW);
    assert_eq!(call(libc::SYS_personality, &[0x040_0000]), refused(libc::EPERM));
    assert_eq!(call(libc::SYS_mknodat, &[0, 0, 0o010_600]), ALLOW);
    assert_eq!(call(libc::SYS_mknodat, &[0, 0, 0o020_600]), refused(libc::EPERM));
    assert_eq!(call(libc::SYS_prlimit64, &[1]), refused(libc::EPERM));
    let option =
        |level: i32, option: i32| call(libc::SYS_setsockopt, &[3, level as u64, option as u64]);
    assert_eq!(option(libc::SOL_SOCKET, libc::SO_REUSEADDR), ALLOW);
    assert_eq!(option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER), refused(libc::EPERM));
    // The same number at another level, which every server for both versions of IP sets.
    assert_eq!(libc::IPV6_V6ONLY, libc::SO_ATTACH_FILTER);
    assert_eq!(option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), ALLOW);
    assert_eq!(call(libc::SYS_mmap, &[0, 4096, 3, 0x22]), ALLOW);
    assert_eq!(call(libc::SYS_mmap, &[0, 4096, 3, 0x4_0022]), refused(libc::ENOMEM));
    assert_eq!(call(libc::SYS_memfd_create, &[0, 4]), refused(libc::EINVAL));
}

#[test]
fn nothing_is_taken_or_told_that_no_limit_counts() {
    assert_eq!(call(libc::SYS_seccomp, &[1, 8]), UNKNOWN);
    for option in [libc::PR_SET_SECCOMP, libc::PR_SCHED_CORE, libc::PR_SET_MM] {
        assert_eq!(call(libc::SYS_prctl, &[option as u64]), refused(libc::EINVAL), "{option}");
    }
    for option in [libc::PR_SET_NAME, libc::PR_SET_PDEATHSIG, libc::PR_SET_VMA] {
        assert_eq!(call(libc::SYS_prctl, &[option as u64]), ALLOW, "{option}");
    }
    let (sync, start_sync) = (0x9408, 0x8008_9418);
    for request in [sync, start_sync] {
        assert_eq!(call(libc::SYS_ioctl, &[3, request]), refused(libc::ENOTTY));
    }
    // Succeeds, and does nothing.
    assert_eq!(call(libc::SYS_fadvise64, &[3, 0, 0, 4]), refused(0));
    assert_eq!(call(libc::SYS_fadvise64, &[3, 0, 0, 2]), ALLOW);
    assert_eq!(call(libc::SYS_preadv2, &[3, 0, 0, 0, 0, 8]), refused(libc::EOPNOTSUPP));
    assert_eq!(call(libc::SYS_pwritev2, &[3, 0, 0, 0, 0, 0x10]), ALLOW);
    for gone in [libc::SYS_vmsplice, libc::SYS_move_pages, libc::SYS_migrate_pages] {
        assert_eq!(call(gone, &[]), UNKNOWN);
    }
}

#[test]
fn only_some_families_have_sockets() {
    let socket = |family: i32, kind: u64, protocol: u64| {
        call(libc::SYS_socket, &[family as u64, kind, protocol])
    };
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
        assert_eq!(socket(family, 1, 0), ALLOW);
    }
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_BLUETOOTH] {
        assert_eq!(socket(family, 1, 0), refused(libc::EAFNOSUPPORT));
    }
    let (sctp, xfrm) = (132, 6);
    assert_eq!(socket(libc::AF_NETLINK, 3, xfrm), refused(libc::EPROTONOSUPPORT));
    assert_eq!(socket(libc::AF_INET, 1, sctp), refused(libc::EPROTONOSUPPORT));
    let program = compile(Around::Network);
    let unix = answer_to(&program, ARCHITECTURE, super::number(libc::SYS_socket), &[1, 1]);
    assert_eq!(unix, refused(libc::EAFNOSUPPORT));
}

#[test]
fn without_namespaces_nothing_of_the_machine_is_shared() {
    let program = compile(Around::Machine);
    let call = |call, first| answer_to(&program, ARCHITECTURE, super::number(call), &[first, 1]);
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
        assert_eq!(call(libc::SYS_socket, family as u64), refused(libc::EAFNOSUPPORT));
    }
    assert_eq!(call(libc::SYS_socketpair, libc::AF_UNIX as u64), ALLOW);
    assert_eq!(call(libc::SYS_shmget, 0), UNKNOWN);
    assert_eq!(call(libc::SYS_mq_open, 0), UNKNOWN);
    assert_eq!(call(libc::SYS_read, 0), ALLOW);
}

//! Which system calls a task may make, as a program for the kernel.
//!
//! Everything that is not named is answered as if this kernel did not have it, which programs are
//! prepared for. The program is a search tree: it is compiled anew by the kernel for each step, and
//! the kernel tries it out for every call there is, which with a list of comparisons takes longer
//! than all the rest of making a room.

mod calls;

use nix::libc::{self, sock_filter};

use calls::{ALLOWED, Rule, SHARED, checked};

/// What is handed to the kernel.
pub(super) type Program = Vec<sock_filter>;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// Calls of the x32 ABI have this bit in their number, on an architecture that has it.
#[cfg(target_arch = "x86_64")]
const FOREIGN_FROM: u32 = 0x4000_0000;
#[cfg(target_arch = "aarch64")]
const FOREIGN_FROM: u32 = u32::MAX;

// Offsets in `struct seccomp_data`; of an argument this is the lower half, on the little-endian
// machines that both are.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// What a task finds outside of its own processes, and so could reach with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    /// Namespaces of its own.
    Nothing,
    /// The machine's network, being one of our own tools.
    Network,
    /// All that the machine has in common: there are no namespaces.
    Machine,
}

/// A test of one argument of a call; the first one that fails decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Test {
    argument: u32,
    mask: u32,
    one_of: Values,
    /// What the call is answered with otherwise.
    errno: i32,
}

/// Values of an argument, after its mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    In(&'static [u32]),
    NotIn(&'static [u32]),
}

/// Writes the program for tasks that have this around them.
pub(super) fn compile(around: Around) -> Program {
    let is_kept = |call: &&libc::c_long| around != Around::Machine || !SHARED.contains(*call);
    let allowed = ALLOWED.into_iter().flatten().filter(is_kept);
    let mut calls: Vec<(u32, Rule)> = allowed.map(|call| (number(*call), Rule::Allow)).collect();
    calls.extend(checked(around).into_iter().map(|(call, rule)| (number(call), rule)));
    calls.sort_by_key(|(number, _)| *number);
    let mut ranges = vec![(0, Rule::Refuse(libc::ENOSYS))];
    for (number, rule) in calls {
        // The range before this call ends here, and after it nothing is allowed again.
        if ranges.last().is_some_and(|(from, _)| *from == number) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|(_, before)| *before != rule) {
            ranges.push((number, rule));
        }
        ranges.push((number + 1, Rule::Refuse(libc::ENOSYS)));
    }
    let mut program = vec![
        instruction(LOAD, ARCH),
        branch(IF_EQUAL, ARCHITECTURE, 1, 0),
        instruction(RETURN, KILL),
        instruction(LOAD, NUMBER),
        branch(IF_LEAST, FOREIGN_FROM, 0, 1),
        instruction(RETURN, KILL),
    ];
    program.extend(search(&ranges));
    program
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).expect("no system call has a negative number")
}

/// Finds the range that the number in the accumulator is in; ranges begin where they say.
fn search(ranges: &[(u32, Rule)]) -> Program {
    if let [(_, rule)] = ranges {
        return decide(*rule);
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let (lower, upper) = (search(below), search(above));
    let mut program = Vec::with_capacity(2 + lower.len() + upper.len());
    let length = u32::try_from(lower.len()).expect("the program has some hundred instructions");
    match u8::try_from(length) {
        Ok(near) => program.push(branch(IF_LEAST, above[0].0, near, 0)),
        Err(_) => {
            program.push(branch(IF_LEAST, above[0].0, 0, 1));
            program.push(instruction(JUMP, length));
        }
    }
    program.extend(lower);
    program.extend(upper);
    program
}

/// Answers a call whose rule is this.
fn decide(rule: Rule) -> Program {
    match rule {
        Rule::Allow => vec![instruction(RETURN, ALLOW)],
        Rule::Refuse(libc::ENOSYS) => vec![instruction(RETURN, UNKNOWN)],
        Rule::Refuse(errno) => vec![answer(errno)],
        Rule::Pretend => vec![answer(0)],
        Rule::If(tests) => check_all(tests),
        Rule::IfWhere { argument, value, tests } => {
            let tests = check_all(tests);
            let length = u8::try_from(tests.len()).expect("there are few tests");
            let mut program = vec![
                instruction(LOAD, ARGUMENTS + 8 * argument),
                branch(IF_EQUAL, value, 0, length),
            ];
            program.extend(tests);
            program.push(instruction(RETURN, ALLOW));
            program
        }
        Rule::ByFirst(values, errno) => {
            let mut program = vec![instruction(LOAD, ARGUMENTS)];
            for (value, tests) in values {
                let tests = check_all(tests);
                let length = u8::try_from(tests.len()).expect("there are few tests");
                program.push(branch(IF_EQUAL, *value, 0, length));
                program.extend(tests);
            }
            program.push(answer(errno));
            program
        }
    }
}

/// Answers the call: with an error if one of the tests fails.
fn check_all(tests: &[Test]) -> Program {
    let mut program: Program = tests.iter().flat_map(|test| check(*test)).collect();
    program.push(instruction(RETURN, ALLOW));
    program
}

/// Answers the call if the test fails, and goes on behind it otherwise.
fn check(test: Test) -> Program {
    let mut program = vec![instruction(LOAD, ARGUMENTS + 8 * test.argument)];
    if test.mask != u32::MAX {
        program.push(instruction(AND, test.mask));
    }
    match test.one_of {
        Values::In(values) => {
            for (number, value) in values.iter().enumerate() {
                let behind = u8::try_from(values.len() - number).expect("there are few values");
                program.push(branch(IF_EQUAL, *value, behind, 0));
            }
            program.push(answer(test.errno));
        }
        Values::NotIn(values) => {
            for (number, value) in values.iter().enumerate() {
                let ahead = u8::try_from(values.len() - number).expect("there are few values");
                program.push(branch(IF_EQUAL, *value, ahead, 0));
            }
            program.push(instruction(JUMP, 1));
            program.push(answer(test.errno));
        }
    }
    program
}

fn answer(errno: i32) -> sock_filter {
    instruction(RETURN, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())
}

fn instruction(code: u32, value: u32) -> sock_filter {
    branch(code, value, 0, 0)
}

/// `if_so` and `if_not` are how many instructions are jumped over.
fn branch(code: u32, value: u32, if_so: u8, if_not: u8) -> sock_filter {
    let code = u16::try_from(code).expect("all codes are below 256");
    sock_filter { code, jt: if_so, jf: if_not, k: value }
}

#[cfg(test)]
mod tests;

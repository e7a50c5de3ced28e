//! Nothing of a task reaches the next one, whether of another job or of its own array.

use std::collections::BTreeMap;

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::task::{Packages, Program as Source, Work};

use crate::case::word;
use crate::cases;
use crate::job::{Job, RAM_MIB, Ran};
use crate::program::{Library, Program};
use crate::rig::Rig;
use crate::security;

/// More tasks than the worker has room for at once, so that some follow others.
const TASKS: u32 = 4;

#[test]
fn residue() {
    let library = Library::open();
    let Some(mut rig) = Rig::start() else { return };
    let (mut failures, mut rows) = (Vec::new(), Vec::new());
    // Whoever has the whole machine runs after the others, in the same sandbox if it is kept warm.
    let all_cores = rig.session.join.capacity.cpu_millis;
    for case in cases::RESIDUE {
        let Some(program) = library.program(case.name, false) else { continue };
        let single = Job { cpu_millis: all_cores, ..Job::new(program) };
        let array = Job { tasks: TASKS, ..single.clone() };
        let sharing = Job { shared_tmp: true, ..array.clone() };
        // Tasks that share `/tmp` may find each other's marks there; the job after them may not.
        rig.run(std::slice::from_ref(&sharing));
        let ran = rig.run(&[single.clone(), single, array.clone(), array]);
        failures.extend(ran.iter().flat_map(|ran| case.complaints(ran)));
        failures.extend(wrong_rooms(&ran));
        failures.extend(rig.harm());
        rows.push(case.row(rig.isolation()));
    }
    failures.extend(rig.leave());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    security::hold("residue", &rows, rows.len() == cases::RESIDUE.len());
}

/// Some task must have followed another of its job in one sandbox, or nothing was tried.
fn wrong_rooms(ran: &[Ran]) -> Option<String> {
    let mut rooms: BTreeMap<(JobId, String), u32> = BTreeMap::new();
    for ran in ran {
        let text = ran.text();
        let room = text.lines().find(|line| line.starts_with("room "))?;
        *rooms.entry((ran.ended.attempt.task.job, room.to_owned())).or_default() += 1;
    }
    let is_shared = rooms.values().any(|tasks| *tasks > 1);
    (!is_shared).then(|| format!("no sandbox was kept warm: {rooms:?}"))
}

/// How each task of an array ends when its predecessor in the same sandbox was as bad as can be.
#[test]
fn a_task_answers_for_itself_alone() {
    let Some(mut rig) = Rig::start() else { return };
    let all_cores = rig.session.join.capacity.cpu_millis;
    let source = r#"
import os, signal, sys, time
bad = [
    lambda: bytearray(200 << 20) and os._exit(0),
    lambda: [bytearray(10 << 20) for _ in range(1000)],
    lambda: [os.fork() or time.sleep(100) for _ in range(1000)],
    lambda: open("/job/full", "wb").write(bytes(100 << 20)),
    lambda: [open(f"/job/{n}", "w").close() for n in range(100000)],
    lambda: os.fork() == 0 and time.sleep(100) or os.kill(-1, 9) or os._exit(2),
    lambda: os.kill(os.getpid(), signal.SIGSEGV),
    lambda: os.kill(os.getpid(), signal.SIGSTOP),
]
index = int(os.environ["CAMPUSGRID_TASK_INDEX"])
if index % 2 == 0: bad[index // 2]()
print("fine"); sys.stdout.flush(); os._exit(40 + index)
"#;
    let program = Source::Source(source.to_owned());
    let work = Work::Python { program, packages: Packages::None };
    let program = Program { work, wall_s: 2 };
    let job = Job { cpu_millis: all_cores, tasks: 16, ..Job::new(program) };
    let ran = rig.run_one_array(&job);
    let ends: Vec<String> = ran.iter().map(|ran| word(&ran.ended.outcome)).collect();
    let bad: Vec<&str> = ends.iter().step_by(2).map(String::as_str).collect();
    assert_eq!(
        bad,
        [
            "done",
            "out of memory",
            "too many processes",
            "scratch full",
            "too many files",
            "exit code 2",
            "signal 11",
            "time limit",
        ]
    );
    for (index, ran) in ran.iter().enumerate().skip(1).step_by(2) {
        assert_eq!(ends[index], format!("exit code {}", 40 + index), "after {}", ends[index - 1]);
        assert_eq!(ran.text(), "fine\n");
        let peak = ran.ended.usage.ram_peak_mib;
        assert!(peak < RAM_MIB / 2, "{peak} MiB, which are its predecessor's");
        assert!(ran.ended.usage.run_ms < 2000, "{:?}", ran.ended.usage);
    }
    assert_eq!(rig.harm(), [""; 0]);
    assert_eq!(rig.leave(), [""; 0]);
}

//! Hostile jobs through a real worker: each is held, ends as named, and leaves nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests: helpers are not seen as such, and have deadlines of their own"
)]

mod canary;
mod case;
mod cases;
mod inputs;
mod job;
mod lives;
mod manager;
mod program;
mod remains;
mod residue;
mod rig;
mod sampler;
mod security;
#[expect(dead_code, reason = "the rest of it is for other tests")]
#[path = "../shared/tls.rs"]
mod tls;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::resource::Isolation;

use self::case::Case;
use self::job::{Job, Ran};
use self::program::Library;
use self::rig::Rig;

/// A program beside which others run gets a little less than a core, so that the neighbour fits in.
const BESIDE_MILLIS: u32 = 900;

#[test]
fn every_program_belongs_to_a_group() {
    let library = Library::open();
    let groups = [
        cases::RESOURCES,
        cases::OUR_RESOURCES,
        cases::ESCAPES,
        cases::OUR_ESCAPES,
        cases::OUTPUTS,
        cases::OUR_OUTPUTS,
        cases::RESIDUE,
    ];
    let known: BTreeSet<&str> = groups.iter().copied().flatten().map(|case| case.name).collect();
    let there: BTreeSet<&str> = library.names().into_iter().collect();
    let unknown: Vec<_> = there.difference(&known).collect();
    assert!(unknown.is_empty(), "without an expectation: {unknown:?}");
    if library.has_given {
        let missing: Vec<_> = known.difference(&there).collect();
        assert!(missing.is_empty(), "there is no such program: {missing:?}");
    } else {
        eprintln!("skipped: the folder of given programs is not here");
    }
}

#[test]
fn resources() {
    run_group("resources", cases::RESOURCES);
}

#[test]
fn our_resources() {
    run_group("our resources", cases::OUR_RESOURCES);
}

#[test]
fn escapes() {
    run_group("escapes", cases::ESCAPES);
}

#[test]
fn our_escapes() {
    run_group("our escapes", cases::OUR_ESCAPES);
}

#[test]
fn outputs() {
    run_group("outputs", cases::OUTPUTS);
}

#[test]
fn our_outputs() {
    run_group("our outputs", cases::OUR_OUTPUTS);
}

/// Runs a group two at a time, measured ones alone; each pair must leave the machine as it was.
fn run_group(table: &str, cases: &[Case]) {
    let library = Library::open();
    let Some(mut rig) = Rig::start() else { return };
    let level = rig.isolation();
    let (mut failures, mut rows) = (Vec::new(), Vec::new());
    let has_program = |case: &&Case| library.program(case.name, false).is_some();
    let chosen: Vec<&Case> = cases.iter().filter(has_program).filter(is_asked_for).collect();
    let victim = neighbour(&library, &mut rig);
    for pair in chosen.chunk_by(|a, b| !a.is_alone && !b.is_alone).flat_map(|run| run.chunks(2)) {
        let jobs: Vec<Job> = pair.iter().map(|case| job(&library, case)).collect();
        let all_ran = rig.run(&jobs);
        let names: Vec<&str> = pair.iter().map(|case| case.name).collect();
        for (case, ran) in pair.iter().zip(&all_ran) {
            if std::env::var_os("HOSTILE").is_some() {
                eprintln!("{}: {:?}\n{}", case.name, ran.ended, ran.text());
            }
            failures.extend(judge(case, ran).map(|words| format!("{}: {words}", case.name)));
            rows.push(case.row(level));
        }
        failures.extend(rig.harm().iter().map(|harm| format!("{names:?} left {harm}")));
        failures.extend(rig.ordinary_job_fails().map(|words| format!("{names:?}: {words}")));
    }
    failures.extend(untouched(&mut rig, victim).map(|words| format!("the neighbour: {words}")));
    failures.extend(rig.leave().iter().map(|left| format!("the worker left {left}")));
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    if rows.len() == cases.len() || !library.has_given {
        assert_eq!(level, Isolation::Full, "the table speaks of the strongest level");
        security::hold(table, &rows, rows.len() == cases.len());
    }
}

/// `HOSTILE=a0` runs those programs only whose name has this in it.
fn is_asked_for(case: &&Case) -> bool {
    std::env::var("HOSTILE").map_or(true, |part| case.name.contains(&part))
}

fn job(library: &Library, case: &Case) -> Job {
    let mut program = library.program(case.name, case.into_outputs).expect("it was chosen");
    program.wall_s = case.wall_s.unwrap_or(program.wall_s);
    Job { cpu_millis: BESIDE_MILLIS, ..Job::new(program) }
}

/// What is wrong with a run, in words.
fn judge(case: &Case, ran: &Ran) -> impl Iterator<Item = String> {
    let mut complaints = case.complaints(ran);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (case.check)(ran))) {
        let words = panic.downcast_ref::<String>().cloned();
        complaints.push(words.unwrap_or_else(|| "its check failed".to_owned()));
    }
    complaints.into_iter()
}

/// Starts the job beside which all others run, and waits until it is ready to be found.
fn neighbour(library: &Library, rig: &mut Rig) -> AttemptId {
    let mut program = library.program("victim", false).expect("it is one of ours");
    program.wall_s = 3600;
    let job = Job { cpu_millis: 100, ..Job::new(program) };
    rig.begin(&job)
}

/// Stops the neighbour and asks it whether anybody came.
fn untouched(rig: &mut Rig, victim: AttemptId) -> impl Iterator<Item = String> {
    let ran = rig.cancel(victim);
    let end = case::word(&ran.ended.outcome);
    let text = ran.text();
    (end != "cancelled" || text != "ready\n").then(|| format!("{end} {text:?}")).into_iter()
}

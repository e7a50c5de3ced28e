//! Every rule of the agent as a script: lines of "time what-happens" in, effects out.

mod owner;

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, BlobHash, WorkerId};
use campusgrid_protocol::message::{Comeback, ToManager, ToWorker};
use campusgrid_protocol::resource::{Capacity, Gpu, Isolation, Load, Needs, Speed};
use campusgrid_protocol::rules::{Kind, Limits, Phase, Shares, Whose};
use campusgrid_protocol::task::{
    BlobRef, Ended, Outcome, Output, Program, Saved, Stream, TaskSpec, Work, WorkerFault,
};
use campusgrid_sharing::verdict::Verdict;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::effect::{AgentEffect, AgentEffects, AgentInput, Progress, StopOrder};
use super::{Agent, AgentConfig};

fn agent() -> Agent {
    Agent::new(AgentConfig {
        name: "laptop".to_owned(),
        capacity: Capacity {
            cpu_millis: 4000,
            ram_mib: 1000,
            disk_mib: 1000,
            gpus: vec![gpu(), gpu()],
        },
        isolation: Isolation::Full,
        isolation_notes: Vec::new(),
        labels: vec!["python3.11".to_owned(), "image:lab/*".to_owned()],
        speed: Speed { core_permille: 1000, all_permille: 4000 },
        verdict: verdict(Phase::Open),
    })
}

fn gpu() -> Gpu {
    Gpu { model: "T4".to_owned(), memory_mib: 16_000, driver: "550".to_owned() }
}

fn verdict(phase: Phase) -> Verdict {
    let why = if phase == Phase::Open { "" } else { "in use" }.to_owned();
    let shares = Shares { phase, why, since_ms: 0, limits: Limits::default() };
    Verdict { shares, checkpoint_s: 20 }
}

/// An open machine whose owner limits it.
fn limited(change: impl FnOnce(&mut Limits)) -> AgentInput {
    let mut verdict = verdict(Phase::Open);
    change(&mut verdict.shares.limits);
    AgentInput::Verdict(Box::new(verdict))
}

fn saved() -> Saved {
    Saved { manifest: BlobRef { hash: BlobHash([7; 32]), size_bytes: 9 }, run_ms: 5000 }
}

fn start(attempt: &str, spec: Arc<TaskSpec>) -> ToWorker {
    ToWorker::Start {
        attempt: id(attempt),
        index: 0,
        spec,
        gpus: Vec::new(),
        lock: None,
        checkpoint: None,
        whose: "bob".to_owned(),
        name: "sums".to_owned(),
    }
}

fn id(text: &str) -> AttemptId {
    format!("{text}#1").parse().unwrap()
}

fn spec(cores: u32) -> Arc<TaskSpec> {
    let cpu_millis = cores * 1000;
    Arc::new(TaskSpec {
        work: Work::Shell { program: Program::Source("true".to_owned()) },
        needs: Needs { cpu_millis, ram_mib: 1, disk_mib: 1, gpus: 0, gpu_memory_mib: 0 },
        time_limit_s: 60,
        isolation: Isolation::Full,
        labels: Vec::new(),
        image: None,
        shared_tmp: false,
        tasks: 1,
        arguments: Vec::new(),
        inputs: None,
        lines: None,
        outputs: Vec::new(),
        warn_s: 0,
        checkpoint_s: 300,
    })
}

fn ended(attempt: AttemptId) -> Ended {
    Ended::empty(attempt, Outcome::Succeeded)
}

fn with_output(attempt: AttemptId) -> Ended {
    let blob = BlobRef { hash: BlobHash([1; 32]), size_bytes: 3 };
    Ended { outputs: vec![Output { path: "out.txt".to_owned(), blob }], ..ended(attempt) }
}

fn input(words: &[&str]) -> AgentInput {
    let received = AgentInput::Received;
    match *words {
        ["recovered", a] => AgentInput::Recovered(vec![ended(id(a))]),
        ["connected"] => AgentInput::Connected,
        ["disconnected"] => AgentInput::Disconnected,
        ["welcome"] => received(ToWorker::Welcome {
            worker: WorkerId(1),
            heartbeat_ms: 10_000,
            lease_ms: 90_000,
            owner: "ada".to_owned(),
            rules: Box::default(),
            earned_micros: 5,
        }),
        ["start", a, cores] => received(start(a, spec(cores.parse().unwrap()))),
        ["start-with-lock", a, known] => {
            let mut message = start(a, spec(1));
            if let ToWorker::Start { lock, .. } = &mut message {
                *lock = Some(known.into());
            }
            received(message)
        }
        ["start-of", a, user] => {
            let mut message = start(a, spec(1));
            if let ToWorker::Start { whose, .. } = &mut message {
                user.clone_into(whose);
            }
            received(message)
        }
        ["start-in-image", a] => {
            let spec = TaskSpec { image: Some("lab/x".to_owned()), ..TaskSpec::clone(&spec(1)) };
            received(start(a, Arc::new(spec)))
        }
        ["open"] => AgentInput::Verdict(Box::new(verdict(Phase::Open))),
        ["frozen"] => AgentInput::Verdict(Box::new(verdict(Phase::Frozen))),
        ["closed"] => AgentInput::Verdict(Box::new(verdict(Phase::Closed))),
        ["cores", most] => limited(|limits| limits.cores = Some(most.parse().unwrap())),
        ["at-once", most] => limited(|limits| limits.at_once = Some(most.parse().unwrap())),
        ["percent", of] => limited(|limits| limits.core_percent = of.parse().unwrap()),
        ["only", "mine"] => limited(|limits| limits.whose = Whose::Mine),
        ["only", "python"] => limited(|limits| limits.kinds = vec![Kind::Python]),
        ["only", "short"] => limited(|limits| limits.longest_s = Some(59)),
        ["stop-here", a] => AgentInput::StopHere { attempt: id(a) },
        ["saved", a] => AgentInput::Progress { attempt: id(a), progress: Progress::Saved(saved()) },
        ["finished-with-checkpoint", a] => {
            let outcome = Outcome::Returned(WorkerFault::Leaving);
            let checkpoint = Some(saved());
            let ended = Ended { checkpoint, ..Ended::empty(id(a), outcome) };
            AgentInput::Finished(Box::new(ended))
        }
        ["rules"] => received(ToWorker::Rules(Box::default())),
        ["earned", micros] => received(ToWorker::Earned { micros: micros.parse().unwrap() }),
        ["start-on-gpus", a, gpus] => {
            let gpus: Vec<u16> = gpus.split(',').map(|gpu| gpu.parse().unwrap()).collect();
            let mut spec = TaskSpec::clone(&spec(1));
            spec.needs.gpus = gpus.len() as u16;
            let mut message = start(a, Arc::new(spec));
            if let ToWorker::Start { gpus: granted, .. } = &mut message {
                *granted = gpus;
            }
            received(message)
        }
        ["start-requiring", a, label] => {
            let spec = TaskSpec { labels: vec![label.to_owned()], ..TaskSpec::clone(&spec(1)) };
            received(start(a, Arc::new(spec)))
        }
        ["cancel", a] => received(ToWorker::Cancel { attempt: id(a) }),
        ["drop", a] => received(ToWorker::Drop { attempt: id(a) }),
        ["stored", a] => received(ToWorker::Stored { attempt: id(a) }),
        ["renewed", sequence] => {
            received(ToWorker::Renewed { sequence: sequence.parse().unwrap() })
        }
        ["closing"] => {
            let (reason, comeback) = ("it restarts".to_owned(), Comeback::Later);
            received(ToWorker::Closing { reason, comeback })
        }
        ["closing-for-good"] => {
            let (reason, comeback) = ("removed".to_owned(), Comeback::Never);
            received(ToWorker::Closing { reason, comeback })
        }
        ["preparing", a] => {
            let progress = Progress::Preparing { step: "packages".to_owned() };
            AgentInput::Progress { attempt: id(a), progress }
        }
        ["resolved", a, lock] => {
            let progress = Progress::Resolved { lock: lock.to_owned() };
            AgentInput::Progress { attempt: id(a), progress }
        }
        ["locked", a, lock] => received(ToWorker::Locked { attempt: id(a), lock: lock.into() }),
        ["started", a] => AgentInput::Progress { attempt: id(a), progress: Progress::Started },
        ["printed", a] => {
            let stream = Stream::Stdout;
            let progress = Progress::Printed { stream, offset_bytes: 5, bytes: b"hi".to_vec() };
            AgentInput::Progress { attempt: id(a), progress }
        }
        ["finished", a] => AgentInput::Finished(Box::new(ended(id(a)))),
        ["finished-with-output", a] => AgentInput::Finished(Box::new(with_output(id(a)))),
        ["gone", a] => AgentInput::Gone { attempt: id(a) },
        ["uploaded", a] => AgentInput::Uploaded { attempt: id(a) },
        ["upload-failed", a] => AgentInput::UploadFailed { attempt: id(a) },
        ["upload-refused", a, reason] => {
            let blob = Some(BlobHash([1; 32]));
            AgentInput::UploadRefused { attempt: id(a), blob, reason: reason.to_owned() }
        }
        ["tick"] => AgentInput::Tick { load: Load::default(), jitter_permille: 0 },
        ["tick", jitter] => {
            let jitter_permille = jitter.parse().unwrap();
            AgentInput::Tick { load: Load::default(), jitter_permille }
        }
        ["leave"] => AgentInput::Leave,
        _ => panic!("no such input: {words:?}"),
    }
}

fn list(attempts: &[AttemptId]) -> String {
    attempts.iter().map(|attempt| format!(" {}", attempt.task)).collect()
}

fn show(effect: &AgentEffect) -> String {
    match effect {
        AgentEffect::Send(ToManager::Join(join)) => format!("send join{}", list(&join.attempts)),
        AgentEffect::Send(ToManager::Heartbeat { sequence, attempts, .. }) => {
            format!("send heartbeat {sequence}:{}", list(attempts))
        }
        AgentEffect::Send(ToManager::Preparing { attempt, step }) => {
            format!("send preparing {} {step}", attempt.task)
        }
        AgentEffect::Send(ToManager::Started { attempt }) => {
            format!("send started {}", attempt.task)
        }
        AgentEffect::Send(ToManager::LogPiece { attempt, offset_bytes, .. }) => {
            format!("send log of {} at {offset_bytes}", attempt.task)
        }
        AgentEffect::Send(ToManager::Ended(ended)) => {
            let words = match ended.left_behind.as_str() {
                "" => String::new(),
                words => format!(", {words}"),
            };
            format!("send ended {} {}{words}", ended.attempt.task, outcome(&ended.outcome))
        }
        AgentEffect::Send(ToManager::Checkpoint { attempt, saved }) => {
            format!("send checkpoint of {} at {} ms", attempt.task, saved.run_ms)
        }
        AgentEffect::Send(ToManager::Shares(shares)) => {
            format!("send {:?} {}", shares.phase, shares.why).to_lowercase().trim_end().to_owned()
        }
        AgentEffect::Send(ToManager::Renew { .. }) => panic!("not the agent's business"),
        AgentEffect::Send(ToManager::Leaving) => "send leaving".to_owned(),
        AgentEffect::Send(ToManager::Locked { attempt, lock }) => {
            format!("send locked {} {lock}", attempt.task)
        }
        AgentEffect::Lock { attempt, lock } => format!("install {} {lock}", attempt.task),
        AgentEffect::Run { attempt, order } => {
            let lock = order.lock.as_ref().map(|lock| format!(" with {lock}")).unwrap_or_default();
            let gpus = match order.gpus.as_slice() {
                [] => String::new(),
                gpus => format!(" on gpus {gpus:?}"),
            };
            let share = match order.core_percent {
                100 => String::new(),
                percent => format!(" at {percent} %"),
            };
            format!("run {}{lock}{gpus}{share}", attempt.task)
        }
        AgentEffect::Stop { attempt, order: StopOrder::Report(why) } => {
            format!("stop {}, report {}", attempt.task, outcome(why))
        }
        AgentEffect::Stop { attempt, order: StopOrder::HandBack { grace_s } } => {
            format!("hand {} back within {grace_s} s", attempt.task)
        }
        AgentEffect::Stop { attempt, order: StopOrder::Forget } => {
            format!("stop {}, forget", attempt.task)
        }
        AgentEffect::Spool(ended) => {
            format!("spool {} {}", ended.attempt.task, outcome(&ended.outcome))
        }
        AgentEffect::Unspool { attempt } => format!("unspool {}", attempt.task),
        AgentEffect::Upload { attempt, checkpoint: None, .. } => format!("upload {}", attempt.task),
        AgentEffect::Upload { attempt, checkpoint: Some(_), blobs } => {
            format!("upload {} with a checkpoint, {} blobs named", attempt.task, blobs.len())
        }
        AgentEffect::Freeze => "freeze".to_owned(),
        AgentEffect::Thaw => "thaw".to_owned(),
        AgentEffect::Rules(_) => "new rules".to_owned(),
        AgentEffect::Earned { micros } => format!("earned {micros}"),
        AgentEffect::Disconnect { reason } => format!("disconnect: {reason}"),
        AgentEffect::Dismissed { reason } => format!("dismissed: {reason}"),
        AgentEffect::Welcomed { owner } => format!("works for {owner}"),
        AgentEffect::Left => "left".to_owned(),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Returned(fault) => format!("{fault:?}").to_lowercase(),
        Outcome::Succeeded | Outcome::Failed(_) | Outcome::Cancelled => {
            format!("{outcome:?}").to_lowercase()
        }
    }
}

/// Runs `script` after a first session is welcomed at 0 s; times are seconds.
fn check(script: &str, expected: Expect) {
    let welcomed = format!("0 connected\n0 welcome\n0 tick\n{script}");
    let said = play(&welcomed);
    let rest = said.split_once("heartbeat 1:\n").unwrap().1;
    expected.assert_eq(rest);
}

fn play(script: &str) -> String {
    let mut agent = agent();
    let mut said = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now_ms = words[0].parse::<u64>().unwrap() * 1000;
        let mut effects = AgentEffects::default();
        agent.handle(now_ms, input(&words[1..]), &mut effects);
        for effect in &effects.effects {
            said.push_str(&format!("{:>3} {}\n", words[0], show(effect)));
        }
    }
    let next = agent.next_deadline().map_or_else(|| "never".to_owned(), |ms| ms.to_string());
    said.push_str(&format!("then{}; next at {next}\n", list(&agent.attempts())));
    said
}

#[test]
fn a_task_runs_is_reported_and_forgotten() {
    check(
        "1 start 1.0 1
         2 preparing 1.0
         3 started 1.0
         4 printed 1.0
         5 finished 1.0
         6 stored 1.0",
        expect![[r#"
              1 run 1.0
              2 send preparing 1.0 packages
              3 send started 1.0
              4 send log of 1.0 at 5
              5 send ended 1.0 succeeded
              6 unspool 1.0
            then; next at 10000
        "#]],
    );
}

#[test]
fn a_repeated_start_changes_nothing() {
    check(
        "1 start 1.0 1
         2 start 1.0 1
         3 finished 1.0
         4 start 1.0 1",
        expect![[r#"
              1 run 1.0
              3 send ended 1.0 succeeded
            then 1.0; next at 8000
        "#]],
    );
}

#[test]
fn a_start_waits_until_what_is_dying_is_dead() {
    check(
        "1 start 1.0 4
         2 cancel 1.0
         2 start 2.0 4
         3 tick
         4 finished 1.0",
        expect![[r#"
              1 run 1.0
              2 stop 1.0, report cancelled
              4 send ended 1.0 succeeded
              4 run 2.0
            then 1.0 2.0; next at 9000
        "#]],
    );
}

#[test]
fn a_dropped_attempt_holds_its_room_until_it_is_gone_and_is_not_listed() {
    check(
        "1 start 1.0 4
         2 drop 1.0
         2 start 2.0 4
         10 tick
         11 gone 1.0",
        expect![[r#"
              1 run 1.0
              2 stop 1.0, forget
             10 send heartbeat 2: 2.0
             11 run 2.0
            then 2.0; next at 20000
        "#]],
    );
}

#[test]
fn a_start_that_never_fits_is_returned() {
    check(
        "1 start 1.0 5
         1 finished 1.0",
        expect![[r#"
              1 spool 1.0 sandbox { message: "the task needs more than this machine offers" }
              1 send ended 1.0 succeeded
            then 1.0; next at 6000
        "#]],
    );
}

#[test]
fn what_waits_is_started_in_order_and_a_smaller_one_may_pass() {
    check(
        "1 start 1.0 3
         1 start 2.0 2
         1 start 3.0 1
         1 start 4.0 1
         2 finished 1.0",
        expect![[r#"
              1 run 1.0
              1 run 3.0
              2 send ended 1.0 succeeded
              2 run 2.0
              2 run 4.0
            then 1.0 2.0 3.0 4.0; next at 7000
        "#]],
    );
}

#[test]
fn a_cancelled_attempt_that_waits_is_reported_without_a_run() {
    check(
        "1 start 1.0 4
         1 start 2.0 4
         2 cancel 2.0
         2 finished 2.0
         3 stored 2.0",
        expect![[r#"
              1 run 1.0
              2 spool 2.0 cancelled
              2 send ended 2.0 succeeded
              3 unspool 2.0
            then 1.0; next at 10000
        "#]],
    );
}

#[test]
fn cancel_twice_stops_once_and_a_drop_replaces_it() {
    check(
        "1 start 1.0 4
         2 cancel 1.0
         2 cancel 1.0
         3 drop 1.0
         3 drop 1.0
         4 finished 1.0",
        expect![[r#"
              1 run 1.0
              2 stop 1.0, report cancelled
              3 stop 1.0, forget
              4 unspool 1.0
            then; next at 10000
        "#]],
    );
}

#[test]
fn a_drop_of_a_spooled_end_deletes_it() {
    check(
        "1 start 1.0 4
         2 finished 1.0
         3 drop 1.0",
        expect![[r#"
              1 run 1.0
              2 send ended 1.0 succeeded
              3 unspool 1.0
            then; next at 10000
        "#]],
    );
}

#[test]
fn a_heartbeat_lists_what_runs_waits_and_is_spooled() {
    check(
        "1 start 1.0 4
         1 start 2.0 4
         1 finished 1.0
         1 start 3.0 4
         10 tick -100
         19 tick 100
         29 tick
         30 tick",
        expect![[r#"
              1 run 1.0
              1 send ended 1.0 succeeded
              1 run 2.0
             10 send heartbeat 2: 1.0 2.0 3.0
             10 send ended 1.0 succeeded
             19 send heartbeat 3: 1.0 2.0 3.0
             29 send ended 1.0 succeeded
             30 send heartbeat 4: 1.0 2.0 3.0
            then 1.0 2.0 3.0; next at 31000
        "#]],
    );
}

#[test]
fn a_lease_is_renewed_from_the_sending_of_the_heartbeat_that_listed_it() {
    check(
        "5 start 1.0 1
         10 tick
         15 start 2.0 1
         29 renewed 2
         30 disconnected",
        expect![[r#"
              5 run 1.0
             10 send heartbeat 2: 1.0
             15 run 2.0
            then 1.0 2.0; next at 90000
        "#]],
    );
}

#[test]
fn an_answer_to_no_heartbeat_renews_nothing() {
    check(
        "5 start 1.0 1
         6 renewed 77
         6 disconnected",
        expect![[r#"
              5 run 1.0
            then 1.0; next at 90000
        "#]],
    );
}

#[test]
fn an_attempt_is_returned_when_its_lease_is_over() {
    check(
        "1 start 1.0 4
         1 start 2.0 4
         2 disconnected
         89 tick
         90 tick
         92 finished 2.0
         93 finished 1.0
         94 connected
         94 welcome",
        expect![[r#"
              1 run 1.0
             90 stop 1.0, report leaseover
             90 spool 2.0 leaseover
             94 send join 1.0 2.0
             94 works for ada
             94 new rules
             94 earned 5
             94 send ended 1.0 succeeded
             94 send ended 2.0 succeeded
            then 1.0 2.0; next at 94000
        "#]],
    );
}

/// The manager may have sent it long ago, and have started the task elsewhere since.
#[test]
fn a_start_that_waited_for_a_suspended_machine_to_wake_up_is_not_run() {
    check(
        "10 tick
         11 renewed 2
         99 start 1.0 1
         101 start 2.0 1",
        expect![[r#"
             10 send heartbeat 2:
             99 run 1.0
            101 stop 1.0, report leaseover
            101 spool 2.0 leaseover
            then 1.0 2.0; next at 20000
        "#]],
    );
}

#[test]
fn an_end_is_repeated_at_each_connection_until_it_is_stored() {
    check(
        "1 start 1.0 1
         2 disconnected
         3 finished 1.0
         4 connected
         4 welcome
         5 disconnected
         6 connected
         6 welcome
         7 stored 1.0
         7 stored 1.0",
        expect![[r#"
              1 run 1.0
              4 send join 1.0
              4 works for ada
              4 new rules
              4 earned 5
              4 send ended 1.0 succeeded
              6 send join 1.0
              6 works for ada
              6 new rules
              6 earned 5
              6 send ended 1.0 succeeded
              7 unspool 1.0
            then; next at 6000
        "#]],
    );
}

#[test]
fn blobs_are_uploaded_before_the_end_is_sent_and_again_in_a_new_session() {
    check(
        "1 start 1.0 1
         2 finished-with-output 1.0
         3 upload-failed 1.0
         7 tick
         8 tick
         9 uploaded 1.0
         10 disconnected
         11 connected
         11 welcome
         12 disconnected
         13 uploaded 1.0
         14 connected
         14 welcome
         15 uploaded 1.0",
        expect![[r#"
              1 run 1.0
              2 upload 1.0
              8 upload 1.0
              9 send ended 1.0 succeeded
             11 send join 1.0
             11 works for ada
             11 new rules
             11 earned 5
             11 upload 1.0
             14 send join 1.0
             14 works for ada
             14 new rules
             14 earned 5
             14 upload 1.0
             15 send ended 1.0 succeeded
            then 1.0; next at 14000
        "#]],
    );
}

#[test]
fn progress_is_repeated_in_a_new_session_and_log_pieces_are_not() {
    check(
        "1 start 1.0 1
         1 start 2.0 1
         2 disconnected
         3 preparing 1.0
         3 started 2.0
         3 printed 2.0
         4 connected
         4 started 2.0
         5 welcome",
        expect![[r#"
              1 run 1.0
              1 run 2.0
              4 send join 1.0 2.0
              5 works for ada
              5 new rules
              5 earned 5
              5 send preparing 1.0 packages
              5 send started 2.0
            then 1.0 2.0; next at 5000
        "#]],
    );
}

#[test]
fn what_packages_came_to_is_told_until_the_manager_has_answered_what_to_install() {
    check(
        "1 start 1.0 1
         2 preparing 1.0
         2 resolved 1.0 mine
         3 disconnected
         4 connected
         5 welcome
         6 locked 1.0 first
         6 locked 1.0 second
         7 disconnected
         8 connected
         8 welcome",
        expect![[r#"
              1 run 1.0
              2 send preparing 1.0 packages
              2 send locked 1.0 mine
              4 send join 1.0
              5 works for ada
              5 new rules
              5 earned 5
              5 send preparing 1.0 packages
              5 send locked 1.0 mine
              6 install 1.0 first
              8 send join 1.0
              8 works for ada
              8 new rules
              8 earned 5
              8 send preparing 1.0 packages
            then 1.0; next at 8000
        "#]],
    );
}

#[test]
fn a_lock_reaches_only_a_run_that_waits_for_one() {
    check(
        "1 start-with-lock 1.0 given
         2 locked 1.0 other
         2 locked 7.0 other
         3 start 2.0 1
         3 resolved 2.0 mine
         4 cancel 2.0
         5 locked 2.0 other
         6 finished 2.0
         7 locked 2.0 other",
        expect![[r#"
              1 run 1.0 with given
              3 run 2.0
              3 send locked 2.0 mine
              4 stop 2.0, report cancelled
              6 send ended 2.0 succeeded
            then 1.0 2.0; next at 10000
        "#]],
    );
}

#[test]
fn a_gpu_is_used_by_one_task_until_that_is_dead_whatever_the_manager_thinks() {
    check(
        "1 start-on-gpus 1.0 0
         2 drop 1.0
         2 start-on-gpus 2.0 0
         2 start-on-gpus 3.0 1
         3 gone 1.0",
        expect![[r#"
              1 run 1.0 on gpus [0]
              2 stop 1.0, forget
              2 run 3.0 on gpus [1]
              3 run 2.0 on gpus [0]
            then 2.0 3.0; next at 10000
        "#]],
    );
}

#[test]
fn gpus_and_labels_that_are_not_here_are_returned() {
    check(
        "1 start-on-gpus 1.0 2
         2 start-on-gpus 2.0 0,1
         3 start-requiring 3.0 python3.12
         4 start-requiring 4.0 image:lab/a@sha256:0
         5 start-requiring 5.0 image:other",
        expect![[r#"
              1 spool 1.0 gpu { message: "number 2 is granted, which this machine does not have" }
              2 run 2.0 on gpus [0, 1]
              3 spool 3.0 sandbox { message: "the task requires python3.12, which this machine does not offer" }
              4 run 4.0
              5 spool 5.0 sandbox { message: "the task requires image:other, which this machine does not offer" }
            then 1.0 2.0 3.0 4.0 5.0; next at 10000
        "#]],
    );
}

#[test]
fn a_silent_manager_is_hung_up_on() {
    check(
        "5 renewed 99
         10 tick
         20 tick
         30 tick
         34 tick
         35 tick
         36 tick",
        expect![[r#"
             10 send heartbeat 2:
             20 send heartbeat 3:
             30 send heartbeat 4:
             35 disconnect: no word from the manager for 30000 ms
            then; next at never
        "#]],
    );
}

#[test]
fn a_manager_that_never_welcomes_is_hung_up_on() {
    expect![[r#"
          0 send join
         30 disconnect: no word from the manager for 30000 ms
        then; next at never
    "#]]
    .assert_eq(&play("0 connected\n29 tick\n30 tick"));
}

#[test]
fn a_session_that_the_manager_closes_is_over() {
    check(
        "1 closing",
        expect![[r#"
          1 disconnect: it restarts
        then; next at never
    "#]],
    );
}

#[test]
fn a_manager_that_wants_this_worker_no_more_is_left_and_results_stay() {
    check(
        "1 start 1.0 4
         1 start 2.0 1
         1 start 3.0 4
         2 finished 2.0
         3 closing-for-good
         4 finished 3.0
         5 finished 1.0",
        expect![[r#"
              1 run 1.0
              2 send ended 2.0 succeeded
              3 dismissed: removed
              3 hand 1.0 back within 20 s
              3 spool 3.0 leaving
              5 left
            then 1.0 2.0 3.0; next at never
        "#]],
    );
}

#[test]
fn an_end_is_repeated_with_growing_pauses_until_the_manager_answers() {
    check(
        "1 start 1.0 1
         2 finished 1.0
         6 tick
         7 tick
         16 tick
         17 tick
         18 renewed 2
         37 tick
         38 renewed 3
         40 disconnected
         41 connected
         42 welcome
         46 tick
         47 tick
         48 stored 1.0",
        expect![[r#"
              1 run 1.0
              2 send ended 1.0 succeeded
              7 send ended 1.0 succeeded
             16 send heartbeat 2: 1.0
             17 send ended 1.0 succeeded
             37 send heartbeat 3: 1.0
             37 send ended 1.0 succeeded
             41 send join 1.0
             42 works for ada
             42 new rules
             42 earned 5
             42 send ended 1.0 succeeded
             46 send heartbeat 4: 1.0
             47 send ended 1.0 succeeded
             48 unspool 1.0
            then; next at 56000
        "#]],
    );
}

#[test]
fn what_packages_came_to_is_repeated_in_a_session_until_the_manager_answers() {
    check(
        "1 start 1.0 1
         2 resolved 1.0 mine
         6 tick
         7 tick
         8 locked 1.0 mine
         17 tick",
        expect![[r#"
              1 run 1.0
              2 send locked 1.0 mine
              7 send locked 1.0 mine
              8 install 1.0 mine
             17 send heartbeat 2: 1.0
            then 1.0; next at 27000
        "#]],
    );
}

#[test]
fn uploads_that_fail_are_tried_less_and_less_often() {
    check(
        "1 start 1.0 1
         1 finished-with-output 1.0
         2 upload-failed 1.0
         6 tick
         7 tick
         8 upload-failed 1.0
         17 tick
         18 tick
         19 uploaded 1.0",
        expect![[r#"
              1 run 1.0
              1 upload 1.0
              7 upload 1.0
             17 send heartbeat 2: 1.0
             18 upload 1.0
             19 send ended 1.0 succeeded
            then 1.0; next at 27000
        "#]],
    );
}

#[test]
fn a_blob_that_the_manager_never_wants_is_left_behind_with_its_reason() {
    check(
        "1 start 1.0 1
         1 finished-with-output 1.0
         2 upload-refused 1.0 too-large
         3 upload-refused 1.0 late
         4 stored 1.0",
        expect![[r#"
              1 run 1.0
              1 upload 1.0
              2 send ended 1.0 succeeded, the manager did not take out.txt: too-large
              4 unspool 1.0
            then; next at 10000
        "#]],
    );
}

#[test]
fn no_more_than_a_few_uploads_are_under_way_and_none_is_forgotten() {
    let starts = (1..=10).map(|job| format!("1 start {job}.0 1\n1 finished-with-output {job}.0\n"));
    let script = starts.collect::<String>()
        + "2 upload-failed 1.0
           3 uploaded 2.0
           8 uploaded 3.0";
    check(
        &script,
        expect![[r#"
          1 run 1.0
          1 upload 1.0
          1 run 2.0
          1 upload 2.0
          1 run 3.0
          1 upload 3.0
          1 run 4.0
          1 upload 4.0
          1 run 5.0
          1 upload 5.0
          1 run 6.0
          1 upload 6.0
          1 run 7.0
          1 upload 7.0
          1 run 8.0
          1 upload 8.0
          1 run 9.0
          1 run 10.0
          2 upload 9.0
          3 send ended 2.0 succeeded
          3 upload 10.0
          8 send ended 3.0 succeeded
          8 upload 1.0
          8 send ended 2.0 succeeded
        then 1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0 10.0; next at 10000
    "#]],
    );
}

/// The laptop sleeps from second 21 to second 200; what was on its way comes when it wakes up.
#[test]
fn a_lease_that_ended_while_the_machine_was_suspended_is_over_whatever_comes_first() {
    for first in ["renewed 2", "tick", "disconnected", "start 2.0 1", "started 1.0"] {
        let script = format!(
            "1 start 1.0 4
             10 tick
             11 renewed 2
             20 tick
             200 {first}
             201 tick
             202 finished 1.0"
        );
        let said = play(&format!("0 connected\n0 welcome\n0 tick\n{script}"));
        let stopped = said.find("200 stop 1.0, report leaseover");
        assert!(stopped.is_some(), "after {first}:\n{said}");
        // What came during the sleep must not run on a lease from before it.
        assert!(!said.contains("run 2.0"), "after {first}:\n{said}");
    }
}

#[test]
fn a_suspension_shorter_than_the_lease_costs_nothing() {
    check(
        "1 start 1.0 4
         10 tick
         11 renewed 2
         20 tick
         95 renewed 3
         96 tick
         97 renewed 4",
        expect![[r#"
              1 run 1.0
             10 send heartbeat 2: 1.0
             20 send heartbeat 3: 1.0
             96 send heartbeat 4: 1.0
            then 1.0; next at 106000
        "#]],
    );
}

#[test]
fn what_is_found_in_the_spool_is_listed_and_sent() {
    expect![[r#"
          0 send join 5.0
          1 works for ada
          1 new rules
          1 earned 5
          1 send ended 5.0 succeeded
          1 send heartbeat 1: 5.0
        then 5.0; next at 6000
    "#]]
    .assert_eq(&play("0 recovered 5.0\n0 connected\n1 welcome\n1 tick"));
}

#[test]
fn leaving_returns_everything_waits_for_confirmation_and_says_goodbye() {
    check(
        "1 start 1.0 4
         1 start 2.0 4
         2 leave
         2 finished 2.0
         3 start 3.0 1
         3 finished 3.0
         4 finished 1.0
         5 stored 1.0
         5 stored 2.0
         5 stored 3.0
         6 leave",
        expect![[r#"
              1 run 1.0
              2 send closed its worker is being shut down
              2 hand 1.0 back within 20 s
              2 spool 2.0 leaving
              2 send ended 2.0 succeeded
              3 spool 3.0 leaving
              3 send ended 3.0 succeeded
              4 send ended 1.0 succeeded
              5 unspool 1.0
              5 unspool 2.0
              5 unspool 3.0
              5 send leaving
              5 left
            then; next at 10000
        "#]],
    );
}

#[test]
fn leaving_does_not_wait_for_a_manager_for_ever_nor_for_an_absent_one() {
    check(
        "1 start 1.0 4
         2 leave
         3 finished 1.0
         11 tick
         20 renewed 2
         32 tick",
        expect![[r#"
              1 run 1.0
              2 send closed its worker is being shut down
              2 hand 1.0 back within 20 s
              3 send ended 1.0 succeeded
             11 send heartbeat 2: 1.0
             11 send ended 1.0 succeeded
             32 send heartbeat 3: 1.0
             32 send ended 1.0 succeeded
             32 send leaving
             32 left
            then 1.0; next at 42000
        "#]],
    );
    check(
        "1 start 1.0 4
         1 disconnected
         2 leave
         3 finished 1.0",
        expect![[r#"
              1 run 1.0
              2 hand 1.0 back within 20 s
              3 left
            then 1.0; next at never
        "#]],
    );
}

#[test]
fn a_stronger_sandbox_than_there_is_returns_the_task() {
    let mut agent = agent();
    agent.config.isolation = Isolation::None;
    let mut effects = AgentEffects::default();
    agent.handle(0, input(&["start", "1.0", "1"]), &mut effects);
    let AgentEffect::Spool(ended) = &effects.effects[0] else { panic!("{effects:?}") };
    assert!(matches!(ended.outcome, Outcome::Returned(WorkerFault::Sandbox { .. })));
}

/// A step of a random walk: which kind, which attempt, how much later.
fn steps() -> impl Strategy<Value = Vec<(u8, u8, u16)>> {
    prop::collection::vec((0..20u8, 0..6u8, 0..40_000u16), 0..200)
}

proptest! {
    /// Whatever comes in whatever order, the machine is never overfilled, and once everything is
    /// dead, on disk and confirmed, nothing is left.
    #[test]
    fn a_random_walk_never_overfills_and_leaves_nothing(steps in steps()) {
        let mut agent = agent();
        let mut now_ms = 0;
        let mut running: Vec<AttemptId> = Vec::new();
        let mut spooling: Vec<Ended> = Vec::new();
        for (kind, number, pause_ms) in steps {
            now_ms += u64::from(pause_ms);
            let attempt = format!("{number}.0");
            let cores = (number % 4 + 1).to_string();
            let next = match kind {
                0 => input(&["connected"]),
                1 => input(&["disconnected"]),
                2 => input(&["welcome"]),
                3..=6 => input(&["start", &attempt, &cores]),
                7 => input(&["cancel", &attempt]),
                8 => input(&["drop", &attempt]),
                9 => input(&["stored", &attempt]),
                10 => input(&["renewed", &attempt[..1]]),
                11 if !running.is_empty() => {
                    AgentInput::Finished(Box::new(ended(running.swap_remove(0))))
                }
                12 if !running.is_empty() => AgentInput::Gone { attempt: running.swap_remove(0) },
                13 if !spooling.is_empty() => {
                    AgentInput::Finished(Box::new(spooling.swap_remove(0)))
                }
                16 => input(&["open"]),
                17 => input(&["frozen"]),
                18 => input(&["closed"]),
                19 => input(&["stop-here", &attempt]),
                _ => input(&["tick"]),
            };
            // A run may be forgotten only after the agent asked for it.
            let mut effects = AgentEffects::default();
            agent.handle(now_ms, next, &mut effects);
            take_up(effects, &mut running, &mut spooling);
            prop_assert!(agent.room_in_use().cpu_millis <= 4000);
        }
        let mut effects = AgentEffects::default();
        agent.handle(now_ms, input(&["open"]), &mut effects);
        agent.handle(now_ms, AgentInput::Connected, &mut effects);
        agent.handle(now_ms, input(&["welcome"]), &mut effects);
        take_up(effects, &mut running, &mut spooling);
        while !agent.attempts().is_empty() || !running.is_empty() || !spooling.is_empty() {
            let mut effects = AgentEffects::default();
            for attempt in std::mem::take(&mut running) {
                agent.handle(now_ms, AgentInput::Finished(Box::new(ended(attempt))), &mut effects);
            }
            for ended in std::mem::take(&mut spooling) {
                agent.handle(now_ms, AgentInput::Finished(Box::new(ended)), &mut effects);
            }
            for attempt in agent.attempts() {
                let stored = AgentInput::Received(ToWorker::Stored { attempt });
                agent.handle(now_ms, stored, &mut effects);
            }
            take_up(effects, &mut running, &mut spooling);
        }
        prop_assert_eq!(agent.room_in_use(), super::room::Room::default());
    }
}

fn take_up(effects: AgentEffects, running: &mut Vec<AttemptId>, spooling: &mut Vec<Ended>) {
    for effect in effects.effects {
        match effect {
            AgentEffect::Run { attempt, .. } => {
                assert!(!running.contains(&attempt), "{attempt} runs twice");
                running.push(attempt);
            }
            AgentEffect::Spool(ended) => spooling.push(*ended),
            AgentEffect::Send(_)
            | AgentEffect::Lock { .. }
            | AgentEffect::Stop { .. }
            | AgentEffect::Freeze
            | AgentEffect::Thaw
            | AgentEffect::Rules(_)
            | AgentEffect::Earned { .. }
            | AgentEffect::Unspool { .. }
            | AgentEffect::Upload { .. }
            | AgentEffect::Disconnect { .. }
            | AgentEffect::Dismissed { .. }
            | AgentEffect::Welcomed { .. }
            | AgentEffect::Left => {}
        }
    }
}

//! The real worker binary against a made-up manager: sockets, sandbox, spool, signals.
//!
//! Where the sandbox does not work the same tests run without one, and say so.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests: helpers are not seen as such"
)]

mod disk;
mod files;
mod inputs;
mod joining;
mod manager;
mod owner;
#[path = "../shared/tls.rs"]
mod tls;
mod worker;

use std::time::Duration;

use campusgrid_protocol::message::{BulkToManager, BulkToWorker, ToManager, ToWorker};
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::{
    Content, Ended, Failure, Outcome, Packages, Program, Work, WorkerFault,
};
use nix::sys::signal::{Signal, kill};

use self::manager::{LIFE, Manager};
use self::worker::Worker;

fn text(content: &Content) -> String {
    match content {
        Content::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Content::Blob(blob) => format!("blob of {} bytes", blob.size_bytes),
    }
}

/// The whole environment of a job, from the index to the sandbox; skipped without either.
#[test]
fn packages_are_resolved_told_and_installed_from_the_lock_that_the_manager_answers() {
    let Some(uv) = worker::uv() else {
        eprintln!("skipped: uv is not installed");
        return;
    };
    let manager = Manager::listen();
    let _worker = Worker::start_with(&manager, &[], &uv);
    let (mut link, _) = manager.welcome_new();
    link.start("1.0#1", python("import six; print(six.__version__)", &["six==1.16.0"]));
    let mut steps = Vec::new();
    let resolved = link.find(|message| match message {
        ToManager::Preparing { step, .. } => {
            steps.push(step);
            None
        }
        ToManager::Locked { lock, .. } => Some(Ok(lock)),
        ToManager::Ended(ended) => Some(Err(ended.outcome)),
        other @ (ToManager::Join(_)
        | ToManager::Heartbeat { .. }
        | ToManager::Started { .. }
        | ToManager::LogPiece { .. }
        | ToManager::Checkpoint { .. }
        | ToManager::Shares(_)
        | ToManager::Renew { .. }
        | ToManager::Leaving) => panic!("{other:?}"),
    });
    let resolved = match resolved.expect("the worker hung up") {
        Ok(lock) => lock,
        Err(outcome) => {
            assert!(matches!(outcome, Outcome::Returned(_)), "{outcome:?}");
            eprintln!("skipped: no package index: {outcome:?}");
            return;
        }
    };
    assert!(
        resolved.contains("\nsix==1.16.0 ;") && resolved.contains(" --hash=sha256:"),
        "{resolved}"
    );
    assert!(steps.iter().any(|step| step == "resolving 1 package"), "{steps:?}");
    // Another worker was faster, and has found something else.
    let hash = "8b74bedcbbbaca38ff6d7491d76f2b06b3592611af620f8426e82dddb04a5ced";
    let lock = format!("six==1.15.0 --hash=sha256:{hash}\n").into();
    link.send(&ToWorker::Locked { attempt: "1.0#1".parse().unwrap(), lock });
    assert_eq!(words(&link.end()), "Succeeded \"1.15.0\\n\" \"\"");
}

/// What an earlier worker may have sent as the packages of a job whose text says them already.
#[test]
fn a_text_with_hashes_is_never_replaced_by_what_the_grid_holds() {
    let Some(uv) = worker::uv() else {
        eprintln!("skipped: uv is not installed");
        return;
    };
    let manager = Manager::listen();
    let _worker = Worker::start_with(&manager, &[], &uv);
    let (mut link, _) = manager.welcome_new();
    let hash = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254";
    let text = format!("six==1.16.0 --hash=sha256:{hash}");
    let uv_lock = format!(
        "version = 1\nrequires-python = \">=3.9\"\n\
         [[package]]\nname = \"work\"\nversion = \"1\"\nsource = {{ virtual = \".\" }}\n\
         dependencies = [{{ name = \"six\" }}]\n\
         [[package]]\nname = \"six\"\nversion = \"1.16.0\"\n\
         source = {{ registry = \"https://pypi.org/simple\" }}\n\
         wheels = [{{ url = \"https://pypi.org/six-1.16.0-py2.py3-none-any.whl\", \
         hash = \"sha256:{hash}\", size = 11053 }}]\n"
    );
    let foreign = format!("# requires-python: >=3.99\nsix==1.16.0 --hash=sha256:{:064}\n", 0);
    let uv_lock = Packages::UvLock { text: uv_lock };
    for (attempt, packages, lock) in [
        ("1.0#1", Packages::Hashed { text }, Some(foreign.clone())),
        ("2.0#1", uv_lock.clone(), Some(foreign)),
        ("3.0#1", uv_lock, None), // Nobody would answer a question about it.
    ] {
        let program = Program::Source("import six; print(six.__version__)".to_owned());
        link.start_locked(attempt, Work::Python { program, packages }, lock);
        let ended = link.end();
        if let Outcome::Returned(WorkerFault::Environment { message }) = &ended.outcome
            && !message.contains(">=3.99")
        {
            eprintln!("skipped: no package index: {message}");
            return;
        }
        assert_eq!(words(&ended), "Succeeded \"1.16.0\\n\" \"\"");
    }
}

fn python(source: &str, requirements: &[&str]) -> Work {
    let requirements: Vec<String> = requirements.iter().map(|&line| line.to_owned()).collect();
    let packages = match requirements.is_empty() {
        true => Packages::None,
        false => Packages::Names { requirements, requires_python: None },
    };
    Work::Python { program: Program::Source(source.to_owned()), packages }
}

fn words(ended: &Ended) -> String {
    format!(
        "{:?} {:?} {:?}",
        ended.outcome,
        text(&ended.stdout.content),
        text(&ended.stderr.content)
    )
}

#[test]
fn a_task_is_started_shown_live_reported_and_forgotten_once_it_is_stored() {
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &["-n", "laptop", "-u", "ada", "--no-docker"]);
    let (mut link, join) = manager.welcome_new();
    assert_eq!(join.name, "laptop");
    assert!(join.capacity.cpu_millis >= 1000 && join.attempts.is_empty());
    worker.says("approved: this machine works for ada");

    link.shell("7.0#1", "echo hello; sleep 0.3; echo $CAMPUSGRID_JOB_ID; echo no >&2; exit 3");
    let mut live = Vec::new();
    let mut started = false;
    let ended = link.find(|message| match message {
        ToManager::Started { .. } => {
            started = true;
            None
        }
        ToManager::LogPiece { bytes, .. } => {
            live.extend(bytes);
            None
        }
        ToManager::Ended(ended) => Some(ended),
        other @ (ToManager::Join(_)
        | ToManager::Heartbeat { .. }
        | ToManager::Preparing { .. }
        | ToManager::Locked { .. }
        | ToManager::Checkpoint { .. }
        | ToManager::Shares(_)
        | ToManager::Renew { .. }
        | ToManager::Leaving) => panic!("{other:?}"),
    });
    let ended = ended.expect("the worker hung up");
    assert!(started && String::from_utf8_lossy(&live).starts_with("hello\n"));
    assert_eq!(ended.outcome, Outcome::Failed(Failure::ExitCode(3)));
    assert_eq!(text(&ended.stdout.content), "hello\n7\n");
    assert_eq!(text(&ended.stderr.content), "no\n");
    assert!(ended.usage.run_ms >= 300);
    assert_eq!(manager.uploads_so_far(), 0, "a small result needs no second connection");
    assert_eq!(worker.spooled(), ["7.0#1.ended"]);
    link.stored("7.0#1");
    worker.wait_until_nothing_is_spooled();
    assert_eq!(worker.terminate(), 0);
    link.leaving();
}

#[test]
fn outputs_and_long_logs_are_uploaded_before_the_end_is_sent() {
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    link.shell("8.0#1", "printf result > $OUTPUT_DIR/a.txt; seq 20000");
    let (attempt, mut blobs) = manager.take_upload();
    assert_eq!(attempt.to_string(), "8.0#1");
    let ended = link.end();
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!(ended.outputs[0].path, "a.txt");
    blobs.sort_by_key(Vec::len);
    assert_eq!(blobs[0], b"result");
    assert!(blobs[1].starts_with(b"1\n2\n3\n") && blobs[1].ends_with(b"20000\n"));
    link.stored("8.0#1");
    worker.wait_until_nothing_is_spooled();
}

/// What a manager says whose disk is full, and what it says of a blob that it will never take.
#[test]
fn a_blob_that_is_put_off_is_offered_again_and_one_that_is_refused_is_left_behind() {
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    link.shell("8.0#1", "printf result > $OUTPUT_DIR/a.txt; printf other > $OUTPUT_DIR/b.txt");
    let reason = "its disk is full".to_owned();
    manager.upload().send(&BulkToWorker::Later { reason });
    let mut upload = manager.upload();
    upload.take_open();
    upload.take_blob_message();
    upload.send(&BulkToWorker::Refused { reason: "too large".to_owned() });
    let (_, blobs) = manager.take_upload();
    let ended = link.end();
    assert_eq!(
        (ended.outcome.clone(), ended.outputs.len(), blobs.len()),
        (Outcome::Succeeded, 1, 1)
    );
    let said = &ended.left_behind;
    assert!(said.contains("the manager did not take") && said.ends_with("too large"), "{said}");
    // Not answered in this session: it is sent again.
    assert_eq!(link.end(), ended);
    link.stored("8.0#1");
    worker.wait_until_nothing_is_spooled();
}

#[test]
fn a_worker_that_was_stopped_for_longer_than_its_lease_gives_its_task_back() {
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &[]);
    manager.let_in(LIFE);
    let (mut link, _) = manager.welcome_for(3000);
    link.shell("1.0#1", "echo a; exec sleep 1000");
    let mut sequences = 0;
    while sequences < 2 {
        if let ToManager::Heartbeat { sequence, attempts, .. } = link.receive() {
            link.renew(sequence);
            sequences += usize::from(!attempts.is_empty());
        }
    }
    kill(worker.pid(), Signal::SIGSTOP).unwrap();
    link.be_silent_for(Duration::from_secs(4));
    kill(worker.pid(), Signal::SIGCONT).unwrap();
    // Its session is over for silence, as far as it knows; the end comes in this one or the next.
    let ended = match link.try_end() {
        Some(ended) => ended,
        None => manager.welcome().0.end(),
    };
    assert_eq!(ended.outcome, Outcome::Returned(WorkerFault::LeaseOver));
}

#[test]
fn a_result_outlives_a_killed_worker_and_a_task_does_not() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let key = link.key;
    link.shell("1.0#1", "echo done");
    link.shell("2.0#1", "sleep 1000");
    let before = link.end();
    worker.kill_and_restart(&manager);
    let (mut link, join) = manager.welcome();
    assert_eq!(link.key, key, "it is the same worker");
    assert_eq!(join.attempts, [before.attempt], "the cut task is not listed");
    assert_eq!(link.end(), before);
    link.stored("1.0#1");
    worker.wait_until_nothing_is_spooled();
}

#[test]
fn a_cancelled_task_is_reported_and_a_dropped_one_is_not() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    link.shell("1.0#1", "echo a; exec sleep 1000");
    link.shell("2.0#1", "exec sleep 1000");
    link.printed();
    link.send(&ToWorker::Drop { attempt: "2.0#1".parse().unwrap() });
    link.send(&ToWorker::Cancel { attempt: "1.0#1".parse().unwrap() });
    let ended = link.end();
    assert_eq!(
        (ended.attempt.to_string().as_str(), &ended.outcome),
        ("1.0#1", &Outcome::Cancelled)
    );
    assert_eq!(text(&ended.stdout.content), "a\n");
    link.shell("3.0#1", "true");
    assert_eq!(link.end().attempt.to_string(), "3.0#1");
}

#[test]
fn a_worker_that_leaves_gives_back_what_it_runs() {
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    link.shell("1.0#1", "echo a; exec sleep 1000");
    link.printed();
    worker.ask_to_leave();
    assert_eq!(link.end().outcome, Outcome::Returned(WorkerFault::Leaving));
    link.stored("1.0#1");
    link.leaving();
    assert_eq!(worker.wait(), 0);
}

#[test]
fn a_lost_connection_is_made_again_and_what_ran_goes_on() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    link.shell("1.0#1", "echo a; sleep 1; echo b");
    link.printed();
    drop(link);
    let (mut link, join) = manager.welcome();
    assert_eq!(join.attempts, ["1.0#1".parse().unwrap()]);
    assert_eq!(text(&link.end().stdout.content), "a\nb\n");
}

#[test]
fn an_upload_ends_with_its_session_and_what_becomes_of_it_does_not_count_in_the_next() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    link.shell("1.0#1", "printf result > $OUTPUT_DIR/a.txt");
    let mut first = manager.upload();
    first.take_open();
    first.take_blob_message();
    drop(link);
    let (mut link, _) = manager.welcome();
    assert!(first.try_receive::<BulkToManager>().is_none(), "it is over");
    let (_, blobs) = manager.take_upload();
    assert_eq!(blobs, [b"result"]);
    let ended = link.end();
    assert_eq!((ended.outcome, ended.outputs.len()), (Outcome::Succeeded, 1));
}

#[test]
fn c_is_compiled_and_its_errors_are_shown_as_such() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let source = "#include <stdio.h>\n#include <omp.h>\nint main(void) { int n = 0;\n\
                  #pragma omp parallel reduction(+:n)\nn += 1;\nprintf(\"%d\\n\", n > 0); }";
    let c = |source: &str, flags| Work::C { program: Program::Source(source.to_owned()), flags };
    link.start("1.0#1", c(source, vec!["-O3".to_owned()]));
    assert_eq!(words(&link.end()), "Succeeded \"1\\n\" \"\"");
    link.start("2.0#1", c("int main(void) { retrun 0; }", Vec::new()));
    let ended = link.end();
    assert_eq!(ended.outcome, Outcome::Failed(Failure::CompileError { code: 1 }));
    assert!(text(&ended.stderr.content).contains("retrun"));
}

#[test]
fn python_runs_without_requirements_and_bad_ones_are_its_submitters_fault() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    link.start("1.0#1", python("print(sum(i * i for i in range(10)))", &[]));
    assert_eq!(words(&link.end()), "Succeeded \"285\\n\" \"\"");
    link.start("2.0#1", python("", &["--index-url=http://evil.example"]));
    let ended = link.end();
    assert!(matches!(ended.outcome, Outcome::Failed(Failure::Requirements { .. })), "{ended:?}");
}

#[test]
fn without_a_sandbox_it_says_so_and_runs_what_it_is_given() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &["--unsafe-no-sandbox"]);
    let (mut link, join) = manager.welcome_new();
    assert_eq!(join.isolation, Isolation::None);
    assert!(join.isolation_notes[0].contains("not confined"), "{:?}", join.isolation_notes);
    link.shell("1.0#1", "echo out > $OUTPUT_DIR/a.txt; pwd");
    let (_, blobs) = manager.take_upload();
    assert_eq!(blobs, [b"out\n"]);
    assert_eq!(link.end().outcome, Outcome::Succeeded);
}

#[test]
fn a_bad_configuration_is_told_whole_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let output = worker::command(&data).args(["-p", "0", "-n", "", "-u", "a b"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    for part in ["--port 0: must be 1 to 65535", "--user a b:", "--name :", "address is missing"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!data.exists());
}

#[test]
fn two_workers_cannot_share_a_directory() {
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &[]);
    let (_link, _) = manager.welcome_new();
    let output = worker.another(&manager).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another worker already uses"));
}

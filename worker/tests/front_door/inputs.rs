//! Jobs that bring files, arguments and lines: fetched, kept, seen, and who answers for what is wrong.

use std::fs;
use std::path::PathBuf;

use campusgrid_protocol::message::{BulkToManager, BulkToWorker, ToManager, ToWorker};
use campusgrid_protocol::task::{
    BlobRef, Ended, Failure, LABEL_4, Outcome, Packages, Program, TaskSpec, Work, WorkerFault,
};

use crate::files::{Fetched, Files, blob};
use crate::manager::{Link, Manager, shell, spec};
use crate::worker::Worker;
use crate::{text, words};

const MIB: usize = 1 << 20;

/// A shell command with these files.
fn with(command: &str, files: &Files) -> TaskSpec {
    TaskSpec { inputs: Some(files.manifest), ..spec(shell(command)) }
}

fn entry(path: &str) -> Program {
    Program::Entry(path.to_owned())
}

/// So many bytes that are not those of another seed.
fn bytes(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| seed.wrapping_add((at % 251) as u8)).collect()
}

fn inputs_fault(ended: &Ended) -> &str {
    match &ended.outcome {
        Outcome::Returned(WorkerFault::Inputs { message } | WorkerFault::Disk { message })
        | Outcome::Failed(Failure::Inputs { message }) => message,
        other @ (Outcome::Succeeded
        | Outcome::Cancelled
        | Outcome::Failed(_)
        | Outcome::Returned(_)) => panic!("{other:?}"),
    }
}

/// The next end, and the steps that were told before it.
fn end_with_steps(link: &mut Link) -> (Ended, Vec<String>) {
    let mut steps = Vec::new();
    let ended = link.find(|message| match message {
        ToManager::Preparing { step, .. } => {
            steps.push(step);
            None
        }
        ToManager::Ended(ended) => Some(*ended),
        ToManager::Join(_)
        | ToManager::Heartbeat { .. }
        | ToManager::Locked { .. }
        | ToManager::Started { .. }
        | ToManager::LogPiece { .. }
        | ToManager::Checkpoint { .. }
        | ToManager::Shares(_)
        | ToManager::Renew { .. }
        | ToManager::Leaving => None,
    });
    (ended.expect("the worker hung up"), steps)
}

/// Names in a directory of the worker's inputs.
fn kept(worker: &Worker, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(worker.data().join("inputs").join(directory)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_are_fetched_once_for_all_attempts_of_a_job_and_kept_for_other_jobs() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &[]);
    let (mut link, join) = manager.welcome_new();
    assert!(join.labels.iter().any(|label| label == LABEL_4), "{:?}", join.labels);
    let files = Files::of(&[("data.csv", b"1,2\n"), ("lib/a/b", b"deep\n"), ("same", b"1,2\n")]);
    let command = "cat data.csv lib/a/b same /inputs/same; cat $INPUT_DIR/data.csv";
    for attempt in ["1.0#1", "1.1#1", "1.2#1"] {
        link.order(attempt, 0, with(command, &files), None);
    }
    assert_eq!(files.serve(&manager), [Fetched { hash: files.manifest.hash, offset_bytes: 0 }]);
    assert_eq!(files.serve(&manager).len(), 2, "each content once");
    for _ in 0..3 {
        let expected = "Succeeded \"1,2\\ndeep\\n1,2\\n1,2\\n1,2\\n\" \"\"";
        assert_eq!(words(&link.end()), expected);
    }
    let other = Files::of(&[("data.csv", b"1,2\n"), ("new", b"new\n")]);
    link.order("2.0#1", 0, with("cat data.csv new", &other), None);
    other.serve(&manager);
    let new = Fetched { hash: blob(b"new\n").hash, offset_bytes: 0 };
    assert_eq!(other.serve(&manager), [new], "the rest is here");
    assert_eq!(words(&link.end()), "Succeeded \"1,2\\nnew\\n\" \"\"");
    worker.kill_and_restart(&manager);
    let (mut link, _) = manager.welcome();
    while link.end().attempt.to_string() != "2.0#1" {}
    link.order("1.3#1", 3, with(command, &files), None);
    while link.end().attempt.to_string() != "1.3#1" {}
    assert_eq!(manager.uploads_so_far(), 0, "nothing is fetched again");
    assert_eq!(kept(&worker, "partial"), [""; 0]);
}

#[test]
fn a_broken_download_goes_on_where_it_was_also_after_the_worker_has_died() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let big = bytes(1, 6 * MIB);
    let files = Files::of(&[("big", &big), ("small", b"x")]);
    link.order("1.0#1", 0, with("wc -c < big", &files), None);
    files.serve(&manager);
    let hash = blob(&big).hash;
    let first = files.serve_some(&manager, 9);
    assert!(first.contains(&Fetched { hash, offset_bytes: 0 }));
    let mut offset_bytes = 0;
    let mut again = manager.upload();
    again.take_open();
    while let Some(message) = again.try_receive() {
        let BulkToManager::Fetch { blob, offset_bytes: from } = message else {
            panic!("{message:?}")
        };
        if blob.hash == hash {
            offset_bytes = from;
            break;
        }
    }
    assert!(offset_bytes > MIB as u64, "it begins anew at {offset_bytes}");
    worker.kill_and_restart(&manager);
    drop(again);
    let (mut link, _) = manager.welcome();
    link.order("1.0#2", 0, with("wc -c < big", &files), None);
    let third = files.serve(&manager);
    let goes_on = third.iter().find(|fetched| fetched.hash == hash).unwrap();
    assert!(goes_on.offset_bytes >= offset_bytes, "{third:?}");
    let (ended, steps) = end_with_steps(&mut link);
    assert_eq!(words(&ended), format!("Succeeded \"{}\\n\" \"\"", big.len()));
    let told =
        |step: &String| step.starts_with("fetching its files: ") && step.contains(" of 7 MiB");
    assert!(steps.iter().any(told), "{steps:?}");
}

#[test]
fn what_comes_damaged_is_fetched_again_and_never_shown() {
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let mut files = Files::of(&[("x", b"right\n"), ("y", b"fine\n")]);
    files.swap(b"right\n", b"wrong\n");
    link.order("1.0#1", 0, with("cat x", &files), None);
    files.serve(&manager);
    files.serve(&manager);
    files.swap(b"right\n", b"right\n");
    let again = files.serve(&manager);
    assert!(again.contains(&Fetched { hash: blob(b"right\n").hash, offset_bytes: 0 }), "{again:?}");
    assert_eq!(words(&link.end()), "Succeeded \"right\\n\" \"\"");

    let mut files = Files::of(&[("x", b"never\n")]);
    files.swap(b"never\n", b"NEVER\n");
    link.order("2.0#1", 0, with("cat x", &files), None);
    (0..4).for_each(|_| drop(files.serve(&manager)));
    let ended = link.end();
    assert!(matches!(ended.outcome, Outcome::Returned(WorkerFault::Inputs { .. })), "{ended:?}");
    assert!(!kept(&worker, "content").contains(&blob(b"never\n").hash.to_string()));
}

#[test]
fn a_list_that_lies_is_its_submitters_and_a_manager_that_gives_nothing_is_not() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let lists: [&[u8]; 3] = [
        b"no list",
        // One file, `../x`, of a content of two bytes; and one with a part of a name that is a hash.
        &[&[1, 4][..], b"../x", &[0; 32], &[2, 0]].concat(),
        &[&[2, 1][..], b"x", &[7; 32], &[2, 0, 3], b"x/y", &[7; 32], &[2, 0]].concat(),
    ];
    for (number, list) in lists.into_iter().enumerate() {
        let files = Files::listed_by(list);
        let attempt = format!("{}.0#1", number + 1);
        link.order(&attempt, 0, with("true", &files), None);
        files.serve(&manager);
        let ended = link.end();
        assert!(matches!(ended.outcome, Outcome::Failed(Failure::Inputs { .. })), "{ended:?}");
        assert!(inputs_fault(&ended).starts_with("the list of its files is none: "), "{ended:?}");
    }
    let files = Files::of(&[("x", b"x")]);
    let long = BlobRef { size_bytes: 1 << 40, ..files.manifest };
    let spec = TaskSpec { inputs: Some(long), ..with("true", &files) };
    link.order("7.0#1", 0, spec, None);
    assert_eq!(inputs_fault(&link.end()), "the list of its files is too long");
    link.order("8.0#1", 0, with("true", &files), None);
    let reason = "attempt 8.0#1 is not open".to_owned();
    manager.upload().send(&BulkToWorker::Refused { reason });
    let ended = link.end();
    assert!(matches!(ended.outcome, Outcome::Returned(WorkerFault::Inputs { .. })), "{ended:?}");
    // Put off, it is asked for again.
    link.order("9.0#1", 0, with("cat x", &files), None);
    let reason = "its disk is slow".to_owned();
    manager.upload().send(&BulkToWorker::Later { reason });
    files.serve(&manager);
    files.serve(&manager);
    assert_eq!(words(&link.end()), "Succeeded \"x\" \"\"");
}

#[test]
fn programs_are_entries_with_arguments_and_lines_that_no_shell_reads() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let evil = "; touch /tmp/pwned $(id) `id` '\"{index} {line} * -x";
    let lines = format!("first\r\n{evil}\nlast");
    let print = b"import sys, os, helper.words as w
print(w.word, sys.argv[1:], os.environ['CAMPUSGRID_TASK_INDEX'], os.environ['CAMPUSGRID_TASK_LINE'])";
    let files = Files::of(&[
        ("src/main.py", print),
        ("src/helper/words.py", b"word = 'imported'"),
        ("-c", b"for a; do printf '<%s>' \"$a\"; done; echo; ls /tmp"),
        ("c/main.c", b"#include \"own.h\"\n#include \"inc/top.h\"\nint puts(const char *);\nint main(int n, char **v) { puts(OWN TOP); return puts(v[n - 1]) < 0; }"),
        ("c/own.h", b"#define OWN \"own \""),
        ("inc/top.h", b"#define TOP \"top\""),
        ("lines.txt", lines.as_bytes()),
    ]);
    let order = |work: Work, arguments: &[&str]| TaskSpec {
        inputs: Some(files.manifest),
        lines: Some("lines.txt".to_owned()),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        ..spec(work)
    };
    let python = || Work::Python { program: entry("src/main.py"), packages: Packages::None };
    link.order("1.1#1", 2, order(python(), &["-c", "{line}", "{index}"]), None);
    files.serve(&manager);
    files.serve(&manager);
    let ended = link.end();
    let said = text(&ended.stdout.content);
    let quoted = format!("imported ['-c', {:?}, '2'] 2 {evil}\n", evil).replace("\\'", "'");
    assert_eq!(
        said.replace("\\'", "'").replace('"', "'"),
        quoted.replace("\\\"", "\"").replace('"', "'"),
        "{}",
        words(&ended)
    );

    let shell_entry = || Work::Shell { program: entry("-c") };
    link.order("2.1#1", 2, order(shell_entry(), &["{line}", "-x", ""]), None);
    let said = text(&link.end().stdout.content);
    assert_eq!(said, format!("<{evil}><-x><>\n"));
    let command = shell("printf '<%s>' \"$@\"; ls /tmp");
    link.order("3.0#1", 1, order(command, &["{line}", "$(id)", "a b"]), None);
    assert_eq!(text(&link.end().stdout.content), "<first><$(id)><a b>");

    let c = Work::C { program: entry("c/main.c"), flags: Vec::new() };
    link.order("4.2#1", 3, order(c, &["{line}-{index}"]), None);
    assert_eq!(words(&link.end()), "Succeeded \"own top\\nlast-3\\n\" \"\"");

    link.order("5.3#1", 4, order(python(), &[]), None);
    let said = "\"lines.txt\" has 3 lines, and none of number 4";
    assert_eq!(inputs_fault(&link.end()), said);
    let gone = Work::Python { program: entry("gone.py"), packages: Packages::None };
    link.order("6.0#1", 1, order(gone, &[]), None);
    assert_eq!(inputs_fault(&link.end()), "the program \"gone.py\" is not among them");
    let long = "{line}".repeat(100);
    link.order("7.1#1", 2, order(shell("true"), &vec![long.as_str(); 1000]), None);
    assert!(inputs_fault(&link.end()).contains("its arguments are longer than 512 KiB"));
    assert_eq!(manager.uploads_so_far(), 0, "all of it was here");
}

#[test]
fn patterns_bring_back_what_a_task_has_made_beside_its_outputs() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let files =
        Files::of(&[("in.csv", b"in"), ("tool.sh!", b"#!/bin/sh\necho tool > made/by.txt")]);
    let command = "mkdir made; ./tool.sh; echo a > a.csv; echo k > $OUTPUT_DIR/k; echo l > a.log";
    let mut order = with(command, &files);
    order.outputs = vec!["*.csv".to_owned(), "made/**".to_owned()];
    link.order("1.0#1", 0, order, None);
    files.serve(&manager);
    files.serve(&manager);
    let (_, blobs) = manager.take_upload();
    let ended = link.end();
    let paths: Vec<&str> = ended.outputs.iter().map(|output| output.path.as_str()).collect();
    assert_eq!((paths, blobs.len()), (vec!["a.csv", "k", "made/by.txt"], 3), "{}", words(&ended));
    assert_eq!(ended.left_behind, "");
}

#[test]
fn the_least_recently_used_files_go_and_never_those_of_a_task_that_runs() {
    let manager = Manager::listen();
    let variables = [("CAMPUSGRID_WORKER_INPUTS_MIB".to_owned(), "64".to_owned())];
    let worker = Worker::start_with(&manager, &[], &variables);
    let (mut link, _) = manager.welcome_new();
    let all: Vec<Vec<u8>> = (0..3).map(|seed| bytes(seed, 25 * MIB)).collect();
    let jobs: Vec<Files> = all.iter().map(|bytes| Files::of(&[("x", bytes.as_slice())])).collect();
    let hashes: Vec<String> = all.iter().map(|bytes| blob(bytes).hash.to_string()).collect();
    let wait = "echo on; until [ -e $OUTPUT_DIR/go ]; do sleep 0.02; done; wc -c < x";
    link.order("1.0#1", 0, with(wait, &jobs[0]), None);
    jobs[0].serve(&manager);
    jobs[0].serve(&manager);
    link.printed();
    for job in [1, 2] {
        link.order(&format!("{}.0#1", job + 1), 0, with("wc -c < x", &jobs[job]), None);
        jobs[job].serve(&manager);
        jobs[job].serve(&manager);
        assert_eq!(text(&link.end().stdout.content), format!("{}\n", 25 * MIB));
        link.stored(&format!("{}.0#1", job + 1));
    }
    let content = kept(&worker, "content");
    assert!(content.contains(&hashes[0]) && content.contains(&hashes[2]), "{content:?}");
    assert!(!content.contains(&hashes[1]), "it was used before the last, and is in nobody's use");
    // The one that runs still sees its file, though nobody else could have kept it.
    link.send(&ToWorker::Cancel { attempt: "1.0#1".parse().unwrap() });
    assert_eq!(link.end().outcome, Outcome::Cancelled);
    link.stored("1.0#1");

    let large = bytes(9, 65 * MIB);
    let files = Files::of(&[("x", &large)]);
    link.order("9.0#1", 0, with("true", &files), None);
    files.serve(&manager);
    let ended = link.end();
    assert!(matches!(ended.outcome, Outcome::Returned(WorkerFault::Disk { .. })), "{ended:?}");
    assert!(inputs_fault(&ended).contains("this machine keeps 64 MiB at most"), "{ended:?}");
}

#[test]
fn a_task_that_is_cancelled_while_its_files_come_leaves_them_to_the_next() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let big = bytes(1, 4 * MIB);
    let files = Files::of(&[("big", &big)]);
    link.order("1.0#1", 0, with("true", &files), None);
    files.serve(&manager);
    let mut half = manager.upload();
    half.take_open();
    let _fetch: BulkToManager = half.receive();
    for chunk in big[..2 * MIB].chunks(256 << 10) {
        half.send(&BulkToWorker::Chunk(chunk.to_vec()));
    }
    // Another attempt of the same job waits for the same files meanwhile.
    link.order("1.1#1", 1, with("wc -c < big", &files), None);
    let told = link.find(|message| {
        let ToManager::Preparing { attempt, step } = message else { return None };
        let is_told = step.ends_with(" of 4 MiB") && !step.contains(" 0 of ");
        (attempt.task.index == 0 && is_told).then_some(())
    });
    told.expect("the worker hung up");
    link.send(&ToWorker::Cancel { attempt: "1.0#1".parse().unwrap() });
    assert_eq!(link.end().outcome, Outcome::Cancelled);
    let [Fetched { offset_bytes, .. }] = files.serve(&manager)[..] else { panic!("one file") };
    assert!(offset_bytes >= MIB as u64, "{offset_bytes}");
    assert_eq!(text(&link.end().stdout.content), format!("{}\n", big.len()));
}

#[test]
fn a_task_hears_that_its_time_is_soon_over() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let command = "trap 'echo saved; exit 0' USR1; echo on; while :; do sleep 0.05; done";
    let warned = TaskSpec { warn_s: 18, ..spec(shell(command)) };
    link.order("1.0#1", 0, warned, None);
    let ended = link.end();
    // Of what the shell says of its own child nothing is asked.
    assert_eq!(
        (&ended.outcome, text(&ended.stdout.content)),
        (&Outcome::Succeeded, "on\nsaved\n".to_owned())
    );
    assert!((1900..8000).contains(&ended.usage.run_ms), "{:?}", ended.usage);
}

#[test]
fn a_machine_is_shared_for_as_long_as_its_owner_says_and_as_what_it_is() {
    let manager = Manager::listen();
    let arguments = ["--for", "3s", "--label", "type/laptop", "--label", "room:1", "--cores", "1"];
    let worker = Worker::start(&manager, &[&arguments[..], &["--ram", "2048"]].concat());
    let (mut link, join) = manager.welcome_new();
    for label in ["type/laptop", "room:1"] {
        assert!(join.labels.iter().any(|own| own == label), "{:?}", join.labels);
    }
    assert_eq!(join.capacity.cpu_millis, 1000);
    assert!(join.capacity.ram_mib + join.capacity.disk_mib <= 2048, "{:?}", join.capacity);
    link.shell("1.0#1", "echo a; exec sleep 1000");
    assert_eq!(link.end().outcome, Outcome::Returned(WorkerFault::Leaving));
    link.stored("1.0#1");
    link.leaving();
    assert_eq!(worker.wait(), 0);
}

/// Files that nobody may write to, wherever the worker keeps them.
#[test]
fn a_tree_is_sealed_and_a_content_is_one_file_under_many_names() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let files = Files::of(&[("a/x", b"x"), ("y", b"x"), ("z!", b"x")]);
    link.order("1.0#1", 0, with("cat a/x y; test -x z && test ! -x y && echo ok", &files), None);
    files.serve(&manager);
    files.serve(&manager);
    assert_eq!(words(&link.end()), "Succeeded \"xxok\\n\" \"\"");
    let [tree] = &kept(&worker, "trees")[..] else { panic!("one tree") };
    let tree: PathBuf = worker.data().join("inputs/trees").join(tree);
    let mode = |path: &str| fs::metadata(tree.join(path)).unwrap().permissions().mode() & 0o7777;
    let modes = ["", "a", "a/x", "y", "z"].map(mode);
    assert_eq!(modes, [0o555, 0o555, 0o444, 0o444, 0o555]);
    let inode = |path: &str| fs::metadata(tree.join(path)).unwrap().ino();
    assert_eq!(inode("a/x"), inode("y"));
    assert_ne!(inode("y"), inode("z"), "who may execute it is a matter of each job");
}

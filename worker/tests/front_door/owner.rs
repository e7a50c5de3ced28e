//! The machine's owner wants it back: what runs there stands still, is handed back with what it goes on
//! from, and goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use campusgrid_protocol::input::Manifest;
use campusgrid_protocol::message::{ToManager, ToWorker};
use campusgrid_protocol::rules::{ByHand, Phase, Rules, Shares, Wish};
use campusgrid_protocol::task::{Content, Outcome, Packages, Program, TaskSpec, Work, WorkerFault};

use crate::files::Files;
use crate::manager::{Link, Manager, shared, spec};
use crate::worker::Worker;

/// Counts up, one every 10 ms, writes down how far it has come, and once more when it is to end.
const COUNTING: &str = "import os, signal, time
path = os.environ['CHECKPOINT_DIR'] + '/count'
n = int(open(path).read()) if os.path.exists(path) else 0
print('from', n, flush=True)
def save(*_):
    with open(path + '.new', 'w') as f: f.write(str(n))
    os.rename(path + '.new', path)
def end(*_):
    save()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    time.sleep(0.01); n += 1
    if n % 10 == 0: save()";

fn counting(checkpoint_s: u32) -> TaskSpec {
    let program = Program::Source(COUNTING.to_owned());
    let work = Work::Python { program, packages: Packages::None };
    TaskSpec { checkpoint_s, time_limit_s: 60, ..spec(work) }
}

/// Waits until the machine says that it is in this phase.
fn shares(link: &mut Link, phase: Phase) -> Shares {
    let in_phase = |message| {
        let ToManager::Shares(shares) = message else { return None };
        (shares.phase == phase).then_some(*shares)
    };
    link.find(in_phase).expect("the worker hung up")
}

fn paused() -> Rules {
    Rules { by_hand: Some(ByHand { wish: Wish::Pause, until_ms: None }), ..shared() }
}

#[test]
fn a_task_that_is_handed_back_goes_on_from_its_checkpoint() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, join) = manager.welcome_new();
    assert!(join.speed.core_permille > 0 && join.speed.all_permille > 0, "{:?}", join.speed);

    // Saved while it runs.
    link.order("1.0#1", 0, counting(2), None);
    let (attempt, blobs) = manager.take_upload();
    assert_eq!(attempt.to_string(), "1.0#1");
    let is_saved = |message| {
        let ToManager::Checkpoint { saved, .. } = message else { return None };
        Some(saved)
    };
    let saved = link.find(is_saved).expect("the worker hung up");
    let files = blobs.iter().find_map(|blob| Manifest::decode(blob).ok()).unwrap().files;
    assert_eq!(files[0].path, "count");
    let count: Vec<u8> = blobs
        .iter()
        .find(|bytes| blake3::hash(bytes).as_bytes() == &files[0].blob.hash.0)
        .unwrap()
        .clone();
    assert!((2000..10_000).contains(&saved.run_ms), "{saved:?}");
    link.send(&ToWorker::Drop { attempt });

    // Another attempt goes on from there; the machine is paused, and it saves once more.
    let was = Files::of(&[("count", &count)]);
    assert_eq!(was.manifest, saved.manifest);
    link.go_on("1.0#2", 0, (counting(0), None), Some(saved));
    // Its list, then the file.
    was.serve(&manager);
    was.serve(&manager);
    link.printed();
    link.send(&ToWorker::Rules(Box::new(paused())));
    let why = shares(&mut link, Phase::Closed).why;
    assert!(why.contains("paused"), "{why}");
    let (_, blobs) = manager.take_upload();
    let ended = link.end();
    assert_eq!(ended.outcome, Outcome::Returned(WorkerFault::Leaving));
    let count = String::from_utf8(count).unwrap();
    let Content::Inline(said) = &ended.stdout.content else { panic!("{ended:?}") };
    assert_eq!(String::from_utf8_lossy(said).trim(), format!("from {count}"));
    let last = ended.checkpoint.expect("it has saved something");
    assert_eq!(last.run_ms, saved.run_ms + ended.usage.run_ms);
    let numbers =
        blobs.iter().filter_map(|blob| String::from_utf8(blob.clone()).ok()?.parse().ok());
    let numbers: Vec<u32> = numbers.collect();
    assert!(numbers.iter().all(|&number| number >= count.parse().unwrap()), "{numbers:?}");

    // What comes meanwhile goes back at once, until the machine is shared again.
    link.order("2.0#1", 0, counting(0), None);
    assert_eq!(link.end().outcome, Outcome::Returned(WorkerFault::Leaving));
    link.send(&ToWorker::Rules(Box::new(shared())));
    shares(&mut link, Phase::Open);
    link.shell("3.0#1", "exit 0");
    assert_eq!(link.end().outcome, Outcome::Succeeded);
}

/// A program of the owner's, by a name that nothing else has.
struct Theirs {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Theirs {
    const NAME: &str = "cg-owners-own";

    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(Self::NAME);
        fs::copy("/bin/sleep", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let child = Command::new(program).arg("1000").stdin(Stdio::null()).spawn().unwrap();
        Self { child, _dir: dir }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[test]
fn a_task_stands_still_before_the_manager_hears_of_it_and_is_handed_back_after_the_grace() {
    let manager = Manager::listen();
    let _worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    let mark = "front-door-stands-still";
    link.order(
        "1.0#1",
        0,
        spec(crate::manager::shell(&format!(": {mark}; echo on; while :; do :; done"))),
        None,
    );
    link.printed();
    let _theirs = Theirs::start();
    let mut rules = shared();
    rules.when.programs = vec![Theirs::NAME.to_owned()];
    rules.when.grace_s = 2;
    rules.when.checkpoint_s = 1;
    link.send(&ToWorker::Rules(Box::new(rules)));
    shares(&mut link, Phase::Frozen);
    let still = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let said = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_task = String::from_utf8_lossy(&said).contains(mark);
        let stat = fs::read_to_string(entry.path().join("stat")).ok().filter(|_| is_task)?;
        stat.rsplit_once(") ")?.1.chars().next()
    });
    let still: Vec<char> = still.collect();
    assert!(!still.is_empty() && still.iter().all(|&state| state == 'T'), "{still:?}");
    shares(&mut link, Phase::Closed);
    let ended = link.end();
    assert_eq!(ended.outcome, Outcome::Returned(WorkerFault::Leaving));
    assert_eq!(ended.checkpoint, None);
}

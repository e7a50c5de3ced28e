//! What a task writes to go on from: saved while it runs, kept when it is handed back, found again; and
//! what a hostile one may leave there.
#![expect(clippy::unwrap_used, reason = "all of this is test code, though not in test functions")]

use std::fs;
use std::time::Duration;

use campusgrid_sandbox::control::{Control, Controls};
use campusgrid_sandbox::plan::{Collected, Exit, Progress};
use campusgrid_sandbox::sandbox::Confinement;

use crate::rig::{Directory, Ran, Rig, Task};

/// Counts to a number, one every 10 ms, and writes down how far it has come.
const COUNTING: &str = "import os, sys, time
path = os.environ['CHECKPOINT_DIR'] + '/count'
n = int(open(path).read()) if os.path.exists(path) else 0
print('from', n, flush=True)
while n < int(sys.argv[1]):
    time.sleep(0.01); n += 1
    with open(path + '.new', 'w') as f: f.write(str(n))
    os.rename(path + '.new', path)
print('done')";

fn counting(to: &str) -> Task {
    Task::argv(&["python3", "-c", COUNTING, to])
}

fn texts(files: &[Collected]) -> Vec<(String, String)> {
    let text = |file: &Collected| fs::read_to_string(&file.file).unwrap();
    files.iter().map(|file| (file.path.clone(), text(file))).collect()
}

/// What was saved on the way, read when it was told.
#[derive(Debug, Default)]
struct Saved(Vec<(u64, Vec<(String, String)>)>);

impl Saved {
    fn listen(&mut self, progress: &Progress) {
        if let Progress::Saved { files, run_ms, .. } = progress {
            self.0.push((*run_ms, texts(files)));
        }
    }
}

async fn run(rig: &Rig, task: Task, until: Until) -> (Ran, Saved) {
    let (say, controls) = Controls::channel();
    let mut saved = Saved::default();
    let ran = rig.try_run(task, controls, |progress| {
        saved.listen(progress);
        let is_time = match until {
            Until::End => false,
            Until::Saved(times) => saved.0.len() >= times,
            Until::Printed(text) => {
                matches!(progress, Progress::Printed { bytes, .. } if bytes.ends_with(text))
            }
        };
        if is_time {
            say.send_replace(Control::HandBack { grace: Duration::from_secs(5) });
        }
    });
    (ran.await.unwrap(), saved)
}

#[derive(Debug, Clone, Copy)]
enum Until {
    End,
    Saved(usize),
    Printed(&'static [u8]),
}

#[tokio::test]
async fn a_task_that_is_taken_back_goes_on_where_it_was_saved() {
    for confinement in [Confinement::Full, Confinement::Restricted, Confinement::None] {
        let Some(rig) = Rig::new(confinement).await else { continue };
        let (first, saved) =
            run(&rig, counting("1000").checkpoints(&[], 150), Until::Saved(3)).await;
        assert_eq!(first.report.exit, Exit::Stopped, "{confinement:?} {}", first.stderr);
        let counts: Vec<u32> =
            saved.0.iter().map(|(_, files)| files[0].1.parse().unwrap()).collect();
        assert!(counts.is_sorted() && counts[0] > 0, "{counts:?}");
        assert!(saved.0[0].0 >= 150 && saved.0[2].0 < 5000, "{saved:?}");
        let last = texts(&first.report.checkpoint);
        let last = last.iter().find(|(path, _)| path == "count").unwrap();
        assert!(last.1.parse::<u32>().unwrap() >= counts[2]);

        // Elsewhere, or here again; it may change what it finds.
        let home = Directory::new("saved");
        fs::write(home.0.join("count"), &last.1).unwrap();
        let task = counting(&format!("{}", last.1.parse::<u32>().unwrap() + 5));
        let task = task.checkpoints(&[("count", &home.0.join("count"))], 0);
        let (second, _) = run(&rig, task, Until::End).await;
        assert_eq!(second.stdout, format!("from {}\ndone\n", last.1), "{confinement:?}");
        assert!(second.report.checkpoint.is_empty(), "who ends by itself needs none");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_saved_again_and_outputs_are_not_checkpoints() {
    let Some(rig) = Rig::full().await else { return };
    let script = "mkdir $CHECKPOINT_DIR/a; echo 1 > $CHECKPOINT_DIR/a/b; echo out > outputs/o; \
                  sleep 0.7";
    let mut task = Task::sh(script).checkpoints(&[], 100);
    task.outputs = vec!["**".to_owned()];
    let (ran, saved) = run(&rig, task, Until::End).await;
    assert_eq!(ran.report.exit, Exit::Code(0));
    assert_eq!(saved.0.len(), 1);
    assert_eq!(saved.0[0].1, [("a/b".to_owned(), "1\n".to_owned())]);
    let outputs: Vec<&str> = ran.report.outputs.iter().map(|output| output.path.as_str()).collect();
    assert_eq!(outputs, ["o"]);
}

#[tokio::test]
async fn nothing_but_plain_files_is_taken_and_no_more_than_is_bounded() {
    let Some(rig) = Rig::full().await else { return };
    let script = "import os
d = os.environ['CHECKPOINT_DIR']
open(d + '/plain', 'w').write('plain')
os.symlink('/etc/passwd', d + '/passwd')
os.symlink('..', d + '/up')
os.symlink('plain', d + '/link')
os.mkfifo(d + '/pipe')
import socket
s = socket.socket(socket.AF_UNIX); os.chdir(d); s.bind('socket')
try: os.mknod(d + '/null', 0o20666, os.makedev(1, 3))
except OSError: pass
os.link(d + '/plain', d + '/twice')
with open(d + '/sparse', 'w') as f: f.truncate(14 << 20)
for n in range(50): open(f'{d}/n{n:02}', 'w').write('x')
deep = d
for n in range(40):
    deep += '/d'
    os.mkdir(deep)
open(deep + '/x', 'w').write('deep')
print('on', flush=True)
import time
time.sleep(100)";
    let task = Task::python(script).checkpoints(&[], 50);
    let (ran, _) = run(&rig, task, Until::Printed(b"on\n")).await;
    assert_eq!(ran.report.exit, Exit::Stopped, "{}", ran.stderr);
    let files = texts(&ran.report.checkpoint);
    let names: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    // Those with a single name, as many as outputs may be.
    let wanted: Vec<String> = (0..10).map(|n| format!("n{n:02}")).collect();
    assert_eq!(names, wanted);
}

#[tokio::test]
async fn a_directory_that_is_a_link_leads_nowhere() {
    let Some(rig) = Rig::full().await else { return };
    let script = "rmdir $CHECKPOINT_DIR; ln -s /etc $CHECKPOINT_DIR; echo on; sleep 100";
    let task = Task::sh(script).checkpoints(&[], 50);
    let (ran, saved) = run(&rig, task, Until::Printed(b"on\n")).await;
    assert_eq!(ran.report.exit, Exit::Stopped);
    assert!(saved.0.is_empty() && ran.report.checkpoint.is_empty(), "{saved:?}");
}

#[tokio::test]
async fn who_writes_without_end_is_copied_as_it_was_at_one_moment() {
    let Some(rig) = Rig::full().await else { return };
    // Two files that are always equal but for the moment between the two writes.
    let script = "import os
d = os.environ['CHECKPOINT_DIR']
a, b = open(d + '/a', 'w'), open(d + '/b', 'w')
n = 0
while True:
    n += 1
    for f in a, b:
        f.seek(0); f.write(f'{n:09}'); f.flush()";
    let task = Task::python(script).checkpoints(&[], 30);
    let (ran, saved) = run(&rig, task, Until::Saved(10)).await;
    assert_eq!(ran.report.exit, Exit::Stopped);
    for (_, files) in &saved.0 {
        let numbers: Vec<u64> = files.iter().map(|(_, text)| text.parse().unwrap()).collect();
        let [a, b] = numbers[..] else { panic!("{files:?}") };
        assert!(a == b || a == b + 1, "{a} {b}");
    }
}

//! Tasks in containers that stand still, and what they go on from.

use std::fs;
use std::time::Duration;

use campusgrid_sandbox::checkpoint::CHECKPOINT_DIR;
use campusgrid_sandbox::clock::Stopwatch;
use campusgrid_sandbox::control::{Control, Controls};
use campusgrid_sandbox::plan::{Checkpoints, Collected, Exit, Progress, Restored};
use nix::sys::signal::Signal;
use tokio::sync::Notify;
use tokio::time::interval;

use crate::rig::{Rig, Task};

const AT_ONCE: Duration = Duration::from_millis(200);

fn with_checkpoints(mut task: Task, restore: Vec<Restored>, every_ms: u64) -> Task {
    let every = (every_ms > 0).then(|| Duration::from_millis(every_ms));
    task.plan.checkpoints = Some(Checkpoints { restore, every });
    task.plan.environment.push(("CHECKPOINT_DIR".to_owned(), CHECKPOINT_DIR.to_owned()));
    task
}

/// The states of all processes whose arguments hold this mark, as the machine sees them.
fn states(mark: &str) -> Vec<char> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().into_string().ok());
    let is_ours = |pid: &String| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(mark)
    };
    let state = |pid: String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let word = |name| status.lines().find_map(|line: &str| line.strip_prefix(name));
        // With a stop on its way it runs no further, even if it has to wait for a core to show that.
        let pending = u64::from_str_radix(word("ShdPnd:")?.trim(), 16).ok()?;
        let is_stopping = pending & 1 << (Signal::SIGSTOP as i32 - 1) != 0;
        if is_stopping { Some('T') } else { word("State:")?.trim().chars().next() }
    };
    pids.filter(is_ours).filter_map(state).collect()
}

/// Sees that all processes with this mark stand still, again and again for so long.
async fn stay_still(mark: &str, how_long: Duration) {
    let (watch, mut looks) = (Stopwatch::start(), interval(Duration::from_millis(50)));
    while watch.passed() < how_long {
        looks.tick().await;
        let states = states(mark);
        assert!(states.iter().all(|state| "TZ".contains(*state)), "{states:?}");
    }
}

#[tokio::test]
async fn tasks_stand_still_and_go_on() {
    let Some(rig) = Rig::new().await else { return };
    all_of_a_task_stands_still_at_once_and_its_time_with_it(&rig).await;
    a_task_that_is_taken_back_goes_on_where_it_was_saved(&rig).await;
    nothing_but_plain_files_is_taken_and_no_more_than_is_bounded(&rig).await;
    tasks_come_last_for_processor_and_disk(&rig).await;
}

async fn tasks_come_last_for_processor_and_disk(rig: &Rig) {
    let script = "import os, time
time.sleep(0.2)
print(os.nice(0))";
    let ran = rig.try_run(Task::python(script), Controls::none(), |_| {}).await.unwrap();
    assert_eq!(ran.stdout, "19\n", "{}", ran.stderr);
}

async fn all_of_a_task_stands_still_at_once_and_its_time_with_it(rig: &Rig) {
    // A busy one, and children that come and go and wake whom they can.
    let script = "import os, signal, time
mark = 'container-stillness'
if os.fork() == 0:
    while True:
        if os.fork() == 0:
            try: os.kill(-1, signal.SIGCONT)
            except OSError: pass
            os._exit(0)
        os.wait()
print('on', flush=True)
end = time.process_time() + 0.1
while time.process_time() < end: pass
os._exit(0)";
    let (say, controls) = Controls::channel();
    let printed = Notify::new();
    let on_print = |progress: &Progress| {
        if matches!(progress, Progress::Printed { .. }) {
            printed.notify_one();
        }
    };
    let task = Task::python(script).wall(Duration::from_secs(4));
    let owner = async {
        printed.notified().await;
        let watch = Stopwatch::start();
        say.send_replace(Control::StandStill);
        let mut looks = interval(Duration::from_millis(1));
        while states("container-stillness").iter().any(|state| !"TZ".contains(*state)) {
            assert!(watch.passed() < Duration::from_secs(5));
            looks.tick().await;
        }
        let took = watch.passed();
        // Longer than its time limit, and still.
        stay_still("container-stillness", Duration::from_millis(4500)).await;
        say.send_replace(Control::GoOn);
        took
    };
    let (ran, took) = tokio::join!(rig.try_run(task, controls, on_print), owner);
    let report = ran.unwrap().report;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(report.exit, Exit::Code(0));
    assert!(report.usage.run_ms < 4000, "{:?}", report.usage);
}

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

fn count(files: &[Collected]) -> u32 {
    let count = files.iter().find(|file| file.path == "count").unwrap();
    fs::read_to_string(&count.file).unwrap().parse().unwrap()
}

async fn a_task_that_is_taken_back_goes_on_where_it_was_saved(rig: &Rig) {
    let (say, controls) = Controls::channel();
    let mut counts = Vec::new();
    let counting = |to: &str| Task::argv(&["python3", "-c", COUNTING, to]);
    let task = with_checkpoints(counting("1000"), Vec::new(), 150);
    let results = tempfile::tempdir().unwrap();
    let kept = results.path().join("count");
    let ran = rig.try_run(task, controls, |progress| {
        if let Progress::Saved { files, .. } = progress {
            counts.push(count(files));
            if counts.len() == 3 {
                say.send_replace(Control::HandBack { grace: Duration::from_secs(5) });
            }
        }
    });
    let first = ran.await.unwrap();
    assert_eq!(first.report.exit, Exit::Stopped, "{}", first.stderr);
    assert!(counts.is_sorted() && counts[0] > 0, "{counts:?}");
    let last = count(&first.report.checkpoint);
    assert!(last >= counts[2]);

    fs::write(&kept, last.to_string()).unwrap();
    let size_bytes = fs::metadata(&kept).unwrap().len();
    let restored = Restored { path: "count".to_owned(), file: kept, size_bytes };
    let task = with_checkpoints(counting(&(last + 5).to_string()), vec![restored], 0);
    let second = rig.run(task).await;
    assert_eq!(second.stdout, format!("from {last}\ndone\n"), "{}", second.stderr);
}

async fn nothing_but_plain_files_is_taken_and_no_more_than_is_bounded(rig: &Rig) {
    let script = "import os, time
d = os.environ['CHECKPOINT_DIR']
os.symlink('/etc/passwd', d + '/passwd')
os.mkfifo(d + '/pipe')
open(d + '/plain', 'w').write('plain')
os.link(d + '/plain', d + '/twice')
with open(d + '/sparse', 'w') as f: f.truncate(14 << 20)
for n in range(50): open(f'{d}/n{n:02}', 'w').write('x')
time.sleep(100)";
    let (say, controls) = Controls::channel();
    let task = with_checkpoints(Task::python(script), Vec::new(), 300);
    let ran = rig.try_run(task, controls, |progress| {
        if matches!(progress, Progress::Saved { .. }) {
            say.send_replace(Control::HandBack { grace: Duration::from_secs(5) });
        }
    });
    let ran = ran.await.unwrap();
    assert_eq!(ran.report.exit, Exit::Stopped, "{}", ran.stderr);
    let names: Vec<&str> = ran.report.checkpoint.iter().map(|file| file.path.as_str()).collect();
    let wanted: Vec<String> = (0..10).map(|n| format!("n{n:02}")).collect();
    assert_eq!(names, wanted);
}

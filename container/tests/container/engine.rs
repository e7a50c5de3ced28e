//! What is asked of the engine itself: images, sweeping, and dying in the middle.

use std::fs;
use std::time::{Duration, Instant};

use campusgrid_container::error::{Blame, EngineError};
use campusgrid_container::image::ImagePolicy;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Exit, Holds, Progress};

use crate::rig::{Kind, Rig, Server, Task};

#[tokio::test]
async fn images_are_found_by_content_and_only_if_allowed() {
    let Some(rig) = Rig::new().await else { return };
    assert!(rig.checks.iter().all(|check| check.state != Holds::No), "{:?}", rig.checks);
    assert_eq!(rig.engine.images().await.unwrap(), ["image:default"]);
    let probe = rig.server.docker(&["images", "--no-trunc", "--quiet", "campusgrid/probe"]);
    let default = rig.server.docker(&["images", "--no-trunc", "--quiet", "campusgrid/default"]);
    for (image, part) in [
        (format!("sha256:{}", "0".repeat(64)), "is not on this machine"),
        (format!("python@sha256:{}", "0".repeat(64)), "is not on this machine"),
        ("python:3".to_owned(), "must name its content"),
        (probe.clone(), "does not allow"),
    ] {
        let error = run(&rig, &image).await.unwrap_err();
        assert_eq!(error.blame(), Blame::Submitter);
        assert!(error.to_string().contains(part), "{image}: {error}");
    }
    let allowed = vec!["campusgrid/default:*".to_owned(), "lab/*".to_owned()];
    let (engine, _) = rig.server.connect(ImagePolicy { allowed, pull: true }).await;
    let engine = engine.unwrap();
    let wanted = ["image:campusgrid/default:*", "image:default", "image:lab/*"];
    let labels = engine.images().await.unwrap();
    assert_eq!(labels[..3], wanted);
    assert_eq!(labels[3], format!("image:{default}"));
    let rig = Rig { engine, ..rig };
    assert_eq!(run(&rig, &default).await.unwrap(), Exit::Code(0));
    // There is no network to fetch it by, for which nobody who submits answers.
    let error = run(&rig, &format!("lab/x@sha256:{}", "0".repeat(64))).await.unwrap_err();
    assert!(!matches!(error, EngineError::Gone { .. }), "{error}");
}

async fn run(rig: &Rig, image: &str) -> Result<Exit, EngineError> {
    let mut task = Task::sh("true");
    task.image = image.to_owned();
    let ran = rig.try_run(task, Controls::none(), |_| {}).await;
    ran.map(|ran| ran.report.exit)
}

#[tokio::test]
async fn an_engine_that_dies_costs_the_task_nothing_and_leaves_nothing() {
    let Some(mut rig) = Rig::new().await else { return };
    // What an earlier life has left is swept when the next one connects.
    let left = rig.server.docker(&[
        "create",
        "--label",
        "campusgrid.instance=test",
        "--network=none",
        "campusgrid/default",
        "sh",
    ]);
    let others = rig.server.docker(&[
        "create",
        "--label",
        "campusgrid.instance=x",
        "--network=none",
        "campusgrid/default",
        "sh",
    ]);
    let (again, _) = rig.server.connect(ImagePolicy::default()).await;
    assert!(!left.is_empty() && others.starts_with(&rig.containers()), "{left} {others}");
    rig.engine = again.unwrap();

    let Rig { engine, server, .. } = &mut rig;
    let (sender, mut progress) = tokio::sync::mpsc::channel(4);
    let results = tempfile::tempdir().unwrap();
    let mut task = Task::sh("echo on; sleep 1000");
    task.plan.results = results.path().to_path_buf();
    let dying = async {
        while !matches!(progress.recv().await, Some(Progress::Printed { .. })) {}
        server.kill();
        server.restart();
    };
    let running = engine.run(task.plan, "default", sender, Controls::none());
    let (ran, ()) = tokio::join!(running, dying);
    let error = ran.unwrap_err();
    assert!(matches!(error, EngineError::Gone { .. }), "{error}");
    assert_eq!(error.blame(), Blame::Engine);
    assert!(others.starts_with(&rig.containers()), "{}", rig.containers());
    // The engine that came back is as good as new.
    assert_eq!(run(&rig, "default").await.unwrap(), Exit::Code(0));

    // One that does not come back is not waited for for ever.
    rig.server.kill();
    let error = run(&rig, "default").await.unwrap_err();
    assert_eq!(error.blame(), Blame::Engine);
    rig.server.restart();
}

#[tokio::test]
async fn a_container_that_is_removed_by_somebody_else_is_noticed() {
    let Some(rig) = Rig::new().await else { return };
    let on_print = |progress: &Progress| {
        if matches!(progress, Progress::Printed { .. }) {
            let all = rig.containers();
            rig.server.docker(&["rm", "--force", &all]);
        }
    };
    let task = Task::sh("echo on; sleep 1000");
    let ran = rig.try_run(task, Controls::none(), on_print).await;
    assert!(matches!(ran, Err(EngineError::Gone { .. })), "{ran:?}");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a deadline, not a time that decides")]
async fn a_worker_that_dies_takes_its_containers_with_it() {
    let Some(rig) = Rig::new().await else { return };
    let engine = rig.engine.clone();
    let results = tempfile::tempdir().unwrap();
    let mut task = Task::sh("trap '' TERM; echo on; sleep 1000 & sleep 1000");
    task.plan.results = results.path().to_path_buf();
    // A runtime that goes at once closes what it holds and does nothing else, as the kernel does.
    let dying = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sender, mut progress) = tokio::sync::mpsc::channel(4);
            let run = tokio::spawn(async move {
                engine.run(task.plan, "default", sender, Controls::none()).await
            });
            while !matches!(progress.recv().await, Some(Progress::Printed { .. })) {}
            drop(run);
        });
        runtime.shutdown_background();
    });
    dying.join().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !rig.containers().is_empty() {
        assert!(Instant::now() < deadline, "{}", rig.containers());
    }
}

/// Prints what a start costs; there is no limit to hold it to on a machine that is shared.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it is a measurement")]
async fn warm_containers_start_tasks_much_faster_than_cold_ones() {
    let Some(rig) = Rig::new().await else { return };
    let median = async |task: Task| {
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            rig.run(task.clone()).await;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        times[2]
    };
    let cold = median(Task::argv(&["true"])).await;
    let warm = median(Task::argv(&["true"]).family("warm")).await;
    eprintln!("a task that does nothing: {cold:?} in a new container, {warm:?} in a warm one");
    assert!(warm * 4 < cold + Duration::from_millis(200), "{cold:?} {warm:?}");
}

#[tokio::test]
async fn no_engine_is_told_with_the_command_that_mends_it() {
    let Some(server) = Server::start(Kind::Docker) else { return };
    let (engine, checks) = server.connect(ImagePolicy::default()).await;
    assert!(engine.is_some(), "{checks:?}");
    let unbuilt = checks.last().unwrap();
    assert_eq!((unbuilt.what.as_str(), unbuilt.state), ("default image", Holds::Optional));
    // Nobody listens there.
    fs::remove_file(server.socket()).unwrap();
    let (engine, checks) = server.connect(ImagePolicy::default()).await;
    assert!(engine.is_none());
    let [missing] = &checks[..] else { panic!("{checks:?}") };
    assert_eq!(missing.state, Holds::No);
    assert!(missing.mend.as_ref().is_some_and(|mend| mend.contains("apt install")), "{missing:?}");
}

//! Plans of the worker's own tools, which may reach the network and change a directory.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use campusgrid_container::error::EngineError;
use campusgrid_container::image::ImagePolicy;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Exit, Network};
use tokio::sync::mpsc;

use crate::rig::{Kind, Rig, Task};

#[tokio::test]
async fn our_own_tools_reach_the_network_and_change_what_they_are_given() {
    let Some(rig) = Rig::new().await else { return };
    what_tools_may_is_what_others_may_not(&rig).await;
    what_one_tool_leaves_the_next_can_use(&rig).await;
    a_family_is_refused(&rig).await;
    a_link_is_not_handed_over(&rig).await;
    an_image_that_the_owner_has_not_named_has_no_network(&rig).await;
    rig.engine.close().await;
    assert_eq!(rig.containers(), "");
}

#[tokio::test]
async fn podman_lets_them_as_well() {
    let Some(rig) = Rig::of(Kind::Podman).await else { return };
    what_tools_may_is_what_others_may_not(&rig).await;
    what_one_tool_leaves_the_next_can_use(&rig).await;
    rig.engine.close().await;
}

/// A task that may change `directory` at `/packages` and reach the network.
fn tool(task: Task, directory: &Path) -> Task {
    let mut task = task;
    task.plan.network = Network::Host;
    task.plan.read_write = vec![(directory.into(), "/packages".into())];
    task
}

async fn what_tools_may_is_what_others_may_not(rig: &Rig) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "import os, socket
def attempt(what, action):
    try: action()
    except OSError: return
    print(what)
attempt('reached', lambda: socket.create_connection(('127.0.0.1', {port}), 2))
attempt('wrote', lambda: open('/packages/made', 'w'))
attempt('changed', lambda: open('/word', 'a'))
attempt('covered', lambda: open('/x', 'w'))
attempt('read', lambda: open('/etc/resolv.conf').read())
print(open('/word').read())
print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapB', 'NoNew', 'Seccomp:'))])"
    );
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("word"), "shown").unwrap();
    let shown = directory.path().join("packages");
    fs::create_dir(&shown).unwrap();
    let mut task = Task::python(&script);
    task.plan.read_only.push((directory.path().join("word"), "/word".into()));
    let held = "shown\n['0000000000000000', '1', '2']\n";

    let ran = rig.run(tool(task.clone(), &shown)).await;
    assert_eq!(ran.stdout, format!("reached\nwrote\nread\n{held}"), "{}", ran.stderr);
    let made = fs::metadata(shown.join("made")).unwrap();
    let builder = rig.server.first_job_uid + 256; // The one after those of tasks.
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (builder, builder, 0o600));

    task.plan.read_only.push((shown.clone(), "/packages".into()));
    let ran = rig.run(task).await;
    let out = ran.stdout.replace("read\n", ""); // Engines write the file even without a network.
    assert_eq!(out, held, "{}", ran.stderr);
}

async fn what_one_tool_leaves_the_next_can_use(rig: &Rig) {
    let directory = tempfile::tempdir().unwrap();
    let make = Task::sh("mkdir /packages/cache && truncate -s 100M /packages/cache/wheel");
    let make = make.limits(|limits| limits.file_mib = 200);
    assert_eq!(rig.run(tool(make, directory.path())).await.report.exit, Exit::Code(0));
    let link = Task::sh("ln /packages/cache/wheel /packages/used && rm -r /packages/cache");
    let ran = rig.run(tool(link, directory.path())).await;
    assert_eq!(ran.report.exit, Exit::Code(0), "{}", ran.stderr);
    assert_eq!(fs::metadata(directory.path().join("used")).unwrap().len(), 100 << 20);
}

async fn a_family_is_refused(rig: &Rig) {
    let directory = tempfile::tempdir().unwrap();
    let task = tool(Task::sh("true").family("one"), directory.path());
    let refused = rig.try_run(task, Controls::none(), |_| {}).await.unwrap_err();
    assert!(matches!(refused, EngineError::Plan { .. }), "{refused}");
}

async fn a_link_is_not_handed_over(rig: &Rig) {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let task = tool(Task::sh("true"), &link);
    let refused = rig.try_run(task, Controls::none(), |_| {}).await.unwrap_err();
    assert!(matches!(refused, EngineError::Host { .. }), "{refused}");
    assert_eq!(fs::metadata(&real).unwrap().uid(), 0);
}

async fn an_image_that_the_owner_has_not_named_has_no_network(rig: &Rig) {
    let id = rig.engine.identity("default").await.unwrap();
    for (allowed, is_trusted) in [("sha256:*".to_owned(), false), (id.clone(), true)] {
        let policy = ImagePolicy { allowed: vec![allowed], pull: false };
        let engine = rig.server.connect(policy).await.0.unwrap();
        let run = async |network| {
            let results = tempfile::tempdir().unwrap();
            let mut plan = Task::sh("true").plan;
            (plan.network, plan.results) = (network, results.path().to_owned());
            let (progress, _unheard) = mpsc::channel(4);
            engine.run(plan, &id, progress, Controls::none()).await
        };
        assert_eq!(run(Network::None).await.unwrap().exit, Exit::Code(0));
        match run(Network::Host).await {
            Ok(report) => assert_eq!((report.exit, is_trusted), (Exit::Code(0), true)),
            Err(EngineError::Image { message }) => {
                assert!(!is_trusted && message.contains("would have the machine's network"));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

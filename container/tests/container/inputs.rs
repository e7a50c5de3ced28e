//! Files that tasks find and cannot change, patterns of outputs, the warning before a time limit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use campusgrid_sandbox::plan::Exit;
use tempfile::TempDir;

use crate::rig::{Rig, Task};

/// One file in a tree that the worker has laid out.
fn tree(content: &str) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o555)).unwrap();
    fs::write(tree.path().join("x"), content).unwrap();
    fs::set_permissions(tree.path().join("x"), fs::Permissions::from_mode(0o444)).unwrap();
    tree
}

fn with(mut task: Task, tree: &Path) -> Task {
    task.plan.read_only.push((tree.to_path_buf(), "/inputs".into()));
    task.plan.links.push(("x".to_owned(), "/inputs/x".into()));
    task
}

#[tokio::test]
async fn tasks_have_inputs_patterns_and_a_warning() {
    let Some(rig) = Rig::new().await else { return };
    tokio::join!(
        inputs_are_read_and_not_changed_and_each_task_sees_its_own(&rig),
        patterns_bring_back_what_is_no_input_and_no_link(&rig),
        a_task_is_warned_before_its_time_is_over(&rig),
    );
    rig.engine.close().await;
    assert_eq!(rig.containers(), "");
}

async fn inputs_are_read_and_not_changed_and_each_task_sees_its_own(rig: &Rig) {
    let trees = [tree("one\n"), tree("two\n")];
    let script = "cat x; for act in 'chmod 777 /inputs/x' 'rm -f /inputs/x' 'touch /inputs/y' \
                  'sh -c \"echo y >> x\"' 'ln /inputs/x stolen' 'mount -o remount,rw /inputs'; do \
                  eval \"$act\" 2> /dev/null && echo \"BREACH $act\"; done; rm x; echo mine > x; cat x";
    for number in [0, 0, 1] {
        let task = with(Task::sh(script).family("f"), trees[number].path());
        let ran = rig.run(task).await;
        let word = ["one", "two"][number];
        assert_eq!(ran.stdout, format!("{word}\nmine\n"), "{}", ran.stderr);
        assert_eq!(
            fs::read_to_string(trees[number].path().join("x")).unwrap(),
            format!("{word}\n")
        );
    }
}

async fn patterns_bring_back_what_is_no_input_and_no_link(rig: &Rig) {
    let tree = tree("one");
    let script = "echo 1 > a.csv; echo 2 > outputs/k; mkdir r; echo 3 > r/b.csv; ln -s /etc/passwd p; \
                  ln -s /etc d; echo 4 > outputs/r";
    let mut task = with(Task::sh(script), tree.path());
    task.plan.outputs = ["**", "d/passwd"].map(str::to_owned).to_vec();
    let ran = rig.run(task).await;
    let paths: Vec<&str> = ran.report.outputs.iter().map(|output| output.path.as_str()).collect();
    assert_eq!(paths, ["a.csv", "k", "r"], "{}", ran.stderr);
    let left = &ran.report.left_behind;
    assert!(left.contains("r/b.csv (outputs/ has something of that name)"), "{left}");
    assert!(left.contains("p (a symbolic link)") && !left.contains("x ("), "{left}");
}

async fn a_task_is_warned_before_its_time_is_over(rig: &Rig) {
    let script = "trap 'echo warned' USR1; (trap 'echo child' USR1; while :; do sleep 0.05; done) & \
                  echo on; while :; do sleep 0.05; done";
    let mut task = Task::sh(script).wall(Duration::from_secs(3));
    task.plan.steps[0].warn = Some(Duration::from_millis(1500));
    let ran = rig.run(task).await;
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!((ran.report.exit, lines), (Exit::TimeLimit, vec!["child", "on", "warned"]));
}

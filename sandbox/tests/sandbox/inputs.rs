//! Files that tasks find and cannot change, and what of their directory a pattern brings back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use campusgrid_sandbox::plan::Exit;
use campusgrid_sandbox::sandbox::Confinement;

use crate::rig::{Directory, Ran, Rig, Task};

/// Files in a tree that nobody may write to, as a worker lays them out.
#[expect(clippy::unwrap_used, reason = "test code, though not a test function")]
fn tree(name: &str, files: &[(&str, &str)]) -> Directory {
    let tree = Directory::new(name);
    for (path, content) in files {
        let path = tree.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    }
    tree
}

fn paths(ran: &Ran) -> Vec<&str> {
    ran.report.outputs.iter().map(|output| output.path.as_str()).collect()
}

/// Tries everything that would change what is in `data` and `data/deep`; prints what succeeds.
const CHANGE: &str = "import os, sys
tree = os.path.realpath('data.csv').rsplit('/', 1)[0]
def changed(what, action):
    try: action()
    except OSError: return
    print('BREACH', what)
for path in 'data.csv', 'lib/table.py', tree + '/data.csv', tree + '/lib/table.py':
    changed('write ' + path, lambda: open(path, 'r+'))
    changed('truncate ' + path, lambda: os.truncate(path, 0))
    changed('chmod ' + path, lambda: os.chmod(path, 0o666))
    changed('utime ' + path, lambda: os.utime(path))
    changed('chown ' + path, lambda: os.chown(path, os.getuid(), -1))
    changed('xattr ' + path, lambda: os.setxattr(path, 'user.x', b'1'))
    changed('link ' + path, lambda: os.link(os.path.realpath(path), os.path.abspath('stolen')))
for path in tree + '/data.csv', 'lib/table.py', tree + '/lib/table.py':
    changed('unlink ' + path, lambda: os.unlink(path))
    changed('rename ' + path, lambda: os.rename(path, path + 'x'))
for path in 'lib', tree, tree + '/lib':
    changed('create in ' + path, lambda: open(path + '/new', 'w'))
    changed('mkdir in ' + path, lambda: os.mkdir(path + '/new'))
    changed('symlink in ' + path, lambda: os.symlink('/etc', path + '/new'))
    changed('chmod ' + path, lambda: os.chmod(path, 0o777))
sys.path.insert(0, 'lib')
import table
print(open('data.csv').read(), table.answer)
os.unlink('data.csv'); open('data.csv', 'w').write('mine'); print(open('data.csv').read())";

#[tokio::test]
async fn inputs_are_read_and_not_changed() {
    let files = [("data.csv", "1,2"), ("lib/table.py", "answer = 42")];
    for confinement in [Confinement::Full, Confinement::Restricted] {
        let Some(rig) = Rig::new(confinement).await else { continue };
        let tree = tree("tree", &files);
        let task = Task::python(CHANGE).inputs(&tree.0, &["data.csv", "lib"]);
        let ran = rig.run(task).await;
        assert_eq!(ran.stdout, "1,2 42\nmine\n", "{confinement:?} {}", ran.stderr);
        for (path, content) in files {
            let path = tree.0.join(path);
            assert_eq!(fs::read_to_string(&path).unwrap(), content, "{confinement:?}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        }
        assert!(!tree.0.join("lib/new").exists() && !tree.0.join("new").exists());
    }
}

#[tokio::test]
async fn links_lead_to_the_inputs_without_walls_too() {
    let Some(rig) = Rig::new(Confinement::None).await else { return };
    let tree = tree("tree", &[("a/b", "read\n")]);
    let ran = rig.run(Task::sh("cat a/b /job/a/b").inputs(&tree.0, &["a"])).await;
    assert_eq!(ran.stdout, "read\n", "{}", ran.stderr);
}

#[tokio::test]
async fn a_warm_sandbox_shows_each_task_its_own_inputs() {
    let Some(rig) = Rig::full().await else { return };
    let trees = [tree("one", &[("x", "one\n")]), tree("two", &[("x", "two\n")])];
    let read = |tree: &Directory| {
        let script = "cat x /inputs/x; rm x; echo spoiled > x; cat /proc/sys/kernel/ns_last_pid";
        Task::sh(script).inputs(&tree.0, &["x"]).family("f")
    };
    for (tree, word) in [(0, "one"), (0, "one"), (1, "two"), (0, "one")] {
        let ran = rig.run(read(&trees[tree])).await;
        assert!(
            ran.stdout.starts_with(&format!("{word}\n{word}\n")),
            "{} {}",
            ran.stdout,
            ran.stderr
        );
    }
    let none = rig.run(Task::sh("ls -d /inputs; ls").family("f")).await;
    assert_eq!(none.stdout, "outputs\n", "nothing of the others is left");
}

#[tokio::test]
async fn names_like_those_of_the_system_are_only_names() {
    let Some(rig) = Rig::full().await else { return };
    let names = ["etc", "usr", "proc", "-rf", "$(touch pwned)", "a b", "*"];
    let files: Vec<(String, &str)> =
        names.iter().map(|name| (format!("{name}/x"), "in\n")).collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let tree = tree("tree", &files);
    let script = "test -f /etc/passwd && test -x /usr/bin/env && test -d /proc/self || echo BREACH
cat ./*/x; ls | wc -l; ls / | tr '\\n' ' '";
    let ran = rig.run(Task::sh(script).inputs(&tree.0, &names)).await;
    let (begin, root) = ran.stdout.rsplit_once('\n').unwrap();
    assert_eq!(begin, format!("{}8", "in\n".repeat(names.len())), "{}", ran.stderr);
    assert!(root.contains("inputs") && !root.contains("pwned"), "{root}");
}

#[tokio::test]
async fn patterns_bring_back_what_is_no_input() {
    let Some(rig) = Rig::full().await else { return };
    let tree = tree("tree", &[("data/in.csv", "x"), ("in.csv", "x")]);
    let script = "echo out > out.csv; echo log > out.log; mkdir -p r/s t; echo 1 > r/a.csv
echo 2 > r/s/b.csv; echo 3 > r/s/c.txt; echo 4 > t/d.csv; echo kept > outputs/k; echo 5 > outputs/r
echo 6 > main.sh";
    let mut task = Task::sh(script).inputs(&tree.0, &["data", "in.csv"]);
    task.files.push(("main.sh".into(), b"given".to_vec()));
    let with = |patterns: &[&str]| {
        let outputs = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Task { outputs, ..task.clone() }
    };
    let ran = rig.run(with(&["*.csv", "t/**"])).await;
    assert_eq!(paths(&ran), ["k", "out.csv", "r", "t/d.csv"], "{}", ran.stderr);
    assert_eq!(ran.report.left_behind, "");
    let ran = rig.run(with(&["**/*.csv", "t"])).await;
    assert_eq!(paths(&ran), ["k", "out.csv", "r", "t/d.csv"]);
    let left = &ran.report.left_behind;
    assert!(left.contains("r/a.csv (outputs/ has something of that name)"), "{left}");
    let ran = rig.run(with(&["t", "main.sh", "data/**"])).await;
    assert_eq!(paths(&ran), ["k", "r"]);
    let said = "t (a directory; a pattern that ends with /** takes all in it)";
    assert_eq!(ran.report.left_behind, said);
}

#[tokio::test]
async fn patterns_lead_nowhere_through_links() {
    let script = "import os, socket
os.symlink('/etc', 'd'); os.symlink('/etc/passwd', 'p'); os.symlink('..', 'up')
os.symlink('/inputs/data', 'e'); os.mkdir('ok'); open('ok/x', 'w').write('x'); os.link('ok/x', 'hard')
os.mkfifo('f')
try: socket.socket(socket.AF_UNIX).bind('s')
except OSError: pass # Filters alone allow none.
os.mkdir('sub'); os.symlink('/etc', 'sub/d')
os.symlink('/proc/self/root', 'root'); open('n\\n', 'w').close(); open('good', 'w').close()";
    for confinement in [Confinement::Full, Confinement::Restricted] {
        let Some(rig) = Rig::new(confinement).await else { continue };
        let tree = tree("tree", &[("data/in.csv", "x")]);
        let mut task = Task::python(script).inputs(&tree.0, &["data"]);
        task.outputs = ["**", "d/passwd", "up/*/*", "e/*", "data/*", "root/etc/passwd"]
            .map(str::to_owned)
            .to_vec();
        let ran = rig.run(task).await;
        assert_eq!((ran.report.exit, ran.stderr.as_str()), (Exit::Code(0), ""));
        assert_eq!(paths(&ran), ["good"], "{confinement:?}");
        let left = &ran.report.left_behind;
        assert!(left.contains("d (a symbolic link)") && !left.contains('\n'), "{left}");
        assert!(!left.contains("data"), "an input is not an output that failed: {left}");
    }
}

#[tokio::test]
async fn what_patterns_bring_back_is_bounded_together_with_the_rest() {
    let Some(rig) = Rig::full().await else { return };
    let script =
        "for n in 1 2 3 4 5 6; do : > outputs/$n; : > x$n; done; head -c 900K /dev/zero > big
mkdir many; cd many; i=0; while [ $i -lt 300 ]; do : > $i; i=$((i+1)); done";
    let mut task = Task::sh(script);
    task.outputs = vec!["x*".to_owned(), "big".to_owned()];
    let ran = rig.run(task).await;
    assert_eq!(paths(&ran), ["1", "2", "3", "4", "5", "6", "big", "x1", "x2", "x3"]);
    assert!(
        ran.report.left_behind.contains("x4 (more than 10 files)"),
        "{}",
        ran.report.left_behind
    );
    // What no pattern means is neither taken nor told.
    assert!(!ran.report.left_behind.contains("many"), "{}", ran.report.left_behind);
}

/// The place of [`tree`] on the host must not matter to a task with walls.
#[tokio::test]
async fn the_host_s_path_of_inputs_is_not_seen() {
    let Some(rig) = Rig::full().await else { return };
    let tree = tree("tree", &[("x", "in\n")]);
    let above: &Path = tree.0.parent().unwrap();
    let script =
        format!("cat x; ls {} 2>&1 | head -1; cat {}/x", above.display(), tree.0.display());
    let ran = rig.run(Task::sh(&script).inputs(&tree.0, &["x"])).await;
    assert!(ran.stdout.starts_with("in\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("campusgrid-sandbox-"), "{}", ran.stdout);
    assert_eq!(ran.report.exit, Exit::Code(1));
}

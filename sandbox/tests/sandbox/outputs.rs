//! What comes back of what tasks leave, and what had better not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use campusgrid_sandbox::plan::Exit;

use crate::rig::{Ran, Rig, Task};

fn paths(ran: &Ran) -> Vec<&str> {
    ran.report.outputs.iter().map(|output| output.path.as_str()).collect()
}

#[tokio::test]
async fn files_come_back_with_their_hashes() {
    let Some(rig) = Rig::full().await else { return };
    let script = "cd outputs; mkdir -p b/c; printf two > b/c/two; printf one > one; : > a; exit 1";
    let ran = rig.run(Task::sh(script)).await;
    assert_eq!(paths(&ran), ["a", "b/c/two", "one"]);
    let two = &ran.report.outputs[1];
    assert_eq!(fs::read_to_string(&two.file).unwrap(), "two");
    assert_eq!((two.size_bytes, two.hash.0), (3, *blake3::hash(b"two").as_bytes()));
    assert_eq!(ran.report.left_behind, "");
}

#[tokio::test]
async fn strange_things_are_left_behind() {
    let Some(rig) = Rig::full().await else { return };
    let script = "import os, socket
os.chdir('/job/outputs')
os.symlink('/etc/passwd', 'link')
os.symlink('/proc/self/root', 'directory-link')
os.mkfifo('pipe')
socket.socket(socket.AF_UNIX).bind('socket')
open('hard', 'w').close()
os.link('hard', 'hard-too')
open('new\\nline', 'w').close()
open(b'\\xff', 'w').close()
os.makedirs('d/' * 20)
open('good', 'w').write('x')
os.chmod('good', 0o4777)
os.mkdir('closed', 0)
print('done')";
    let ran = rig.run(Task::python(script)).await;
    assert_eq!(ran.stdout, "done\n", "{}", ran.stderr);
    assert_eq!(paths(&ran), ["good"]);
    let mode = fs::metadata(&ran.report.outputs[0].file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7111, 0);
    let left = &ran.report.left_behind;
    for part in ["link (a symbolic link)", "pipe (not a regular file)", "hard (has more than"] {
        assert!(left.contains(part), "{left}");
    }
    assert!(!left.contains('\n'), "{left}");
}

#[tokio::test]
async fn an_outputs_directory_that_leads_elsewhere_yields_nothing() {
    let Some(rig) = Rig::full().await else { return };
    for target in ["/etc", "../../../../etc", "/proc/self/root", "/job"] {
        let script = format!("rmdir outputs; ln -s {target} outputs; echo x > /job/x");
        let ran = rig.run(Task::sh(&script)).await;
        assert_eq!(ran.report.exit, Exit::Code(0));
        assert_eq!(paths(&ran), Vec::<&str>::new());
        assert!(!ran.report.left_behind.is_empty());
    }
    let gone = rig.run(Task::sh("rmdir outputs")).await;
    assert_eq!((paths(&gone), gone.report.left_behind.as_str()), (vec![], ""));
}

#[tokio::test]
async fn number_and_bytes_are_bounded() {
    let Some(rig) = Rig::full().await else { return };
    let script = "cd outputs; truncate -s 15M sparse; head -c 900K /dev/zero > most; \
                  head -c 200K /dev/zero > rest; echo x > small";
    let ran = rig.run(Task::sh(script).limits(|limits| limits.scratch_mib = 16)).await;
    assert_eq!(paths(&ran), ["most", "small"]);
    let ran = rig.run(Task::sh("cd outputs; for n in $(seq 100 400); do : > $n; done")).await;
    assert_eq!(ran.report.outputs.len(), 10);
    assert!(ran.report.left_behind.ends_with("and 283 more"), "{}", ran.report.left_behind);
}

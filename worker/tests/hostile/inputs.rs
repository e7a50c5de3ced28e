//! Jobs whose files, arguments, lines and patterns are meant to do harm.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use campusgrid_protocol::task::{Packages, Program as Source, Work};

use crate::canary::SECRET;
use crate::job::{Job, Ran};
use crate::program::Program;
use crate::rig::Rig;

/// Tries whatever could change, replace, steal or outlive the files of the job, then reads them.
const VANDAL: &str = r#"
import ctypes, errno, fcntl, glob, mmap, os, shutil, stat, subprocess, sys
tree = "/inputs"
def breach(what, action):
    try: action()
    except (OSError, ValueError): return
    print("BREACH", what)
files = [path for path in glob.glob("/inputs/**", recursive=True) if os.path.isfile(path)]
places = [tree] + [os.path.dirname(path) for path in files] + ["lib"]
for path in files + ["/job/data", "lib/words.py", "/proc/self/cwd/data"]:
    for mode in "r+b", "wb", "ab":
        breach(f"open {path} {mode}", lambda: open(path, mode))
    breach(f"truncate {path}", lambda: os.truncate(path, 0))
    for mode in 0o777, 0o4755, 0:
        breach(f"chmod {path}", lambda: os.chmod(path, mode))
    breach(f"chown {path}", lambda: os.chown(path, os.getuid(), os.getgid()))
    breach(f"utime {path}", lambda: os.utime(path, (0, 0)))
    breach(f"xattr {path}", lambda: os.setxattr(path, "user.mark", b"1"))
    breach(f"link {path}", lambda: os.link(os.path.realpath(path), "/job/stolen"))
    breach(f"link {path} to tmp", lambda: os.link(os.path.realpath(path), "/tmp/stolen"))
    breach(f"rename {path}", lambda: os.rename(os.path.realpath(path), "/job/stolen"))
    breach(f"unlink {path}", lambda: os.unlink(os.path.realpath(path)))
    breach(f"exchange {path}", lambda: os.replace("/job/outputs", os.path.realpath(path)))
    with open(path, "rb") as file:
        breach(f"shared map {path}", lambda: mmap.mmap(file.fileno(), 1))
        breach(f"fd write {path}", lambda: os.write(file.fileno(), b"x"))
        breach(f"fchmod {path}", lambda: os.fchmod(file.fileno(), 0o777))
        breach(f"reopen {path}", lambda: os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDWR))
        breach(f"flags {path}", lambda: fcntl.ioctl(file, 0x40086602, b"\x10\0\0\0\0\0\0\0"))
        breach(f"lease {path}", lambda: fcntl.fcntl(file, 1024, fcntl.F_WRLCK))
        breach(f"punch {path}", lambda: os.posix_fallocate(file.fileno(), 0, 4096))
for place in places:
    breach(f"create in {place}", lambda: open(place + "/new", "w"))
    breach(f"mkdir in {place}", lambda: os.mkdir(place + "/new"))
    breach(f"symlink in {place}", lambda: os.symlink("/etc/passwd", place + "/new"))
    breach(f"fifo in {place}", lambda: os.mkfifo(place + "/new"))
    breach(f"chmod {place}", lambda: os.chmod(place, 0o777))
    breach(f"remove {place}", lambda: os.rmdir(place))
    breach(f"leave {place}", lambda: open(place + "/../../lock"))
breach("rename tree", lambda: os.rename(tree, "/job/tree"))
libc = ctypes.CDLL(None, use_errno=True)
for what, call in dict(remount=(b"none", b"/inputs", None, 0x20 | 0x1000, None)).items():
    if libc.mount(*call) == 0: print("BREACH", what)
if libc.umount2(b"/inputs", 2) == 0: print("BREACH umount")
for name in os.listdir("/inputs"):
    info = os.stat("/inputs/" + name)
    if info.st_mode & 0o7222: print("BREACH mode", name, oct(info.st_mode))
for line in open("/proc/self/mountinfo"):
    if " /inputs " in line and " ro" not in line: print("BREACH writable", line)
# Links in one's own directory may be changed: that reaches nobody else.
for name in os.listdir("/job"):
    if os.path.islink(name): os.unlink(name); os.symlink("/etc/passwd", name)
for path in sorted(files): print(path, open(path).read().strip())
"#;

/// A Python job with files.
fn job(rig: &Rig, source: &str, files: &[(&str, &[u8])]) -> Job {
    let program = Source::Source(source.to_owned());
    let work = Work::Python { program, packages: Packages::None };
    let inputs = Some(rig.manager.offer(files));
    Job { inputs, ..Job::new(Program { work, wall_s: 20 }) }
}

fn shell(rig: &Rig, command: &str, files: &[(&str, &[u8])]) -> Job {
    Job { inputs: Some(rig.manager.offer(files)), ..Job::shell(command) }
}

/// All that lies in the worker's inputs, with modes.
fn kept(rig: &Rig) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![rig.data().join("inputs")];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (metadata.permissions().mode(), content));
    }
    found
}

fn no_breach(ran: &[Ran]) {
    for ran in ran {
        assert!(!ran.text().contains("BREACH"), "{}", ran.text());
        assert!(!ran.text().contains("Traceback"), "{}", ran.text());
    }
}

#[test]
fn the_files_of_a_job_survive_whatever_its_tasks_try() {
    let Some(mut rig) = Rig::start() else { return };
    let files: [(&str, &[u8]); 3] =
        [("data", b"1,2"), ("lib/words.py", b"word = 1"), ("lib/deep/x", b"deep")];
    let vandal = job(&rig, VANDAL, &files);
    let first = rig.run_one(&vandal);
    no_breach(std::slice::from_ref(&first));
    let expected = "/inputs/data 1,2\n/inputs/lib/deep/x deep\n/inputs/lib/words.py word = 1\n";
    assert_eq!(first.text(), expected);
    let before = kept(&rig);
    assert_eq!(before.values().filter(|(_, content)| content == b"1,2").count(), 2, "{before:?}");
    // One after the other in the same sandbox, where that is kept warm, and beside each other.
    let all_cores = rig.session.join.capacity.cpu_millis;
    let ran = rig.run(&[Job { tasks: 3, cpu_millis: all_cores, ..vandal.clone() }]);
    no_breach(&ran);
    assert!(ran.iter().all(|ran| ran.text() == expected), "{}", ran[2].text());
    assert_eq!(kept(&rig), before, "and nothing of the worker's own has changed");
    // A job without files finds none, nor those of others.
    let other = rig.run_one(&Job::shell("ls -d /inputs /job/*; find / -name words.py 2>/dev/null"));
    assert!(
        !other.text().contains("words") && other.text().contains("cannot access"),
        "{}",
        other.text()
    );
    assert_eq!(rig.harm(), [""; 0]);
    assert_eq!(rig.leave(), [""; 0]);
}

#[test]
fn names_and_patterns_lead_to_nothing_of_the_host() {
    let Some(mut rig) = Rig::start() else { return };
    let names = [
        "etc/passwd",
        "proc/self/x",
        "usr/bin/env",
        "dev/null",
        "outputs/planted",
        "main.py/x",
        "tmp/x",
        "inputs/inputs/x",
        ".lane/scratch/x",
        "-rf",
        "$(reboot)",
        "`id`/x",
        "a\u{a0}b",
        "*",
    ];
    let files: Vec<(&str, &[u8])> =
        names.iter().map(|&name| (name, b"planted".as_slice())).collect();
    let check = r#"
import os
for path in "/etc/passwd", "/usr/bin/env", "/dev/null":
    if b"planted" in open(path, "rb").read(100): print("BREACH", path)
if os.listdir("/tmp") or os.path.exists("/.lane/scratch"): print("BREACH tmp")
if not open("main.py/x".split("/")[0]).read().lstrip().startswith("import os"): print("BREACH main")
if os.path.islink("outputs") or os.listdir("outputs"): print("BREACH outputs")
open("outputs/mine", "w").write("mine")
for link in "passwd", "etc-dir", "self", "up", "deep":
    target = dict(passwd="/etc/passwd", self="/proc/self/root", up="../..", deep="/inputs").get(link, "/etc")
    os.symlink(target, "my-" + link)
os.mkdir("d"); os.symlink("/etc", "d/e"); os.symlink("/inputs/etc", "d/in")
print(sum(len(files) for _, _, files in os.walk("/inputs")))
"#;
    let mut attack = job(&rig, check, &files);
    attack.outputs =
        ["**", "my-*/*", "etc/*", "my-self/etc/shadow", "d/e/*", "my-up/**", "*/passwd"]
            .map(str::to_owned)
            .to_vec();
    let ran = rig.run_one(&attack);
    assert_eq!(ran.text(), format!("{}\n", names.len()), "{:?}", ran.ended.outcome);
    let outputs: Vec<&str> = ran.outputs.keys().map(String::as_str).collect();
    assert_eq!(outputs, ["mine"], "{:?}", ran.ended.left_behind);
    assert!(
        ran.ended.left_behind.contains("my-passwd (a symbolic link)"),
        "{}",
        ran.ended.left_behind
    );
    assert_eq!(rig.harm(), [""; 0]);
    assert_eq!(rig.leave(), [""; 0]);
}

#[test]
fn no_shell_reads_an_argument_or_a_line() {
    let Some(mut rig) = Rig::start() else { return };
    let evil = [
        "; touch /job/outputs/pwned #",
        "$(touch /job/outputs/pwned)",
        "`touch /job/outputs/pwned`",
        "\" || touch /job/outputs/pwned || \"",
        "' | touch /job/outputs/pwned; '",
        "{index} {line} {line}",
        "-c touch\t/job/outputs/pwned",
        "${IFS}&&touch${IFS}/job/outputs/pwned",
        "LD_PRELOAD=/job/x.so",
        "\u{1b}]0;title\u{7} \u{202e}",
        "",
    ];
    let lines: String = evil.iter().map(|line| format!("{line}\n")).collect();
    let files: [(&str, &[u8]); 2] = [
        ("lines", lines.as_bytes()),
        ("run.sh", b"printf '%s|' \"$0\" \"$@\" \"$CAMPUSGRID_TASK_LINE\""),
    ];
    let command = "printf '%s|' \"$0\" \"$@\" \"$CAMPUSGRID_TASK_LINE\"";
    let entry = Work::Shell { program: Source::Entry("run.sh".to_owned()) };
    let mut jobs = [shell(&rig, command, &files), shell(&rig, command, &files)];
    jobs[1].program.work = entry;
    for (job, zero) in jobs.iter_mut().zip(["sh", "run.sh"]) {
        job.lines = Some("lines".to_owned());
        job.arguments = vec!["{line}".to_owned(), "x{index}x{line}".to_owned()];
        // The rig counts tasks from 0, and lines are counted from 1.
        job.tasks = evil.len() as u32 + 1;
        let ran = rig.run_one_array(job);
        assert!(ran[0].ended.outcome != campusgrid_protocol::task::Outcome::Succeeded);
        for (number, (ran, line)) in (1..).zip(ran[1..].iter().zip(evil)) {
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert_eq!(said, format!("{zero}|{line}|x{number}x{line}|{line}|"), "{}", ran.text());
            assert!(ran.outputs.is_empty(), "{line:?} was read by a shell");
        }
    }
    assert_eq!(rig.harm(), [""; 0]);
    assert_eq!(rig.leave(), [""; 0]);
}

/// What lies beside the files of jobs on the worker's disk is seen by none of them.
#[test]
fn the_worker_s_own_files_are_not_beside_the_inputs() {
    let Some(mut rig) = Rig::start() else { return };
    let secret = rig.data().join("inputs/secret");
    fs::write(&secret, SECRET).unwrap();
    let place: &Path = &rig.data();
    let look = format!(
        "ls -la /inputs/.. /inputs/../.. | grep -c secret; cat /inputs/../secret {0}/inputs/secret; \
         ls {0} {0}/inputs/trees; cat /proc/self/mountinfo | grep -c ' /inputs '",
        place.display()
    );
    let ran = rig.run_one(&shell(&rig, &look, &[("x", b"x")]));
    fs::remove_file(secret).unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "0\n1\n", "{}", ran.text());
    assert!(!ran.text().as_bytes().windows(SECRET.len()).any(|window| window == SECRET));
    assert_eq!(rig.leave(), [""; 0]);
}

//! What tasks see, reach and can change of the machine, and what comes back of what they leave.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use campusgrid_sandbox::plan::Exit;

use crate::rig::{Ran, Rig, Task};

#[tokio::test]
async fn walls_hold_and_outputs_are_checked() {
    let Some(rig) = Rig::new().await else { return };
    tokio::join!(
        there_is_no_network_not_even_the_machines_own(&rig),
        the_environment_is_exactly_what_the_plan_says(&rig),
        nothing_can_be_written_but_scratch_space(&rig),
        a_task_has_no_privileges_and_gets_none(&rig),
        the_helper_cannot_be_looked_into_or_stopped(&rig),
        the_machine_cannot_be_watched_or_its_kernel_filled(&rig),
    );
    tokio::join!(
        a_task_sees_its_files_and_what_it_is_shown_but_may_not_change_that(&rig),
        files_come_back_with_their_hashes(&rig),
        strange_things_are_left_behind(&rig),
        an_outputs_directory_that_leads_elsewhere_yields_nothing(&rig),
        number_and_bytes_are_bounded(&rig),
    );
    rig.engine.close().await;
    assert_eq!(rig.containers(), "");
}

fn paths(ran: &Ran) -> Vec<&str> {
    ran.report.outputs.iter().map(|output| output.path.as_str()).collect()
}

async fn there_is_no_network_not_even_the_machines_own(rig: &Rig) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "import socket
for host in '127.0.0.1', '169.254.169.254', '8.8.8.8':
    try: socket.create_connection((host, {port}), 2)
    except OSError: continue
    print('reached', host)
print([name for _, name in socket.if_nameindex()])"
    );
    let ran = rig.run(Task::python(&script)).await;
    assert_eq!(ran.stdout, "['lo']\n", "{}", ran.stderr);
}

async fn the_environment_is_exactly_what_the_plan_says(rig: &Rig) {
    let mut task = Task::sh("env | sort; cat /proc/1/environ");
    task.plan.environment.push(("GREETING".into(), "a b=c 'd' \u{1F600}\nline".into()));
    let ran = rig.run(task).await;
    let wanted = "GREETING=a b=c 'd' \u{1F600}\nHOME=/job\nOUTPUT_DIR=/job/outputs\n\
                  PATH=/usr/bin:/bin\nPWD=/job\nline\n";
    assert_eq!(ran.stdout, wanted);
    assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
}

async fn nothing_can_be_written_but_scratch_space(rig: &Rig) {
    let script =
        "for place in / /usr /usr/bin /etc /bin /lib /dev /proc /sys /.campusgrid /dev/pts; do
    if touch $place/x 2>/dev/null; then echo $place; fi
done
chmod u+s /usr/bin/env 2>/dev/null && echo chmod
for place in /job /tmp /dev/shm; do chmod 700 $place 2>/dev/null && echo $place; done
echo x 2>/dev/null > /etc/passwd && echo passwd
echo x 2>/dev/null > /proc/sys/kernel/hostname && echo hostname
hostname";
    assert_eq!(rig.run(Task::sh(script)).await.stdout, "job\n");
}

pub(crate) async fn the_machine_cannot_be_watched_or_its_kernel_filled(rig: &Rig) {
    let script = "import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
names = 'diskstats interrupts key-users locks pressure/io schedstat softirqs vmstat zoneinfo'
for path in (f'/proc/{name}' for name in names.split()):
    if os.path.exists(path) and open(path).read(): print(path)
stat = open('/proc/stat').read().splitlines()
print([line for line in stat if line.startswith(('intr', 'ctxt'))])
print(sum(line.startswith('cpu') for line in stat) > 1, open('/proc/stat').read().count('btime '))
print([libc.prctl(option, 2, None, 0, 0) for option in (22, 62)], libc.prctl(15, b'name', 0, 0, 0))
fd = os.open('/usr/bin/env', os.O_RDONLY)
print([libc.syscall(number, fd, 0, 0, 0) for number in (317, 451, 278, 216)] if os.uname().machine == 'x86_64' else [-1] * 4)
print(libc.ioctl(fd, 0x9408), ctypes.get_errno() != 25)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
for call in (lambda: os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED), lambda: os.preadv(fd, [bytearray(9)], 0, os.RWF_NOWAIT)):
    try: call()
    except OSError as error: print('refused')
print(os.preadv(fd, [bytearray(9)], 0, 0))
import fcntl, mmap, socket
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
word = ctypes.byref(ctypes.c_int(1))
levels = (ctypes.c_long(1), ctypes.c_long(1 << 32 | 1))
print([libc.syscall(ctypes.c_long(54), udp.fileno(), level, option, word, 4) for level in levels for option in (26, 50)] if os.uname().machine == 'x86_64' else [-1] * 4, ctypes.get_errno() != 22)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
for call in (lambda: fcntl.fcntl(fd, 1024, 0), lambda: fcntl.fcntl(fd, 1026, 1), lambda: mmap.mmap(-1, 2 << 20, flags=0x40022), lambda: os.memfd_create('x', 4)):
    try: call()
    except OSError: print('no')
print(fcntl.fcntl(fd, fcntl.F_GETFD), len(mmap.mmap(-1, 4096)), os.memfd_create('x') > 0)
context = ctypes.c_ulong(0)
print(libc.syscall(206, 1, ctypes.byref(context)), libc.inotify_init())";
    let wanted = "['intr 0', 'ctxt 0']\nTrue 1\n[-1, -1] 0\n[-1, -1, -1, -1]\n-1 True\nrefused\nrefused\n9\n\
                  [-1, -1, -1, -1] True\nno\nno\nno\nno\n1 4096 True\n-1 -1\n";
    let ran = rig.run(Task::python(script)).await;
    assert_eq!(ran.stdout, wanted, "{}", ran.stderr);
}

async fn a_task_has_no_privileges_and_gets_none(rig: &Rig) {
    let script = "grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status
unshare -Ur true 2>/dev/null && echo userns
unshare -m true 2>/dev/null && echo mountns
mount -t tmpfs x /tmp 2>/dev/null && echo mount
exec 2>/dev/null; (echo -1000 > /proc/self/oom_score_adj) && echo oom";
    let wanted = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                  CapBnd:\t0000000000000000\nNoNewPrivs:\t1\n";
    let ran = rig.run(Task::sh(script)).await;
    assert_eq!(ran.stdout, wanted, "{}", ran.stderr);
    let (a, b) =
        tokio::join!(rig.run(Task::sh("id -u; sleep 0.3")), rig.run(Task::sh("id -u; sleep 0.3")));
    let first = rig.server.first_job_uid;
    let uids = [a, b].map(|ran| ran.stdout.trim().parse::<u32>().unwrap());
    assert!(uids.iter().all(|uid| (first..first + 256).contains(uid)), "{uids:?} from {first}");
    assert_ne!(uids[0], uids[1]);
}

async fn the_helper_cannot_be_looked_into_or_stopped(rig: &Rig) {
    let script = "import ctypes, os, resource
for name in 'mem', 'maps', 'environ', 'fd', 'root', 'cwd', 'exe', 'map_files':
    path = f'/proc/1/{name}'
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).read(1)
    except OSError: continue
    print(name)
for signal in range(1, 65):
    try: os.kill(1, signal)
    except OSError: pass
try: print(resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)))
except OSError: pass
libc = ctypes.CDLL(None)
if libc.ptrace(16, 1, 0, 0) >= 0: print('ptrace')
open('/job/outputs/alive', 'w').close()";
    let ran = rig.run(Task::python(script)).await;
    assert_eq!((ran.stdout.as_str(), ran.report.exit), ("", Exit::Code(0)), "{}", ran.stderr);
    assert_eq!(paths(&ran), ["alive"]);
}

async fn a_task_sees_its_files_and_what_it_is_shown_but_may_not_change_that(rig: &Rig) {
    let directory = tempfile::tempdir().unwrap();
    let shown = directory.path().join("env");
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("lib.py"), "x = 1").unwrap();
    let hidden = directory.path().join("only");
    fs::write(&hidden, "one file").unwrap();
    // The worker's own directories are closed to tasks' users; what is shown is shown all the same.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut task = Task::sh(
        "cat main.py data/in.csv /env/lib.py /only; touch /env/y || chmod 777 /env/lib.py \
         || echo held; wc -c < big",
    );
    task.plan.files = vec![
        ("main.py".into(), b"m ".into()),
        ("data/in.csv".into(), b"d ".into()),
        ("empty".into(), Vec::new()),
        ("big".into(), vec![1; 3_000_000]),
    ];
    task.plan.read_only.extend([(shown, "/env".into()), (hidden, "/only".into())]);
    let ran = rig.run(task).await;
    assert_eq!(ran.stdout, "m d x = 1one fileheld\n3000000\n", "{}", ran.stderr);
    assert_eq!(ran.report.exit, Exit::Code(0));
}

async fn files_come_back_with_their_hashes(rig: &Rig) {
    let script = "cd outputs; mkdir -p b/c; printf two > b/c/two; printf one > one; : > a; \
                  head -c 900K /dev/zero > most; exit 1";
    let ran = rig.run(Task::sh(script)).await;
    assert_eq!(paths(&ran), ["a", "b/c/two", "most", "one"]);
    let two = &ran.report.outputs[1];
    assert_eq!(fs::read_to_string(&two.file).unwrap(), "two");
    assert_eq!((two.size_bytes, two.hash.0), (3, *blake3::hash(b"two").as_bytes()));
    assert_eq!(fs::read(&ran.report.outputs[2].file).unwrap(), vec![0; 900 << 10]);
    assert_eq!(ran.report.left_behind, "");
}

async fn strange_things_are_left_behind(rig: &Rig) {
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

async fn an_outputs_directory_that_leads_elsewhere_yields_nothing(rig: &Rig) {
    for target in ["/etc", "../../../../etc", "/proc/self/root", "/job"] {
        let script = format!("rmdir outputs; ln -s {target} outputs; echo x > /job/x");
        let ran = rig.run(Task::sh(&script).family("outputs")).await;
        assert_eq!(ran.report.exit, Exit::Code(0));
        assert_eq!(paths(&ran), Vec::<&str>::new());
        assert!(!ran.report.left_behind.is_empty());
    }
    let gone = rig.run(Task::sh("rmdir outputs").family("outputs")).await;
    assert_eq!((paths(&gone), gone.report.left_behind.as_str()), (vec![], ""));
}

async fn number_and_bytes_are_bounded(rig: &Rig) {
    let script = "cd outputs; truncate -s 15M sparse; head -c 900K /dev/zero > most; \
                  head -c 200K /dev/zero > rest; echo x > small";
    let ran = rig.run(Task::sh(script).family("number")).await;
    assert_eq!(paths(&ran), ["most", "small"]);
    let script = "cd outputs; for n in $(seq 100 400); do : > $n; done";
    let ran = rig.run(Task::sh(script).family("number")).await;
    assert_eq!(ran.report.outputs.len(), 10);
    assert!(ran.report.left_behind.ends_with("and 283 more"), "{}", ran.report.left_behind);
}

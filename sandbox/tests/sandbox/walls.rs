//! What tasks see, reach and can change of the machine: next to nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use campusgrid_sandbox::plan::Exit;

use crate::rig::{Rig, Task};

#[tokio::test]
async fn there_is_no_network_not_even_the_machines_own() {
    let Some(rig) = Rig::full().await else { return };
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

#[tokio::test]
async fn the_environment_is_exactly_what_the_plan_says() {
    let Some(rig) = Rig::full().await else { return };
    let mut task = Task::sh("env | sort; tr '\\0' '\\n' < /proc/1/environ");
    task.environment.push(("GREETING".into(), "a b=c 'd' \u{1F600}\nline".into()));
    let ran = rig.run(task).await;
    // PWD is the shell's word for where it is.
    let wanted = "GREETING=a b=c 'd' \u{1F600}\nHOME=/job\nOUTPUT_DIR=/job/outputs\n\
                  PATH=/usr/bin:/bin\nPWD=/job\nline\n";
    assert_eq!(ran.stdout, wanted);
}

#[tokio::test]
async fn nothing_of_the_machine_can_be_written() {
    let Some(rig) = Rig::full().await else { return };
    let script = "for place in / /usr /usr/bin /etc /etc/alternatives /bin /lib /dev /proc; do
    if touch $place/x 2>/dev/null; then echo $place; fi
done
chmod u+s /usr/bin/env 2>/dev/null && echo chmod
echo x 2>/dev/null > /etc/passwd && echo passwd
echo x 2>/dev/null > /proc/sys/kernel/hostname && echo hostname
hostname";
    assert_eq!(rig.run(Task::sh(script)).await.stdout, "job\n");
}

#[tokio::test]
async fn nothing_of_the_owners_can_be_seen() {
    let Some(rig) = Rig::full().await else { return };
    let secret = rig.directory.0.join("secret");
    fs::write(&secret, "secret").unwrap();
    let script = format!(
        "for place in /root /home /var /sys /run /mnt /etc/shadow /etc/hostname {} {}; do
    if [ -e $place ]; then echo $place; fi
done
ls /tmp /job/outputs
cut -d: -f1 /etc/passwd
[ $(ls -d /proc/[0-9]* | wc -l) -lt 8 ] && echo few",
        secret.display(),
        env!("CARGO_MANIFEST_DIR"),
    );
    let ran = rig.run(Task::sh(&script)).await;
    assert_eq!(ran.stdout, "/job/outputs:\n\n/tmp:\nroot\njob\nnobody\nfew\n", "{}", ran.stderr);
}

#[tokio::test]
async fn a_task_has_no_privileges_and_gets_none() {
    let Some(rig) = Rig::full().await else { return };
    let script = "grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status
[ $(id -u) = $(stat -c %u /job) ] && [ $(id -u) != 0 ] && id -un
unshare -Ur true 2>/dev/null && echo userns
unshare -m true 2>/dev/null && echo mountns
mount -t tmpfs x /tmp 2>/dev/null && echo mount
exec 2>/dev/null; (echo -1000 > /proc/self/oom_score_adj) && echo oom";
    let wanted = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                  CapBnd:\t0000000000000000\nNoNewPrivs:\t1\njob\n";
    assert_eq!(rig.run(Task::sh(script)).await.stdout, wanted);
}

#[tokio::test]
async fn a_task_sees_its_files_and_what_it_is_shown_but_may_not_change_that() {
    let Some(rig) = Rig::full().await else { return };
    let shown = rig.directory.0.join("env");
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("lib.py"), "x = 1").unwrap();
    let hidden = rig.directory.0.join("only");
    fs::write(&hidden, "one file").unwrap();
    // The worker's own directories are closed to tasks' users; what is shown is shown all the same.
    fs::set_permissions(&rig.directory.0, fs::Permissions::from_mode(0o700)).unwrap();
    let mut task = Task::sh(
        "cat main.py data/in.csv /env/lib.py /only; touch /env/y || chmod 777 /env/lib.py \
         || echo held",
    );
    task.files = vec![("main.py".into(), b"m ".into()), ("data/in.csv".into(), b"d ".into())];
    task.read_only = vec![(shown, "/env".into()), (hidden, "/only".into())];
    let ran = rig.run(task).await;
    assert_eq!(ran.stdout, "m d x = 1one fileheld\n", "{}", ran.stderr);
    assert_eq!(ran.report.exit, Exit::Code(0));
}

#[tokio::test]
async fn a_task_sees_nothing_of_the_one_before() {
    let Some(rig) = Rig::full().await else { return };
    let leave = "import os, mmap
for place in '/job/x', '/tmp/x', '/dev/shm/x': open(place, 'w').write('x')";
    assert_eq!(rig.run(Task::python(leave)).await.report.exit, Exit::Code(0));
    let ran = rig.run(Task::sh("ls /tmp /dev/shm; ls /job")).await;
    assert_eq!(ran.stdout, "/dev/shm:\n\n/tmp:\noutputs\n");
}

//! What only the worker's own tools get: the machine's network, and directories to write to.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};

use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Exit, Network, SandboxError};

use crate::rig::{Rig, Task};

#[tokio::test]
async fn a_tool_reaches_the_machines_network_but_not_its_other_programs() {
    let Some(rig) = Rig::full().await else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let name = format!("campusgrid-{port}");
    let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&abstract_name).unwrap();
    let script = format!(
        "import os, socket
socket.create_connection(('127.0.0.1', {port}), 5)
print('reached')
try: socket.socket(socket.AF_UNIX).connect('\\0{name}'); print('abstract')
except OSError: pass
socket.socketpair()
try: os.kill({pid}, 0); print('signalled')
except OSError: pass
print(*[name for name in os.listdir('/') if name in ('root', 'home', 'var', 'run')])",
        pid = std::process::id(),
    );
    let mut task = Task::python(&script);
    task.network = Network::Host;
    let ran = rig.run(task).await;
    assert_eq!(ran.stdout, "reached\n\n", "{}", ran.stderr);
}

#[tokio::test]
async fn a_tool_writes_where_it_may_and_always_as_the_same_user() {
    let Some(rig) = Rig::full().await else { return };
    let place = rig.directory.0.join("cache");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&rig.directory.0, fs::Permissions::from_mode(0o700)).unwrap();
    for round in 1..3 {
        let mut task = Task::sh("echo x >> /cache/file && wc -l < /cache/file");
        task.network = Network::Host;
        task.read_write.push((place.clone(), "/cache".into()));
        let ran = rig.run(task).await;
        assert_eq!(ran.stdout, format!("{round}\n"), "{}", ran.stderr);
        assert_eq!(ran.report.exit, Exit::Code(0));
    }
    // A link that was put in its place leads nowhere.
    let link = rig.directory.0.join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let mut task = Task::sh("true");
    (task.network, task.read_write) = (Network::Host, vec![(link, "/cache".into())]);
    let ran = rig.try_run(task, Controls::none(), |_| {}).await;
    assert!(matches!(ran, Err(SandboxError::Start { .. })), "{ran:?}");
    let owner = fs::metadata(place.join("file")).unwrap().uid();
    let us = nix::unistd::geteuid();
    assert_eq!(owner, if us.is_root() { 60256 } else { us.as_raw() });
}

#[tokio::test]
async fn granted_devices_are_there_and_no_others() {
    let Some(rig) = Rig::full().await else { return };
    let script = "ls -d /dev/* | tr '\\n' ' '; test -c /dev/tty && echo device";
    let plain = rig.run(Task::sh(script)).await.stdout;
    let fixed = "/dev/fd /dev/full /dev/null /dev/random /dev/shm /dev/stderr /dev/stdin \
                 /dev/stdout /dev/urandom /dev/zero ";
    assert_eq!(plain, fixed);
    let mut task = Task::sh(script);
    task.devices.push("/dev/tty".into());
    let granted = rig.run(task).await.stdout;
    assert_eq!(granted, fixed.replace("/dev/urandom", "/dev/tty /dev/urandom") + "device\n");
}

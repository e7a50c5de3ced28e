//! Walls without namespaces.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use campusgrid_sandbox::plan::Exit;
use campusgrid_sandbox::sandbox::Confinement;

use crate::rig::{Rig, Task};

#[tokio::test]
async fn nothing_of_the_machine_is_reached_without_namespaces_either() {
    let Some(rig) = Rig::new(Confinement::Restricted).await else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = rig.directory.0.join("socket");
    let _socket = UnixListener::bind(&path).unwrap();
    let name = SocketAddr::from_abstract_name(format!("campusgrid-{port}")).unwrap();
    let _abstract = UnixListener::bind_addr(&name).unwrap();
    std::fs::write(rig.directory.0.join("secret"), "secret").unwrap();
    let script = format!(
        "import os, socket, subprocess
def reached(what, action):
    try: action()
    except OSError: return
    print('reached', what)
reached('tcp', lambda: socket.create_connection(('127.0.0.1', {port}), 2))
reached('path', lambda: socket.socket(socket.AF_UNIX).connect('{path}'))
reached('abstract', lambda: socket.socket(socket.AF_UNIX).connect('\\0campusgrid-{port}'))
for place in '/etc/passwd', '/etc/shadow', '{secret}', '/proc/1/status', '/proc/{pid}/environ':
    reached(place, lambda: open(place).read())
for place in '/', '/root', '/home', '/var', '/tmp', '/proc': reached(place, lambda: os.listdir(place))
for place in '/tmp/x', '/dev/shm/x', '/var/tmp/x': reached(place, lambda: open(place, 'w'))
reached('kill', lambda: os.kill({pid}, 0))
reached('chmod', lambda: os.chmod('{secret}', 0o777))
print(open('/proc/self/status').read().count('NoNewPrivs:\\t1'), os.getuid() != 0)
open(os.environ['OUTPUT_DIR'] + '/x', 'w').write('kept')
subprocess.run(['true'], check=True)",
        path = path.display(),
        secret = rig.directory.0.join("secret").display(),
        pid = std::process::id(),
    );
    let ran = rig.run(Task::python(&script)).await;
    assert_eq!(ran.stdout, "1 True\n", "{}", ran.stderr);
    assert_eq!((ran.report.exit, ran.report.outputs.len()), (Exit::Code(0), 1));
}

#[tokio::test]
async fn limits_hold_without_namespaces() {
    let Some(rig) = Rig::new(Confinement::Restricted).await else { return };
    let eat = rig.run(Task::python("x = bytearray(300 << 20)")).await;
    assert_eq!(eat.report.exit, Exit::OutOfMemory);
    let fill = "import time
for n in range(100): open(f'/job/{n}'.replace('/job', '.'), 'wb').write(bytes(1 << 20))
time.sleep(100)";
    assert_eq!(rig.run(Task::python(fill)).await.report.exit, Exit::ScratchFull);
    let hide = "import os
for n in range(100):
    os.makedirs('d' * 250); os.chdir('d' * 250)
    file = open('x', 'wb'); os.unlink('x'); os.set_inheritable(os.dup(file.fileno()), True)
    file.write(bytes(1 << 20))";
    let ran = rig.run(Task::python(hide)).await;
    assert!(ran.stderr.contains("No space left on device"), "{}", ran.stderr);
    let daemon = "trap '' TERM; (setsid sleep 1000 &) ; echo on; sleep 1000";
    let ran = rig.run(Task::sh(daemon).wall(Duration::from_millis(300))).await;
    assert_eq!((ran.report.exit, ran.stdout.as_str()), (Exit::TimeLimit, "on\n"));
    let bomb = Task::sh("f() { f | f & f; }; f").wall(Duration::from_millis(500));
    assert_ne!(rig.run(bomb).await.report.exit, Exit::Code(0));
    assert_eq!(rig.run(Task::argv(&["nothing-here"])).await.report.exit, Exit::Code(127));
}

//! What no job may see, reach, signal or trace: the canaries on the host, one set at a time.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::Uid;

/// In what must never leave the host, and in no program's own text.
pub(crate) const SECRET: &[u8] = b"SECRET";

const DIRECTORY: &str = "/tmp/campusgrid-canary";
/// Held by whoever has canaries out: their places are fixed, so tests take turns.
const TURN: &str = "/tmp/campusgrid-canary.lock";
const PORT: u16 = 18_999;
/// The first uids that jobs run as. Each has a process of its own on the host.
const UIDS: std::ops::Range<u32> = 60_000..60_004;

pub(crate) struct Canaries {
    tcp: TcpListener,
    udp: UdpSocket,
    path: UnixListener,
    name: UnixListener,
    processes: Vec<Child>,
    /// Dropping it ends the owner's thread.
    _owner: SyncSender<()>,
    /// Is locked, which must not show either.
    _token: File,
    _turn: File,
}

impl Canaries {
    /// Waits for its turn and puts them out, for anybody on this machine to reach.
    pub(crate) fn put_out() -> Self {
        let turn = File::create(TURN).unwrap();
        turn.lock().unwrap();
        // A test that was killed may have left its own.
        let _none = fs::remove_dir_all(DIRECTORY);
        DirBuilder::new().mode(0o755).create(DIRECTORY).unwrap();
        let directory = Path::new(DIRECTORY);
        fs::write(directory.join("worker-token"), "SECRET-token").unwrap();
        let path = UnixListener::bind(directory.join("host.sock")).unwrap();
        for (name, mode) in [("", 0o755), ("worker-token", 0o644), ("host.sock", 0o777)] {
            fs::set_permissions(directory.join(name), Permissions::from_mode(mode)).unwrap();
        }
        let name = SocketAddr::from_abstract_name("cgcanary").unwrap();
        let canaries = Self {
            tcp: TcpListener::bind(("127.0.0.1", PORT)).unwrap(),
            udp: UdpSocket::bind(("127.0.0.1", PORT)).unwrap(),
            path,
            name: UnixListener::bind_addr(&name).unwrap(),
            processes: UIDS.map(process).collect(),
            _owner: owner(),
            _token: lock(&directory.join("worker-token")),
            _turn: turn,
        };
        canaries.tcp.set_nonblocking(true).unwrap();
        canaries.udp.set_nonblocking(true).unwrap();
        canaries.path.set_nonblocking(true).unwrap();
        canaries.name.set_nonblocking(true).unwrap();
        canaries
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// What has happened to them, a line each; nothing, if all is well.
    pub(crate) fn harm(&mut self) -> Vec<String> {
        let mut harm = Vec::new();
        let untouched = ErrorKind::WouldBlock;
        let reached = [
            ("the TCP port", self.tcp.accept().map(drop)),
            ("the UDP port", self.udp.recv(&mut [0; 16]).map(drop)),
            ("the socket with a path", self.path.accept().map(drop)),
            ("the abstract socket", self.name.accept().map(drop)),
        ];
        for (what, reached) in reached {
            if reached.as_ref().err().map(std::io::Error::kind) != Some(untouched) {
                harm.push(format!("{what} of the host was reached: {reached:?}"));
            }
        }
        for process in &mut self.processes {
            let pid = process.id();
            if let Some(status) = process.try_wait().unwrap() {
                harm.push(format!("process {pid} of the host was ended: {status}"));
                continue;
            }
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            if !status.contains("State:\tS") || !status.contains("TracerPid:\t0\n") {
                harm.push(format!("process {pid} of the host was stopped or traced: {status}"));
            }
        }
        let token = PathBuf::from(DIRECTORY).join("worker-token");
        if fs::read(token).ok().as_deref() != Some(b"SECRET-token") {
            harm.push("the token's file was changed".to_owned());
        }
        harm
    }
}

/// A file with a lock of the kind that belongs to no process, and that the kernel lists everywhere.
fn lock(path: &Path) -> File {
    let file = File::open(path).unwrap();
    let whole = libc::flock {
        l_type: libc::F_RDLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)).unwrap();
    file
}

/// An owner who uses a program of her own machine all the time, which no job may notice.
fn owner() -> SyncSender<()> {
    const BETWEEN: Duration = Duration::from_millis(100);
    let (alive, gone) = sync_channel(0);
    std::thread::spawn(move || {
        while gone.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
            fs::read("/usr/bin/env").unwrap();
        }
    });
    alive
}

/// A process of a job's uid, with a secret in its environment.
fn process(uid: u32) -> Child {
    let mut command = Command::new("/bin/sleep");
    command.arg("1000000").env_clear().env("CAMPUSGRID_TOKEN", "SECRET").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Where the worker is not root, jobs have its own uid, which is ours.
    if Uid::effective().is_root() {
        command.uid(uid).gid(uid);
    }
    command.spawn().unwrap()
}

impl Drop for Canaries {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _dead = process.kill();
            let _reaped = process.wait();
        }
        let _none = fs::remove_dir_all(DIRECTORY);
    }
}

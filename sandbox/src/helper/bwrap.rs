//! The command line of bubblewrap for one step, and what it says of how the step ended.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pipe2;
use serde::Deserialize;

use crate::order::{JOB, Order, SCRATCH};

/// Of the machine's /etc only what programs need to start: no names of people, no secrets.
const ETC: [&str; 12] = [
    "alternatives",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "protocols",
    "services",
    "timezone",
];
/// Links into /usr, or directories of their own where a distribution has not merged them.
const SYSTEM: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// The pipe by which bubblewrap tells the step's exit code.
pub(super) struct Status(File);

#[derive(Deserialize)]
struct StatusDocument {
    #[serde(rename = "exit-code")]
    exit_code: Option<i32>,
}

impl Status {
    /// The step's exit code; `None` if bubblewrap never came so far.
    ///
    /// To be called when nothing of the step is alive, so that it cannot block.
    pub(super) fn exit_code(self) -> Option<i32> {
        let mut text = Vec::new();
        self.0.take(4096).read_to_end(&mut text).ok()?;
        serde_json::Deserializer::from_slice(&text)
            .into_iter::<StatusDocument>()
            .map_while(Result::ok)
            .find_map(|document| document.exit_code)
    }
}

/// A step's command, and where its exit code will be read.
pub(super) struct Prepared {
    pub(super) command: Command,
    pub(super) status: Status,
    /// Open until the command has been started, then to be dropped.
    pub(super) inherited: Vec<File>,
}

/// Prepares `argv` to run in all its namespaces.
///
/// # Errors
///
/// Those of making a pipe and a file in memory.
pub(super) fn prepare(bwrap: &Path, order: &Order, argv: &[String]) -> io::Result<Prepared> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&write, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let mut options = options(order);
    options.extend(["--json-status-fd".to_owned(), write.as_raw_fd().to_string()]);

    // Through a file and not as arguments: users of this machine must not see the environment.
    let mut file = File::from(memfd_create("options", MFdFlags::empty())?);
    for option in &options {
        file.write_all(option.as_bytes())?;
        file.write_all(&[0])?;
    }
    file.rewind()?;

    let mut command = Command::new(bwrap);
    // An empty environment, since that of bubblewrap's init can be read from inside.
    command.env_clear().arg("--args").arg(file.as_raw_fd().to_string()).arg("--").args(argv);
    Ok(Prepared {
        command,
        status: Status(File::from(read)),
        inherited: vec![file, File::from(write)],
    })
}

fn options(order: &Order) -> Vec<String> {
    let mut options: Vec<String> = "--unshare-user --unshare-pid --unshare-net --unshare-ipc \
        --unshare-uts --unshare-cgroup --disable-userns --uid 60000 --gid 60000 --hostname job \
        --die-with-parent --new-session --cap-drop ALL --ro-bind /usr /usr --proc /proc --dev /dev"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let mut add = |words: &[&str]| options.extend(words.iter().map(|word| (*word).to_owned()));
    for name in SYSTEM {
        let path = format!("/{name}");
        match fs::read_link(&path) {
            Ok(target) => add(&["--symlink", &text(&target), &path]),
            Err(_) => add(&["--ro-bind-try", &path, &path]),
        }
    }
    let scratch = |name: &str| format!("{SCRATCH}/{name}");
    // One limited space behind all that can be written, shared memory included.
    add(&["--bind", &scratch("shm"), "/dev/shm", "--remount-ro", "/dev"]);
    add(&["--bind", &scratch("tmp"), "/tmp", "--bind", &scratch("job"), JOB]);
    for name in ["passwd", "group", "hosts"] {
        add(&["--ro-bind", &scratch(&format!("etc/{name}")), &format!("/etc/{name}")]);
    }
    for name in ETC {
        let path = format!("/etc/{name}");
        add(&["--ro-bind-try", &path, &path]);
    }
    for (number, (_, inside)) in order.read_only.iter().enumerate() {
        add(&["--ro-bind", &scratch(&format!("ro{number}")), &text(inside)]);
    }
    for (name, value) in &order.environment {
        add(&["--setenv", name, value]);
    }
    add(&["--remount-ro", "/", "--chdir", JOB]);
    options
}

/// A path that came from our own plan or a system link, both UTF-8.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

//! What lies in the virtual machine: this machine's Python, shell and tools, and the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::program;
use crate::test::vm::cpio::Archive;

/// What makes the machine ready and runs a scenario.
const INIT: &str = include_str!("init.sh");
const BUSYBOX: &str = "busybox";
/// What tasks in the tests, and the tests themselves, start by name; those that this machine does
/// not have are left out.
const TOOLS: &str = "\
    awk base64 basename bash cat chgrp chmod chown chroot chrt cmp cp cut date dd df diff \
    dirname dmesg du echo env expr false find findmnt free grep head hostname id install \
    ionice ipcmk ipcs join kill ldd ln ls lsns md5sum mkdir mkfifo mknod mktemp mount mv nice \
    nohup nproc nsenter od printf prlimit ps pwd readlink renice rm rmdir sed seq setpriv \
    setsid sh sha256sum sleep sort stat swapon tail taskset tee test timeout touch tr true \
    truncate umount uname uniq unshare wc yes";
/// Parts of Python's library that are large and that nothing here imports.
const UNUSED: [&str; 8] =
    ["test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "distutils"];
/// Packages that make up the compilers; N is their version.
const COMPILERS: &str = "gcc gcc-N cpp-N g++ g++-N libgcc-N-dev libstdc++-N-dev binutils \
    binutils-x86-64-linux-gnu libc6 libc6-dev libcrypt-dev libgomp1 linux-libc-dev";
/// Of the compilers: what optimises programs as a whole, and libraries for static programs.
const UNUSED_OF_GCC: [&str; 4] = ["lto1", "lto-dump", "libc.a", "libm-2"];
/// Names that have moved into `/usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
student:x:1000:1000:student:/home/student:/bin/sh
campusgrid:x:990:990:campusgrid:/var/lib/campusgrid:/usr/sbin/nologin
";
const GROUP: &str = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nstudent:x:1000:\ncampusgrid:x:990:\n";

const SYSTEMD: &str = "/lib/systemd/systemd";
/// No more than what the trial needs: nothing of this machine's services.
const TARGET: &str = "\
[Unit]
DefaultDependencies=no
Requires=trial.service
";
/// What differs from the worker's own service: it runs the tests once, says what they say, and
/// hands their exit status on. Root's home is empty but for what is shown below.
const TRIAL: &str = "\
[Unit]
DefaultDependencies=no

[Service]
Type=oneshot
Restart=no
ExecStart=
ExecStart=/trial
ExecStopPost=+/bin/sh -c 'exec /init $EXIT_STATUS'
Environment=PATH=/usr/bin:/usr/sbin LANG=C.UTF-8
ProtectHome=tmpfs
StandardOutput=file:/dev/console
StandardError=file:/dev/console
";

/// A file system in the making.
#[derive(Debug, Default)]
pub(super) struct Image {
    archive: Archive,
    /// Programs and libraries whose own libraries are needed, too.
    linked: BTreeSet<PathBuf>,
}

impl Image {
    /// A machine that starts, and does nothing.
    ///
    /// # Errors
    ///
    /// When this machine lacks a program that it cannot do without.
    pub(super) fn bare() -> Result<Self> {
        let mut image = Self::default();
        let archive = &mut image.archive;
        for name in ["dev", "proc", "run", "sys", "var", "etc/alternatives", "root"] {
            archive.directory(name, 0o755);
        }
        archive.directory("tmp", 0o1777);
        archive.directory("var/tmp", 0o1777);
        archive.directory("home/student", 0o777);
        for name in MERGED {
            archive.directory(&format!("usr/{name}"), 0o755);
            archive.link(name, &format!("usr/{name}"));
        }
        // The kernel opens it for the first process before anything is mounted.
        archive.device("dev/console", 5, 1);
        archive.text("etc/passwd", 0o644, PASSWD);
        archive.text("etc/group", 0o644, GROUP);
        archive.text("etc/hostname", 0o644, "vm\n");
        archive.text("init", 0o755, INIT);
        let busybox = program::on_path(BUSYBOX).context("busybox is not installed")?;
        image.program(&format!("usr/bin/{BUSYBOX}"), &busybox);
        for name in TOOLS.split_whitespace() {
            if let Some(path) = program::on_path(name) {
                image.program(&format!("usr/bin/{name}"), &path);
            }
        }
        image.python()?;
        Ok(image)
    }

    /// Adds a program and, in the end, its libraries.
    pub(super) fn program(&mut self, path: &str, from: &Path) {
        self.archive.copy(path, from);
        self.linked.insert(from.to_owned());
    }

    /// Adds a program under the path that it has here, which others have been told.
    pub(super) fn program_in_place(&mut self, from: &Path) {
        self.program(&merged(from), from);
    }

    pub(super) fn text(&mut self, path: &str, mode: u32, text: impl Into<Vec<u8>>) {
        self.archive.text(path, mode, text);
    }

    /// Adds a folder of this machine under the path that it has here.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn folder(&mut self, folder: &Path, leave_out: &[&str]) -> Result<()> {
        let entries = fs::read_dir(folder);
        for entry in entries.with_context(|| format!("failed to read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if leave_out.contains(&name.as_ref()) {
                continue;
            }
            if path.is_dir() {
                self.folder(&path, &[])?;
            } else if path.is_file() {
                self.file_in_place(&path);
            }
        }
        Ok(())
    }

    /// Adds a file of this machine under its path, for anybody to write.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn writable(&mut self, path: &Path) -> Result<()> {
        let text = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        self.archive.text(&merged(path), 0o666, text);
        Ok(())
    }

    /// Adds this machine's compilers of C and C++.
    ///
    /// # Errors
    ///
    /// When a part of them is not installed.
    pub(super) fn compilers(&mut self) -> Result<()> {
        let version = program::quiet(Command::new("gcc").arg("-dumpversion"))?;
        let version = version.trim();
        for name in COMPILERS.split_whitespace() {
            self.package(&name.replace('N', version))?;
        }
        Ok(())
    }

    /// Adds the files of a package as they lie here, without its documentation.
    ///
    /// # Errors
    ///
    /// When it is not installed.
    fn package(&mut self, name: &str) -> Result<()> {
        let files = program::quiet(Command::new("dpkg-query").args(["--listfiles", name]))?;
        for path in files.lines().map(Path::new) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_unused = UNUSED_OF_GCC.iter().any(|it| name.contains(it));
            // Among the folders are `/lib` and its like, which are links here.
            if path.starts_with("/usr/share") || is_unused || path.is_dir() {
                continue;
            }
            if let Ok(to) = fs::read_link(path) {
                self.archive.link(&merged(path), &to.to_string_lossy());
            } else if path.is_file() {
                self.file_in_place(path);
            }
        }
        Ok(())
    }

    fn file_in_place(&mut self, path: &Path) {
        use std::os::unix::fs::PermissionsExt;
        let facts = fs::metadata(path);
        let is_program = facts.is_ok_and(|facts| facts.permissions().mode() & 0o111 != 0);
        // Libraries are not executable on every distribution.
        if is_program || path.to_string_lossy().contains(".so") {
            self.linked.insert(path.to_owned());
        }
        self.archive.copy(&merged(path), path);
    }

    fn python(&mut self) -> Result<()> {
        let python = fs::canonicalize("/usr/bin/python3").context("python3 is not installed")?;
        let name = python.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.program_in_place(&python);
        self.archive.link("usr/bin/python3", &name);
        self.folder(&Path::new("/usr/lib").join(&name), &UNUSED)
    }

    /// Adds this machine's systemd, and the worker's service with the scenario in the worker's
    /// place. It is shown these programs, wherever they lie. Yields whether there is a systemd.
    pub(super) fn systemd(&mut self, worker: &str, shown: &[PathBuf]) -> bool {
        let systemd = Path::new(SYSTEMD);
        if !systemd.exists() {
            return false;
        }
        self.program_in_place(systemd);
        let mut trial = TRIAL.to_owned();
        for path in shown {
            trial.push_str(&format!("BindReadOnlyPaths={}\n", path.display()));
        }
        let units = "etc/systemd/system";
        self.archive.text(&format!("{units}/trial.target"), 0o644, TARGET);
        self.archive.text(&format!("{units}/trial.service"), 0o644, worker);
        self.archive.text(&format!("{units}/trial.service.d/trial.conf"), 0o644, trial);
        // Without one it would begin to set up a new machine.
        self.archive.text("etc/machine-id", 0o444, format!("{:032x}\n", 1));
        true
    }

    /// Writes the archive. Returns its size in bytes.
    ///
    /// # Errors
    ///
    /// When libraries are missing, or the file cannot be written.
    pub(super) fn write(mut self, path: &Path) -> Result<u64> {
        let said = Command::new("ldd").args(&self.linked).output().context("failed to run ldd")?;
        for library in libraries(&String::from_utf8_lossy(&said.stdout)) {
            self.archive.copy(&merged(&library), &library);
        }
        self.archive.write(path)
    }
}

/// The libraries in what `ldd` says of any number of programs.
fn libraries(said: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let line = line.trim().split_once(" => ").map_or(line.trim(), |(_, path)| path);
        line.split_once(" (0x").map(|(path, _)| PathBuf::from(path))
    };
    said.lines().filter_map(path).filter(|path| path.is_absolute()).collect()
}

/// An absolute path as one of the archive's.
fn merged(path: &Path) -> String {
    let plain = path.to_string_lossy().trim_start_matches('/').to_owned();
    let first = plain.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) { format!("usr/{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{libraries, merged};

    #[test]
    fn libraries_are_what_ldd_says() {
        let said = "/usr/bin/a:\n\tlinux-vdso.so.1 (0x00007ffe1)\n\tlibm.so.6 => \
                    /lib/x86_64-linux-gnu/libm.so.6 (0x00007f2)\n\t/lib64/ld-linux-x86-64.so.2 \
                    (0x00007f3)\n/usr/bin/b:\n\tnot a dynamic executable\n";
        let wanted = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(said), wanted.map(PathBuf::from).into());
    }

    #[test]
    fn old_names_lead_into_usr() {
        assert_eq!(merged(Path::new("/lib/x.so")), "usr/lib/x.so");
        assert_eq!(merged(Path::new("/library/x.so")), "library/x.so");
        assert_eq!(merged(Path::new("/usr/bin/x")), "usr/bin/x");
    }
}

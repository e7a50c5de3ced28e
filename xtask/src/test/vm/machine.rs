//! One run of the virtual machine: QEMU with a kernel and an archive, nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::daemon;
use crate::interrupt::Daemons;

const QEMU: &str = "qemu-system-x86_64";
/// Before the exit status of a scenario, in what the machine says last.
pub(super) const END_MARK: &str = "VM-END rc=";

/// What starts the machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) kernel: PathBuf,
    pub(super) archive: PathBuf,
    /// Where the logs go.
    pub(super) folder: PathBuf,
    pub(super) bounds: Bounds,
}

/// What a machine may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) ram_mib: u32,
    pub(super) limit: Duration,
}

impl Machine {
    /// Runs one scenario to its end. Returns all that the machine has said.
    ///
    /// # Errors
    ///
    /// When the machine does not start, or does not come to its end in time; the error holds the
    /// last that it said.
    pub(super) fn run(&self, scenario: &str, daemons: &Daemons) -> Result<String> {
        let mut qemu = Command::new(QEMU);
        let acceleration = Acceleration::find();
        qemu.args(acceleration.options()).args([
            "-smp",
            "2",
            "-m",
            &self.bounds.ram_mib.to_string(),
        ]);
        qemu.args(["-nographic", "-no-reboot", "-net", "none"]);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.archive);
        // Only panics are shown: other words of the kernel's would stand amid the tests'.
        qemu.arg("-append").arg(format!(
            "console=ttyS0 panic=-1 loglevel=1 lsm=lockdown,capability,landlock,yama,apparmor \
             rdinit=/init scenario={scenario}"
        ));
        let log = self.log(scenario);
        let (daemon, said) = daemon::start("the virtual machine", &qemu, &log)?;
        // It ends by itself, or with this command.
        daemons.add(daemon);
        let ended = |line: &str| line.contains(END_MARK).then_some(());
        said.wait_for("its end", self.bounds.limit, ended)?;
        let text = fs::read(&log).with_context(|| format!("failed to read {}", log.display()))?;
        Ok(String::from_utf8_lossy(&text).replace('\r', ""))
    }

    pub(super) fn log(&self, scenario: &str) -> PathBuf {
        self.folder.join(format!("{scenario}.log"))
    }
}

/// How the machine's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acceleration {
    /// By the processor.
    Kvm,
    /// By a program, about ten times slower.
    Emulated,
}

impl Acceleration {
    /// A hypervisor may offer the device to a machine whose processor has no such instructions,
    /// and emulate them; a kernel then takes minutes to start, or never does.
    fn find() -> Self {
        let facts = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = facts.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let has_instructions = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
        let device = fs::File::options().read(true).write(true).open(Path::new("/dev/kvm"));
        if has_instructions && device.is_ok() { Self::Kvm } else { Self::Emulated }
    }

    fn options(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Newer processors, emulated, do not start this kernel.
            Self::Emulated => ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"],
        }
    }
}

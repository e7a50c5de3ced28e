//! Debian packages: which are missing, and how they are installed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::program;
use crate::setup::{Extra, Purpose};

/// How it shows that a package need not be installed.
#[derive(Debug, Clone, Copy)]
enum Shows {
    /// One of these programs is on the search path; the package may have another name, or none.
    Program(&'static [&'static str]),
    /// This file exists.
    File(&'static str),
    /// Debian says that it is installed.
    Installed,
}

struct Package {
    name: &'static str,
    shows: Shows,
    why: &'static str,
}

const fn package(name: &'static str, shows: Shows, why: &'static str) -> Package {
    Package { name, shows, why }
}

// Tasks see /usr only, so a Python or a compiler elsewhere on the search path does not count.
const DEMO: [Package; 4] = [
    package("python3", Shows::File("/usr/bin/python3"), "runs Python jobs"),
    package("python3-venv", Shows::Installed, "holds uv and the packages of Python jobs"),
    package("gcc", Shows::File("/usr/bin/gcc"), "compiles C jobs and SQLite"),
    package("libc6-dev", Shows::File("/usr/include/stdio.h"), "compiles C jobs and SQLite"),
];

/// Needed by the tests beyond what the demo needs.
const TEST: [Package; 5] = [
    package("dbus", Shows::Program(&["dbus-daemon"]), "is the bus on which owners are sensed"),
    package("g++", Shows::File("/usr/bin/g++"), "compiles a hostile program"),
    package("chromium", Shows::Program(&CHROMIUMS), "drives the dashboard"),
    package("nodejs", Shows::Program(&["node"]), "runs the browser test"),
    package("npm", Shows::Program(&["npm"]), "installs the browser test's library"),
];

/// Needed by the tests of the container backend, which are skipped without.
const CONTAINERS: [Package; 2] = [
    package("docker.io", Shows::Program(&["dockerd"]), "runs tasks in containers"),
    package("debootstrap", Shows::Program(&["debootstrap"]), "makes the default image"),
];

/// Needed by the tests in a virtual machine, which are skipped without.
const VIRTUAL_MACHINE: [Package; 3] = [
    package("qemu-system-x86", Shows::Program(&["qemu-system-x86_64"]), "is the virtual machine"),
    package("busybox-static", Shows::Program(&["busybox"]), "makes the virtual machine ready"),
    package("binutils", Shows::Program(&["strip"]), "makes tests small enough for its memory"),
];

/// Names under which distributions ship it.
pub(crate) const CHROMIUMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Installs what is missing; does nothing, fast, when nothing is.
///
/// # Errors
///
/// When something is missing and cannot be installed from here; names the command that does it.
pub(crate) fn install(purpose: Purpose) -> Result<()> {
    let mut missing = missing(&DEMO);
    match purpose {
        Purpose::Demo => {}
        Purpose::Test => missing.extend(self::missing(&TEST)),
    }
    install_all(&missing)
}

/// The same for what some tests can do without, being skipped then.
///
/// # Errors
///
/// When something is missing and cannot be installed from here; names the command that does it.
pub(crate) fn install_extra(extra: Extra) -> Result<()> {
    install_all(&match extra {
        Extra::Containers => missing(&CONTAINERS),
        Extra::VirtualMachine => missing(&VIRTUAL_MACHINE),
    })
}

fn install_all(missing: &[&Package]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    for package in missing {
        println!("setup: {} is missing: {}", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y {}", names.join(" "));
    if program::on_path("apt-get").is_none() {
        bail!("this system has no apt-get; install by its own means: {}", names.join(", "));
    }
    let Some(root) = becoming_root()? else {
        bail!(
            "installing needs root, and sudo asks for a password; run this, then again:\n\n    {by_hand}\n"
        );
    };
    println!("setup: apt-get install -y {}", names.join(" "));
    // A stale list of packages names files that are gone from the mirror.
    apt(&root, &["update"])
        .and_then(|()| {
            let mut words = vec!["install", "-y", "--no-install-recommends"];
            words.extend(&names);
            apt(&root, &words)
        })
        .with_context(|| format!("failed to install; the command is:\n\n    {by_hand}\n"))
}

fn missing(packages: &'static [Package]) -> Vec<&'static Package> {
    packages.iter().filter(|package| !package.is_there()).collect()
}

impl Package {
    fn is_there(&self) -> bool {
        match self.shows {
            Shows::Program(names) => names.iter().any(|name| program::on_path(name).is_some()),
            Shows::File(path) => Path::new(path).exists(),
            Shows::Installed => {
                let mut query = Command::new("dpkg-query");
                query.args(["--show", "--showformat=${db:Status-Status}", self.name]);
                // Where there is no dpkg, what cannot be asked is taken to be there: its lack shows
                // in an error of its own when it is used.
                match query.output() {
                    Ok(output) => output.stdout == b"installed",
                    Err(_) => true,
                }
            }
        }
    }
}

/// The words before a command that make it root's; none when there is no way without a password.
fn becoming_root() -> Result<Option<Vec<&'static str>>> {
    let own = program::quiet(Command::new("id").arg("--user")).context("failed to ask who I am")?;
    if own.trim() == "0" {
        return Ok(Some(vec!["env"]));
    }
    let able = program::quiet(Command::new("sudo").args(["-n", "true"])).is_ok();
    Ok(able.then(|| vec!["sudo", "-n", "env"]))
}

fn apt(root: &[&str], words: &[&str]) -> Result<()> {
    let mut command = Command::new(root[0]);
    command.args(&root[1..]).args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).args(words);
    program::quiet(&mut command).map(|_| ())
}

//! Gets a worker without privileges a group from systemd, where it may limit its tasks.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::unistd::Uid;

use crate::cgroup::layout::Layout;

/// Where a user's systemd listens, beneath its runtime directory.
const SYSTEMD: &str = "systemd/private";
const RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

/// Continues in a scope that systemd delegates to this user, where just that is missing.
///
/// The program is then executed afresh, once, with the same arguments, environment, streams and
/// process number. Otherwise this returns, and [`crate::sandbox::Sandbox::probe`] tells what is
/// wrong, if anything is. To be called before the program starts a thread or opens a file, with
/// its arguments but the first.
pub fn enter_own_scope(arguments: impl Iterator<Item = OsString>) {
    if Uid::effective().is_root() || is_in_own_scope() || Layout::find().is_ok() {
        return;
    }
    let Some(runtime_dir) = runtime_dir() else { return };
    let Ok(program) = std::env::current_exe() else { return };
    let systemd_run = |name: String| {
        let mut command = Command::new("systemd-run");
        command.args(["--user", "--scope", "--quiet", "--collect", "-p", "Delegate=yes"]);
        command.arg(format!("--unit={name}")).arg("--").env(RUNTIME_DIR, &runtime_dir);
        command
    };
    // Whatever is in the way shows here, where we can still go on without.
    let mut trial = systemd_run(format!("{}-trial", own_scope()));
    trial.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !trial.status().is_ok_and(|status| status.success()) {
        return;
    }
    let error = systemd_run(own_scope()).arg(program).args(arguments).exec();
    tracing::warn!(%error, "systemd-run worked once and then not");
}

/// The scope's name, without its ending: the process number stays the same in it.
fn own_scope() -> String {
    format!("campusgrid-{}", std::process::id())
}

fn is_in_own_scope() -> bool {
    let scope = format!("/{}.scope", own_scope());
    fs::read_to_string("/proc/self/cgroup").is_ok_and(|groups| groups.contains(&scope))
}

/// Where this user's systemd is reached; `None` where there is none.
fn runtime_dir() -> Option<PathBuf> {
    let usual = PathBuf::from(format!("/run/user/{}", Uid::effective()));
    let told = std::env::var_os(RUNTIME_DIR).map(PathBuf::from);
    told.into_iter().chain([usual]).find(|directory| directory.join(SYSTEMD).exists())
}

//! What keeps a machine from confining tasks, and the command that mends it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::Uid;

use crate::helper::kernel::landlock_abi;
use crate::helper::landlock::ABI_SCOPES;
use crate::keeper::LANES_MAX;
use crate::plan::{Check, Holds, SandboxError};
use crate::users::whose;

/// A row that does not hold.
fn missing(what: &str, found: String, mend: impl Into<String>) -> Check {
    Check { what: what.to_owned(), state: Holds::No, found, mend: Some(mend.into()) }
}

/// A row for which nobody knows a command.
pub(super) fn hopeless(what: &str, found: String) -> Check {
    Check { what: what.to_owned(), state: Holds::No, found, mend: None }
}

/// Refuses uids for tasks that are somebody's already.
pub(super) fn check_users(first_job_uid: u32) -> Result<(), Vec<Check>> {
    // One after those of tasks is the worker's tools'.
    let mend = "sudo usermod --uid … NAME, or start the worker as an ordinary user, whose tasks \
                need no uids of their own";
    let taken = whose(first_job_uid, LANES_MAX + 1);
    taken.map_or(Ok(()), |found| Err(vec![missing("user of its own", found, mend)]))
}

/// What walls without namespaces need; all rows that do not hold.
pub(super) fn for_restricted(scratch: &Path) -> Vec<Check> {
    let what = "restricted";
    let mut rows = Vec::new();
    if !Uid::effective().is_root() {
        let found = "without namespaces tasks need a user of their own, which only root can give \
                     them: as this one they could change the permissions of all that it owns";
        rows.push(missing(what, found.to_owned(), "sudo campusgrid-worker …"));
    }
    let abi = landlock_abi();
    if abi < ABI_SCOPES {
        let found = format!("Landlock is of version {abi}, and {ABI_SCOPES} is what it takes");
        rows.push(missing(what, found, "a kernel from 6.12 on, with landlock in its lsm= list"));
    }
    let is_closed = |place: &&Path| {
        fs::metadata(place).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0)
    };
    if let Some(closed) = scratch.ancestors().find(is_closed) {
        let found =
            format!("tasks' users could not reach their directories in {}", closed.display());
        rows.push(missing(what, found, format!("chmod o+x {}", closed.display())));
    }
    rows
}

pub(super) fn cgroups(error: &SandboxError) -> Check {
    let what = "limits";
    let found = chain(error);
    let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if !is_v2 {
        return missing(
            what,
            format!("{found}; this machine has cgroup v1, which only root may use"),
            "sudo campusgrid-worker …, or start the machine with \
             systemd.unified_cgroup_hierarchy=1",
        );
    }
    if Uid::effective().is_root() {
        return missing(
            what,
            format!("{found}; root can make groups everywhere but in most containers"),
            "start the worker outside of the container",
        );
    }
    let start = "systemd-run --user --scope -p Delegate=yes campusgrid-worker …";
    let Some(list) = user_controllers() else {
        return missing(
            what,
            format!("{found}; systemd does not care for this user's processes"),
            "sudo campusgrid-worker …, or log in through ssh or the screen, and not through su",
        );
    };
    if ["memory", "pids", "cpu"].iter().all(|name| list.split_whitespace().any(|has| has == *name))
    {
        return missing(what, found, start);
    }
    let mend = format!(
        "sudo mkdir -p /etc/systemd/system/user@.service.d && printf \
         '[Service]\\nDelegate=cpu cpuset memory pids\\n' | sudo tee \
         /etc/systemd/system/user@.service.d/campusgrid.conf && sudo systemctl daemon-reload; \
         then log in again, and: {start}"
    );
    missing(what, format!("{found}; systemd hands only {} to users", list.trim()), mend)
}

/// What systemd hands to this user on cgroup v2; `None` where the user has no systemd.
fn user_controllers() -> Option<String> {
    let uid = Uid::effective();
    let group = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service");
    fs::read_to_string(Path::new(&group).join("cgroup.controllers")).ok()
}

/// Looks for what is known to forbid namespaces; otherwise the error has to speak for itself.
pub(super) fn trial(error: &SandboxError) -> Check {
    if let SandboxError::Limit { .. } = error {
        return cgroups(error);
    }
    let what = "user namespaces";
    let is = |file: &str, value: &str| {
        fs::read_to_string(Path::new("/proc/sys").join(file)).is_ok_and(|text| text.trim() == value)
    };
    let reason = chain(error);
    if Uid::effective().is_root() {
        return hopeless("namespaces", format!("a trial task did not run: {reason}"));
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return missing(
            what,
            format!("AppArmor lets only named programs make user namespaces ({reason})"),
            "sudo campusgrid-worker install, which names ours; or sudo sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0, and the same line in \
             /etc/sysctl.d/60-campusgrid.conf for the next start",
        );
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        return missing(
            what,
            format!("this kernel is told to refuse user namespaces ({reason})"),
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    if is("user/max_user_namespaces", "0") {
        return missing(
            what,
            format!("no user namespaces are allowed ({reason})"),
            "sudo sysctl -w user.max_user_namespaces=10000",
        );
    }
    hopeless("namespaces", format!("a trial task did not run: {reason}"))
}

/// An error with all its causes.
pub(super) fn chain(error: &SandboxError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

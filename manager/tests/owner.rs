//! Root's commands on a data directory of another user: they are that user's, and nobody's links lead them
//! to what is root's.

#![expect(clippy::print_stderr, reason = "why a test was skipped belongs to its output")]
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod backup_rig;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use backup_rig::{NOW, Rig};
use campusgrid_manager::backup::backup;
use nix::unistd::geteuid;

/// A user whom no system knows.
const USER: u32 = 424_242;

/// A backup, and a directory of the user's beside it.
struct Place {
    rig: Rig,
    home: PathBuf,
}

impl Place {
    /// None where this is not root.
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can give files away");
            return None;
        }
        let rig = Rig::new();
        fs::set_permissions(rig.parent.path(), Permissions::from_mode(0o755)).unwrap();
        backup(&rig.data_dir(), &rig.backup_dir(), NOW).unwrap();
        give(&rig.backup_dir());
        let home = rig.parent.path().join("home");
        fs::create_dir(&home).unwrap();
        give(&home);
        Some(Self { rig, home })
    }

    fn restore(&self, data_dir: &Path) -> Output {
        let from = self.rig.backup_dir();
        run(data_dir, &["restore", "--force", from.to_str().unwrap()])
    }
}

fn give(path: &Path) {
    lchown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

#[track_caller]
fn is_all_theirs(path: &Path) {
    let found = fs::symlink_metadata(path).unwrap();
    assert_eq!((found.uid(), found.gid()), (USER, USER), "{}", path.display());
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            is_all_theirs(&entry.unwrap().path());
        }
    }
}

fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-manager"));
    command.args(arguments).arg("--data-dir").arg(data_dir).current_dir("/").output().unwrap()
}

#[track_caller]
fn fine(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn refused(output: &Output, words: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(words), "no {words:?} in {told}");
}

#[test]
fn what_root_does_for_a_user_is_the_users() {
    let Some(place) = Place::new() else { return };
    let data_dir = place.home.join("data");
    // It is not there yet, and would be made in the user's directory.
    fine(&place.restore(&data_dir));
    fine(&place.restore(&data_dir)); // Now it is.
    fine(&run(&data_dir, &["fsck", "--content", "--prune"]));
    let copy = place.home.join("copy");
    fine(&run(&data_dir, &["backup", copy.to_str().unwrap()]));
    is_all_theirs(&place.home);

    // What only root may read or write is none of the user's business.
    chown(place.rig.backup_dir().join("manifest.json"), Some(0), Some(0)).unwrap();
    refused(&place.restore(&data_dir), "as user 424242, who owns");
    let elsewhere = place.rig.parent.path().join("elsewhere");
    refused(&run(&data_dir, &["backup", elsewhere.to_str().unwrap()]), "must have leave");
    assert!(!elsewhere.exists());
}

#[test]
fn a_users_links_lead_root_nowhere() {
    let Some(place) = Place::new() else { return };
    let (data_dir, victim) = (place.home.join("data"), place.rig.parent.path().join("victim"));
    fs::create_dir(&data_dir).unwrap();
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("secret"), "root's").unwrap();
    fs::set_permissions(victim.join("secret"), Permissions::from_mode(0o600)).unwrap();
    symlink(victim.join("secret"), data_dir.join("lock")).unwrap();
    give(&place.home);
    refused(&place.restore(&data_dir), "failed to open");
    fs::remove_file(data_dir.join("lock")).unwrap();
    // In place of a directory beneath it: it is moved aside as the link it is.
    symlink(&victim, data_dir.join("blobs")).unwrap();
    symlink(&victim, data_dir.join("restoring")).unwrap();
    give(&place.home);
    fine(&place.restore(&data_dir));
    // In place of all of it.
    let link = place.home.join("link");
    symlink(&victim, &link).unwrap();
    give(&place.home);
    refused(&place.restore(&link), "is a link by user 424242");
    refused(&run(&link.join("deeper"), &["serve"]), "is a link by user 424242");

    let found = fs::metadata(victim.join("secret")).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777), (0, 0o600));
    assert_eq!(fs::metadata(&victim).unwrap().uid(), 0);
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    is_all_theirs(&place.home);
}

//! `campusgrid-worker uninstall`: stops the service and removes what was put in place.
//!
//! Settings, the machine's key and results that wait to be sent stay: they are not the installer's.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::{CONFIG, InstallError, LINK, Machine, Mode, PROGRAM, SERVICE, STATE};

const UNIT: &str = "/etc/systemd/system/campusgrid-worker.service";
const USERS: &str = "/etc/sysusers.d/campusgrid.conf";
const PROFILE: &str = "/etc/apparmor.d/campusgrid";

/// Removes the system's service, and returns what was done, a line each.
///
/// # Errors
///
/// At the first thing that cannot be done; what was done before stays so.
pub fn uninstall(mode: Mode) -> Result<Vec<String>, InstallError> {
    if mode == Mode::Do && !Uid::effective().is_root() {
        let own = std::env::current_exe().map_err(|source| InstallError::OwnProgram { source })?;
        return Err(InstallError::NotRootAway { program: own.display().to_string() });
    }
    Machine { root: PathBuf::from("/"), mode, said: Vec::new() }.uninstall()
}

impl Machine {
    fn uninstall(mut self) -> Result<Vec<String>, InstallError> {
        let is_service = self.is(UNIT);
        if is_service && self.is("run/systemd/system") {
            // It gives back what it runs before it ends.
            self.run(&["systemctl", "disable", "--now", SERVICE])?;
        }
        self.remove(UNIT)?;
        self.remove(USERS)?;
        if self.is(PROFILE) {
            self.run(&["apparmor_parser", "--remove", PROFILE])?;
            self.remove(PROFILE)?;
        }
        // Somebody else's program of this name is none of ours.
        if fs::read_link(self.path(LINK)).is_ok_and(|target| target == Path::new(PROGRAM)) {
            self.remove(LINK)?;
        }
        self.remove(PROGRAM)?;
        if is_service && self.is("run/systemd/system") {
            self.run(&["systemctl", "daemon-reload"])?;
        }
        if self.said.is_empty() {
            self.said.push("nothing is installed".to_owned());
        }
        for (what, path) in [("settings", CONFIG), ("key and results", STATE)] {
            if self.is(path) {
                self.said
                    .push(format!("{what} stay in {path}; remove them if they are not needed"));
            }
        }
        Ok(self.said)
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&mut self, file: &str) -> Result<(), InstallError> {
        let path = self.path(file);
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        self.said.push(format!("remove {file}"));
        if self.mode == Mode::Say {
            return Ok(());
        }
        fs::remove_file(&path).map_err(|source| InstallError::Remove { path, source })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn machine(root: &Path, mode: Mode) -> Machine {
        Machine { root: root.to_owned(), mode, said: Vec::new() }
    }

    #[test]
    fn what_was_installed_is_removed_and_the_owners_own_stays() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in [PROGRAM, UNIT, USERS, CONFIG, "/run/systemd/system/x", "/var/lib/campusgrid/x"]
        {
            let path = root.join(&file[1..]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir_all(root.join("usr/local/bin")).unwrap();
        std::os::unix::fs::symlink(PROGRAM, root.join(&LINK[1..])).unwrap();
        let said = machine(root, Mode::Say).uninstall().unwrap();
        assert!(root.join(&UNIT[1..]).exists());
        assert_eq!(machine(root, Mode::Do).uninstall().unwrap(), said);
        expect![[r#"
            run systemctl disable --now campusgrid-worker.service
            remove /etc/systemd/system/campusgrid-worker.service
            remove /etc/sysusers.d/campusgrid.conf
            remove /usr/local/bin/campusgrid-worker
            remove /usr/lib/campusgrid/campusgrid-worker
            run systemctl daemon-reload
            settings stay in /etc/campusgrid/config.toml; remove them if they are not needed
            key and results stay in /var/lib/campusgrid; remove them if they are not needed"#]]
        .assert_eq(&said.join("\n"));
        assert!(root.join(&CONFIG[1..]).exists() && !root.join(&PROGRAM[1..]).exists());
        let again = machine(root, Mode::Do).uninstall().unwrap();
        assert_eq!(again[0], "nothing is installed");
    }
}

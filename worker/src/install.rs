//! `campusgrid-worker install`: puts the program, its service and what lets it work in their places.
//!
//! Run again it changes nothing that is already so. With [`Mode::Say`] it only says what it would do.

mod away;
pub mod user_unit;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use campusgrid_identity::token::JoinToken;
use nix::unistd::Uid;
use nix::unistd::{User, chown};

use crate::config::Config;
use crate::error::WorkerError;
use crate::identity;

pub use self::away::uninstall;

/// Where the program must lie for its AppArmor profile, and so that nobody but root can change it.
pub const PROGRAM: &str = "/usr/lib/campusgrid/campusgrid-worker";
const LINK: &str = "/usr/local/bin/campusgrid-worker";
const CONFIG: &str = "/etc/campusgrid/config.toml";
const SERVICE: &str = "campusgrid-worker.service";

/// As the unit file says: the user, its directory, and where in that its worker keeps its data.
const USER: &str = "campusgrid";
const STATE: &str = "/var/lib/campusgrid";
const DATA: &str = "/var/lib/campusgrid/worker";

const UNIT_FILE: &str = include_str!("../../packaging/campusgrid-worker.service");
const USER_FILE: &str = include_str!("../../packaging/campusgrid.sysusers");
const PROFILE_FILE: &str = include_str!("../../packaging/campusgrid.apparmor");

/// Whether to do it, or only to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Do,
    Say,
}

/// Why something could not be put in its place.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("only root can install: sudo {program} install, or without root: install --user-unit")]
    NotRoot { program: String },
    #[error(
        "only root can uninstall: sudo {program} uninstall, or a user's own: uninstall --user-unit"
    )]
    NotRootAway { program: String },
    #[error("a service of root is one of the system: install it without --user-unit")]
    RootsOwn,
    #[error("there is no home to install into: HOME is not set")]
    Homeless,
    #[error("failed to remove {path}")]
    Remove { path: PathBuf, source: io::Error },
    #[error("failed to find this program's own file")]
    OwnProgram { source: io::Error },
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to start {command}")]
    Start { command: String, source: io::Error },
    #[error("{command} failed: {said}")]
    Command { command: String, said: String },
    #[error("failed to hand the token to the service")]
    Token(#[from] WorkerError),
    #[error("there is no user {name}, to whom {path} is to belong")]
    User { name: &'static str, path: PathBuf },
}

/// The machine as the installer sees it.
#[derive(Debug)]
struct Machine {
    /// `/`, but in tests.
    root: PathBuf,
    mode: Mode,
    /// What was done, or would be; a line each.
    said: Vec<String>,
}

/// Installs, and returns what was done, a line each.
///
/// The configuration is written from `config` if there is none yet. A token goes where the service
/// finds it at its next start, and nobody else: neither into the unit file nor into the configuration.
///
/// # Errors
///
/// At the first thing that cannot be done; what was done before stays, and does no harm.
pub fn install(
    config: &Config,
    token: Option<JoinToken>,
    mode: Mode,
) -> Result<Vec<String>, InstallError> {
    let own = std::env::current_exe().map_err(|source| InstallError::OwnProgram { source })?;
    if mode == Mode::Do && !Uid::effective().is_root() {
        return Err(InstallError::NotRoot { program: own.display().to_string() });
    }
    Machine { root: PathBuf::from("/"), mode, said: Vec::new() }.install(&own, config, token)
}

impl Machine {
    fn install(
        mut self,
        own: &Path,
        config: &Config,
        token: Option<JoinToken>,
    ) -> Result<Vec<String>, InstallError> {
        self.copy(own, PROGRAM)?;
        self.link(LINK, PROGRAM)?;
        // Only where programs without a profile are refused: older AppArmors cannot read this one.
        if self.is("proc/sys/kernel/apparmor_restrict_unprivileged_userns")
            && self.is("etc/apparmor.d/abi/4.0")
        {
            let profile = "/etc/apparmor.d/campusgrid";
            self.write(profile, PROFILE_FILE.as_bytes(), 0o644)?;
            self.run(&["apparmor_parser", "--replace", profile])?;
        }
        let is_configured = self.configure(config)?;
        if !self.is("run/systemd/system") {
            let command = format!("{PROGRAM} --config {CONFIG}");
            self.said.push(format!("no systemd: start {command} by whatever starts services here"));
            if token.is_some() {
                self.said.push("the token is not kept: give it to the first start".to_owned());
            }
            return Ok(self.said);
        }
        let user = "/etc/sysusers.d/campusgrid.conf";
        self.write(user, USER_FILE.as_bytes(), 0o644)?;
        self.run(&["systemd-sysusers", user])?;
        if let Some(token) = token {
            self.hand_over(&token)?;
        }
        self.write(&format!("/etc/systemd/system/{SERVICE}"), UNIT_FILE.as_bytes(), 0o644)?;
        self.run(&["systemctl", "daemon-reload"])?;
        if !is_configured {
            self.said.push("then: sudo systemctl enable --now campusgrid-worker".to_owned());
            return Ok(self.said);
        }
        self.run(&["systemctl", "enable", SERVICE])?;
        // And not `--now`: one that runs already is to run what was just installed.
        self.run(&["systemctl", "restart", SERVICE])?;
        self.said.push(match token {
            Some(_) => "whether it has joined: journalctl -u campusgrid-worker -f".to_owned(),
            None => "the code to approve: journalctl -u campusgrid-worker -f".to_owned(),
        });
        Ok(self.said)
    }

    /// Writes the settings that were given, unless there are some. Returns whether there are now.
    fn configure(&mut self, config: &Config) -> Result<bool, InstallError> {
        if self.is(CONFIG) {
            self.said.push(format!("{CONFIG} stays as it is"));
        } else if config.manager_host.is_empty() {
            self.said.push(format!(
                "no manager is known: once more with -m HOST --token TOKEN, or write {CONFIG}"
            ));
            return Ok(false);
        } else {
            self.write(CONFIG, configuration(config).as_bytes(), 0o644)?;
        }
        Ok(true)
    }

    /// Puts a token into the service's own directory, for the service's user alone.
    fn hand_over(&mut self, token: &JoinToken) -> Result<(), InstallError> {
        self.said.push(format!("put the token into {DATA}/identity, for {USER} alone"));
        if self.mode == Mode::Say {
            return Ok(());
        }
        let data = self.path(DATA);
        let write = |path: PathBuf| move |source| InstallError::Write { path, source };
        fs::create_dir_all(&data).map_err(write(data.clone()))?;
        let file = identity::keep_token(&data, token)?;
        // A made-up machine has no such user.
        if self.root != Path::new("/") {
            return Ok(());
        }
        let user = User::from_name(USER).ok().flatten();
        let unknown = || InstallError::User { name: USER, path: data.clone() };
        let user = user.ok_or_else(unknown)?;
        let directory = file.parent().map(Path::to_owned);
        for path in [Some(self.path(STATE)), Some(data.clone()), directory, Some(file)] {
            let Some(path) = path else { continue };
            chown(&path, Some(user.uid), Some(user.gid))
                .map_err(|error| InstallError::Write { path, source: error.into() })?;
        }
        Ok(())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn is(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn copy(&mut self, from: &Path, to: &str) -> Result<(), InstallError> {
        let content = fs::read(from)
            .map_err(|source| InstallError::Read { path: from.to_owned(), source })?;
        self.write(to, &content, 0o755)
    }

    /// Writes a file beside its place and moves it there, so that a half-written one is never used.
    fn write(&mut self, to: &str, content: &[u8], mode: u32) -> Result<(), InstallError> {
        let path = self.path(to);
        if fs::read(&path).is_ok_and(|found| found == content) {
            self.said.push(format!("{to} is there"));
            return Ok(());
        }
        self.said.push(format!("write {to}"));
        if self.mode == Mode::Say {
            return Ok(());
        }
        let write = || {
            let directory = path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(directory)?;
            let beside = directory.join(".campusgrid-new");
            let mut file = File::create(&beside)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|source| InstallError::Write { path: path.clone(), source })
    }

    fn link(&mut self, link: &str, target: &str) -> Result<(), InstallError> {
        let path = self.path(link);
        if fs::read_link(&path).is_ok_and(|found| found == Path::new(target)) {
            self.said.push(format!("{link} is there"));
            return Ok(());
        }
        self.said.push(format!("link {link} to {target}"));
        if self.mode == Mode::Say {
            return Ok(());
        }
        let make = || {
            if path.symlink_metadata().is_ok() {
                fs::remove_file(&path)?;
            }
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            symlink(target, &path)
        };
        make().map_err(|source| InstallError::Write { path: path.clone(), source })
    }

    fn run(&mut self, command: &[&str]) -> Result<(), InstallError> {
        let [program, arguments @ ..] = command else { return Ok(()) };
        let words = command.join(" ");
        self.said.push(format!("run {words}"));
        // A made-up machine has no services to speak to.
        if self.mode == Mode::Say || self.root != Path::new("/") {
            return Ok(());
        }
        let done = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        let done = done.map_err(|source| InstallError::Start { command: words.clone(), source })?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        Err(InstallError::Command { command: words, said })
    }
}

/// What flags and variables have said, as a file.
fn configuration(config: &Config) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = "# All settings: config.toml of CampusGrid's source.\n[worker]\n".to_owned();
    text += &format!("manager_host = {}\n", quote(&config.manager_host));
    text += &format!("manager_port = {}\n", config.manager_port);
    let named = [("name", &config.name), ("owner", &config.owner)];
    for (key, value) in named.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        text += &format!("{key} = {}\n", quote(value));
    }
    let caps = [("cores", config.caps.cores), ("ram_mib", config.caps.ram_mib)];
    for (key, value) in caps.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        text += &format!("{key} = {value}\n");
    }
    if !config.labels.is_empty() {
        text += &format!("labels = {}\n", quote(&config.labels.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use campusgrid_settings::file::ConfigFile;
    use expect_test::{Expect, expect};

    use super::*;

    fn config(flags: &str) -> Config {
        let file = ConfigFile { name: "f".to_owned(), text: format!("[worker]\n{flags}") };
        Config::read_without_manager(Some(file), BTreeMap::new(), Vec::new()).unwrap()
    }

    fn check(root: &Path, mode: Mode, flags: &str, expected: Expect) {
        let own = root.join("built");
        fs::write(&own, "program").unwrap();
        let machine = Machine { root: root.to_owned(), mode, said: Vec::new() };
        expected.assert_eq(&machine.install(&own, &config(flags), None).unwrap().join("\n"));
    }

    fn make(root: &Path, directories: &[&str]) {
        directories.iter().for_each(|path| fs::create_dir_all(root.join(path)).unwrap());
    }

    #[test]
    fn everything_is_put_in_its_place_once() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), &["run/systemd/system"]);
        let flags = "manager_host = 'grid.example'\nowner = 'ada'\nname = 'ada\"s \\ laptop'\n\
                     cores = 2\nlabels = 'type/laptop,room/1'";
        check(
            root.path(),
            Mode::Do,
            flags,
            expect![[r#"
                write /usr/lib/campusgrid/campusgrid-worker
                link /usr/local/bin/campusgrid-worker to /usr/lib/campusgrid/campusgrid-worker
                write /etc/campusgrid/config.toml
                write /etc/sysusers.d/campusgrid.conf
                run systemd-sysusers /etc/sysusers.d/campusgrid.conf
                write /etc/systemd/system/campusgrid-worker.service
                run systemctl daemon-reload
                run systemctl enable campusgrid-worker.service
                run systemctl restart campusgrid-worker.service
                the code to approve: journalctl -u campusgrid-worker -f"#]],
        );
        let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        assert_eq!(read("usr/lib/campusgrid/campusgrid-worker"), "program");
        expect![[r##"
            # All settings: config.toml of CampusGrid's source.
            [worker]
            manager_host = "grid.example"
            manager_port = 9999
            name = "ada\"s \\ laptop"
            owner = "ada"
            cores = 2
            labels = "type/laptop, room/1"
        "##]]
        .assert_eq(&read("etc/campusgrid/config.toml"));
        // What was written is what is read.
        let text = read("etc/campusgrid/config.toml");
        let file = ConfigFile { name: "f".to_owned(), text };
        let read = Config::read(Some(file), BTreeMap::new(), Vec::new()).unwrap();
        assert_eq!(read.name.as_deref(), Some("ada\"s \\ laptop"));
        check(
            root.path(),
            Mode::Do,
            "",
            expect![[r#"
                /usr/lib/campusgrid/campusgrid-worker is there
                /usr/local/bin/campusgrid-worker is there
                /etc/campusgrid/config.toml stays as it is
                /etc/sysusers.d/campusgrid.conf is there
                run systemd-sysusers /etc/sysusers.d/campusgrid.conf
                /etc/systemd/system/campusgrid-worker.service is there
                run systemctl daemon-reload
                run systemctl enable campusgrid-worker.service
                run systemctl restart campusgrid-worker.service
                the code to approve: journalctl -u campusgrid-worker -f"#]],
        );
    }

    #[test]
    fn a_dry_run_leaves_everything_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        make(
            root.path(),
            &[
                "run/systemd/system",
                "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "etc/apparmor.d/abi/4.0",
            ],
        );
        check(
            root.path(),
            Mode::Say,
            "",
            expect![[r#"
                write /usr/lib/campusgrid/campusgrid-worker
                link /usr/local/bin/campusgrid-worker to /usr/lib/campusgrid/campusgrid-worker
                write /etc/apparmor.d/campusgrid
                run apparmor_parser --replace /etc/apparmor.d/campusgrid
                no manager is known: once more with -m HOST --token TOKEN, or write /etc/campusgrid/config.toml
                write /etc/sysusers.d/campusgrid.conf
                run systemd-sysusers /etc/sysusers.d/campusgrid.conf
                write /etc/systemd/system/campusgrid-worker.service
                run systemctl daemon-reload
                then: sudo systemctl enable --now campusgrid-worker"#]],
        );
        assert!(!root.path().join("usr").exists() && !root.path().join("etc/sysusers.d").exists());
    }

    #[test]
    fn without_systemd_the_program_and_its_settings_are_installed() {
        let root = tempfile::tempdir().unwrap();
        check(
            root.path(),
            Mode::Do,
            "",
            expect![[r#"
                write /usr/lib/campusgrid/campusgrid-worker
                link /usr/local/bin/campusgrid-worker to /usr/lib/campusgrid/campusgrid-worker
                no manager is known: once more with -m HOST --token TOKEN, or write /etc/campusgrid/config.toml
                no systemd: start /usr/lib/campusgrid/campusgrid-worker --config /etc/campusgrid/config.toml by whatever starts services here"#]],
        );
    }

    #[test]
    fn a_token_is_in_the_services_own_directory_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), &["run/systemd/system"]);
        let own = root.path().join("built");
        fs::write(&own, "program").unwrap();
        let secret = "0123456789abcdef".repeat(2);
        let token = format!("cg1.{}.7.{secret}", "ab".repeat(32)).parse().unwrap();
        let config = config("manager_host = 'grid.example'");
        let root = root.path();
        let machine = |mode| Machine { root: root.to_owned(), mode, said: Vec::new() };
        let said = machine(Mode::Say).install(&own, &config, Some(token)).unwrap().join("\n");
        assert!(!root.join("var").exists() && !said.contains(&secret), "{said}");
        let said = machine(Mode::Do).install(&own, &config, Some(token)).unwrap().join("\n");
        assert!(said.contains("put the token into") && !said.contains(&secret), "{said}");
        let identity = root.join("var/lib/campusgrid/worker/identity");
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(identity.join("token")).trim(), token.to_string());
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(identity.clone()), mode(identity.join("token"))), (0o700, 0o600));
        for file in ["etc/campusgrid/config.toml", "etc/systemd/system/campusgrid-worker.service"] {
            assert!(!read(root.join(file)).contains(&secret));
        }
    }

    #[test]
    fn the_files_name_the_same_program_and_user() {
        assert!(UNIT_FILE.contains(&format!("ExecStart={PROGRAM} --config {CONFIG} ")));
        assert!(PROFILE_FILE.contains(&format!("profile campusgrid {PROGRAM} ")));
        assert!(UNIT_FILE.contains(&format!("User={USER}\n")));
        assert!(USER_FILE.contains(&format!("u {USER} ")));
        assert!(UNIT_FILE.contains(&format!("--data-dir {DATA}\n")));
        assert!(UNIT_FILE.contains("RestartPreventExitStatus=64 69 77\n"));
    }
}

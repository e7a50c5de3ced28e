//! The service of one user, installed into their home without root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use campusgrid_identity::token::JoinToken;
use nix::unistd::Uid;

use super::{InstallError, Machine, Mode, SERVICE, configuration};
use crate::config::Config;
use crate::identity;

const UNIT_FILE: &str = include_str!("../../../packaging/campusgrid-worker-user.service");

/// Where things go for one user; each absolute.
struct Home {
    program: String,
    config: String,
    unit: String,
    /// It is there while a systemd runs for this user.
    manager: String,
}

impl Home {
    fn of(variables: &BTreeMap<String, String>) -> Result<Self, InstallError> {
        let variable = |name: &str| {
            variables.get(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
        };
        let home = variable("HOME").ok_or(InstallError::Homeless)?;
        let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let runtime = variable("XDG_RUNTIME_DIR")
            .unwrap_or_else(|| PathBuf::from(format!("/run/user/{}", Uid::effective())));
        let text = |path: PathBuf| path.display().to_string();
        Ok(Self {
            program: text(home.join(".local/bin/campusgrid-worker")),
            config: text(config.join("campusgrid/config.toml")),
            unit: text(config.join("systemd/user").join(SERVICE)),
            manager: text(runtime.join("systemd")),
        })
    }
}

/// Installs for this user, and returns what was done, a line each.
///
/// # Errors
///
/// As for the system's service.
pub fn install(
    config: &Config,
    variables: &BTreeMap<String, String>,
    token: Option<JoinToken>,
    mode: Mode,
) -> Result<Vec<String>, InstallError> {
    if Uid::effective().is_root() {
        return Err(InstallError::RootsOwn);
    }
    let own = std::env::current_exe().map_err(|source| InstallError::OwnProgram { source })?;
    let home = Home::of(variables)?;
    let machine = Machine { root: PathBuf::from("/"), mode, said: Vec::new() };
    put(machine, &home, &own, config, token)
}

/// Removes what was installed for this user.
///
/// # Errors
///
/// At the first thing that cannot be done.
pub fn uninstall(
    variables: &BTreeMap<String, String>,
    mode: Mode,
) -> Result<Vec<String>, InstallError> {
    let home = Home::of(variables)?;
    take(Machine { root: PathBuf::from("/"), mode, said: Vec::new() }, &home)
}

fn put(
    mut machine: Machine,
    home: &Home,
    own: &Path,
    config: &Config,
    token: Option<JoinToken>,
) -> Result<Vec<String>, InstallError> {
    machine.copy(own, &home.program)?;
    let is_configured = if machine.is(&home.config) {
        machine.said.push(format!("{} stays as it is", home.config));
        true
    } else if config.manager_host.is_empty() {
        machine.said.push(format!(
            "no manager is known: once more with -m HOST --token TOKEN, or write {}",
            home.config
        ));
        false
    } else {
        machine.write(&home.config, configuration(config).as_bytes(), 0o600)?;
        true
    };
    if let Some(token) = token {
        let data = machine.path(&config.data_dir.display().to_string());
        machine.said.push(format!("put the token into {}/identity", config.data_dir.display()));
        if mode_is_do(&machine) {
            identity::keep_token(&data, &token)?;
        }
    }
    if machine.is("proc/sys/kernel/apparmor_restrict_unprivileged_userns") {
        machine.said.push(
            "where AppArmor keeps user namespaces from it (campusgrid-worker doctor says so), a service \
             of the system is the way: sudo campusgrid-worker install"
                .to_owned(),
        );
    }
    machine.write(&home.unit, UNIT_FILE.as_bytes(), 0o644)?;
    if !machine.is(&home.manager) {
        machine.said.push(format!("no systemd runs for this user: start {} by hand", home.program));
        return Ok(machine.said);
    }
    machine.run(&["systemctl", "--user", "daemon-reload"])?;
    if !is_configured {
        machine.said.push("then: systemctl --user enable --now campusgrid-worker".to_owned());
        return Ok(machine.said);
    }
    machine.run(&["systemctl", "--user", "enable", SERVICE])?;
    machine.run(&["systemctl", "--user", "restart", SERVICE])?;
    machine.said.push("how it stands: campusgrid-worker status".to_owned());
    machine.said.push(
        "it runs while you are logged in; also without: sudo loginctl enable-linger $USER"
            .to_owned(),
    );
    Ok(machine.said)
}

fn take(mut machine: Machine, home: &Home) -> Result<Vec<String>, InstallError> {
    let is_service = machine.is(&home.unit) && machine.is(&home.manager);
    if is_service {
        machine.run(&["systemctl", "--user", "disable", "--now", SERVICE])?;
    }
    machine.remove(&home.unit)?;
    machine.remove(&home.program)?;
    if is_service {
        machine.run(&["systemctl", "--user", "daemon-reload"])?;
    }
    if machine.said.is_empty() {
        machine.said.push("nothing is installed".to_owned());
    }
    if machine.is(&home.config) {
        machine.said.push(format!("settings stay in {}", home.config));
    }
    Ok(machine.said)
}

fn mode_is_do(machine: &Machine) -> bool {
    match machine.mode {
        Mode::Do => true,
        Mode::Say => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use campusgrid_settings::file::ConfigFile;
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_user_installs_without_root_and_removes_it_again() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let own = root.join("built");
        fs::write(&own, "program").unwrap();
        fs::create_dir_all(root.join("run/user/7/systemd")).unwrap();
        let variables = [("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let home = Home::of(&variables).unwrap();
        let text =
            "[worker]\nmanager_host = 'grid.example'\ndata_dir = '/home/ada/data'".to_owned();
        let file = ConfigFile { name: "f".to_owned(), text };
        let config = Config::read(Some(file), BTreeMap::new(), Vec::new()).unwrap();
        let machine = |mode| Machine { root: root.to_owned(), mode, said: Vec::new() };
        let token = format!("cg1.{}.7.{}", "ab".repeat(32), "0123456789abcdef".repeat(2));
        fs::create_dir_all(root.join("home/ada/data")).unwrap();
        let token = Some(token.parse().unwrap());
        let said = put(machine(Mode::Do), &home, &own, &config, token).unwrap();
        expect![[r#"
            write /home/ada/.local/bin/campusgrid-worker
            write /home/ada/.config/campusgrid/config.toml
            put the token into /home/ada/data/identity
            write /home/ada/.config/systemd/user/campusgrid-worker.service
            run systemctl --user daemon-reload
            run systemctl --user enable campusgrid-worker.service
            run systemctl --user restart campusgrid-worker.service
            how it stands: campusgrid-worker status
            it runs while you are logged in; also without: sudo loginctl enable-linger $USER"#]]
        .assert_eq(&said.join("\n"));
        assert!(root.join("home/ada/data/identity/token").exists());
        let said = take(machine(Mode::Do), &home).unwrap();
        expect![[r#"
            run systemctl --user disable --now campusgrid-worker.service
            remove /home/ada/.config/systemd/user/campusgrid-worker.service
            remove /home/ada/.local/bin/campusgrid-worker
            run systemctl --user daemon-reload
            settings stay in /home/ada/.config/campusgrid/config.toml"#]]
        .assert_eq(&said.join("\n"));
        assert!(!root.join("home/ada/.local/bin/campusgrid-worker").exists());
    }

    #[test]
    fn the_unit_starts_what_is_installed() {
        assert!(UNIT_FILE.contains(
            "ExecStart=%h/.local/bin/campusgrid-worker --config %E/campusgrid/config.toml\n"
        ));
        assert!(UNIT_FILE.contains("RestartPreventExitStatus=64 69 77\n"));
    }
}

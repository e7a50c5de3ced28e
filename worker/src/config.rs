//! The worker's settings: the `[worker]` section of `config.toml`, variables and flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_protocol::text::{check_label, check_user_name};
use campusgrid_settings::file::ConfigFile;
use campusgrid_settings::problem::Problems;
use campusgrid_settings::reader::{Flag, Reader};

/// Where the data go when neither a setting nor a home directory says so.
const SYSTEM_DATA_DIR: &str = "/var/lib/campusgrid/worker";

/// The checked configuration of a worker.
#[derive(Debug, Clone)]
pub struct Config {
    pub manager_host: String,
    pub manager_port: u16,
    /// None: the machine's host name.
    pub name: Option<String>,
    pub owner: Option<String>,
    pub data_dir: PathBuf,
    pub caps: Caps,
    pub without_sandbox: WithoutSandbox,
    /// The `uv` binary; none: looked for in `PATH`, then beneath the data directory.
    pub uv: Option<PathBuf>,
    /// How long an answer of the package index to a list of requirements is taken to hold.
    pub environment_fresh: Duration,
    pub task: TaskLimits,
}

/// The most that this worker offers; none: see [`crate::probe`].
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    pub cores: Option<u32>,
    pub ram_mib: Option<u32>,
    pub disk_mib: Option<u32>,
}

/// What to do on a machine where no sandbox works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutSandbox {
    Refuse,
    /// Take the owner's own jobs and run them unconfined.
    RunOwnJobs,
}

/// Limits of every task that its submitter does not choose.
#[derive(Debug, Clone, Copy)]
pub struct TaskLimits {
    pub processes: u32,
    pub log_keep_bytes: u64,
    pub log_flood_bytes: u64,
    pub grace: Duration,
}

impl Config {
    /// Checks all of the configuration.
    ///
    /// # Errors
    ///
    /// Every problem that was found.
    pub fn read(
        file: Option<ConfigFile>,
        environment: BTreeMap<String, String>,
        flags: Vec<Flag>,
    ) -> Result<Self, Problems> {
        let data_dir = default_data_dir(&environment);
        let mut reader = Reader::new(file, environment, flags);
        for section in MANAGER_SECTIONS {
            reader.leave_section(section);
        }
        reader.alias("worker.manager_host", "MANAGER_HOST");
        reader.alias("worker.manager_port", "MANAGER_PORT");
        reader.alias("worker.use_docker", "USE_DOCKER");
        let manager_host = reader.optional_text("worker.manager_host", check_host);
        // Accepted for the seed's sake: the sandbox here needs no daemon, so there is none to allow.
        reader.switch("worker.use_docker", true);
        let config = Self {
            manager_host: manager_host.clone().unwrap_or_default(),
            manager_port: reader.integer("worker.manager_port", 9999, 1..=65535),
            name: reader.optional_text("worker.name", check_label),
            owner: reader.optional_text("worker.owner", check_user_name),
            data_dir: absolute(reader.path("worker.data_dir", &data_dir)),
            caps: Caps {
                cores: reader.optional_integer("worker.cores", 1..=4096),
                ram_mib: reader.optional_integer("worker.ram_mib", 64..=64 << 20),
                disk_mib: reader.optional_integer("worker.disk_mib", 64..=1 << 30),
            },
            without_sandbox: if reader.switch("worker.unsafe_no_sandbox", false) {
                WithoutSandbox::RunOwnJobs
            } else {
                WithoutSandbox::Refuse
            },
            uv: reader.optional_path("worker.uv"),
            environment_fresh: Duration::from_secs(
                3600 * reader.integer("worker.environment_fresh_hours", 24, 0..=8760),
            ),
            task: TaskLimits {
                processes: reader.integer("worker.task_processes", 512, 16..=32_768),
                log_keep_bytes: reader.integer("worker.task_log_keep_kib", 1024, 4..=65_536) << 10,
                log_flood_bytes: reader.integer("worker.task_log_flood_mib", 64, 1..=16_384) << 20,
                grace: Duration::from_millis(reader.integer(
                    "worker.task_grace_ms",
                    5000,
                    0..=60_000,
                )),
            },
        };
        if manager_host.is_none() {
            reader.problem(
                "the manager's address is missing: give -m HOST, set MANAGER_HOST, \
                 or write worker.manager_host into config.toml"
                    .to_owned(),
            );
        }
        reader.finish()?;
        Ok(config)
    }
}

/// Programs that are started elsewhere must find the same directory.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Sections of `config.toml` that are the manager's business.
const MANAGER_SECTIONS: [&str; 4] = ["manager", "dashboard", "credits", "jobs"];

fn check_host(host: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
        return Err("must be a host name or an address, without a port");
    }
    Ok(())
}

fn default_data_dir(environment: &BTreeMap<String, String>) -> PathBuf {
    let variable = |name| environment.get(name).map(Path::new).filter(|path| path.is_absolute());
    if let Some(data) = variable("XDG_DATA_HOME") {
        return data.join("campusgrid/worker");
    }
    variable("HOME")
        .map_or(PathBuf::from(SYSTEM_DATA_DIR), |home| home.join(".local/share/campusgrid/worker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
        let file = ConfigFile { name: "config.toml".to_owned(), text: file.to_owned() };
        let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Config::read(Some(file), environment.iter().map(pair).collect(), Vec::new())
    }

    #[test]
    fn only_the_managers_address_is_needed() {
        let config = read("", &[("MANAGER_HOST", "grid.example"), ("HOME", "/home/ada")]).unwrap();
        assert_eq!((config.manager_host.as_str(), config.manager_port), ("grid.example", 9999));
        assert_eq!(config.data_dir, Path::new("/home/ada/.local/share/campusgrid/worker"));
        assert_eq!(config.task.log_keep_bytes, 1 << 20);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let file = "[worker]\nname = \"a\\u0007b\"\nowner = 'no spaces'\ncors = 3\ncores = 0";
        let problems = read(file, &[("MANAGER_PORT", "x")]).unwrap_err();
        expect_test::expect![[r#"
            6 problems in the configuration:
              environment MANAGER_PORT=x: not a whole number
              config.toml: worker.name = "a\u0007b": must not contain control characters
              config.toml: worker.owner = "no spaces": must start with a letter or a digit and contain only letters, digits, '.', '_' and '-'
              config.toml: worker.cores = 0: must be 1 to 4096
              the manager's address is missing: give -m HOST, set MANAGER_HOST, or write worker.manager_host into config.toml
              config.toml: worker.cors: unknown setting; did you mean worker.cores?"#]].assert_eq(&problems.to_string());
    }

    #[test]
    fn the_shipped_file_names_every_setting_with_its_default() {
        let file = include_str!("../../config.toml");
        let manager = [("MANAGER_HOST", "grid.example"), ("HOME", "/home/ada")];
        let [shipped, default] = [file, ""].map(|file| read(file, &manager).unwrap());
        assert_eq!(format!("{shipped:?}"), format!("{default:?}"));
        // Settings without a default stand there as comments; taken in, they must be known too.
        let uncomment = |line: &'static str| {
            line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line)
        };
        let (_, worker) = file.split_once("\n[worker]\n").unwrap();
        let worker = worker.lines().take_while(|line| !line.starts_with('['));
        let all: Vec<&str> = worker.map(uncomment).collect();
        read(&format!("[worker]\n{}", all.join("\n")), &[]).unwrap();
    }
}

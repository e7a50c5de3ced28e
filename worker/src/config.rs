//! The worker's settings: the `[worker]` section of `config.toml`, variables and flags.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::text::{check_feature, check_label, check_user_name};
use campusgrid_settings::file::ConfigFile;
use campusgrid_settings::problem::Problems;
use campusgrid_settings::reader::{Flag, Reader};

use crate::policy;

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
    /// By which this machine is let in, if it has not joined by it before.
    pub token: Option<JoinToken>,
    /// A file that holds such a token.
    pub token_file: Option<PathBuf>,
    pub data_dir: PathBuf,
    /// Rules that nobody can lift who may not write this file; it need not be there.
    pub policy: PathBuf,
    pub caps: Caps,
    pub without_sandbox: WithoutSandbox,
    pub weaker: Weaker,
    /// None: no container engine is to be used.
    pub engine: Option<EngineSettings>,
    /// The `uv` binary; none: looked for in `PATH`, then beneath the data directory.
    pub uv: Option<PathBuf>,
    /// How long an answer of the package index to a list of requirements is taken to hold.
    pub environment_fresh: Duration,
    /// The most that environments and what they are made of may take up on the disk.
    pub environments_max_mib: u64,
    /// The most that files which jobs bring may take up on the disk.
    pub inputs_mib: u64,
    /// What the owner says of this machine, for jobs to ask for.
    pub labels: Vec<String>,
    /// How long this machine is shared before its worker leaves; none: until it is asked to.
    pub share_for: Option<Duration>,
    /// Where the worker is root: tasks run as this user and some hundreds after it.
    pub first_job_uid: u32,
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

/// Whether other people's tasks may run here with filters and limits, but no namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weaker {
    Refuse,
    Allow,
}

impl Weaker {
    /// The mode of a directory that holds scratch space: without namespaces, tasks reach theirs by
    /// its path, as users of their own.
    pub(crate) fn directory_mode(self) -> u32 {
        match self {
            Self::Refuse => 0o700,
            Self::Allow => 0o711,
        }
    }
}

/// What the owner lets Docker or Podman do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Images that jobs may ask for beside the worker's own: whole references, or what they begin
    /// with and a `*`.
    pub images: Vec<String>,
    pub pull: Pull,
}

/// Whether images that are not here may be downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    Never,
    /// Those that are on the owner's list.
    Listed,
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
        let (mut reader, config) = Self::ask(file, environment, flags);
        if config.manager_host.is_empty() {
            reader.problem(
                "the manager's address is missing: give -m HOST, set MANAGER_HOST, \
                 or write worker.manager_host into config.toml"
                    .to_owned(),
            );
        }
        reader.finish()?;
        Ok(config)
    }

    /// The same for what works without a manager, whose address may then be empty.
    ///
    /// # Errors
    ///
    /// Every problem that was found.
    pub fn read_without_manager(
        file: Option<ConfigFile>,
        environment: BTreeMap<String, String>,
        flags: Vec<Flag>,
    ) -> Result<Self, Problems> {
        let (reader, config) = Self::ask(file, environment, flags);
        reader.finish()?;
        Ok(config)
    }

    fn ask(
        file: Option<ConfigFile>,
        environment: BTreeMap<String, String>,
        flags: Vec<Flag>,
    ) -> (Reader, Self) {
        let data_dir = default_data_dir(&environment);
        let mut reader = Reader::new(file, environment, flags);
        for section in MANAGER_SECTIONS {
            reader.leave_section(section);
        }
        reader.alias("worker.manager_host", "MANAGER_HOST");
        reader.alias("worker.manager_port", "MANAGER_PORT");
        reader.alias("worker.token", "MANAGER_TOKEN");
        reader.alias("worker.use_docker", "USE_DOCKER");
        let config = Self {
            manager_host: reader
                .optional_text("worker.manager_host", check_host)
                .unwrap_or_default(),
            manager_port: reader.integer("worker.manager_port", 9999, 1..=65535),
            name: reader.optional_text("worker.name", check_label),
            owner: reader.optional_text("worker.owner", check_user_name),
            token: token(&mut reader),
            token_file: reader.optional_path("worker.token_file"),
            data_dir: absolute(reader.path("worker.data_dir", &data_dir)),
            policy: absolute(reader.path("worker.policy", Path::new(policy::DEFAULT_FILE))),
            caps: Caps {
                cores: reader.optional_integer("worker.cores", 1..=4096),
                ram_mib: reader.optional_integer("worker.ram_mib", 64..=64 << 20),
                disk_mib: reader.optional_integer("worker.disk_mib", 64..=1 << 30),
            },
            without_sandbox: match reader.switch("worker.unsafe_no_sandbox", false) {
                true => WithoutSandbox::RunOwnJobs,
                false => WithoutSandbox::Refuse,
            },
            weaker: match reader.switch("worker.allow_restricted", false) {
                true => Weaker::Allow,
                false => Weaker::Refuse,
            },
            engine: engine(&mut reader),
            uv: reader.optional_path("worker.uv"),
            environment_fresh: Duration::from_secs(
                3600 * reader.integer("worker.environment_fresh_hours", 24, 0..=8760),
            ),
            environments_max_mib: reader.integer(
                "worker.environments_max_mib",
                10_240,
                512..=16 << 20,
            ),
            inputs_mib: reader.integer("worker.inputs_mib", 20_480, 64..=16 << 20),
            labels: words(&reader.text("worker.labels", "", check_labels))
                .map(str::to_owned)
                .collect(),
            share_for: share_for(&mut reader),
            first_job_uid: reader.integer("worker.first_job_uid", 60_000, 1000..=2_000_000_000),
            task: task_limits(&mut reader),
        };
        (reader, config)
    }
}

/// What is wrong with a token is told without showing it.
fn token(reader: &mut Reader) -> Option<JoinToken> {
    let text = reader.optional_text("worker.token", |_| Ok::<(), String>(()))?;
    let parsed = text.parse();
    parsed
        .inspect_err(|error| {
            reader.problem(format!(
                "the token to join by (--token, MANAGER_TOKEN or worker.token): {error}"
            ));
        })
        .ok()
}

fn engine(reader: &mut Reader) -> Option<EngineSettings> {
    let is_used = reader.switch("worker.use_docker", true);
    let images = reader.text("worker.docker_images", "", check_images);
    let pull = if reader.switch("worker.docker_pull", false) { Pull::Listed } else { Pull::Never };
    is_used.then(|| EngineSettings { images: words(&images).map(str::to_owned).collect(), pull })
}

/// Labels that say of a machine what its worker finds out by itself.
const OWN_LABELS: [&str; 3] = ["image:", "campusgrid-", "docker"];

/// The most labels that an owner may give.
const LABELS_MAX: usize = 20;

fn check_labels(list: &str) -> Result<(), String> {
    if words(list).count() > LABELS_MAX {
        return Err(format!("must be at most {LABELS_MAX}"));
    }
    for label in words(list) {
        if let Err(error) = check_feature(label) {
            return Err(format!("{label} {error}"));
        }
        if OWN_LABELS.iter().any(|own| label.starts_with(own)) {
            return Err(format!("{label} is for the worker itself to say"));
        }
    }
    Ok(())
}

/// Longest time for which a machine can be said to be shared: a year.
const SHARE_FOR_MAX: Duration = Duration::from_secs(365 * 86_400);

fn share_for(reader: &mut Reader) -> Option<Duration> {
    let text = reader.optional_text("worker.share_for", |text| period(text).map(drop))?;
    period(&text).ok()
}

/// A number and its unit: `90m`, `8h`, `2d`.
pub(crate) fn period(text: &str) -> Result<Duration, &'static str> {
    let split = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    let number: u64 = number.parse().unwrap_or(0);
    let period = Duration::from_secs(number.saturating_mul(seconds));
    if period.is_zero() || period > SHARE_FOR_MAX {
        return Err("must be a time such as 90m, 8h or 2d, a year at most");
    }
    Ok(period)
}

fn task_limits(reader: &mut Reader) -> TaskLimits {
    TaskLimits {
        processes: reader.integer("worker.task_processes", 512, 16..=32_768),
        log_keep_bytes: reader.integer("worker.task_log_keep_kib", 1024, 4..=65_536) << 10,
        log_flood_bytes: reader.integer("worker.task_log_flood_mib", 64, 1..=16_384) << 20,
        grace: Duration::from_millis(reader.integer("worker.task_grace_ms", 5000, 0..=60_000)),
    }
}

/// The words of a list that commas separate.
fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// A list of references to images, each with at most one `*`, at its end.
fn check_images(list: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/:@-".contains(c);
    for word in words(list) {
        let start = word.strip_suffix('*').unwrap_or(word);
        // A bare star would let a stranger name any image of the world.
        if start.is_empty() || start.len() > 255 || !start.chars().all(plain) {
            return Err(format!(
                "{word} is neither an image, such as python@sha256:…, nor the beginning of some, \
                 such as registry.example.edu/*"
            ));
        }
    }
    Ok(())
}

/// Programs that are started elsewhere must find the same directory.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Sections of `config.toml` that are the manager's business.
const MANAGER_SECTIONS: [&str; 6] = ["manager", "dashboard", "credits", "jobs", "mail", "notify"];

fn check_host(host: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    let bare = host.split('%').next().unwrap_or_default();
    // A colon belongs to an IPv6 address; to a name it is the beginning of a port.
    let has_port = host.contains(':') && bare.parse::<Ipv6Addr>().is_err();
    if host.is_empty() || host.len() > 253 || !host.chars().all(plain) || has_port {
        return Err("must be a host name or an address, without a port (that is -p PORT)");
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
        assert_eq!(config.engine.unwrap().pull, Pull::Never);
    }

    #[test]
    fn a_host_has_no_port() {
        let check = |host: &str| read("", &[("MANAGER_HOST", host)]).is_ok();
        for good in ["grid.example", "10.0.0.7", "2001:db8::7", "fe80::1%eth0"] {
            assert!(check(good), "{good}");
        }
        for bad in ["grid.example:9999", "10.0.0.7:9999", "http://grid.example", "[::1]"] {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn images_are_a_list_with_commas() {
        let file = "[worker]\nmanager_host = 'm'\ndocker_images = 'python@sha256:0, ours.example/*,'\ndocker_pull = true";
        let engine = read(file, &[]).unwrap().engine.unwrap();
        assert_eq!(engine.images, ["python@sha256:0", "ours.example/*"]);
        assert_eq!(engine.pull, Pull::Listed);
        assert_eq!(read(file, &[("USE_DOCKER", "no")]).unwrap().engine, None);
        for bad in ["*", "a b", "a*b", "ok, $x"] {
            let problems = read(&format!("[worker]\ndocker_images = '{bad}'"), &[]).unwrap_err();
            assert!(problems.to_string().contains("neither an image"), "{problems}");
        }
    }

    #[test]
    fn an_owner_says_what_the_machine_is_and_for_how_long() {
        let file =
            "[worker]\nmanager_host = 'm'\nlabels = 'type/laptop, room:E12'\nshare_for = '8h'";
        let config = read(file, &[]).unwrap();
        assert_eq!(config.labels, ["type/laptop", "room:E12"]);
        assert_eq!(config.share_for, Some(Duration::from_secs(8 * 3600)));
        for bad in ["type=laptop", "image:default", "campusgrid-4", "docker"] {
            let problems = read(&format!("[worker]\nlabels = '{bad}'"), &[]).unwrap_err();
            assert!(problems.to_string().contains("worker.labels"), "{problems}");
        }
        let seconds = |text: &str| period(text).ok().map(|period| period.as_secs());
        assert_eq!(["90m", "45s", "2d"].map(seconds), [Some(5400), Some(45), Some(172_800)]);
        for bad in ["", "8", "h", "0h", "8 h", "1.5h", "-1h", "366d", "8é", "99999999999999999999s"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn looking_at_the_machine_needs_no_manager() {
        let flags = vec![Flag {
            name: "--allow-restricted".to_owned(),
            key: "worker.allow_restricted".to_owned(),
            value: "true".to_owned(),
        }];
        let config = Config::read_without_manager(None, BTreeMap::new(), flags).unwrap();
        assert_eq!((config.manager_host.as_str(), config.weaker), ("", Weaker::Allow));
    }

    #[test]
    fn a_token_is_taken_whole_and_never_shown() {
        let secret = "0123456789abcdef0123456789abcdef";
        let token = format!("cg1.{}.7.{secret}", "ab".repeat(32));
        let manager = ("MANAGER_HOST", "grid.example");
        let config = read("", &[manager, ("MANAGER_TOKEN", &token)]).unwrap();
        assert_eq!(config.token.unwrap().to_string(), token);
        assert!(!format!("{config:?}").contains(secret));
        let cut = &token[..token.len() - 2];
        let problems = read("", &[manager, ("MANAGER_TOKEN", cut)]).unwrap_err().to_string();
        assert!(problems.contains("the token to join by"), "{problems}");
        assert!(!problems.contains(&secret[..8]), "{problems}");
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

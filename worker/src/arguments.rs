//! The command line: flags that stand for settings, and commands beside running the worker.

use std::path::PathBuf;

use campusgrid_settings::reader::Flag;
use campusgrid_worker::image::Wishes;
use clap::{Args, Parser, Subcommand};

/// Shares this machine with a CampusGrid: runs other people's tasks in a sandbox.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What to do instead of running the worker.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what holds on this machine, what is missing, and what mends it
    Doctor {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Build the container image that jobs mean by "default", from Debian's packages
    BuildImage {
        #[command(flatten)]
        recipe: RecipeFlags,
    },
    /// Forget which manager this machine has joined, and the key it is known by; results stay
    Forget,
    /// Put the program, its service and its AppArmor profile in place, and start the service
    Install {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// As a service of this user alone, without root: it then sees how long the desktop is idle
        #[arg(long)]
        user_unit: bool,
    },
    /// Stop the service and remove what install has put in place; settings, key and results stay
    Uninstall {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// The service of this user
        #[arg(long)]
        user_unit: bool,
    },
    /// Share nothing for now: tasks get time to save their work and are given back
    Pause {
        /// For how long (90m, 8h, 2d) or until when (18:00, until-tomorrow) [default: until resume]
        time: Option<String>,
    },
    /// Take back what was said by pause or share: the rules count again
    Resume,
    /// Share now, whatever the rules of the dashboard say; those of the policy file hold
    Share {
        /// As for pause [default: until resume]
        time: Option<String>,
    },
    /// Say whose work runs here and since when, whether this machine is shared and why, and what it earned
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Give one task back, named as status names it
    Stop {
        /// An attempt, a task or a job: 12.0#1, 12.0 or 12
        task: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RecipeFlags {
    /// Debian's release [default: stable]
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Where Debian's packages are [default: debootstrap's own choice]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// One more package to put into the image; may be given several times
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
}

impl From<RecipeFlags> for Wishes {
    fn from(flags: RecipeFlags) -> Self {
        Self { suite: flags.suite, mirror: flags.mirror, packages: flags.packages }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Host name or address of the manager
    #[arg(short, long, value_name = "HOST", global = true)]
    manager: Option<String>,
    /// The manager's port for workers [default: 9999]
    #[arg(short, long, value_name = "PORT", global = true)]
    port: Option<String>,
    /// Name of this machine in the dashboard [default: its host name]
    #[arg(short, long, value_name = "NAME", global = true)]
    name: Option<String>,
    /// Joins at once as the machine of whoever made this token in the dashboard ("Workers")
    #[arg(long, value_name = "TOKEN", global = true, conflicts_with = "token_file")]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<String>,
    /// Without a token: the user who owns this machine, and who approves it in the dashboard
    #[arg(short, long, value_name = "USER", global = true)]
    user: Option<String>,
    /// Cores to share, at most [default: all]
    #[arg(long, value_name = "NUMBER", global = true)]
    cores: Option<String>,
    /// Memory to share, scratch space included [default: 80 % of what there is]
    #[arg(long, value_name = "MIB", global = true)]
    ram: Option<String>,
    /// What this machine is, for jobs to ask for, such as type/laptop; may be given several times
    #[arg(long = "label", value_name = "LABEL", global = true)]
    labels: Vec<String>,
    /// Stop sharing after this time, such as 90m, 8h or 2d; what runs then is given back
    #[arg(long = "for", value_name = "TIME", global = true)]
    share_for: Option<String>,
    /// Use neither Docker nor Podman
    #[arg(long, global = true)]
    no_docker: bool,
    /// Take other people's jobs also where only weaker walls hold, if the jobs accept that
    #[arg(long, global = true)]
    allow_restricted: bool,
    /// Run unconfined what the owner submits with isolation "none"; nobody else's jobs are taken
    #[arg(long, global = true)]
    unsafe_no_sandbox: bool,
    /// Settings [default: config.toml in the working directory, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Where identity, results and environments are kept
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
}

impl Settings {
    /// The flags as settings.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let text = |name: &str, key: &str, value: &Option<String>| {
            value.as_ref().map(|value| Flag {
                name: name.to_owned(),
                key: key.to_owned(),
                value: value.clone(),
            })
        };
        let switch = |name: &str, key: &str, is_set: bool, value: &str| {
            text(name, key, &is_set.then(|| value.to_owned()))
        };
        let labels = (!self.labels.is_empty()).then(|| self.labels.join(","));
        [
            text("--manager", "worker.manager_host", &self.manager),
            text("--port", "worker.manager_port", &self.port),
            text("--name", "worker.name", &self.name),
            text("--user", "worker.owner", &self.user),
            text("--token", "worker.token", &self.token),
            text("--token-file", "worker.token_file", &self.token_file),
            text("--data-dir", "worker.data_dir", &self.data_dir),
            text("--cores", "worker.cores", &self.cores),
            text("--ram", "worker.ram_mib", &self.ram),
            text("--label", "worker.labels", &labels),
            text("--for", "worker.share_for", &self.share_for),
            switch("--no-docker", "worker.use_docker", self.no_docker, "false"),
            switch("--allow-restricted", "worker.allow_restricted", self.allow_restricted, "true"),
            switch(
                "--unsafe-no-sandbox",
                "worker.unsafe_no_sandbox",
                self.unsafe_no_sandbox,
                "true",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

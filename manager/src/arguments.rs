//! What can be said on the command line.

use std::path::PathBuf;

use campusgrid_manager::beginning::Beginning;
use campusgrid_settings::reader::Flag;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// The manager of a CampusGrid: queue, ledger and dashboard.
///
/// Exit codes: 0 done; 1 it could not be done; 2 something is broken, told line by line; 64 the command
/// line or the configuration is wrong, and nothing was opened.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Configuration file [default: config.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the database and the files of jobs are kept
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address on which workers dial in
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port on which workers dial in
    #[arg(short, long, value_name = "PORT")]
    port: Option<String>,
    /// Address of the dashboard
    #[arg(long, value_name = "ADDRESS")]
    dashboard_host: Option<String>,
    /// Port of the dashboard
    #[arg(long, value_name = "PORT")]
    dashboard_port: Option<String>,
    #[command(flatten)]
    new: New,
}

/// Said to `serve`, which needs no name.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct New {
    /// Begin anew where a part of a grid is missing: the database, or the authority that machines know
    /// the manager by
    #[arg(long)]
    new: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve workers and the dashboard; what happens without a command
    Serve {
        #[command(flatten)]
        new: New,
    },
    /// Prove that the books balance and that nothing is missing; works beside a running manager
    ///
    /// Exit code 0: all is in order. 1: it could not be looked at. 2: something is broken, told line by
    /// line; restore a backup.
    Fsck {
        /// Also read every file of a job and compare its hash
        #[arg(long)]
        content: bool,
        /// Also remove files that no job refers to and that came 30 days ago or earlier; no manager may
        /// be running
        #[arg(long)]
        prune: bool,
    },
    /// Back everything up to a directory; works beside a running manager
    ///
    /// The directory must not be there yet, or be an earlier backup, whose place the new one takes once
    /// it is complete; files that it has already are not copied again. It holds the key that workers
    /// know this manager by: keep it as safe as the manager itself.
    ///
    /// Exit code 2: the backup was made, but something was broken already.
    Backup {
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
    /// Put a backup in the place of a data directory that is lost
    ///
    /// Everything is checked before anything takes its place. People must log in again, tokens to join
    /// and invitations are no longer good; API tokens are as they were at the time of the backup.
    Restore {
        #[arg(value_name = "DIR")]
        from: PathBuf,
        /// Even if there is something in the data directory, which is moved aside
        #[arg(long)]
        force: bool,
    },
    /// Make a token by which a user's machines join; the manager must be running
    Token {
        /// Whose the machines are to be
        #[arg(long, value_name = "NAME")]
        user: String,
        /// How many machines may join by it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it is good
        #[arg(long, default_value_t = 1)]
        hours: u32,
    },
    /// Make an invitation, by which people register; the manager must be running
    Invite {
        /// How many people may register by it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it is good
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
    /// Make a user an operator, or a member again; the manager must be running
    #[command(allow_missing_positional = true)]
    Role {
        #[command(flatten)]
        user: Who,
        /// What the user is to be
        #[arg(value_name = "ROLE")]
        role: RoleName,
    },
    /// Set a user's password, read from standard input; the manager must be running
    Password {
        #[command(flatten)]
        user: Who,
    },
    /// Check the books now, and go on if they balance again; the manager must be running
    ///
    /// To put broken books right, stop the manager first: what it has in memory is not what you write to
    /// its database, and it stays shut until it was started anew.
    Books,
}

/// A user, named as `token` names one or without `--user`.
#[derive(Debug, Args)]
pub(crate) struct Who {
    /// The user's name
    #[arg(value_name = "NAME", required_unless_present = "user", conflicts_with = "user")]
    name: Option<String>,
    /// The user's name, as `token` takes it
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl Who {
    pub(crate) fn name(self) -> String {
        self.user.or(self.name).expect("one of the two is required")
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// Submits jobs and shares machines
    Member,
    /// Also sees and may change what is others', and makes invitations
    Operator,
}

impl New {
    pub(crate) fn beginning(self) -> Beginning {
        if self.new { Beginning::Anew } else { Beginning::OnNothing }
    }
}

impl Arguments {
    /// What is to be done.
    ///
    /// # Errors
    ///
    /// In words, if `--new` was said to another command than `serve`.
    pub(crate) fn command(&mut self) -> Result<Command, &'static str> {
        match (self.command.take(), self.new.new) {
            (None, _) => Ok(Command::Serve { new: self.new }),
            (Some(Command::Serve { .. }), true) => Ok(Command::Serve { new: self.new }),
            (Some(_), true) => Err("--new is for serve only"),
            (Some(command), false) => Ok(command),
        }
    }

    pub(crate) fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("--data-dir", "manager.data_dir", &self.data_dir),
            ("--host", "manager.host", &self.host),
            ("--port", "manager.port", &self.port),
            ("--dashboard-host", "dashboard.host", &self.dashboard_host),
            ("--dashboard-port", "dashboard.port", &self.dashboard_port),
        ];
        let flag = |(name, key, value): (&str, &str, &Option<String>)| {
            let value = value.clone()?;
            Some(Flag { name: name.to_owned(), key: key.to_owned(), value })
        };
        flags.into_iter().filter_map(flag).collect()
    }
}

//! The words of commands that bring jobs to their end.

use std::path::PathBuf;

use clap::Args;

use crate::job::flags::Flags;

/// What is to be run.
#[derive(Debug, Args)]
pub struct What {
    /// A script; its language is told by its ending or its #! line. "-" is standard input
    #[arg(value_name = "SCRIPT")]
    pub script: Option<PathBuf>,
    /// A command for /bin/sh, instead of a script
    #[arg(long, value_name = "COMMAND", conflicts_with = "script")]
    pub cmd: Option<String>,
    #[command(flatten)]
    pub flags: Flags,
    /// For the program; {index} stands for the task's index, {line} for its line
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Submit {
    #[command(flatten)]
    pub what: What,
    /// Wait for the end, and exit as the task did
    #[arg(long, short = 'w')]
    pub wait: bool,
    /// Print what the task prints while it runs, and exit as it did
    #[arg(long, short = 'F')]
    pub follow: bool,
    /// Say what it would cost, and submit nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Upload its files and leave it a draft, for campusgrid launch
    #[arg(long, conflicts_with_all = ["wait", "follow"])]
    pub draft: bool,
    /// A submit with the same key is the same submit [default: a fresh one]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

#[derive(Debug, Args)]
pub struct Quote {
    #[command(flatten)]
    pub what: What,
}

#[derive(Debug, Args)]
pub struct Launch {
    pub job: u64,
    /// Wait for the end, and exit as the task did
    #[arg(long, short = 'w')]
    pub wait: bool,
    /// Print what the task prints while it runs, and exit as it did
    #[arg(long, short = 'F')]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct Upload {
    pub job: u64,
    /// Files and folders
    #[arg(value_name = "SRC[:DEST]")]
    pub files: Vec<String>,
    /// An archive (.zip, .tar, .tar.gz, .tar.zst) that is unpacked into DEST; repeatable
    #[arg(long = "archive", value_name = "SRC[:DEST]")]
    pub archives: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Wait {
    pub job: u64,
    /// Print what the task prints while it runs
    #[arg(long, short = 'F')]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct Retry {
    pub job: u64,
    /// Those that were cancelled, too
    #[arg(long)]
    pub cancelled: bool,
    /// Wait for the end, and exit as the task did
    #[arg(long, short = 'w')]
    pub wait: bool,
}

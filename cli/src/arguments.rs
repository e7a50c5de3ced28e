//! The command line.

pub mod account;
pub mod job;
pub mod machine;
pub mod market;
pub mod owner;
pub mod submit;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use account::{Credits, Login, Register, Verify};
use job::{Cancel, Files, Get, Jobs, Logs, ManyJobs, OneJob, Priority, Tasks};
use machine::{Approve, Share, Unshare, Workers};
use market::{Accept, Ask, Bid, Bids, Market, Prices, Withdraw};
use owner::{Earnings, Pause, Resume, Rules};
use submit::{Launch, Quote, Retry, Submit, Upload, Wait};

const AFTER_HELP: &str = "\
Exit codes with --wait and --follow: that of the task, 128 and more for a signal; of an array 0 if \
all succeeded, else that of the first task that failed. 75: the grid gave it up. 123: cancelled. \
124: time limit. 125: another limit, or no program came to run. 130: Ctrl-C here, the job goes on.
In any case 1: the manager refused. 64: wrong usage. 66, 73: a file. 69: the manager is not reached. \
77: not allowed. 78: config.

$CAMPUSGRID_SERVER and $CAMPUSGRID_TOKEN outweigh what campusgrid login has kept.";

/// Runs jobs on the idle laptops of a campus, and shares this one.
#[derive(Debug, Parser)]
#[command(name = "campusgrid", version, after_help = AFTER_HELP, max_term_width = 100, args_override_self = true)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The manager's address, such as https://grid.example.edu [default: that of the last login]
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// For programs: one JSON object, or one a line
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Log in at a manager, and stay so
    Login(Login),
    /// Log out, and forget the token
    Logout,
    /// Open an account at a manager
    Register(Register),
    /// Show that the address of one's account is one's own: some grids give credits for that
    Verify(Verify),
    /// Submit a job: a script, a command, or files with one to run
    Submit(Submit),
    /// What a job would cost, and how many machines could run it
    Quote(Quote),
    /// Launch a draft whose files are there
    Launch(Launch),
    /// Add files to a draft, or go on where that stopped
    Upload(Upload),
    /// List jobs, newest first
    Jobs(Jobs),
    /// Show a job
    Show(OneJob),
    /// List the tasks of a job that have started
    Tasks(Tasks),
    /// Print what a task has printed
    Logs(Logs),
    /// Say why a job does not run
    Why(OneJob),
    /// Wait for a job's end, and exit as it did
    Wait(Wait),
    /// Cancel jobs, tasks of an array, or everything
    Cancel(Cancel),
    /// Keep jobs from starting
    Hold(ManyJobs),
    /// Let jobs start that were held
    Release(ManyJobs),
    /// Set the priority of a job among one's own
    Priority(Priority),
    /// Run the failed tasks of a job again, as a new job
    Retry(Retry),
    /// List what a job brought and what its tasks left
    Files(Files),
    /// Bring what the tasks of a job left
    Get(Get),
    /// Discard a draft, or the files and logs of a job that is over
    Discard(ManyJobs),
    /// What the manager takes, and how much of it is used
    Limits,
    /// List machines
    Workers(Workers),
    /// Credits: what there is, what is held, what was earned and spent
    Credits(Credits),
    /// Share this machine: joins it to the grid, and earns while it works
    Share(Share),
    /// Make a machine one's own that waits for it, by the code that it shows
    Approve(Approve),
    /// Take a machine out of the grid
    #[command(visible_alias = "remove")]
    Unshare(Unshare),
    /// When, how much and with whom a machine is shared
    Rules(Rules),
    /// Share a machine no more for now: what runs there is handed over
    Pause(Pause),
    /// Share a machine again
    Resume(Resume),
    /// What one's machines have earned
    Earnings(Earnings),
    /// List the jobs that take bids
    Market(Market),
    /// List the bids on a job, or of one's own machines
    Bids(Bids),
    /// Bid on a job for a machine, or change its bid
    Bid(Bid),
    /// Take a bid back
    Withdraw(Withdraw),
    /// Accept a bid on a job: the machine begins at once
    Accept(Accept),
    /// A machine's standing price
    Ask(Ask),
    /// What work costs right now, and has cost
    Prices(Prices),
    /// What a job has cost, and for what
    Receipt(OneJob),
    /// Make the secret that webhooks are signed with anew
    WebhookSecret,
    /// Print completions for a shell
    Completions { shell: Shell },
    /// Say where the manager's API is documented
    Docs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_in_itself_right() {
        Arguments::command().debug_assert();
    }
}

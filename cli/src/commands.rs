//! What each command does.

mod account;
mod ask;
mod bids;
mod change;
mod credits;
mod earnings;
mod files;
mod get;
mod jobs;
mod login;
mod logs;
mod market;
mod rules;
mod share;
mod show;
mod submit;
mod workers;

use std::process::ExitCode;

use change::Start;
use clap::CommandFactory;

use crate::arguments::{Arguments, Command};
use crate::error::CliError;
use crate::session::Session;
use crate::wait;

/// Does what was asked.
///
/// # Errors
///
/// Whatever keeps it from being done.
pub fn run(arguments: Arguments) -> Result<ExitCode, CliError> {
    let global = arguments.global;
    let open = || Session::open(&global);
    match arguments.command {
        Command::Login(login) => login::log_in(&global, login)?,
        Command::Logout => login::log_out(&global)?,
        Command::Register(register) => account::register(&global, register)?,
        Command::Verify(verify) => account::verify(&open()?, &verify)?,
        Command::Completions { shell } => complete(shell),
        Command::Submit(submit) => return submit::submit(&open()?, submit),
        Command::Quote(quote) => submit::quote(&open()?, quote.what)?,
        Command::Launch(launch) => return submit::launch(&open()?, &launch),
        Command::Upload(upload) => submit::upload(&open()?, &upload)?,
        Command::Jobs(jobs) => jobs::list(&open()?, &jobs)?,
        Command::Show(one) => show::show(&open()?, one.job)?,
        Command::Tasks(tasks) => jobs::tasks(&open()?, &tasks)?,
        Command::Logs(logs) => logs::print(&open()?, &logs)?,
        Command::Why(one) => show::why(&open()?, one.job)?,
        Command::Wait(wait) => return submit::wait_for(&open()?, &wait),
        Command::Cancel(cancel) => change::cancel(&open()?, &cancel)?,
        Command::Hold(many) => change::hold(&open()?, &many, Start::Held)?,
        Command::Release(many) => change::hold(&open()?, &many, Start::Free)?,
        Command::Priority(priority) => change::priority(&open()?, &priority)?,
        Command::Retry(retry) => return change::retry(&open()?, &retry),
        Command::Files(files) => files::list(&open()?, &files)?,
        Command::Get(get) => get::get(&open()?, &get)?,
        Command::Discard(many) => change::discard(&open()?, &many)?,
        Command::Limits => files::limits(&open()?)?,
        Command::Workers(workers) => workers::list(&open()?, &workers)?,
        Command::Credits(credits) => credits::show(&open()?, &credits)?,
        Command::Share(share) => share::share(&open()?, share)?,
        Command::Approve(approve) => workers::approve(&open()?, &approve)?,
        Command::Unshare(unshare) => workers::remove(&open()?, &unshare)?,
        Command::Rules(wanted) => rules::rules(&open()?, &wanted)?,
        Command::Pause(wanted) => rules::pause(&open()?, &wanted)?,
        Command::Resume(wanted) => rules::resume(&open()?, &wanted)?,
        Command::Earnings(wanted) => earnings::show(&open()?, &wanted)?,
        Command::Market(wanted) => market::list(&open()?, &wanted)?,
        Command::Bids(wanted) => bids::list(&open()?, &wanted)?,
        Command::Bid(wanted) => bids::place(&open()?, &wanted)?,
        Command::Withdraw(wanted) => bids::withdraw(&open()?, &wanted)?,
        Command::Accept(wanted) => bids::accept(&open()?, &wanted)?,
        Command::Ask(wanted) => ask::ask(&open()?, &wanted)?,
        Command::Prices(wanted) => market::prices(&open()?, &wanted)?,
        Command::Receipt(one) => market::receipt(&open()?, &one)?,
        Command::WebhookSecret => account::webhook_secret(&open()?)?,
        Command::Docs => account::docs(&open()?),
    }
    Ok(ExitCode::SUCCESS)
}

fn complete(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "campusgrid", &mut script);
    crate::screen::put_bytes(&script);
}

/// Waits for a job's end, says how it ended, and yields what to exit with.
fn end_of(session: &Session, job: u64) -> Result<ExitCode, CliError> {
    let detail = wait::for_end(&session.client, &session.screen, job)?;
    session.screen.object(&detail);
    show::say_end(session, &detail)?;
    Ok(ExitCode::from(wait::exit_code(&session.client, &detail)?))
}

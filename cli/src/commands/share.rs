//! Shares this machine: makes a token to join by and hands over to the worker, or prints how.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use campusgrid_protocol::rest::workers::{JoinTokenMade, MakeJoinToken};
use campusgrid_protocol::text::check_feature;
use serde_json::json;
use ureq::http::Method;

use super::submit::quoted;
use crate::arguments::machine::Share;
use crate::error::CliError;
use crate::session::Session;

const WORKER: &str = "campusgrid-worker";

pub(super) fn share(session: &Session, wanted: Share) -> Result<(), CliError> {
    let kind = wanted.kind.as_ref().map(|kind| format!("type/{kind}"));
    if let Some(label) = &kind {
        check_feature(label).map_err(|error| CliError::Usage(format!("--type {error}")))?;
    }
    let worker = match (&wanted.worker, wanted.print) {
        (Some(worker), _) => worker.clone(),
        (None, true) => PathBuf::from(WORKER),
        (None, false) => found()?,
    };
    let body = MakeJoinToken { owner: None, uses: 1, hours: 1 };
    let made: JoinTokenMade = session.client.send(Method::POST, "workers/tokens", &body, None)?;
    let line =
        Line { wanted: &wanted, worker, host: session.client.server().host(), made: &made, kind };
    if wanted.print {
        session.screen.say(line.shown());
        session.screen.object(&json!({ "token": made.token, "until_ms": made.row.until_ms,
            "worker_port": made.worker_port, "command": line.shown() }));
        return Ok(());
    }
    session.screen.say("This machine joins; Ctrl-C takes it back.");
    let mut command = line.command();
    // The worker takes this process's place: its signals, its exit code, its terminal.
    let source = command.exec();
    Err(CliError::Start { program: command.get_program().to_string_lossy().into_owned(), source })
}

/// The worker beside this program, or on the search path.
fn found() -> Result<PathBuf, CliError> {
    let own = std::env::current_exe().ok().map(|own| own.with_file_name(WORKER));
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&folders).map(|folder| folder.join(WORKER));
    own.into_iter().chain(on_path).find(|path| path.is_file()).ok_or_else(|| {
        CliError::Usage(format!(
            "{WORKER} is not on this machine: put it beside this program, name it with --worker, or \
             run what campusgrid share --print says"
        ))
    })
}

/// How the worker is started.
struct Line<'a> {
    wanted: &'a Share,
    worker: PathBuf,
    host: &'a str,
    made: &'a JoinTokenMade,
    kind: Option<String>,
}

impl Line<'_> {
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(period) = self.wanted.period {
            // At the end of its time the worker is asked to end, and gives its tasks back.
            words.extend(["timeout", "--foreground", "--signal=TERM"].map(str::to_owned));
            words.push(period.to_string());
        }
        words.push(self.worker.display().to_string());
        let port = self.made.worker_port.to_string();
        words.extend(["-m", self.host, "-p", &port].map(str::to_owned));
        let folder = self.wanted.data_dir.as_ref().map(|folder| folder.display().to_string());
        let flags = [
            ("-n", self.wanted.name.clone()),
            ("--label", self.kind.clone()),
            ("--data-dir", folder),
        ];
        for (flag, value) in flags {
            words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        words
    }

    /// The token stands in the environment: everybody may read a command line.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let limits = [
            ("CAMPUSGRID_WORKER_CORES", self.wanted.cores),
            ("CAMPUSGRID_WORKER_RAM_MIB", self.wanted.ram),
            ("CAMPUSGRID_WORKER_DISK_MIB", self.wanted.disk),
        ];
        let limits =
            limits.into_iter().filter_map(|(name, value)| Some((name, value?.to_string())));
        std::iter::once(("MANAGER_TOKEN", self.made.token.clone())).chain(limits).collect()
    }

    fn shown(&self) -> String {
        let variables = self.variables();
        let variables = variables.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let words = self.words();
        let words = words.iter().map(|word| quoted(word));
        variables.chain(words).collect::<Vec<_>>().join(" ")
    }

    fn command(&self) -> Command {
        let words = self.words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.variables());
        command
    }
}

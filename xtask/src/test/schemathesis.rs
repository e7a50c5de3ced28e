//! The API against its own description: schemathesis sends what `/openapi.json` allows and what it does
//! not, to a real manager, and finds no failure of the server and no answer that is not described.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::account::Account;
use crate::client::Client;
use crate::clock::Stopwatch;
use crate::grid::{self, Manager, Plan, Ports, ShortLived};
use crate::interrupt::Daemons;
use crate::places::{Places, Profile};
use crate::program;
use crate::setup;
use crate::summary::Outcome;

/// Requests of each kind that are made up for one call.
const EXAMPLES: &str = "30";
/// It answers in milliseconds, but for what hashes a password.
const ANSWER_LIMIT_S: &str = "20";
/// More than any run has taken.
const RUN_LIMIT: Duration = Duration::from_secs(170);
/// So that jobs are held and refused for reasons other than money.
const CREDITS: u64 = 1_000_000;

/// As many as there are small numbers to find them by.
const DRAFTS: u32 = 4;

/// These close the door behind whoever knocks, and the last is a stream that does not end.
const LEFT_OUT: [&str; 5] =
    ["post_logout", "delete_sessions", "delete_sessions_id", "post_password", "get_events"];

/// Numbers and names that lead to something, more often than chance would find them; and nothing that
/// makes an answer wait.
const DICTIONARIES: &str = r#"
[dictionaries]
numbers = { values = [1, 2, 3, 4, 5] }
paths = { values = ["main.py", "data/a.txt"] }
waits = { values = [0, 20] }

[parameters]
id = { dictionary = "numbers", probability = 0.6 }
index = { dictionary = "numbers", probability = 0.6 }
path = { dictionary = "paths", probability = 0.6 }
wait_ms = { dictionary = "waits", probability = 1.0 }
"#;

/// What is looked at in every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    unsupported_method,allow_header_conformance,ignored_auth,use_after_free,\
    ensure_resource_availability";

/// Runs schemathesis; skipped where PyPI cannot be reached and it was never installed.
///
/// # Errors
///
/// When the manager cannot be started.
pub(super) fn run(places: &Places, daemons: &Daemons) -> Result<Outcome> {
    let schemathesis = match setup::schemathesis(places) {
        Ok(binary) => binary,
        Err(error) => {
            return Ok(Outcome::skipped(format!("schemathesis cannot be had: {error:#}")));
        }
    };
    grid::build(places, Profile::Debug)?;
    let folder = ShortLived::make("schemathesis")?;
    let outcome = attack(places, &folder, daemons, &schemathesis);
    daemons.stop();
    outcome
}

fn attack(
    places: &Places,
    folder: &ShortLived,
    daemons: &Daemons,
    schemathesis: &Path,
) -> Result<Outcome> {
    let plan = Plan {
        profile: Profile::Debug,
        folder: folder.path().to_owned(),
        ports: Ports::free()?,
        starting_credits: Some(CREDITS),
        worker_name: "nobody".to_owned(),
    };
    let manager = grid::start_manager(places, plan, daemons)?;
    let account = Account::with_random_password("eve")?;
    // Whoever registers first is the operator, and a login may what no API token may.
    let user = account.register(&manager.client)?;
    let token = user.token().context("it is logged in")?;
    seed(&user)?;
    fs::write(folder.path().join("schemathesis.toml"), DICTIONARIES)
        .context("failed to write schemathesis.toml")?;
    let clock = Stopwatch::start();
    let result = program::run(&mut command(&manager, folder, schemathesis, token));
    println!("schemathesis took {:.0} s", clock.elapsed().as_secs_f32());
    let Err(error) = result else { return Ok(Outcome::one_passed()) };
    eprintln!("error: {error:#}\nthe manager said:\n{}", manager.log_tail());
    Ok(Outcome::one_failed())
}

fn command(manager: &Manager, folder: &ShortLived, schemathesis: &Path, token: &str) -> Command {
    let limit = RUN_LIMIT.as_secs().to_string();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &limit]).arg(schemathesis);
    command.arg("run").arg(format!("{}/openapi.json", manager.url));
    command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing,stateful"]);
    // Equal runs send equal requests.
    command.args(["--generation-deterministic", "--max-examples", EXAMPLES]);
    command.args(["--continue-on-failure", "--no-color", "--warnings", "off"]);
    command.args(["--request-timeout", ANSWER_LIMIT_S, "--workers", "2"]);
    for call in LEFT_OUT {
        command.args(["--exclude-operation-id", call]);
    }
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    command.current_dir(folder.path());
    command
}

/// Something to find under the first numbers: a job, drafts, and a file in each of these.
fn seed(user: &Client) -> Result<()> {
    user.submit(&json!({"kind": "shell", "source": "true", "array": "1-5"}))?;
    for _ in 0..DRAFTS {
        let draft = user.submit(&json!({"kind": "shell", "source": "true", "draft": true}))?;
        user.put(&format!("jobs/{draft}/files/main.py"), "print(1)\n")?;
    }
    Ok(())
}

//! A helper that is in a task's hands.

use bollard::container::{AttachContainerResults, LogOutput};
use campusgrid_sandbox::plan::Step;
use futures_util::stream::{self, StreamExt};

use super::*;
use crate::trial::probe_plan;
use crate::wire::encode;

const BEGAN: &str = r#"{"Began":{"step":0}}"#;
const ENDED: &str = r#"{"Ended":{"step":0,"ending":{"Code":0},"run_ms":1}}"#;
const DONE: &str =
    r#"{"Done":{"full":null,"cpu_ms":0,"ram_peak_kib":0,"oom_kills":0,"forks_refused":0}}"#;
const FILE: &str = r#"{"File":{"path":"x","size_bytes":1}}"#;
const READY: &str = r#"{"Ready":{"residue":null}}"#;

/// What the worker makes of a helper that tells this of a task with one step, and nothing more.
async fn follow(told: &[(Kind, &str)]) -> Result<(), String> {
    let mut bytes = Vec::new();
    told.iter().for_each(|(kind, payload)| encode(*kind, payload.as_bytes(), &mut bytes));
    let told = stream::iter([Ok(LogOutput::StdOut { message: bytes.into() })]);
    let mut channel = Channel::new(AttachContainerResults {
        output: Box::pin(told.chain(stream::pending())),
        input: Box::pin(tokio::io::sink()),
    });
    let mut plan = probe_plan();
    plan.limits.log_flood_bytes = 100;
    plan.steps.push(Step {
        argv: vec!["true".to_owned()],
        wall: Duration::from_secs(10),
        warn: None,
    });
    let directory = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::start(directory.path().join("outputs"), &plan.limits);
    let supervision = Supervision::new(&plan, &mut channel, &unpacker, Controls::none());
    let (progress, _nobody) = mpsc::channel(8);
    let (_, followed) = supervision.follow(progress).await;
    unpacker.finish().await.unwrap();
    followed.map_err(|lost| lost.why)
}

#[tokio::test]
async fn a_task_is_followed_from_its_step_to_its_outputs() {
    let (event, out) = (Kind::Event, Kind::Stdout);
    let told = [(event, BEGAN), (out, "x"), (event, ENDED), (event, DONE), (event, READY)];
    assert_eq!(follow(&told).await, Ok(()));
}

#[tokio::test]
async fn no_helper_gets_itself_more_time() {
    let (event, out) = (Kind::Event, Kind::Stdout);
    let again = [(event, BEGAN), (event, BEGAN)];
    let skipped = [(event, r#"{"Began":{"step":1}}"#)];
    let repeated = [(event, BEGAN), (event, ENDED), (event, BEGAN)];
    for told in [&again[..], &skipped, &repeated] {
        assert_eq!(follow(told).await, Err("it begins steps out of turn".to_owned()));
    }
    for early in [(Kind::Data, "x"), (event, FILE), (event, READY)] {
        let wanted = "it sends outputs of a task that still runs".to_owned();
        assert_eq!(follow(&[(event, BEGAN), early]).await, Err(wanted));
    }
    let early = follow(&[(event, BEGAN), (event, DONE)]).await;
    assert_eq!(early, Err("it is done out of turn".to_owned()));
    let late = follow(&[(event, BEGAN), (event, ENDED), (event, DONE), (out, "x")]).await;
    assert_eq!(late, Err("it prints while nothing runs".to_owned()));
}

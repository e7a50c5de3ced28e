//! What a job still waits for, in words.

use campusgrid_protocol::rest::After;
use campusgrid_protocol::terms::When;

/// Another job, and what it must come to.
pub(super) struct ChainLink {
    pub(super) job: u64,
    pub(super) words: &'static str,
}

impl ChainLink {
    pub(super) fn new(after: &After) -> Self {
        let words = match (after.when, after.each) {
            (When::Ok, false) => " to succeed",
            (When::Any, false) => " to be over",
            (When::Failed, false) => " to fail",
            (When::Started, false) => " to start",
            (When::Ok, true) => ", each task for its own to succeed",
            (When::Any, true) => ", each task for its own to be over",
            (When::Failed, true) => ", each task for its own to fail",
            (When::Started, true) => ", each task for its own to start",
        };
        Self { job: after.job, words }
    }
}

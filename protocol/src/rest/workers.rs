//! Machines: those that take part, those that want to, and tokens by which they may.

use serde::{Deserialize, Serialize};

use super::market::Ask;
use super::{FieldError, Page, field};
use crate::resource::{Gpu, GpuLoad, Isolation, Speed};
use crate::rules::{Limits, Phase, Rules};

/// Machines that may join by one token.
pub const USES_MAX: u32 = 10_000;

/// How long a token may last: 30 days. Hours.
pub const HOURS_MAX: u32 = 30 * 24;

/// A machine with an owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Worker {
    pub worker: u64,
    pub name: String,
    pub owner: String,
    /// Whether it belongs to whoever asks.
    pub own: bool,
    /// Whether it is connected and was heard of lately.
    pub online: bool,
    /// How long it has not been heard of, if it is connected and should have been. Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
    /// Why it gets no tasks until its owner or an operator says so (`POST workers/{id}/release`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
    /// None while it is not connected.
    pub isolation: Option<Isolation>,
    pub isolation_notes: Vec<String>,
    pub cpu_millis: u32,
    pub cpu_free_millis: u32,
    pub ram_mib: u32,
    pub ram_free_mib: u32,
    pub disk_mib: u32,
    pub disk_free_mib: u32,
    pub gpus: Vec<WorkerGpu>,
    pub gpus_free: u16,
    /// What jobs may require of it; one that ends with `*` stands for all that begin so.
    pub labels: Vec<String>,
    pub running: u32,
    pub cpu_busy_permille: u16,
    pub ram_used_mib: u32,
    /// As it has measured itself; absent while it is not connected, and from an older version.
    pub speed: Option<Speed>,
    /// Whether it takes tasks, by its owner's rules; absent as `speed` is. Others than its owner and
    /// operators see `closed` while it is `frozen`.
    pub phase: Option<Phase>,
    /// Why it does not, in words such as "on battery since 14:02": for its owner and operators. Empty
    /// while it does.
    pub why: String,
    /// Since when it is in this phase, by its own clock: for its owner and operators.
    pub since_ms: Option<u64>,
    /// How reliable it has been, from 0 to 1000: `GET workers/{id}` says what that is made of.
    pub score_permille: u32,
}

/// `GET workers/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkerDetail {
    #[serde(flatten)]
    pub worker: Worker,
    /// What its score is made of.
    pub record: Record,
    /// For its owner and operators: with it they may bid under seal.
    pub ask: Option<Ask>,
    /// For its owner and operators.
    pub rules: Option<Rules>,
    /// Those that hold: of its rules and of the policy file on it together. For its owner and
    /// operators, while it is connected.
    pub limits: Option<Limits>,
    /// What it has earned, ever; for its owner and operators.
    pub earned_micros: Option<i64>,
}

/// What a machine has done so far. A job of its owner's own counts nowhere. When it has done a lot, all
/// counts are halved, so that what it did lately counts more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Record {
    /// Runs that it brought to an end.
    pub delivered: u32,
    /// Runs that its owner took back.
    pub handed_back: u32,
    /// Runs with which it was lost, or that it could not run.
    pub lost: u32,
    /// Accepted bids on which it has not started in time.
    pub bids_failed: u32,
    /// Results on which another owner's machine agreed.
    pub valid: u32,
    /// Results that two other machines contradicted.
    pub invalid: u32,
    /// Of `valid`, those since the last of `invalid`.
    pub valid_in_row: u32,
}

/// `GET earnings`: what one's machines have earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Earnings {
    pub all: Earned,
    /// Best first; those that were taken out are among them as long as they have earned anything.
    pub machines: Vec<MachineEarned>,
}

/// What was earned by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Earned {
    /// In the last 24 hours.
    pub today_micros: i64,
    /// In the last seven days.
    pub week_micros: i64,
    pub ever_micros: i64,
}

/// What one machine has earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MachineEarned {
    pub worker: u64,
    pub name: String,
    /// Whether it was taken out.
    pub removed: bool,
    #[serde(flatten)]
    pub earned: Earned,
}

/// `GET workers/{id}/earnings`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkerEarnings {
    #[serde(flatten)]
    pub earned: Earned,
    /// Newest first; `next` goes into `?before=`.
    pub paid: Page<Paid>,
}

/// What a machine was paid at one time for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Paid {
    pub job: u64,
    pub job_name: String,
    pub submitter: String,
    /// The task's, as its program sees it.
    pub index: u32,
    pub attempt: u32,
    /// The running time that it is for.
    pub run_ms: u64,
    /// By the submitter: what was earned, and the fee.
    pub charged_micros: i64,
    pub earned_micros: i64,
    pub at_ms: u64,
}

/// A GPU of a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkerGpu {
    /// By which it is granted.
    pub number: u16,
    #[serde(flatten)]
    pub gpu: Gpu,
    /// Whether no job has it.
    pub free: bool,
    /// What it is busy with; absent where that is not known.
    pub load: Option<GpuLoad>,
}

/// A row of `GET workers/waiting`: a machine that shows a code on its own screen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WaitingWorker {
    pub name: String,
    /// Where it dials in from.
    pub address: String,
    /// The only user who can approve it, if it names one.
    pub claimed_owner: Option<String>,
}

/// `POST workers/approve`: the code that the worker shows on its own screen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Approve {
    pub code: String,
}

/// Answers `POST workers/approve`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Approved {
    pub worker: u64,
}

/// `POST workers/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MakeJoinToken {
    /// Whose the machines will be: of whoever asks, if absent. Only operators may name others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Machines that may join by it, 1 to [`USES_MAX`].
    #[serde(default = "one")]
    pub uses: u32,
    /// How long it lasts, 1 to [`HOURS_MAX`].
    #[serde(default = "one")]
    pub hours: u32,
}

fn one() -> u32 {
    1
}

impl MakeJoinToken {
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        for (name, value, max) in [("uses", self.uses, USES_MAX), ("hours", self.hours, HOURS_MAX)]
        {
            if !(1..=max).contains(&value) {
                errors.push(field(name, &format!("must be 1 to {max}")));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// Answers `POST workers/tokens`: the only time that the secret is shown.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JoinTokenMade {
    /// `cg1.…`, for `campusgrid-worker --token`.
    pub token: String,
    /// Where workers dial, on the manager's machine.
    pub worker_port: u16,
    #[serde(flatten)]
    pub row: JoinTokenRow,
}

/// A token by which machines may join now, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JoinTokenRow {
    pub id: u64,
    /// Whose the machines will be.
    pub owner: String,
    pub uses_left: u32,
    pub made_at_ms: u64,
    pub until_ms: u64,
}

/// `GET workers/tokens`: one's own; an operator sees all.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JoinTokens {
    /// Of the manager's certificate authority: SHA-256 in hexadecimal digits, as workers show it.
    pub fingerprint: String,
    pub tokens: Vec<JoinTokenRow>,
}

#[cfg(test)]
mod tests {
    use super::MakeJoinToken;

    #[test]
    fn a_token_is_for_some_machines_and_some_time() {
        for (text, wrong) in [
            ("{}", &[][..]),
            (r#"{"uses":10000,"hours":720,"owner":"ada"}"#, &[]),
            (r#"{"uses":0}"#, &["uses"]),
            (r#"{"uses":10001,"hours":721}"#, &["uses", "hours"]),
            (r#"{"hours":0}"#, &["hours"]),
        ] {
            let body: MakeJoinToken = serde_json::from_str(text).unwrap();
            let fields = body.check().err().unwrap_or_default();
            let fields: Vec<&str> = fields.iter().map(|error| error.field.as_str()).collect();
            assert_eq!(fields, wrong, "{text}");
        }
        assert!(serde_json::from_str::<MakeJoinToken>(r#"{"minutes":1}"#).is_err());
    }
}

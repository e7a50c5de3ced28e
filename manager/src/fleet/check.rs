//! What a worker may say: sizes, counts and forms, before anything of it is believed or kept.

use std::collections::BTreeSet;

use campusgrid_core::gpus::GpuSet;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::{
    CERTIFICATE_REQUEST_MAX_BYTES, Join, LABELS_MAX, OUTPUTS_MAX, Proof,
};
use campusgrid_protocol::resource::{Capacity, Gpu, Load, Speed};
use campusgrid_protocol::rules::{Limits, Phase, RULE_NAMES_MAX, Shares, Whose};
use campusgrid_protocol::task::{Content, Ended, Failure, Log, Outcome, WorkerFault};
use campusgrid_protocol::text::{check_label, check_offer, check_path, check_user_name, is_hidden};

use super::FleetError;

/// Attempts that one worker may speak of at once.
const ATTEMPTS_MAX: usize = 4096;

/// Notes about its sandbox that a worker may send, for its owner to read.
const NOTES_MAX: usize = 50;

/// The most that a worker can be set to keep of a log, with a line that marks a cut. Bytes.
pub(super) const LOG_MAX_BYTES: u64 = (64 << 20) + 1024;

/// Longest explanation in a result: what uv says of a list of packages is some KiB. Bytes.
const WORDS_MAX: usize = 64 << 10;

/// Kept of such a note, once what cannot be seen is out.
const NOTE_CHARS: usize = 200;

/// The fastest that a machine is believed to be; per core. Thousandths of the reference machine.
const SPEED_MAX_PERMILLE: u32 = 100_000;

/// Kept of the words about why a machine is not shared.
const WHY_CHARS: usize = 200;

/// An introduction, of whose notes only what can be read is left.
pub(super) fn join(join: &mut Join, now: Timestamp) -> Result<(), FleetError> {
    check_label(&join.name).map_err(|error| bad(&format!("a worker's name {error}")))?;
    capacity(&join.capacity)?;
    attempts(&join.attempts)?;
    count("labels", join.labels.len(), LABELS_MAX)?;
    for label in &join.labels {
        check_offer(label).map_err(|error| bad(&format!("a label {error}")))?;
    }
    count("notes", join.isolation_notes.len(), NOTES_MAX)?;
    for note in &mut join.isolation_notes {
        *note = note.chars().filter(|&c| !is_hidden(c)).take(NOTE_CHARS).collect();
    }
    let Speed { core_permille, all_permille } = &mut join.speed;
    *core_permille = SPEED_MAX_PERMILLE.min(*core_permille);
    let cores = join.capacity.cpu_millis.div_ceil(1000).max(1);
    *all_permille = SPEED_MAX_PERMILLE.saturating_mul(cores).min(*all_permille);
    check_shares(&mut join.shares, now)
}

/// What a machine says of its sharing, of whose words only what can be read is left.
pub(super) fn shares(mut shares: Shares, now: Timestamp) -> Result<Shares, FleetError> {
    check_shares(&mut shares, now)?;
    Ok(shares)
}

fn check_shares(shares: &mut Shares, now: Timestamp) -> Result<(), FleetError> {
    let Shares { phase, why, since_ms, limits } = shares;
    *why = match phase {
        Phase::Open => String::new(),
        Phase::Frozen | Phase::Closed => {
            why.chars().filter(|&c| !is_hidden(c)).take(WHY_CHARS).collect()
        }
    };
    // Its clock may be wrong, but nothing has begun after now.
    *since_ms = now.0.min(*since_ms);
    let Limits { core_percent, whose, kinds, .. } = limits;
    *core_percent = (*core_percent).clamp(1, 100);
    kinds.sort_unstable();
    kinds.dedup();
    let names = match whose {
        Whose::Everyone | Whose::Mine => return Ok(()),
        Whose::Of(names) => names,
    };
    // Those of the dashboard and those of the machine's own file together are no more than either's.
    count("users", names.len(), RULE_NAMES_MAX)?;
    for name in names {
        check_user_name(name).map_err(|error| bad(&format!("a user's name {error}")))?;
    }
    Ok(())
}

/// A machine that asks to be let in.
pub(super) fn enrolment(request: &[u8], name: &str, proof: &Proof) -> Result<(), FleetError> {
    self::request(request)?;
    check_label(name).map_err(|error| bad(&format!("a worker's name {error}")))?;
    match proof {
        Proof::Token { .. } | Proof::Code { owner: None } => Ok(()),
        Proof::Code { owner: Some(owner) } => {
            check_user_name(owner).map_err(|error| bad(&format!("an owner's name {error}")))
        }
    }
}

/// A request for a certificate, before anything of it is read.
pub(super) fn request(request: &[u8]) -> Result<(), FleetError> {
    if request.len() > CERTIFICATE_REQUEST_MAX_BYTES {
        return Err(bad(&format!("a request for a certificate of {} bytes", request.len())));
    }
    Ok(())
}

/// Absurd sizes would only attract jobs that then fail.
fn capacity(capacity: &Capacity) -> Result<(), FleetError> {
    let Capacity { cpu_millis, ram_mib, disk_mib, gpus } = capacity;
    let cores_ok = (100..=4_096_000).contains(cpu_millis);
    let sizes_ok = *ram_mib <= 64 << 20 && *disk_mib <= 1 << 30;
    let gpu_ok = |Gpu { model, memory_mib, driver }: &Gpu| {
        check_label(model).is_ok() && check_label(driver).is_ok() && *memory_mib <= 64 << 20
    };
    let gpus_ok = gpus.len() <= usize::from(GpuSet::NUMBERS) && gpus.iter().all(gpu_ok);
    if cores_ok && sizes_ok && gpus_ok { Ok(()) } else { Err(bad("an absurd capacity")) }
}

/// What runs there.
pub(super) fn attempts(attempts: &[AttemptId]) -> Result<(), FleetError> {
    count("attempts", attempts.len(), ATTEMPTS_MAX)
}

/// How busy a machine of this many GPUs is. That of other GPUs than it said that it has is left out:
/// a driver that has just lost one is no reason to lose the machine.
pub(super) fn load(load: Load, gpus: usize) -> Load {
    let is_of_all = load.gpus.len() == gpus;
    Load { gpus: if is_of_all { load.gpus } else { Vec::new() }, ..load }
}

/// A result, but for whether what it refers to is here.
pub(super) fn ended(ended: &Ended) -> Result<(), FleetError> {
    count("outputs", ended.outputs.len(), OUTPUTS_MAX)?;
    let mut paths = BTreeSet::new();
    for output in &ended.outputs {
        check_path(&output.path).map_err(|error| bad(&format!("an output path {error}")))?;
        if !paths.insert(&output.path) {
            return Err(bad("two outputs of one path"));
        }
    }
    words(&ended.left_behind)?;
    words(explanation(&ended.outcome))?;
    let is_too_long = |log: &Log| match &log.content {
        Content::Inline(_) => false,
        Content::Blob(blob) => blob.size_bytes > LOG_MAX_BYTES,
    };
    if is_too_long(&ended.stdout) || is_too_long(&ended.stderr) {
        return Err(bad("a log that is too long to be shown"));
    }
    Ok(())
}

/// What the worker says of an outcome in words of its own.
fn explanation(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(
            Failure::Requirements { message }
            | Failure::Image { message }
            | Failure::Inputs { message },
        )
        | Outcome::Returned(
            WorkerFault::Sandbox { message }
            | WorkerFault::Environment { message }
            | WorkerFault::Engine { message }
            | WorkerFault::Gpu { message }
            | WorkerFault::Disk { message }
            | WorkerFault::Inputs { message },
        ) => message,
        Outcome::Failed(
            Failure::ExitCode(_)
            | Failure::Signal(_)
            | Failure::OutOfMemory { .. }
            | Failure::TimeLimit { .. }
            | Failure::ScratchFull { .. }
            | Failure::TooManyFiles { .. }
            | Failure::FileTooLarge { .. }
            | Failure::Processes { .. }
            | Failure::OutputFlood { .. }
            | Failure::CompileError { .. },
        )
        | Outcome::Returned(
            WorkerFault::LeaseOver | WorkerFault::Restarted | WorkerFault::Leaving,
        )
        | Outcome::Succeeded
        | Outcome::Cancelled => "",
    }
}

fn words(words: &str) -> Result<(), FleetError> {
    if words.len() > WORDS_MAX {
        return Err(bad(&format!("an explanation of {} bytes", words.len())));
    }
    Ok(())
}

fn count(what: &str, found: usize, max: usize) -> Result<(), FleetError> {
    if found > max { Err(bad(&format!("{found} {what}, more than {max}"))) } else { Ok(()) }
}

pub(super) fn bad(what: &str) -> FleetError {
    FleetError::BadMessage { what: format!("the worker sent {what}") }
}

#[cfg(test)]
mod tests;

//! Bodies of the API: what is taken keeps its promises, what is not says why.

use std::sync::Arc;

use campusgrid_protocol::array::Indices;
use campusgrid_protocol::frame::encode;
use campusgrid_protocol::id::{AttemptId, BlobHash, JobId, TaskId};
use campusgrid_protocol::message::{LOCK_MAX_BYTES, ToWorker};
use campusgrid_protocol::rest::submit::{Brought, Checked};
use campusgrid_protocol::rest::{
    self, FieldError, Submit, accounts, arrays, files, notify, workers,
};
use campusgrid_protocol::task::{BlobRef, LABEL_4, Packages, Program, Saved, TaskSpec, Work};
use campusgrid_protocol::terms::Terms;
use campusgrid_protocol::text::{
    check_feature, check_image, check_label, check_path, check_pattern, check_user_name,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Verdict, choice};

/// All bodies but those of submits; the first byte says which.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((kind, body)) = choice(bytes) else { return Verdict::Refused };
    match kind % 20 {
        0 => checked(body, |register: &accounts::Register| {
            let result = register.check();
            assert!(result.is_err() || check_user_name(&register.name).is_ok());
            result
        }),
        1 => Verdict::of(round_trip::<accounts::Login>(body)),
        2 => checked(body, |change: &accounts::ChangePassword| change.check("ada")),
        3 => checked(body, accounts::NewToken::check),
        4 => checked(body, accounts::NewInvitation::check),
        5 => Verdict::of(round_trip::<accounts::ChangeUser>(body)),
        6 => Verdict::of(round_trip::<workers::Approve>(body)),
        7 => checked(body, workers::MakeJoinToken::check),
        // What clients are answered, for those that read it with the same types.
        8 => Verdict::of(round_trip::<rest::JobDetail>(body)),
        9 => Verdict::of(round_trip::<rest::Page<workers::Worker>>(body)),
        10 => Verdict::of(round_trip::<rest::Quote>(body)),
        11 => Verdict::of(round_trip::<rest::ErrorBody>(body)),
        12 => Verdict::of(round_trip::<arrays::Cancel>(body)),
        13 => Verdict::of(round_trip::<arrays::ChangeJob>(body)),
        14 => Verdict::of(round_trip::<arrays::Retry>(body)),
        15 => Verdict::of(round_trip::<arrays::TaskMap>(body)),
        16 => Verdict::of(round_trip::<files::Attach>(body)),
        17 => Verdict::of(round_trip::<files::JobFiles>(body)),
        18 => Verdict::of(round_trip::<files::Upload>(body)),
        _ => Verdict::of(round_trip::<notify::Notice>(body)),
    }
}

fn checked<T: Serialize + DeserializeOwned>(
    body: &[u8],
    check: impl Fn(&T) -> Result<(), Vec<FieldError>>,
) -> Verdict {
    let Some(read) = round_trip::<T>(body) else { return Verdict::Refused };
    match check(&read) {
        Ok(()) => Verdict::Taken,
        Err(errors) => refused(&errors),
    }
}

/// A job, with the files that it names or without any.
pub fn submit(body: &[u8]) -> Verdict {
    let Some(submit) = round_trip::<Submit>(body) else { return Verdict::Refused };
    let manifest = Some(BlobRef { hash: BlobHash([1; 32]), size_bytes: u64::MAX });
    let has = |path: &str| check_path(path).is_ok();
    let files = Brought::Files { manifest, has: &has, lines: Some(3) };
    let mut is_taken = false;
    for brought in [Brought::Nothing, Brought::Later, files] {
        match submit.clone().check(brought) {
            Ok(checked) => {
                check_job(&checked);
                is_taken = true;
            }
            Err(errors) => drop(refused(&errors)),
        }
    }
    if is_taken { Verdict::Taken } else { Verdict::Refused }
}

/// What the grid relies on.
fn check_job(checked: &Checked) {
    let Checked { name, spec, terms, priority, .. } = checked;
    assert_eq!(check_label(name), Ok(()));
    assert_eq!(terms.indices.len(), spec.tasks);
    assert!(terms.runs() > 0 && terms.at_once != Some(0) && priority.unsigned_abs() <= 100);
    // Workers of protocol 3 take a position for an index, and know nothing of much else.
    let is_plain = terms.indices == Indices::counted(spec.tasks) && !spec.needs_4();
    let is_labelled = spec.labels.iter().any(|label| label == LABEL_4);
    assert!(is_plain || is_labelled, "{spec:?}");
    let texts = serde_json::to_string(terms).expect("terms can be written");
    assert_eq!(serde_json::from_str::<Terms>(&texts).expect("as they were"), *terms);
    check_spec(spec);
}

/// What the scheduler and the workers rely on.
fn check_spec(spec: &TaskSpec) {
    assert!(spec.labels.is_sorted_by(|a, b| a < b), "labels {:?}", spec.labels);
    assert!(spec.labels.iter().all(|label| check_feature(label).is_ok()), "{:?}", spec.labels);
    assert!(spec.image.as_ref().is_none_or(|image| check_image(image).is_ok()));
    assert!(spec.tasks > 0 && spec.needs.cpu_millis > 0 && spec.time_limit_s > spec.warn_s);
    assert!(spec.outputs.iter().all(|pattern| check_pattern(pattern).is_ok()));
    assert!(!spec.arguments.iter().any(|argument| argument.contains('\0')));
    match spec.work.program() {
        Program::Source(source) => assert!(!source.trim().is_empty()),
        Program::Entry(path) => assert_eq!(check_path(path), Ok(())),
    }
    let is_resolved = matches!(
        spec.work,
        Work::Python { packages: Packages::Names { .. } | Packages::UvLock { .. }, .. }
    );
    // The longest lock that a worker may make of it has to travel with it.
    let lock: Option<Arc<str>> = is_resolved.then(|| "a".repeat(LOCK_MAX_BYTES).into());
    let spec = Arc::new(spec.clone());
    let attempt = AttemptId { task: TaskId { job: JobId(u64::MAX), index: 1 }, number: u32::MAX };
    let hash = BlobHash([1; 32]);
    let manifest = BlobRef { hash, size_bytes: u64::MAX };
    let start = ToWorker::Start {
        attempt,
        index: u32::MAX,
        spec,
        gpus: vec![u16::MAX; 64],
        lock,
        checkpoint: Some(Saved { manifest, run_ms: u64::MAX }),
        whose: "a".repeat(64),
        name: "ß".repeat(64),
    };
    encode(&start).expect("a job that was taken fits a message");
}

fn refused(errors: &[FieldError]) -> Verdict {
    assert!(!errors.is_empty(), "refused without a reason");
    assert!(errors.iter().all(|error| !error.field.is_empty() && !error.message.is_empty()));
    let bytes: usize = errors.iter().map(|error| error.message.len()).sum();
    assert!(bytes < 64 << 10, "{bytes} bytes of complaints");
    Verdict::Refused
}

/// What was read can be written, and then reads the same.
fn round_trip<T: Serialize + DeserializeOwned>(body: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(body).ok()?;
    let written = serde_json::to_value(&read).expect("what was read can be written");
    let again: T = serde_json::from_value(written.clone()).expect("what was written can be read");
    assert_eq!(serde_json::to_value(&again).expect("as before"), written);
    Some(read)
}

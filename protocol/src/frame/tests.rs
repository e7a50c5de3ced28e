//! Frames that come back as they went out, and hostile ones that end in an error and no more.

use std::sync::Arc;

use proptest::prelude::*;

use super::{FrameError, decode, encode};
use crate::id::{AttemptId, BlobHash, JobId, TaskId};
use crate::input::Manifest;
use crate::message::{
    BulkToManager, BulkToWorker, CHUNK_MAX_BYTES, Enrol, EnrolAnswer, MESSAGE_MAX_BYTES, ToManager,
    ToWorker,
};
use crate::resource::{Capacity, Gpu, GpuLoad, Isolation, Load, Needs, Speed};
use crate::task::{BlobRef, Packages, Program, Stream, TaskSpec, Work};
use crate::{samples, v4};

fn attempts() -> impl Strategy<Value = AttemptId> {
    (any::<u64>(), any::<u32>(), any::<u32>()).prop_map(|(job, index, number)| AttemptId {
        task: TaskId { job: JobId(job), index },
        number,
    })
}

fn capacities() -> impl Strategy<Value = Capacity> {
    let gpu = (any::<String>(), any::<u32>(), any::<String>())
        .prop_map(|(model, memory_mib, driver)| Gpu { model, memory_mib, driver });
    (any::<[u32; 3]>(), prop::collection::vec(gpu, 0..4)).prop_map(
        |([cpu_millis, ram_mib, disk_mib], gpus)| Capacity { cpu_millis, ram_mib, disk_mib, gpus },
    )
}

fn to_manager() -> impl Strategy<Value = ToManager> {
    let lists = || prop::collection::vec(attempts(), 0..20);
    let isolation = prop::sample::select(vec![
        Isolation::None,
        Isolation::Restricted,
        Isolation::Docker,
        Isolation::Full,
    ]);
    let labels = prop::collection::vec(any::<String>(), 0..4);
    let says = (any::<[u32; 2]>(), prop::sample::select(samples::shares().to_vec()));
    let join = (any::<String>(), capacities(), isolation, labels, lists(), says).prop_map(
        |(name, capacity, isolation, labels, attempts, says)| {
            let ([core_permille, all_permille], shares) = says;
            ToManager::Join(Box::new(crate::message::Join {
                name,
                capacity,
                isolation,
                isolation_notes: Vec::new(),
                labels,
                attempts,
                speed: Speed { core_permille, all_permille },
                shares,
            }))
        },
    );
    let gpu = (any::<u16>(), any::<u32>(), any::<u16>(), any::<u16>()).prop_map(
        |(busy_permille, memory_used_mib, temperature_c, processes)| GpuLoad {
            busy_permille,
            memory_used_mib,
            temperature_c,
            processes,
        },
    );
    let gpus = prop::collection::vec(gpu, 0..3);
    let heartbeat = (any::<u64>(), lists(), any::<u16>(), any::<u32>(), gpus).prop_map(
        |(sequence, attempts, cpu_busy_permille, ram_used_mib, gpus)| ToManager::Heartbeat {
            sequence,
            attempts,
            load: Load { cpu_busy_permille, ram_used_mib, gpus },
        },
    );
    let locked = (attempts(), any::<String>())
        .prop_map(|(attempt, lock)| ToManager::Locked { attempt, lock });
    let piece =
        (attempts(), any::<u64>(), any::<Vec<u8>>()).prop_map(|(attempt, offset_bytes, bytes)| {
            ToManager::LogPiece { attempt, stream: Stream::Stderr, offset_bytes, bytes }
        });
    let renew = any::<Vec<u8>>().prop_map(|request| ToManager::Renew { request });
    prop_oneof![join, heartbeat, locked, piece, renew]
}

fn works() -> impl Strategy<Value = Work> {
    let texts = prop::collection::vec(any::<String>(), 0..4);
    (any::<String>(), any::<bool>(), any::<String>(), texts).prop_flat_map(
        |(source, is_entry, text, texts)| {
            let program = if is_entry { Program::Entry(source) } else { Program::Source(source) };
            let packages = prop::sample::select(vec![
                Packages::None,
                Packages::Names {
                    requirements: texts.clone(),
                    requires_python: Some(text.clone()),
                },
                Packages::Hashed { text: text.clone() },
                Packages::UvLock { text },
            ]);
            let of_python = program.clone();
            prop_oneof![
                packages.prop_map(move |packages| Work::Python {
                    program: of_python.clone(),
                    packages
                }),
                Just(Work::C { program: program.clone(), flags: texts }),
                Just(Work::Shell { program }),
            ]
        },
    )
}

fn specs() -> impl Strategy<Value = TaskSpec> {
    let texts = || prop::collection::vec(any::<String>(), 0..4);
    let blob = (any::<[u8; 32]>(), any::<u64>())
        .prop_map(|(hash, size_bytes)| BlobRef { hash: BlobHash(hash), size_bytes });
    let path = prop::option::of(any::<String>());
    let files = (prop::option::of(blob), path, texts(), texts());
    (works(), any::<[u32; 8]>(), any::<bool>(), files).prop_map(
        |(work, numbers, shared_tmp, (inputs, lines, arguments, outputs))| {
            let [cpu_millis, ram_mib, disk_mib, gpu_memory_mib, limits @ ..] = numbers;
            let [time_limit_s, tasks, warn_s, checkpoint_s] = limits;
            TaskSpec {
                work,
                needs: Needs { cpu_millis, ram_mib, disk_mib, gpus: 1, gpu_memory_mib },
                time_limit_s,
                isolation: Isolation::Restricted,
                labels: outputs.clone(),
                image: lines.clone(),
                shared_tmp,
                tasks,
                arguments,
                inputs,
                lines,
                outputs,
                warn_s,
                checkpoint_s,
            }
        },
    )
}

fn to_worker() -> impl Strategy<Value = ToWorker> {
    let lock = prop::option::of(any::<String>());
    (attempts(), any::<u32>(), specs(), any::<Vec<u16>>(), lock).prop_map(
        |(attempt, index, spec, gpus, lock)| ToWorker::Start {
            attempt,
            index,
            spec: Arc::new(spec),
            gpus,
            lock: lock.map(Arc::from),
            checkpoint: Some(samples::saved()),
            whose: String::new(),
            name: String::new(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_goes_out_comes_back(up in to_manager(), down in to_worker()) {
        prop_assert_eq!(decode::<ToManager>(&encode(&up).unwrap()).unwrap(), up);
        prop_assert_eq!(decode::<ToWorker>(&encode(&down).unwrap()).unwrap(), down);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(decode::<ToManager>(&bytes));
        drop(decode::<ToWorker>(&bytes));
        drop(decode::<BulkToManager>(&bytes));
        drop(decode::<BulkToWorker>(&bytes));
        drop(decode::<Enrol>(&bytes));
        drop(decode::<EnrolAnswer>(&bytes));
        drop(decode::<v4::ToWorker>(&bytes));
        drop(decode::<v4::ToManager>(&bytes));
        drop(Manifest::decode(&bytes));
    }

    #[test]
    fn a_message_with_one_byte_changed_never_panics(
        message in to_manager(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&message).unwrap().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        drop(decode::<ToManager>(&bytes));
    }

    #[test]
    fn a_truncated_message_is_refused(message in to_manager(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&message).unwrap();
        let cut = cut.index(bytes.len());
        let refused = matches!(decode::<ToManager>(&bytes[..cut]), Err(FrameError::Decode { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn trailing_bytes_are_refused(message in to_manager(), more in prop::collection::vec(any::<u8>(), 1..9)) {
        let mut bytes = encode(&message).unwrap().to_vec();
        bytes.extend(&more);
        match decode::<ToManager>(&bytes) {
            Err(FrameError::Trailing { trailing }) => prop_assert_eq!(trailing, more.len()),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn an_oversized_message_is_refused_on_both_ends() {
    let long = ToManager::Preparing {
        attempt: AttemptId { task: TaskId { job: JobId(1), index: 0 }, number: 1 },
        step: "a".repeat(MESSAGE_MAX_BYTES),
    };
    assert!(matches!(encode(&long), Err(FrameError::TooLong { .. })));
    let payload = vec![0; MESSAGE_MAX_BYTES + 1];
    let refused = decode::<ToManager>(&payload).unwrap_err();
    assert_eq!(refused.to_string(), "message of 1048577 bytes is over the limit of 1048576");
}

#[test]
fn a_full_chunk_fits() {
    let chunk = BulkToManager::Chunk(vec![1; CHUNK_MAX_BYTES]);
    assert_eq!(decode::<BulkToManager>(&encode(&chunk).unwrap()).unwrap(), chunk);
}

/// A length that a message claims for a part of itself. Lengths beyond any memory would end the
/// process if anything were allocated for them before the bytes are there.
#[test]
fn a_lying_length_is_refused() {
    let of_chunk = |length: u64| [&[2, 253][..], &length.to_le_bytes()].concat(); // 253: u64 follows.
    let of_step = |length: u64| [&[2, 1, 1, 1, 253][..], &length.to_le_bytes()].concat();
    let of_attempts = |length: u64| [&[1, 9, 253][..], &length.to_le_bytes()].concat();
    for length in [3, 65_536, (1 << 20) + 1, u32::MAX.into(), 1 << 40, 1 << 63, u64::MAX] {
        let chunk = decode::<BulkToManager>(&of_chunk(length));
        assert!(matches!(chunk, Err(FrameError::Decode { .. })), "chunk of {length}: {chunk:?}");
        for bytes in [of_step(length), of_attempts(length)] {
            let message = decode::<ToManager>(&bytes);
            assert!(matches!(message, Err(FrameError::Decode { .. })), "{length}: {message:?}");
        }
    }
}

#[test]
fn a_text_that_is_not_utf8_is_refused() {
    let refused = decode::<ToManager>(&[2, 1, 1, 1, 2, 0xff, 0xfe]);
    assert!(matches!(refused, Err(FrameError::Decode { bytes: 7, .. })), "{refused:?}");
}

#[test]
fn an_unknown_variant_is_refused() {
    for bytes in [&[11][..], &[250], &[251, 0xff, 0xff]] {
        assert!(matches!(decode::<ToManager>(bytes), Err(FrameError::Decode { .. })));
    }
}

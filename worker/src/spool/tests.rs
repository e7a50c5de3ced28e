//! Crashes at every point of a store, and files that are not what they should be.

use std::fs;
use std::io::Write;

use campusgrid_protocol::frame;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Output, Saved};
use campusgrid_protocol::v4;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use super::{NewBlob, Spool};
use crate::agent::blobs::blobs_of;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn ended(attempt: &str) -> Ended {
    Ended::empty(attempt.parse::<AttemptId>().unwrap(), Outcome::Succeeded)
}

/// An end with one output whose content is `bytes`, and the file it was collected into.
fn with_output(dir: &TempDir, attempt: &str, bytes: &[u8]) -> (Ended, Vec<NewBlob>) {
    let hash = BlobHash(*blake3::hash(bytes).as_bytes());
    let file = dir.path().join("collected");
    fs::write(&file, bytes).unwrap();
    let blob = BlobRef { hash, size_bytes: bytes.len() as u64 };
    let outputs = vec![Output { path: "a.txt".to_owned(), blob }];
    (Ended { outputs, ..ended(attempt) }, vec![NewBlob { hash, file }])
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("spool")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "reserve");
    names.sort();
    names
}

#[test]
fn a_result_survives_the_worker_until_it_is_removed() {
    let dir = dir();
    let (spool, recovered) = Spool::open(dir.path()).unwrap();
    assert!(recovered.is_empty());
    spool.store(&ended("12.0#1"), &[]).unwrap();
    assert_eq!(names(&dir), ["12.0#1.ended"], "a small result is one file");
    let (spool, recovered) = Spool::open(dir.path()).unwrap();
    assert_eq!(recovered, [ended("12.0#1")]);
    spool.remove(ended("12.0#1").attempt);
    assert!(names(&dir).is_empty());
}

#[test]
fn blobs_are_kept_with_their_result_and_go_with_it() {
    let dir = dir();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let (ended, blobs) = with_output(&dir, "3.1#2", b"content");
    spool.store(&ended, &blobs).unwrap();
    let (spool, recovered) = Spool::open(dir.path()).unwrap();
    assert_eq!(recovered.as_slice(), std::slice::from_ref(&ended));
    let local = spool.local(ended.attempt, blobs_of(&ended), None).unwrap();
    assert_eq!(fs::read(&local[0].file).unwrap(), b"content");
    spool.remove(ended.attempt);
    assert!(names(&dir).is_empty());
}

#[test]
fn what_a_crash_left_half_written_is_swept() {
    let dir = dir();
    Spool::open(dir.path()).unwrap();
    fs::write(dir.path().join("spool/1.0#1.new"), b"half").unwrap();
    fs::create_dir(dir.path().join("spool/1.0#1.blobs")).unwrap();
    fs::write(dir.path().join("spool/1.0#1.blobs/00"), b"blob").unwrap();
    let (_, recovered) = Spool::open(dir.path()).unwrap();
    assert!(recovered.is_empty());
    assert!(names(&dir).is_empty());
}

#[test]
fn a_damaged_result_is_set_aside_wherever_the_damage_is() {
    let dir = dir();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let path = dir.path().join("spool/7.0#1.ended");
    spool.store(&ended("7.0#1"), &[]).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        for damaged in [&flipped[..], &whole[..at]] {
            fs::write(&path, damaged).unwrap();
            let (_, recovered) = Spool::open(dir.path()).unwrap();
            assert!(recovered.is_empty(), "byte {at}");
            assert_eq!(names(&dir), ["7.0#1.damaged"]);
        }
    }
}

#[test]
fn a_result_under_another_name_or_without_its_blob_is_set_aside() {
    let dir = dir();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    spool.store(&ended("7.0#1"), &[]).unwrap();
    fs::rename(dir.path().join("spool/7.0#1.ended"), dir.path().join("spool/8.0#1.ended")).unwrap();
    let (ended, blobs) = with_output(&dir, "9.0#1", b"content");
    spool.store(&ended, &blobs).unwrap();
    fs::write(&spool.local(ended.attempt, blobs_of(&ended), None).unwrap()[0].file, b"conten")
        .unwrap();
    let (_, recovered) = Spool::open(dir.path()).unwrap();
    assert!(recovered.is_empty());
}

#[test]
fn a_result_that_cannot_be_kept_leaves_nothing() {
    let dir = dir();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let (ended, blobs) = with_output(&dir, "9.0#1", b"content");
    fs::remove_file(&blobs[0].file).unwrap();
    spool.store(&ended, &blobs).unwrap_err();
    assert!(names(&dir).is_empty());
}

#[test]
fn what_a_worker_of_version_4_has_kept_is_read() {
    let dir = dir();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let (now, _) = with_output(&dir, "12.0#1", b"content");
    let then = v4::Ended {
        attempt: now.attempt,
        outcome: now.outcome.clone(),
        usage: now.usage,
        stdout: now.stdout.clone(),
        stderr: now.stderr.clone(),
        outputs: now.outputs.clone(),
        left_behind: now.left_behind.clone(),
    };
    let payload = frame::encode(&then).unwrap();
    let hash = blake3::hash(&payload);
    let kept = [b"CGEND\0\0\x01".as_slice(), hash.as_bytes(), &payload].concat();
    let blobs = dir.path().join("spool/12.0#1.blobs");
    fs::create_dir(&blobs).unwrap();
    let name = now.outputs[0].blob.hash.to_string();
    fs::rename(dir.path().join("collected"), blobs.join(name)).unwrap();
    fs::write(dir.path().join("spool/12.0#1.ended"), kept).unwrap();
    drop(spool);
    let (_, recovered) = Spool::open(dir.path()).unwrap();
    assert_eq!(recovered, [now]);
}

#[test]
fn a_checkpoint_is_kept_with_the_files_that_it_names() {
    let dir = dir();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let hash = BlobHash(*blake3::hash(bytes).as_bytes());
        (BlobRef { hash, size_bytes: bytes.len() as u64 }, NewBlob { hash, file: path })
    };
    let (blob, state) = file("state", b"state");
    let named = InputFile { path: "a/state".to_owned(), blob, executable: false };
    let manifest = Manifest::check(vec![named]).unwrap().encode();
    let (manifest, list) = file("list", &manifest);
    let checkpoint = Some(Saved { manifest, run_ms: 7 });
    let end = Ended { checkpoint, ..ended("12.0#1") };
    spool.store(&end, &[state, list]).unwrap();
    let local = spool.local(end.attempt, blobs_of(&end), Some(manifest)).unwrap();
    let mut hashes: Vec<_> = local.iter().map(|local| local.blob.hash).collect();
    let mut wanted = vec![blob.hash, manifest.hash];
    hashes.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(hashes, wanted);
    assert!(local.iter().all(|local| local.file.exists()));

    let (_, recovered) = Spool::open(dir.path()).unwrap();
    assert_eq!(recovered, std::slice::from_ref(&end));
    fs::remove_file(dir.path().join(format!("spool/12.0#1.blobs/{}", blob.hash))).unwrap();
    let (_, recovered) = Spool::open(dir.path()).unwrap();
    assert!(recovered.is_empty(), "one without a file that it names is set aside");
}

#[test]
fn without_room_for_both_an_end_is_kept_without_its_checkpoint() {
    let dir = dir();
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    // Of this thread alone, so that it goes with the test.
    let mounted = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(None::<&str>, "/", None::<&str>, flags, None::<&str>))
        .and_then(|()| {
            let (kind, size) = (Some("tmpfs"), Some("size=16m"));
            mount(kind, dir.path(), kind, MsFlags::empty(), size)
        });
    if let Err(error) = mounted {
        eprintln!("skipped: no small disk can be mounted here: {error}");
        return;
    }
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let (ended, mut blobs) = with_output(&dir, "12.0#1", b"content");
    let (state, list) = (vec![7; 1 << 20], dir.path().join("list"));
    let content = BlobHash(*blake3::hash(&state).as_bytes());
    let blob = BlobRef { hash: content, size_bytes: state.len() as u64 };
    let named = InputFile { path: "state".to_owned(), blob, executable: false };
    let manifest = Manifest::check(vec![named]).unwrap().encode();
    let hash = BlobHash(*blake3::hash(&manifest).as_bytes());
    let saved = Saved { manifest: BlobRef { hash, size_bytes: manifest.len() as u64 }, run_ms: 7 };
    fs::write(dir.path().join("state"), state).unwrap();
    fs::write(&list, manifest).unwrap();
    blobs.push(NewBlob { hash: content, file: dir.path().join("state") });
    blobs.push(NewBlob { hash, file: list });
    let mut rest = fs::File::create(dir.path().join("rest")).unwrap();
    while rest.write_all(&[0; 4096]).is_ok() {}

    let kept = spool.store(&Ended { checkpoint: Some(saved), ..ended.clone() }, &blobs).unwrap();
    assert_eq!(kept, ended);
    let (_, recovered) = Spool::open(dir.path()).unwrap();
    assert_eq!(recovered, [ended]);
    assert!(!dir.path().join(format!("spool/12.0#1.blobs/{content}")).exists());
}

//! Uploads go on where they were: in this life of the manager, the next one, and after a power loss.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use campusgrid_protocol::id::{BlobHash, JobId, UserId};

use super::{Key, Note, Pending, Turn, Uploads};
use crate::blobs::BlobError;

fn key(job: u64, path: &str) -> Key {
    Key { user: UserId(7), job: JobId(job), path: path.to_owned() }
}

fn uploads(root: &Path) -> Uploads {
    fs::create_dir_all(root).unwrap();
    Uploads::new(root.to_owned(), 0)
}

fn hash(content: &[u8]) -> BlobHash {
    BlobHash(*blake3::hash(content).as_bytes())
}

async fn begun(uploads: &Uploads, key: &Key, size_bytes: u64, hash: Option<BlobHash>) -> Turn {
    let mut turn = uploads.take(key.clone()).await;
    turn.begin(size_bytes, hash).unwrap();
    turn
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was() {
    let scratch = tempfile::tempdir().unwrap();
    let key = key(1, "data/large.bin");
    let content = b"0123456789";
    {
        let uploads = uploads(scratch.path());
        assert!(uploads.take(key.clone()).await.open().unwrap().is_none());
        let mut turn = begun(&uploads, &key, 10, Some(hash(content))).await;
        let partial = turn.open().unwrap().unwrap();
        partial.add(&content[..4]).unwrap();
        partial.pause().unwrap();
        partial.add(&content[4..6]).unwrap(); // Not paused after: not promised.
    }
    for _life in 0..2 {
        let uploads = uploads(scratch.path());
        let note = uploads.find(&key).unwrap();
        assert_eq!((note.offset_bytes, note.size_bytes), (4, 10));
        assert_eq!(uploads.pending(UserId(7)), Pending { uploads: 1, bytes: 10 });
        assert_eq!(uploads.pending(UserId(8)), Pending::default());
        let mut turn = uploads.take(key.clone()).await;
        let partial = turn.open().unwrap().unwrap();
        assert!(partial.is_to_be(10, Some(hash(content))) && !partial.is_to_be(10, None));
        assert_eq!(partial.offset_bytes(), 4, "what was not promised is cut off");
        partial.add(&content[4..]).unwrap();
        assert!(matches!(partial.add(b"x"), Err(BlobError::TooLong { expected: 10 })));
        assert!(partial.is_whole());
    }
    let uploads = uploads(scratch.path());
    let mut turn = uploads.take(key.clone()).await;
    let partial = turn.open().unwrap().unwrap();
    assert!(matches!(partial.check(), Err(BlobError::TooShort { expected: 10, found: 4 })));
    partial.add(&content[4..]).unwrap();
    let blob = partial.check().unwrap();
    assert_eq!((blob.hash, blob.size_bytes), (hash(content), 10));
    assert_eq!(fs::read(partial.path()).unwrap(), content);
    turn.discard().unwrap();
    assert_eq!(uploads.find(&key), None);
    assert_eq!(fs::read_dir(scratch.path().join("7")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_came_wrong_is_found_out() {
    let scratch = tempfile::tempdir().unwrap();
    let uploads = uploads(scratch.path());
    let key = key(1, "a");
    let mut turn = begun(&uploads, &key, 3, Some(hash(b"abc"))).await;
    let partial = turn.open().unwrap().unwrap();
    partial.add(b"abd").unwrap();
    assert!(matches!(partial.check(), Err(BlobError::WrongHash { .. })));
    let partial = turn.begin(2, None).unwrap();
    assert_eq!(partial.offset_bytes(), 0, "begun anew");
    partial.add(b"xy").unwrap();
    assert_eq!(partial.check().unwrap().hash, hash(b"xy"));
}

#[tokio::test]
async fn a_newer_client_goes_on_and_the_older_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let uploads = uploads(scratch.path());
    let key = key(1, "a");
    let mut first = begun(&uploads, &key, 3, None).await;
    let (second, ()) = tokio::join!(uploads.take(key.clone()), async {
        first.over().await;
        first.open().unwrap().unwrap().add(b"a").unwrap();
        drop(first);
    });
    let mut second = second;
    assert_eq!(second.open().unwrap().unwrap().offset_bytes(), 1);
}

#[tokio::test]
async fn what_is_on_disk_is_not_believed() {
    let scratch = tempfile::tempdir().unwrap();
    let key = key(1, "a");
    drop(begun(&uploads(scratch.path()), &key, 10, None).await);
    let note = uploads(scratch.path()).place(&key).with_extension("json");
    let content = note.with_extension("part");
    let write = |text: &str| File::create(&note).unwrap().write_all(text.as_bytes()).unwrap();
    let told = |offset_bytes, path: &str| {
        let (job, path) = (JobId(1), path.to_owned());
        serde_json::to_string(&Note { job, path, size_bytes: 10, hash: None, offset_bytes })
            .unwrap()
    };
    fs::write(&content, b"123").unwrap();
    // It says that more has come than there is, or may be.
    for offset in [5, 10, u64::MAX] {
        write(&told(offset, "a"));
        let mut turn = uploads(scratch.path()).take(key.clone()).await;
        assert_eq!(turn.open().unwrap().unwrap().offset_bytes(), 3);
    }
    for text in ["", "{}", "[]", &told(0, "b"), &" ".repeat(5000)] {
        write(text);
        let mut turn = uploads(scratch.path()).take(key.clone()).await;
        assert!(turn.open().unwrap().is_none(), "{text}");
    }
    write(&told(3, "a"));
    fs::remove_file(content).unwrap();
    assert!(uploads(scratch.path()).take(key).await.open().is_err());
}

#[tokio::test]
async fn uploads_go_with_their_drafts() {
    let scratch = tempfile::tempdir().unwrap();
    let uploads = uploads(scratch.path());
    for (job, path) in [(1, "a"), (1, "b"), (12, "a")] {
        drop(begun(&uploads, &key(job, path), 3, None).await);
    }
    let (one, twelve) = ((UserId(7), JobId(1)), (UserId(7), JobId(12)));
    assert_eq!(uploads.drafts().unwrap(), [one, twelve]);
    assert_eq!(uploads.remove_of(UserId(7), JobId(1)).unwrap(), 2);
    assert_eq!(uploads.remove_of(UserId(9), JobId(12)).unwrap(), 0);
    assert_eq!(uploads.drafts().unwrap(), [twelve]);
    assert_eq!(uploads.pending(UserId(7)), Pending { uploads: 1, bytes: 3 });
    assert!(uploads.take(key(1, "a")).await.open().unwrap().is_none());
}

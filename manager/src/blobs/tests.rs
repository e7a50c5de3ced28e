//! Blobs come whole or not at all, and go only when nobody has use for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use campusgrid_protocol::id::{BlobHash, UserId, WorkerId};
use campusgrid_protocol::task::BlobRef;

use super::{BlobError, Blobs, Expected, Lying};

fn scratch(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("cg-blobs-{name}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&path));
    path
}

fn blob(content: &[u8]) -> BlobRef {
    let hash = BlobHash(*blake3::hash(content).as_bytes());
    BlobRef { hash, size_bytes: content.len() as u64 }
}

#[test]
fn a_blob_is_there_when_it_is_whole_and_not_before() {
    let root = scratch("whole");
    let blobs = Blobs::open(root.clone(), 0).unwrap();
    let blob = blob(b"hello");
    let mut incoming = blobs.begin(blob, "a", WorkerId(1)).unwrap();
    assert!(!incoming.add(b"hel").unwrap());
    assert!(!blobs.contains(blob));
    assert!(incoming.add(b"lo").unwrap());
    incoming.finish().unwrap();
    assert!(blobs.contains(blob));
    assert_eq!(std::fs::read(blobs.path(blob.hash)).unwrap(), b"hello");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_blob_that_lies_leaves_nothing() {
    let root = scratch("lies");
    let blobs = Blobs::open(root.clone(), 0).unwrap();
    let announced = blob(b"hello");
    let mut wrong = blobs.begin(announced, "a", WorkerId(1)).unwrap();
    wrong.add(b"hullo").unwrap();
    assert!(matches!(wrong.finish(), Err(BlobError::WrongHash { .. })));
    let mut long = blobs.begin(announced, "b", WorkerId(1)).unwrap();
    assert!(matches!(long.add(b"hello!"), Err(BlobError::TooLong { expected: 5 })));
    drop(long);
    let short = blobs.begin(announced, "c", WorkerId(1)).unwrap();
    assert!(matches!(short.finish(), Err(BlobError::TooShort { .. })));
    assert!(!blobs.contains(announced));
    assert!(blobs.announced.lock().unwrap().all == 0);
    assert!(blobs.announced.lock().unwrap().of.is_empty());
    assert_eq!(std::fs::read_dir(root.join("unfinished")).unwrap().count(), 0);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn what_others_have_begun_counts_and_the_reserve_stays_free() {
    let root = scratch("room");
    let free = crate::disk::Space::of(&std::env::temp_dir()).unwrap().free_bytes;
    let blobs = Blobs::open(root.clone(), free / 4).unwrap();
    // One of them fits beside the reserve, two do not; other tests use the same disk.
    let large = BlobRef { hash: BlobHash([1; 32]), size_bytes: free / 20 * 9 };
    let first = blobs.begin(large, "a", WorkerId(1)).unwrap();
    for other in [WorkerId(1), WorkerId(2)] {
        assert!(matches!(blobs.begin(large, "b", other), Err(BlobError::DiskFull { .. })));
    }
    drop(first);
    drop(blobs.begin(large, "c", WorkerId(1)).unwrap());
    blobs.check_room(1).unwrap();
    assert!(matches!(blobs.check_room(free), Err(BlobError::DiskFull { .. })));
    let whole = BlobRef { size_bytes: u64::MAX, ..large };
    assert!(matches!(blobs.begin(whole, "d", WorkerId(1)), Err(BlobError::DiskFull { .. })));
    std::fs::remove_dir_all(root).unwrap();
}

/// To announce costs nothing, so that it must not keep others out.
#[test]
fn what_is_only_announced_leaves_half_of_the_room_to_others() {
    let root = scratch("announced");
    let free = crate::disk::Space::of(&std::env::temp_dir()).unwrap().free_bytes;
    let blobs = Blobs::open(root.clone(), free / 4).unwrap();
    let of = |name: &str, worker, size_bytes| {
        let blob = BlobRef { hash: BlobHash([1; 32]), size_bytes };
        blobs.begin(blob, name, WorkerId(worker))
    };
    // Sixteenths of the disk, of which twelve are beside the reserve: one machine, then its accomplices.
    let held = of("a", 1, free / 16).unwrap();
    let more = of("b", 1, free / 16).unwrap();
    assert!(matches!(of("c", 1, free / 4), Err(BlobError::TooMuchAtOnce { .. })));
    let much: Vec<_> =
        (2..5).map(|worker| of(&worker.to_string(), worker, free / 4).unwrap()).collect();
    assert!(blobs.announced.lock().unwrap().all > free / 4 * 3, "more than there is");
    drop(of("d", 9, free / 4).unwrap());
    drop((held, more, much));
    assert!(blobs.announced.lock().unwrap().of.is_empty());
    std::fs::remove_dir_all(root).unwrap();
}

fn names(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn receive(blobs: &Blobs, content: &[u8]) -> super::Incoming {
    let expected = Expected::AtMost { bytes: 1000, hash: None };
    let mut incoming = blobs.receive(expected, 0, UserId(1)).unwrap();
    incoming.add(content).unwrap();
    incoming
}

#[test]
fn what_has_no_name_yet_gets_that_of_its_content() {
    let root = scratch("receive");
    let blobs = Blobs::open(root.clone(), 0).unwrap();
    let content = b"some content";
    assert_eq!(receive(&blobs, content).finish().unwrap(), blob(content));
    assert!(blobs.contains(blob(content)));
    let wrong = Expected::AtMost { bytes: 1000, hash: Some(blob(b"other").hash) };
    let incoming = blobs.receive(wrong, 5, UserId(1)).unwrap();
    assert!(matches!(incoming.finish(), Err(BlobError::WrongHash { .. })));
    let mut long = receive(&blobs, b"");
    assert!(matches!(long.add(&[0; 1001]), Err(BlobError::TooLong { expected: 1000 })));
    drop(long);
    assert_eq!(names(&root.join("unfinished")), 0);
    assert!(blobs.announced.lock().unwrap().of.is_empty());
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn many_are_put_in_their_places_together() {
    let root = scratch("settle");
    let blobs = Blobs::open(root.clone(), 0).unwrap();
    let contents: Vec<String> = (0..20).map(|number| format!("content {}", number % 15)).collect();
    let written: Vec<_> =
        contents.iter().map(|it| receive(&blobs, it.as_bytes()).written().unwrap()).collect();
    assert!(!blobs.contains(blob(contents[0].as_bytes())));
    blobs.settle(written).unwrap();
    assert!(contents.iter().all(|content| blobs.contains(blob(content.as_bytes()))));
    assert_eq!(names(&root.join("unfinished")), 0, "also of those that came twice");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn own_content_and_files_are_taken_over() {
    let root = scratch("adopt");
    let blobs = Blobs::open(root.clone(), 0).unwrap();
    assert_eq!(blobs.keep(b"own").unwrap(), blob(b"own"));
    assert_eq!(blobs.keep(b"own").unwrap(), blob(b"own"));
    assert!(blobs.holds(blob(b"own")));
    let file = root.join("uploads").join("file");
    std::fs::write(&file, "a file").unwrap();
    for _ in 0..2 {
        blobs.adopt(&file, blob(b"a file")).unwrap();
        assert_eq!(std::fs::read(blobs.path(blob(b"a file").hash)).unwrap(), b"a file");
    }
    assert!(file.exists());
    assert_eq!(names(&root.join("unfinished")), 0);
    std::fs::remove_dir_all(root).unwrap();
}

/// Gives a blob the time of one that nobody has asked for in a long time, if it is there.
fn age(blobs: &Blobs, blob: BlobRef) {
    let old = std::fs::FileTimes::new().set_modified(UNIX_EPOCH);
    drop(std::fs::File::open(blobs.path(blob.hash)).and_then(|file| file.set_times(old)));
}

#[test]
fn what_somebody_has_just_found_is_not_removed() {
    let root = scratch("touched");
    let blobs = Blobs::open(root.clone(), 0).unwrap();
    let content = blobs.keep(b"content").unwrap();
    age(&blobs, content);
    let found = blobs.lying(content.hash.0[0]).unwrap();
    let lies = Lying { hash: content.hash, bytes: 7, touched_at: UNIX_EPOCH, is_condemned: false };
    assert_eq!(found, [lies]);
    assert!(blobs.touch(content));
    assert!(!blobs.remove(found[0]).unwrap());
    let look = || blobs.lying(content.hash.0[0]).unwrap()[0];
    assert!(look().touched_at <= blobs.time().unwrap());
    assert!(blobs.condemn(look()).unwrap() && look().is_condemned);
    assert!(look().touched_at > UNIX_EPOCH, "its time begins anew");
    assert!(blobs.touch(content) && !look().is_condemned, "somebody has use for it");
    assert!(!blobs.condemn(lies).unwrap() && !look().is_condemned);
    assert!(blobs.remove(look()).unwrap());
    assert!(!blobs.contains(content) && !blobs.touch(content));
    assert!(!blobs.remove(found[0]).unwrap(), "it is gone already");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn what_an_old_checkpoint_was_made_of_is_known_until_somebody_wants_it() {
    let root = scratch("superseded");
    let blobs = Blobs::open(root.clone(), 0).unwrap();
    let (one, two) = (blobs.keep(b"one").unwrap(), blobs.keep(b"two").unwrap());
    blobs.supersede([one.hash, two.hash]);
    assert!(blobs.is_superseded(one.hash) && blobs.clone().is_superseded(two.hash));
    assert!(blobs.touch(one) && !blobs.is_superseded(one.hash));
    let lying = blobs.lying(two.hash.0[0]).unwrap();
    let of_two = lying.into_iter().find(|lying| lying.hash == two.hash).unwrap();
    assert!(blobs.remove(of_two).unwrap() && !blobs.is_superseded(two.hash));
    std::fs::remove_dir_all(root).unwrap();
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whoever is told that a blob is here can rely on it, whenever the sweep comes by.
#[test]
fn finding_and_removing_do_not_cross() {
    let root = scratch("cross");
    let blobs = Blobs::open(root.clone(), 0).unwrap();
    let content = blob(b"content");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let found = blobs.lying(content.hash.0[0]).unwrap();
                let old = found.into_iter().filter(|found| found.touched_at == UNIX_EPOCH);
                for found in old {
                    blobs.remove(found).unwrap();
                }
            }
        });
        let _done = Done(&done); // Also if this fails: the other thread would go on for ever.
        for _ in 0..500 {
            blobs.keep(b"content").unwrap();
            age(&blobs, content);
            if blobs.touch(content) {
                assert!(blobs.contains(content));
            }
            age(&blobs, content);
            // Written anew at the same moment.
            receive(&blobs, b"content").finish().unwrap();
            assert!(blobs.contains(content));
        }
    });
    std::fs::remove_dir_all(root).unwrap();
}

//! What stays in a cache and what goes, without a manager: contents are written as if they had come.

use std::fs;
use std::path::Path;
use std::time::Duration;

use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::task::BlobRef;

use super::*;
use crate::inputs::tree::lay_out;

const MIB: u64 = 1 << 20;
const CONFINED: WithoutSandbox = WithoutSandbox::Refuse;

struct Place {
    dir: tempfile::TempDir,
    cache: Arc<Cache>,
}

/// A content of one letter, so many MiB long.
fn content(letter: u8, mib: u64) -> (BlobRef, Vec<u8>) {
    let bytes = vec![letter; (mib * MIB) as usize];
    let hash = BlobHash(*blake3::hash(&bytes).as_bytes());
    (BlobRef { hash, size_bytes: bytes.len() as u64 }, bytes)
}

impl Place {
    fn new(max_mib: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache =
            Arc::new(Cache::open(dir.path().join("inputs"), max_mib * MIB, CONFINED).unwrap());
        Self { dir, cache }
    }

    fn reopen(&mut self, max_mib: u64) {
        self.reopen_with(max_mib, CONFINED);
    }

    fn reopen_with(&mut self, max_mib: u64, without_sandbox: WithoutSandbox) {
        let dir = self.dir.path().join("inputs");
        self.cache = Arc::new(Cache::open(dir, max_mib * MIB, without_sandbox).unwrap());
    }

    fn claim(&self, held: &mut Held, letters: &[u8], mib: u64) -> Result<Claim, InputsError> {
        let blobs = letters.iter().map(|&letter| content(letter, mib).0).collect();
        self.cache.claim(held, &Wanted { blobs, copies_bytes: 0 })
    }

    /// Holds contents of 1 MiB each, which come if they are not here.
    fn hold(&self, letters: &[u8]) -> Held {
        let mut held = Held::of(&self.cache);
        if let Claim::Mine(claims) = self.claim(&mut held, letters, 1).unwrap() {
            for claim in &claims {
                let letter = letters.iter().find(|&&l| content(l, 1).0 == claim.blob()).unwrap();
                fs::write(claim.partial(), content(*letter, 1).1).unwrap();
            }
            keep_all(claims).unwrap();
        }
        assert!(matches!(self.claim(&mut held, letters, 1).unwrap(), Claim::All));
        held
    }

    fn tree(&self, letters: &[u8], name: &str) -> Tree {
        let file = |&letter: &u8| InputFile {
            path: format!("{name}/{}", letter as char),
            blob: content(letter, 1).0,
            executable: letter == b'x',
        };
        let manifest = Manifest::check(letters.iter().map(file).collect()).unwrap();
        let hash = BlobHash(*blake3::hash(name.as_bytes()).as_bytes());
        lay_out(&self.cache, self.hold(letters), hash, manifest).unwrap()
    }

    /// Says when contents were last used.
    fn used(&self, letters: &[u8], used_s: u64) {
        let touched = letters.iter().map(|&l| (self.cache.content(&content(l, 1).0.hash), used_s));
        Chores { touched: touched.collect(), ..Chores::default() }.carry_out();
    }

    /// Letters of the contents that are here.
    fn left(&self) -> String {
        let is_here = |&letter: &u8| self.cache.content(&content(letter, 1).0.hash).exists();
        (b'a'..=b'z').filter(is_here).map(char::from).collect()
    }
}

#[test]
fn the_least_recently_used_goes_first_also_after_a_restart() {
    let mut place = Place::new(4);
    drop(place.hold(b"abcd"));
    for (letter, used_s) in [(b'a', 400), (b'b', 100), (b'c', 300), (b'd', 200)] {
        place.used(&[letter], used_s);
    }
    place.reopen(4);
    drop(place.hold(b"e"));
    assert_eq!(place.left(), "acde");
    place.reopen(2);
    assert_eq!(place.left(), "ae", "what does not fit any more goes at the start");
    // Whoever reads a tree does so under the names in it.
    drop(place.hold(b"a"));
    drop(place.hold(b"fg"));
    assert_eq!(place.left(), "fg");
}

#[test]
fn what_a_tree_or_a_waiting_task_needs_stays() {
    let place = Place::new(3);
    let tree = place.tree(b"ab", "one");
    let held = place.hold(b"c");
    let mut other = Held::of(&place.cache);
    let claimed = place.claim(&mut other, b"d", 1).unwrap();
    assert!(
        matches!(&claimed, Claim::NoRoom { message } if message.starts_with("3 MiB")),
        "{claimed:?}"
    );
    let mut changes = place.cache.changes();
    drop(held);
    assert!(changes.has_changed().unwrap(), "whoever waits for room hears of it");
    changes.mark_unchanged();
    drop(other);
    drop(place.hold(b"d"));
    assert_eq!(place.left(), "abd");
    assert!(tree.path().join("one/a").exists());
    // Nobody looks at the tree any more, but it is the most recently used.
    let path = tree.path().to_owned();
    drop(tree);
    drop(place.hold(b"efg"));
    assert_eq!((place.left().as_str(), path.exists()), ("efg", false));
    assert!(fs::read_dir(place.dir.path().join("inputs/trash")).unwrap().next().is_none());
}

#[test]
fn a_tree_has_another_place_each_time_and_is_found_while_it_stands() {
    let place = Place::new(4);
    let first = place.tree(b"ab", "one");
    let again = place.cache.take_tree(&first_hash("one")).unwrap();
    assert_eq!(first.path(), again.path());
    let before = first.path().to_owned();
    drop((first, again));
    drop(place.hold(b"cdef"));
    assert!(place.cache.take_tree(&first_hash("one")).is_none());
    assert_ne!(place.tree(b"ab", "one").path(), before);
}

fn first_hash(name: &str) -> BlobHash {
    BlobHash(*blake3::hash(name.as_bytes()).as_bytes())
}

#[test]
fn what_is_copied_into_a_tree_counts() {
    let place = Place::new(4);
    let manifest = |executable| Manifest {
        files: vec![InputFile { path: "x".to_owned(), blob: content(b'x', 1).0, executable }],
    };
    assert_eq!(Wanted::files(&manifest(false)).unwrap().bytes(), MIB);
    assert_eq!(Wanted::files(&manifest(true)).unwrap().bytes(), 2 * MIB);
    let tree = place.tree(b"x", "tools");
    let mut held = Held::of(&place.cache);
    // 1 MiB as a content and 1 MiB as a copy leave two.
    assert!(matches!(place.claim(&mut held, b"abc", 1).unwrap(), Claim::NoRoom { .. }));
    drop(tree);
    assert!(matches!(place.claim(&mut held, b"abc", 1).unwrap(), Claim::Mine(_)));
}

#[test]
fn two_never_fetch_the_same_and_what_one_has_begun_the_other_goes_on_with() {
    let place = Place::new(8);
    let (mut one, mut other) = (Held::of(&place.cache), Held::of(&place.cache));
    let Claim::Mine(claims) = place.claim(&mut one, b"ab", 2).unwrap() else { panic!() };
    assert!(matches!(place.claim(&mut other, b"ab", 2).unwrap(), Claim::Others));
    let Claim::Mine(rest) = place.claim(&mut other, b"bc", 2).unwrap() else { panic!() };
    assert_eq!(rest.iter().map(|claim| claim.blob()).collect::<Vec<_>>(), [content(b'c', 2).0]);
    fs::write(claims[0].partial(), vec![claims[0].blob().hash.0[0]; MIB as usize]).unwrap();
    let begun = claims[0].blob();
    drop(claims);
    let mut changes = place.cache.changes();
    let Claim::Mine(claims) = place.claim(&mut other, b"ab", 2).unwrap() else { panic!() };
    let again = claims.iter().find(|claim| claim.blob() == begun).unwrap();
    assert_eq!(again.missing_bytes(), MIB);
    again.begin_anew().unwrap();
    assert_eq!(again.missing_bytes(), 2 * MIB);
    drop((claims, rest));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
}

#[test]
fn halves_that_nobody_goes_on_with_make_room() {
    let mut place = Place::new(3);
    let Claim::Mine(claims) = place.claim(&mut Held::of(&place.cache), b"a", 2).unwrap() else {
        panic!()
    };
    fs::write(claims[0].partial(), vec![0; MIB as usize]).unwrap();
    let half = claims[0].partial();
    drop(claims);
    place.reopen(3);
    assert!(half.exists(), "it is what a restart is survived by");
    drop(place.hold(b"bcd"));
    assert_eq!((place.left().as_str(), half.exists()), ("bcd", false));
}

#[test]
fn a_length_that_is_not_that_of_the_content_is_refused() {
    let place = Place::new(8);
    drop(place.hold(b"a"));
    let blob = BlobRef { size_bytes: 7, ..content(b'a', 1).0 };
    let wanted = Wanted { blobs: vec![blob], copies_bytes: 0 };
    let error = place.cache.claim(&mut Held::of(&place.cache), &wanted).unwrap_err();
    assert!(matches!(error, InputsError::Refused { .. }), "{error:?}");
    let file = |path: &str, size_bytes| InputFile {
        path: path.to_owned(),
        blob: BlobRef { size_bytes, ..blob },
        executable: false,
    };
    let twice = Manifest { files: vec![file("x", 1), file("y", 2)] };
    assert!(matches!(Wanted::files(&twice), Err(InputsError::Refused { .. })));
    let huge = Manifest { files: vec![file("x", u64::MAX)] };
    let wanted = Wanted::files(&huge).unwrap();
    let error = place.cache.claim(&mut Held::of(&place.cache), &wanted).unwrap_err();
    assert!(matches!(error, InputsError::Disk { .. }), "{error:?}");
}

#[test]
fn what_unconfined_tasks_could_change_is_not_trusted_later() {
    let mut place = Place::new(8);
    drop(place.hold(b"a"));
    place.reopen_with(8, WithoutSandbox::RunOwnJobs);
    assert_eq!(place.left(), "a");
    drop(place.hold(b"b"));
    place.reopen(8);
    assert_eq!(place.left(), "");
    drop(place.hold(b"c"));
    place.reopen(8);
    assert_eq!(place.left(), "c", "from here on it is what it was said to be");
}

#[test]
fn strange_files_in_the_cache_are_swept() {
    let mut place = Place::new(8);
    let inputs = place.dir.path().join("inputs");
    for name in ["content/x", "partial/y", "trees/old", "trash/1"] {
        fs::create_dir_all(inputs.join(name).join("in")).unwrap();
        fs::write(inputs.join(name).join("in/z"), "z").unwrap();
        fs::write(inputs.join(name).with_extension("file"), "z").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", inputs.join("content").join("0".repeat(64))).unwrap();
    place.reopen(8);
    for name in ["content", "partial", "trees", "trash"] {
        assert!(fs::read_dir(inputs.join(name)).unwrap().next().is_none(), "{name}");
    }
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn the_use_of_a_tree_is_noted_now_and_then() {
    let place = Place::new(8);
    let tree = place.tree(b"a", "one");
    let path = place.cache.content(&content(b'a', 1).0.hash);
    place.used(b"a", 100);
    assert!(place.cache.note_use(&first_hash("one")).is_none(), "it was, just now");
    let contents = place.cache.lock().note_use(&first_hash("one"), unix_s() + 3600);
    assert_eq!(contents, Some(vec![content(b'a', 1).0.hash]));
    assert_eq!(used_s(&path), 100);
    place.used(b"a", 200);
    assert_eq!(used_s(&path), 200);
    drop(tree);
}

/// Many small files in one job: what a task pays that is the first, and what those pay that follow.
#[test]
fn a_tree_of_many_files_is_taken_at_once() {
    let place = Place::new(64);
    let letters: Vec<u8> = (b'a'..=b'j').collect();
    let tree = place.tree(&letters, "many");
    let watch = campusgrid_sandbox::clock::Stopwatch::start();
    for _ in 0..1000 {
        drop(place.cache.take_tree(&first_hash("many")));
    }
    assert!(watch.passed() < Duration::from_secs(1), "{:?}", watch.passed());
    assert_eq!(tree.names(), ["many"]);
    assert!(tree.has("many/a") && !tree.has("many"));
}

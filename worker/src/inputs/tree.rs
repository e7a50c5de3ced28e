//! A manifest laid out as a tree that tasks are shown: each file a further name of its content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::input::{InputFile, Manifest};

use super::cache::{Cache, Held};
use super::lines::{BadLine, LINE_MAX_BYTES, Marks};
use super::{InputsError, blocking, refused};
use crate::environment::shelf;

/// Names at the top of a tree, each of which is a link in the task's directory, are so long in all. With
/// more a task could not be told of them. Bytes.
const NAMES_MAX_BYTES: usize = 1 << 20;

/// A tree that stays where it is for as long as this value.
#[derive(Debug)]
pub(crate) struct Tree {
    cache: Arc<Cache>,
    manifest: BlobHash,
    body: Arc<Body>,
}

/// What all who hold a tree share.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) place: PathBuf,
    files: BTreeSet<String>,
    names: Vec<String>,
    /// Where lines begin in files of which lines were asked for.
    marks: Mutex<BTreeMap<String, Arc<Marks>>>,
}

impl Tree {
    pub(super) fn of(cache: Arc<Cache>, manifest: BlobHash, body: Arc<Body>) -> Self {
        Self { cache, manifest, body }
    }

    /// The host's directory, to be shown read-only.
    pub(crate) fn path(&self) -> &Path {
        &self.body.place
    }

    /// What is at its top, sorted.
    pub(crate) fn names(&self) -> &[String] {
        &self.body.names
    }

    /// All its files, by their paths.
    pub(crate) fn files(&self) -> &BTreeSet<String> {
        &self.body.files
    }

    /// Whether it has a file of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.body.files.contains(path)
    }

    /// A line of one of its files, counted from 1.
    ///
    /// # Errors
    ///
    /// `Refused` if there is no such file or line, or the line cannot be given to a program.
    pub(crate) async fn line(&self, path: &str, number: u32) -> Result<String, InputsError> {
        if !self.has(path) {
            return Err(refused(&format!("the file of lines, {path:?}, is not among them")));
        }
        let (body, path) = (Arc::clone(&self.body), path.to_owned());
        blocking(move || {
            let line = body.line(&path, number);
            let line = line.map_err(|error| InputsError::host("read the file of lines", &error))?;
            line.map_err(|bad| {
                refused(&match bad {
                    BadLine::Missing { lines } => {
                        format!("{path:?} has {lines} lines, and none of number {number}")
                    }
                    BadLine::TooLong => format!(
                        "line {number} of {path:?} is longer than {} KiB",
                        LINE_MAX_BYTES >> 10
                    ),
                    BadLine::Odd => format!("line {number} of {path:?} is not text in UTF-8"),
                })
            })
        })
        .await
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.cache.return_tree(&self.manifest);
    }
}

impl Body {
    fn line(&self, path: &str, number: u32) -> io::Result<Result<String, BadLine>> {
        let file = self.place.join(path);
        let known = self.marks.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        let marks = match known {
            Some(marks) => marks,
            None => {
                let marks = Arc::new(Marks::of(&file)?);
                let mut all = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(path.to_owned(), Arc::clone(&marks));
                marks
            }
        };
        marks.line(&file, number)
    }
}

/// Lays a manifest out of contents that are held. Blocks.
///
/// # Errors
///
/// `Refused`, `Disk` and `Fetch`; nothing is then left of it.
pub(super) fn lay_out(
    cache: &Arc<Cache>,
    held: Held,
    hash: BlobHash,
    manifest: Manifest,
) -> Result<Tree, InputsError> {
    let names: BTreeSet<&str> =
        manifest.files.iter().filter_map(|file| file.path.split('/').next()).collect();
    if names.iter().map(|name| name.len()).sum::<usize>() > NAMES_MAX_BYTES {
        return Err(refused("there are too many at the top; put them into directories"));
    }
    let names = names.into_iter().map(str::to_owned).collect();
    let place = cache.new_place(&hash);
    let copied_bytes = build(cache, &place, &manifest.files).map_err(|error| {
        let _nothing = shelf::remove(&place); // What is left of it goes at the next start.
        if cache.has_run_out(&error) {
            InputsError::Disk { message: "the job's files could not be put in place".to_owned() }
        } else {
            InputsError::host("put the job's files in place", &error)
        }
    })?;
    let files = manifest.files.into_iter().map(|file| file.path).collect();
    let body = Body { place, files, names, marks: Mutex::default() };
    Ok(cache.keep_tree(held, hash, body, copied_bytes))
}

/// Yields how much of it are copies.
fn build(cache: &Cache, place: &Path, files: &[InputFile]) -> io::Result<u64> {
    let mut directories = BTreeSet::from([place.to_path_buf()]);
    fs::create_dir(place)?;
    let mut copied_bytes = 0;
    for file in files {
        let target = place.join(&file.path);
        let above = target.parent().unwrap_or(place);
        if !directories.contains(above) {
            fs::create_dir_all(above)?;
            let beneath = above.ancestors().take_while(|&directory| directory != place);
            directories.extend(beneath.map(Path::to_path_buf));
        }
        let content = cache.content(&file.blob.hash);
        // Who may execute it is a matter of the content, which another job may have as plain data; and
        // a content has only so many names on some file systems.
        if file.executable || fs::hard_link(&content, &target).is_err() {
            copied_bytes += fs::copy(&content, &target)?;
            let mode = if file.executable { 0o555 } else { 0o444 };
            fs::set_permissions(&target, Permissions::from_mode(mode))?;
        }
    }
    for directory in directories {
        fs::set_permissions(directory, Permissions::from_mode(0o555))?;
    }
    Ok(copied_bytes)
}

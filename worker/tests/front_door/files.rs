//! The files of a job as a manager has them, and how it gives them out.

use std::collections::BTreeMap;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, CHUNK_MAX_BYTES};
use campusgrid_protocol::task::BlobRef;

use crate::manager::{Link, Manager};

/// A job's files, and the list of them.
pub(crate) struct Files {
    pub(crate) manifest: BlobRef,
    blobs: BTreeMap<BlobHash, Vec<u8>>,
}

/// One request, and how it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) hash: BlobHash,
    pub(crate) offset_bytes: u64,
}

pub(crate) fn blob(bytes: &[u8]) -> BlobRef {
    let hash = BlobHash(*blake3::hash(bytes).as_bytes());
    BlobRef { hash, size_bytes: bytes.len() as u64 }
}

impl Files {
    /// Paths and contents; what ends with `!` is executable.
    pub(crate) fn of(files: &[(&str, &[u8])]) -> Self {
        let file = |(path, bytes): &(&str, &[u8])| InputFile {
            path: path.trim_end_matches('!').to_owned(),
            blob: blob(bytes),
            executable: path.ends_with('!'),
        };
        let manifest = Manifest::check(files.iter().map(file).collect()).unwrap();
        let mut all = Self::listed_by(&manifest.encode());
        all.blobs.extend(files.iter().map(|(_, bytes)| (blob(bytes).hash, bytes.to_vec())));
        all
    }

    /// Files whose list is this, whatever it is.
    pub(crate) fn listed_by(list: &[u8]) -> Self {
        let manifest = blob(list);
        Self { manifest, blobs: BTreeMap::from([(manifest.hash, list.to_vec())]) }
    }

    /// Gives another content for what is asked for by this one's hash.
    pub(crate) fn swap(&mut self, asked: &[u8], given: &[u8]) {
        self.blobs.insert(blob(asked).hash, given.to_vec());
    }

    /// Answers the next bulk connection until the worker hangs up; what it has asked for.
    pub(crate) fn serve(&self, manager: &Manager) -> Vec<Fetched> {
        self.serve_some(manager, usize::MAX)
    }

    /// The same, but breaks off when it has sent so many chunks.
    pub(crate) fn serve_some(&self, manager: &Manager, chunks: usize) -> Vec<Fetched> {
        let mut link = manager.upload();
        link.take_open();
        self.answer(&mut link, chunks)
    }

    fn answer(&self, link: &mut Link, mut chunks: usize) -> Vec<Fetched> {
        let mut fetched = Vec::new();
        while let Some(message) = link.try_receive() {
            let BulkToManager::Fetch { blob, offset_bytes } = message else {
                panic!("{message:?}")
            };
            fetched.push(Fetched { hash: blob.hash, offset_bytes });
            let content = self.blobs.get(&blob.hash).expect("it asks for what nobody named");
            let rest = &content[usize::try_from(offset_bytes).unwrap()..];
            assert!(!rest.is_empty(), "there is nothing to give");
            for chunk in rest.chunks(CHUNK_MAX_BYTES) {
                if chunks == 0 {
                    return fetched;
                }
                chunks -= 1;
                link.send(&BulkToWorker::Chunk(chunk.to_vec()));
            }
        }
        fetched
    }
}

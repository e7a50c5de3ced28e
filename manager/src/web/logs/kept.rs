//! A log that is kept, read piece by piece, and how its bytes lie in the stream that it was: a long one
//! has its middle cut out, and a line that marks the place.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use campusgrid_protocol::task::{Content, Log};
use tokio::task::spawn_blocking;

use crate::engine::handle::AskError;
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::text_stream::More;

/// Read at once. Bytes; more than a piece of text has at most, and than a mark.
const PART_BYTES: u64 = 64 << 10;

/// A log that is kept. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    content: Bytes,
    bytes: u64,
    cut: Option<Cut>,
}

#[derive(Debug, Clone)]
enum Bytes {
    Here(Arc<[u8]>),
    On(Arc<File>),
}

/// What is left out in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// Where the mark begins, in what is kept and in the stream. Bytes.
    at: u64,
    mark_bytes: u64,
    /// How much of the stream is missing there.
    cut_bytes: u64,
}

/// A part that can be told at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    /// Whether what follows belongs to it.
    pub(super) more: More,
}

impl Kept {
    /// Opens a log and finds where it is cut.
    ///
    /// # Errors
    ///
    /// `File`.
    pub(super) async fn open(site: &Site, log: &Log) -> Result<Self, WebError> {
        let (content, bytes) = match &log.content {
            Content::Inline(bytes) => (Bytes::Here(bytes.clone().into()), bytes.len() as u64),
            Content::Blob(blob) => {
                let path = site.blobs.path(blob.hash);
                let opened = blocking(move || File::open(path)).await?;
                (Bytes::On(Arc::new(opened)), blob.size_bytes)
            }
        };
        let mut kept = Self { content, bytes, cut: None };
        kept.cut = kept.find_cut(log.cut_bytes).await?;
        Ok(kept)
    }

    /// All that is kept.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// As many bytes from there on as there are, and as are wanted at most.
    ///
    /// # Errors
    ///
    /// `File`.
    pub(super) async fn read(&self, from: u64, most: u64) -> Result<Vec<u8>, WebError> {
        let bytes = self.bytes.saturating_sub(from).min(most);
        let length = usize::try_from(bytes).expect("parts are read that fit in memory");
        match &self.content {
            Bytes::Here(all) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(all.len());
                Ok(all[from..from + length].to_vec())
            }
            Bytes::On(file) => {
                let file = Arc::clone(file);
                blocking(move || {
                    let mut part = vec![0; length];
                    file.read_exact_at(&mut part, from)?;
                    Ok(part)
                })
                .await
            }
        }
    }

    /// The part from there on that can be told at once: not beyond a cut's mark, or its end.
    ///
    /// # Errors
    ///
    /// `File`.
    pub(super) async fn next(&self, from: u64) -> Result<Part, WebError> {
        let until = self.stretch_end(from);
        let bytes = self.read(from, (until - from).min(PART_BYTES)).await?;
        let is_last = from + bytes.len() as u64 == until;
        Ok(Part { bytes, more: if is_last { More::Never } else { More::MayFollow } })
    }

    /// Where the bytes end that follow each other in the stream as they do here.
    fn stretch_end(&self, from: u64) -> u64 {
        match self.cut {
            Some(Cut { at, .. }) if from < at => at,
            Some(Cut { at, mark_bytes, .. }) if from < at + mark_bytes => at + mark_bytes,
            Some(_) | None => self.bytes,
        }
    }

    /// Where in the stream a byte of it was; of the mark, where the cut begins.
    pub(super) fn offset_of(&self, position: u64) -> u64 {
        match self.cut {
            Some(Cut { at, mark_bytes, cut_bytes }) if position >= at + mark_bytes => {
                (position - mark_bytes).saturating_add(cut_bytes)
            }
            Some(Cut { at, .. }) => position.min(at),
            None => position,
        }
    }

    /// Where to go on for whoever has seen the first `seen_bytes` of the stream. What was cut out is not
    /// missed by those who saw it while it was there.
    pub(super) fn position_of(&self, seen_bytes: u64) -> u64 {
        match self.cut {
            Some(Cut { at, mark_bytes, cut_bytes }) if seen_bytes > at => {
                let of_end = (seen_bytes - at).saturating_sub(cut_bytes);
                (at + mark_bytes).saturating_add(of_end).min(self.bytes)
            }
            Some(_) | None => seen_bytes.min(self.bytes),
        }
    }

    /// Both parts are of one size, so the mark is in the middle; a program that prints such a line itself
    /// is not taken for it.
    async fn find_cut(&self, cut_bytes: u64) -> Result<Option<Cut>, WebError> {
        let mark = format!("\n[... {cut_bytes} bytes cut here ...]\n");
        let mark_bytes = mark.len() as u64;
        if cut_bytes == 0 || mark_bytes > self.bytes {
            return Ok(None);
        }
        let at = (self.bytes - mark_bytes) / 2;
        let found = self.read(at, mark_bytes).await?;
        Ok((found == mark.as_bytes()).then_some(Cut { at, mark_bytes, cut_bytes }))
    }
}

/// Disks block, and a thread that serves others must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, WebError> {
    let done = spawn_blocking(work).await.map_err(|_| WebError::Ask(AskError::Stopping))?;
    done.map_err(WebError::File)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Bytes, Kept, Part};
    use crate::web::text_stream::More;

    async fn kept(content: &str, cut_bytes: u64) -> Kept {
        let bytes = content.len() as u64;
        let content = Bytes::Here(Arc::from(content.as_bytes()));
        let mut kept = Kept { content, bytes, cut: None };
        kept.cut = kept.find_cut(cut_bytes).await.unwrap();
        kept
    }

    /// All that somebody is told who has seen so much of the stream.
    async fn told(kept: &Kept, seen_bytes: u64) -> String {
        let (mut told, mut at) = (Vec::new(), kept.position_of(seen_bytes));
        while at < kept.bytes() {
            let Part { bytes, .. } = kept.next(at).await.unwrap();
            at += bytes.len() as u64;
            told.extend(bytes);
        }
        String::from_utf8(told).unwrap()
    }

    /// 100 bytes of which 0-4 and 95-99 are kept.
    const CUT: &str = "01234\n[... 90 bytes cut here ...]\nvwxyz";

    #[tokio::test]
    async fn the_kept_log_continues_where_the_live_one_stopped() {
        for (content, cut_bytes, seen, expected) in [
            ("0123456789", 0, 0, "0123456789"),
            ("0123456789", 0, 4, "456789"),
            ("0123456789", 0, 10, ""),
            ("0123456789", 0, 99, ""),
            (CUT, 90, 3, "34\n[... 90 bytes cut here ...]\nvwxyz"),
            (CUT, 90, 5, "\n[... 90 bytes cut here ...]\nvwxyz"),
            (CUT, 90, 50, "vwxyz"),
            (CUT, 90, 95, "vwxyz"),
            (CUT, 90, 98, "yz"),
            (CUT, 90, 100, ""),
            (CUT, 90, u64::MAX, ""),
            // Somebody else's mark, and one that is not in the middle.
            (CUT, 91, 50, ""),
            ("\n[... 90 bytes cut here ...]\nvwxyz", 90, 8, " bytes cut here ...]\nvwxyz"),
            ("", 90, 0, ""),
        ] {
            let kept = kept(content, cut_bytes).await;
            assert_eq!(told(&kept, seen).await, expected, "{content:?} seen {seen}");
        }
    }

    /// Whoever comes back at any place is told the rest, and nothing twice.
    #[tokio::test]
    async fn every_place_leads_back_to_itself() {
        for (content, cut_bytes) in [("0123456789", 0), (CUT, 90)] {
            let kept = kept(content, cut_bytes).await;
            let mut at = 0;
            while at < kept.bytes() {
                assert_eq!(kept.position_of(kept.offset_of(at)), at, "{content:?}");
                at += match kept.next(at).await.unwrap() {
                    // The mark is told at once; other parts may be told byte by byte.
                    Part { bytes, .. } if bytes.starts_with(b"\n[") => bytes.len() as u64,
                    _ => 1,
                };
            }
            assert_eq!(kept.position_of(kept.offset_of(at)), at, "{content:?}");
            assert_eq!(kept.offset_of(kept.bytes()), if cut_bytes > 0 { 100 } else { 10 });
        }
    }

    #[tokio::test]
    async fn parts_end_at_the_mark_and_are_no_larger_than_they_may_be() {
        let kept_cut = kept(CUT, 90).await;
        let first = kept_cut.next(0).await.unwrap();
        assert_eq!(first, Part { bytes: b"01234".to_vec(), more: More::Never });
        let long = kept(&"x".repeat(70_000), 0).await;
        let first = long.next(0).await.unwrap();
        assert_eq!((first.bytes.len(), first.more), (64 << 10, More::MayFollow));
        let last = long.next(64 << 10).await.unwrap();
        assert_eq!((last.bytes.len(), last.more), (70_000 - (64 << 10), More::Never));
        assert_eq!(long.read(80_000, 10).await.unwrap(), b"");
    }
}

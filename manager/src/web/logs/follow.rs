//! Follows the log of a task from an offset to its end, across attempts, live and kept.

use std::collections::VecDeque;

use axum::response::sse::Event;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::rest::LogPiece;
use campusgrid_protocol::task::{Log, Stream};
use tokio::sync::watch;

use super::{Source, read_kept, read_place};
use crate::store::read::{StoredLog, Viewer};
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::text_stream::{More, first_piece, shown};
use crate::web::words::visible;

/// How far a follower has come. Written `ATTEMPT:OFFSET`, with one offset for each stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The attempt that the offsets are of; None before one has begun.
    attempt: Option<u32>,
    /// Bytes already seen of each stream.
    offsets: Vec<u64>,
}

impl Cursor {
    pub(super) fn start(streams: usize) -> Self {
        Self { attempt: None, offsets: vec![0; streams] }
    }

    /// Reads the id of an event. An offset alone is taken to be of the newest attempt.
    pub(super) fn parse(text: &str, streams: usize) -> Option<Self> {
        let mut numbers = text.split(':').map(|part| part.parse::<u64>().ok());
        let attempt = if text.contains(':') { Some(numbers.next()??) } else { None };
        let attempt = attempt.map(u32::try_from).transpose().ok()?.filter(|&number| number > 0);
        let offsets = numbers.collect::<Option<Vec<u64>>>()?;
        (offsets.len() == streams).then_some(Self { attempt, offsets })
    }

    fn text(&self) -> String {
        let mut text = self.attempt.unwrap_or(0).to_string();
        for offset in &self.offsets {
            text.push(':');
            text.push_str(&offset.to_string());
        }
        text
    }

    /// Turns to an attempt. Yields whether what was seen is of another one and so void.
    fn turn_to(&mut self, attempt: u32) -> bool {
        let replaced = self.attempt.is_some_and(|seen| seen != attempt);
        if replaced {
            self.offsets.fill(0);
        }
        self.attempt = Some(attempt);
        replaced
    }
}

/// One open stream of events.
#[derive(Debug)]
pub(super) struct Follower {
    site: Site,
    viewer: Viewer,
    source: Source,
    streams: Vec<Stream>,
    cursor: Cursor,
    /// What is made already and waits to be sent.
    ready: VecDeque<Event>,
    events: watch::Receiver<u64>,
    attached: Option<Attached>,
    step: String,
    ended: bool,
}

/// The attempt that is being followed, and what wakes when there is more of it.
#[derive(Debug)]
struct Attached {
    attempt: AttemptId,
    grown: watch::Receiver<()>,
}

impl Follower {
    pub(super) fn new(
        site: Site,
        viewer: Viewer,
        source: Source,
        streams: Vec<Stream>,
        cursor: Cursor,
    ) -> Self {
        let events = site.engine.events();
        let (ready, step) = (VecDeque::new(), String::new());
        let (attached, ended) = (None, false);
        Self { site, viewer, source, streams, cursor, ready, events, attached, step, ended }
    }

    /// The next event; None when the log is complete or the manager stops.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let shutdown = self.site.shutdown.clone();
            let advanced = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                advanced = self.advance() => advanced,
            };
            if let Err(error) = advanced {
                error.log();
                return None;
            }
        }
    }

    /// Whether all of the log has been told, so that coming back would yield nothing.
    pub(super) fn is_complete(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    /// Makes the next events ready, or waits until there may be some.
    async fn advance(&mut self) -> Result<(), WebError> {
        if let Some(attached) = &mut self.attached {
            attached.grown.mark_unchanged();
            let attempt = attached.attempt;
            self.take_live(attempt);
            if self.ready.is_empty()
                && let Some(attached) = &mut self.attached
                && attached.grown.changed().await.is_err()
            {
                self.attached = None; // Forgotten: it is over, and the store knows how.
            }
            return Ok(());
        }
        self.events.mark_unchanged(); // Before reading, so that what comes meanwhile wakes us.
        match read_place(&self.site, self.viewer, self.source).await? {
            StoredLog::Live(attempt) => match self.running(attempt).await? {
                Some(attempt) => self.attach(attempt).await,
                None => {
                    // An error means that the engine is gone.
                    self.ended = self.events.changed().await.is_err();
                    Ok(())
                }
            },
            StoredLog::Kept(_) => self.finish().await,
        }
    }

    async fn attach(&mut self, attempt: AttemptId) -> Result<(), WebError> {
        let Some(grown) = self.site.live.watch(attempt) else {
            // It is over, or about to be told of. An error means that the engine is gone.
            self.ended = self.events.changed().await.is_err();
            return Ok(());
        };
        if self.cursor.turn_to(attempt.number) {
            self.ready.push_back(self.event("restart", attempt.number.to_string()));
        }
        self.attached = Some(Attached { attempt, grown });
        Ok(())
    }

    /// The attempt, unless it is over: its task may be waiting for the next one.
    async fn running(&self, attempt: Option<AttemptId>) -> Result<Option<AttemptId>, WebError> {
        let Some(attempt) = attempt else { return Ok(None) };
        let (viewer, Source { job, task, .. }) = (self.viewer, self.source);
        let read = self.site.readers.read(move |reader| reader.tasks(viewer, job, task, 1));
        let tasks = read.await?.ok_or(WebError::NotFound)?;
        let of_task = tasks.iter().filter(|listed| listed.index == task);
        let mut attempts = of_task.flat_map(|listed| &listed.attempts);
        let runs =
            attempts.any(|listed| listed.number == attempt.number && listed.ended_at_ms.is_none());
        Ok(runs.then_some(attempt))
    }

    fn take_live(&mut self, attempt: AttemptId) {
        let step = self.site.live.step(attempt);
        if step != self.step {
            // An event without data is dropped by browsers, and the empty step means "it runs".
            let text = if step.is_empty() { "running".to_owned() } else { visible(&step) };
            self.ready.push_back(self.event("step", text));
            self.step = step;
        }
        for index in 0..self.streams.len() {
            let from = self.cursor.offsets[index];
            let tail = self.site.live.tail(attempt, self.streams[index], from);
            self.take(index, tail.offset_bytes.max(from), &tail.bytes, More::MayFollow);
        }
    }

    async fn finish(&mut self) -> Result<(), WebError> {
        for index in 0..self.streams.len() {
            let source = Source { stream: self.streams[index], ..self.source };
            let StoredLog::Kept(log) = read_place(&self.site, self.viewer, source).await? else {
                continue;
            };
            let bytes = read_kept(&self.site, &log).await?;
            let seen = self.cursor.offsets[index];
            let rest = unseen(&bytes, &log, seen);
            self.take(index, seen, rest, More::Never);
        }
        self.ready.push_back(self.event("end", "complete".to_owned()));
        self.ended = true;
        Ok(())
    }

    /// Makes pieces of what has come of a stream.
    fn take(&mut self, index: usize, offset_bytes: u64, mut bytes: &[u8], more: More) {
        let mut offset_bytes = offset_bytes;
        while !bytes.is_empty() {
            let (text, length) = first_piece(bytes, more);
            if length == 0 {
                break; // The rest of a character is yet to come.
            }
            let piece = LogPiece { stream: self.streams[index], offset_bytes, text: shown(&text) };
            offset_bytes += length as u64;
            bytes = &bytes[length..];
            self.cursor.offsets[index] = offset_bytes;
            let data = serde_json::to_string(&piece).expect("text is good JSON");
            let event = Event::default().id(self.cursor.text()).data(data);
            self.ready.push_back(event);
        }
    }

    fn event(&self, name: &str, data: String) -> Event {
        Event::default().event(name).id(self.cursor.text()).data(data)
    }
}

/// What a viewer who has seen the first `seen` bytes of a stream has yet to see of the kept log.
fn unseen<'a>(kept: &'a [u8], log: &Log, seen: u64) -> &'a [u8] {
    let seen = usize::try_from(seen).unwrap_or(usize::MAX);
    let (head, tail) = around_cut(kept, log.cut_bytes);
    if seen <= head.len() {
        return &kept[seen..];
    }
    let cut = usize::try_from(log.cut_bytes).unwrap_or(usize::MAX);
    let seen_of_tail = seen.saturating_sub(head.len()).saturating_sub(cut);
    tail.get(seen_of_tail..).unwrap_or_default()
}

/// What is before and behind the line that marks the place of the bytes that were left out.
fn around_cut(kept: &[u8], cut_bytes: u64) -> (&[u8], &[u8]) {
    let mark = format!("\n[... {cut_bytes} bytes cut here ...]\n").into_bytes();
    // Both parts are of one size, so the mark is in the middle; a program that prints such a line
    // itself is not taken for it.
    let start = kept.len().saturating_sub(mark.len()) / 2;
    let found = cut_bytes > 0 && kept[start..].starts_with(&mark);
    if found { (&kept[..start], &kept[start + mark.len()..]) } else { (kept, &[]) }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::task::{Content, Log};

    use super::{Cursor, unseen};

    #[test]
    fn ids_of_events_are_read_back() {
        for (text, streams, attempt, offsets) in [
            ("0", 1, None, &[0][..]),
            ("123", 1, None, &[123]),
            ("0:123", 1, None, &[123]),
            ("2:123", 1, Some(2), &[123]),
            ("2:123:45", 2, Some(2), &[123, 45]),
        ] {
            let cursor = Cursor { attempt, offsets: offsets.to_vec() };
            assert_eq!(Cursor::parse(text, streams), Some(cursor.clone()), "{text}");
            assert_eq!(Cursor::parse(&cursor.text(), streams), Some(cursor), "{text}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for (text, streams) in
            [("", 1), ("x", 1), ("-1", 1), ("1:", 1), ("1:2:3", 1), ("1:2", 2), ("5", 2), (":", 1)]
        {
            assert_eq!(Cursor::parse(text, streams), None, "{text:?}");
        }
        assert_eq!(Cursor::parse("99999999999:0", 1), None, "more attempts than can be");
    }

    #[test]
    fn another_attempt_starts_anew() {
        let mut cursor = Cursor::parse("1:500", 1).unwrap();
        assert!(!cursor.turn_to(1));
        assert_eq!(cursor.text(), "1:500");
        assert!(cursor.turn_to(2));
        assert_eq!(cursor.text(), "2:0");
        let mut plain = Cursor::parse("500", 1).unwrap();
        assert!(!plain.turn_to(3));
        assert_eq!(plain.text(), "3:500");
    }

    #[test]
    fn the_kept_log_continues_where_the_live_one_stopped() {
        let check = |kept: &str, cut_bytes, seen, expected: &str| {
            let log = Log { content: Content::Inline(Vec::new()), cut_bytes };
            let rest = unseen(kept.as_bytes(), &log, seen);
            assert_eq!(std::str::from_utf8(rest).unwrap(), expected, "seen {seen}");
        };
        check("0123456789", 0, 0, "0123456789");
        check("0123456789", 0, 4, "456789");
        check("0123456789", 0, 10, "");
        check("0123456789", 0, 99, "");
        // 100 bytes of which 0-4 and 95-99 are kept.
        let cut = "01234\n[... 90 bytes cut here ...]\nvwxyz";
        check(cut, 90, 3, "34\n[... 90 bytes cut here ...]\nvwxyz");
        check(cut, 90, 50, "vwxyz");
        check(cut, 90, 98, "yz");
        check(cut, 90, 100, "");
        check(cut, 90, u64::MAX, "");
    }
}

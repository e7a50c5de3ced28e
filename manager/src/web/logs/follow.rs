//! Follows the log of a task from an offset to its end, across attempts, live and kept.

use std::collections::VecDeque;

use axum::response::sse::Event;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::rest::LogPiece;
use campusgrid_protocol::task::Stream;
use tokio::sync::watch;

use super::kept::Kept;
use super::{Place, Source, read_place};
use crate::store::read::Viewer;
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
    /// The log of a run that is over, as far as it has not been told.
    rest: Option<Rest>,
    step: String,
    ended: bool,
}

/// The attempt that is being followed, and what wakes when there is more of it.
#[derive(Debug)]
struct Attached {
    attempt: AttemptId,
    grown: watch::Receiver<()>,
}

/// What is left to be told of a log that is kept.
#[derive(Debug)]
struct Rest {
    /// Of each stream, and how far in it.
    streams: Vec<(Kept, u64)>,
    /// Whether no other run follows.
    is_last: bool,
}

/// Where in a stream some bytes of it are.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    offset_bytes: u64,
    /// Behind a mark, which stands for what was cut out, that is where the stream goes on.
    end_offset_bytes: u64,
    more: More,
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
        let (attached, rest, ended) = (None, None, false);
        Self { site, viewer, source, streams, cursor, ready, events, attached, rest, step, ended }
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
        if self.rest.is_some() {
            return self.take_rest().await;
        }
        self.events.mark_unchanged(); // Before reading, so that what comes meanwhile wakes us.
        match read_place(&self.site, self.viewer, self.source).await? {
            Place::Live(Some(attempt)) => self.attach(attempt).await,
            Place::Live(None) => {
                // An error means that the engine is gone.
                self.ended = self.events.changed().await.is_err();
                Ok(())
            }
            Place::Kept { attempt, task_over, .. } => {
                let is_last = task_over || self.source.attempt.is_some();
                self.begin_rest(attempt, is_last).await
            }
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
            let offset_bytes = tail.offset_bytes.max(from);
            let end_offset_bytes = offset_bytes + tail.bytes.len() as u64;
            let stretch = Stretch { offset_bytes, end_offset_bytes, more: More::MayFollow };
            self.take(index, &tail.bytes, stretch);
        }
    }

    /// Opens the logs of a run that is over, to tell what has not been told of them.
    async fn begin_rest(
        &mut self,
        attempt: Option<AttemptId>,
        is_last: bool,
    ) -> Result<(), WebError> {
        if let Some(attempt) = attempt
            && self.cursor.turn_to(attempt.number)
        {
            self.ready.push_back(self.event("restart", attempt.number.to_string()));
        }
        let mut streams = Vec::new();
        for (index, &stream) in self.streams.iter().enumerate() {
            let attempt = attempt.map(|attempt| attempt.number);
            let source = Source { stream, attempt, ..self.source };
            let Place::Kept { log, .. } = read_place(&self.site, self.viewer, source).await? else {
                continue; // It cannot run again; only the answer to another question could.
            };
            let kept = Kept::open(&self.site, &log).await?;
            let from = kept.position_of(self.cursor.offsets[index]);
            streams.push((kept, from));
        }
        self.rest = Some(Rest { streams, is_last });
        Ok(())
    }

    /// Makes the next piece of a kept log ready; after the last one, ends or waits for another run.
    async fn take_rest(&mut self) -> Result<(), WebError> {
        let Some(rest) = &self.rest else { return Ok(()) };
        let unread = |(kept, from): &(Kept, u64)| *from < kept.bytes();
        if let Some(index) = rest.streams.iter().position(unread) {
            let (kept, from) = rest.streams[index].clone();
            let part = kept.next(from).await?;
            let offset_bytes = kept.offset_of(from);
            let end_offset_bytes = kept.offset_of(from + part.bytes.len() as u64);
            let stretch = Stretch { offset_bytes, end_offset_bytes, more: part.more };
            let taken = self.take(index, &part.bytes, stretch);
            if let Some(Rest { streams, .. }) = &mut self.rest {
                streams[index].1 += taken;
            }
            return Ok(());
        }
        if rest.is_last {
            self.ready.push_back(self.event("end", "complete".to_owned()));
            self.ended = true;
            return Ok(());
        }
        // An error means that the engine is gone.
        self.ended = self.events.changed().await.is_err();
        self.rest = None;
        Ok(())
    }

    /// Makes pieces of what has come of a stream; yields how much of it that took.
    fn take(&mut self, index: usize, bytes: &[u8], stretch: Stretch) -> u64 {
        let mut taken = 0;
        loop {
            let (text, length) = first_piece(&bytes[taken..], stretch.more);
            if length == 0 {
                return taken as u64; // The rest of a character is yet to come.
            }
            let offset_bytes = stretch.offset_bytes + taken as u64;
            let piece = LogPiece { stream: self.streams[index], offset_bytes, text: shown(&text) };
            taken += length;
            let is_all = taken == bytes.len();
            let next = if is_all { stretch.end_offset_bytes } else { offset_bytes + length as u64 };
            self.cursor.offsets[index] = next;
            let data = serde_json::to_string(&piece).expect("text is good JSON");
            let event = Event::default().id(self.cursor.text()).data(data);
            self.ready.push_back(event);
        }
    }

    fn event(&self, name: &str, data: String) -> Event {
        Event::default().event(name).id(self.cursor.text()).data(data)
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

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
}

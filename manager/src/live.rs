//! The tail of the logs of what runs right now, in memory and bounded; the logs that are kept come
//! with the end of an attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use campusgrid_protocol::id::{AttemptId, WorkerId};
use campusgrid_protocol::task::Stream;
use tokio::sync::watch;

/// Kept of each stream of each attempt. Bytes.
const TAIL_MAX_BYTES: usize = 256 << 10;

/// The live logs of all attempts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LiveLogs {
    tails: Arc<Mutex<BTreeMap<AttemptId, AttemptTail>>>,
}

#[derive(Debug)]
struct AttemptTail {
    worker: WorkerId,
    step: String,
    stdout: Tail,
    stderr: Tail,
    grown: watch::Sender<()>,
}

/// A stretch of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail {
    /// Where in the stream `bytes` begins.
    pub offset_bytes: u64,
    pub bytes: Vec<u8>,
}

impl LiveLogs {
    /// Makes room for the logs of an attempt that a worker has been given: from now on that worker,
    /// and no other, can add to them.
    pub fn open(&self, worker: WorkerId, attempt: AttemptId) {
        self.lock().entry(attempt).or_insert_with(|| AttemptTail::new(worker));
    }

    /// Whether an attempt runs on this worker, as far as the manager knows.
    pub fn is_open(&self, worker: WorkerId, attempt: AttemptId) -> bool {
        self.lock().get(&attempt).is_some_and(|tail| tail.worker == worker)
    }

    /// Adds a piece that the worker sent; a repeated or overlapping one adds only what is new, and
    /// one behind a gap starts the tail anew.
    pub fn append(&self, worker: WorkerId, attempt: AttemptId, stream: Stream, piece: &Tail) {
        self.with(worker, attempt, |tail| tail.stream_mut(stream).append(piece));
    }

    /// Notes what the worker makes ready for the attempt, in words.
    pub fn set_step(&self, worker: WorkerId, attempt: AttemptId, step: String) {
        self.with(worker, attempt, |tail| tail.step = step);
    }

    /// Forgets an attempt that is over; whoever waits for more of it wakes and finds it gone.
    pub fn forget(&self, attempt: AttemptId) {
        self.lock().remove(&attempt);
    }

    /// What is being made ready for an attempt, in words; empty once it runs.
    pub fn step(&self, attempt: AttemptId) -> String {
        self.lock().get(&attempt).map(|tail| tail.step.clone()).unwrap_or_default()
    }

    /// What a stream has from `offset_bytes` on, if anything is kept of it.
    pub fn tail(&self, attempt: AttemptId, stream: Stream, offset_bytes: u64) -> Tail {
        let tails = self.lock();
        let Some(attempt) = tails.get(&attempt) else {
            return Tail { offset_bytes, bytes: Vec::new() };
        };
        attempt.stream(stream).from(offset_bytes)
    }

    /// Wakes when the attempt's logs or step change, and ends when it is forgotten. None if it is
    /// not open: then an event tells, or has told, that it is over.
    pub fn watch(&self, attempt: AttemptId) -> Option<watch::Receiver<()>> {
        self.lock().get(&attempt).map(|tail| tail.grown.subscribe())
    }

    /// A worker may say anything; only what is said of its own open attempts is kept.
    fn with(&self, worker: WorkerId, attempt: AttemptId, change: impl FnOnce(&mut AttemptTail)) {
        let mut tails = self.lock();
        if let Some(tail) = tails.get_mut(&attempt).filter(|tail| tail.worker == worker) {
            change(tail);
            tail.grown.send_replace(());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<AttemptId, AttemptTail>> {
        self.tails.lock().expect("nothing panics while it holds the live logs")
    }
}

impl AttemptTail {
    fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            step: String::new(),
            stdout: Tail::default(),
            stderr: Tail::default(),
            grown: watch::Sender::new(()),
        }
    }

    fn stream(&self, stream: Stream) -> &Tail {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    fn stream_mut(&mut self, stream: Stream) -> &mut Tail {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl Tail {
    fn end_bytes(&self) -> u64 {
        self.offset_bytes.saturating_add(self.bytes.len() as u64)
    }

    fn append(&mut self, piece: &Self) {
        let Self { offset_bytes, bytes } = piece;
        let offset_bytes = *offset_bytes;
        let end = self.end_bytes();
        if offset_bytes > end {
            self.offset_bytes = offset_bytes;
            self.bytes.clone_from(bytes);
        } else {
            let known = usize::try_from(end - offset_bytes).unwrap_or(usize::MAX);
            self.bytes.extend_from_slice(bytes.get(known..).unwrap_or_default());
        }
        if let Some(surplus) = self.bytes.len().checked_sub(TAIL_MAX_BYTES) {
            self.bytes.drain(..surplus);
            self.offset_bytes = self.offset_bytes.saturating_add(surplus as u64);
        }
    }

    fn from(&self, offset_bytes: u64) -> Tail {
        let skip = usize::try_from(offset_bytes.saturating_sub(self.offset_bytes))
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        Tail { offset_bytes: self.offset_bytes + skip as u64, bytes: self.bytes[skip..].to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::WorkerId;
    use campusgrid_protocol::task::Stream;

    use super::{LiveLogs, TAIL_MAX_BYTES, Tail};

    fn piece(offset_bytes: u64, text: &str) -> Tail {
        Tail { offset_bytes, bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn only_the_worker_that_was_given_an_attempt_adds_to_its_logs() {
        let live = LiveLogs::default();
        let attempt = "1.0#1".parse().unwrap();
        live.append(WorkerId(1), attempt, Stream::Stdout, &piece(0, "too early"));
        live.open(WorkerId(2), attempt);
        live.append(WorkerId(1), attempt, Stream::Stdout, &piece(0, "forged"));
        live.append(WorkerId(2), attempt, Stream::Stdout, &piece(0, "true"));
        live.append(WorkerId(2), attempt, Stream::Stdout, &piece(2, "ue!"));
        assert_eq!(live.tail(attempt, Stream::Stdout, 0), piece(0, "true!"));
        assert!(live.watch(attempt).is_some());
        live.forget(attempt);
        live.append(WorkerId(2), attempt, Stream::Stdout, &piece(0, "too late"));
        assert_eq!(live.tail(attempt, Stream::Stdout, 0), piece(0, ""));
        assert!(live.watch(attempt).is_none());
    }

    #[test]
    fn a_tail_is_bounded_and_takes_any_offset() {
        let live = LiveLogs::default();
        let attempt = "1.0#1".parse().unwrap();
        live.open(WorkerId(1), attempt);
        let long = Tail { offset_bytes: 0, bytes: vec![b'x'; TAIL_MAX_BYTES + 10] };
        live.append(WorkerId(1), attempt, Stream::Stderr, &long);
        let tail = live.tail(attempt, Stream::Stderr, 0);
        assert_eq!((tail.offset_bytes, tail.bytes.len()), (10, TAIL_MAX_BYTES));
        live.append(WorkerId(1), attempt, Stream::Stderr, &piece(u64::MAX, "end"));
        live.append(WorkerId(1), attempt, Stream::Stderr, &piece(u64::MAX, "end"));
        assert_eq!(live.tail(attempt, Stream::Stderr, 0).offset_bytes, u64::MAX);
    }
}

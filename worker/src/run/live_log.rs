//! A running task's output on its way to viewers: first bytes at once, then in gathered pieces.

use std::collections::BTreeMap;
use std::time::Duration;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::agent::effect::{AgentInput, Progress};

/// Between two pieces of a stream while more is coming.
const PAUSE: Duration = Duration::from_millis(50);

/// Gathered of a stream between two pieces; what a task prints faster is left out of its live log.
const PIECE_MAX_BYTES: usize = 64 << 10;

/// The streams of one run. The log that is kept comes from the sandbox, whole.
#[derive(Debug)]
pub(super) struct LiveLog {
    attempt: AttemptId,
    inputs: mpsc::Sender<AgentInput>,
    streams: BTreeMap<Stream, Gathered>,
}

#[derive(Debug)]
struct Gathered {
    /// Bytes printed so far, those gathered and left out included.
    end_bytes: u64,
    /// Where `bytes` begin in the stream.
    offset_bytes: u64,
    bytes: Vec<u8>,
    next_piece: Instant,
}

impl LiveLog {
    pub(super) fn new(attempt: AttemptId, inputs: mpsc::Sender<AgentInput>) -> Self {
        Self { attempt, inputs, streams: BTreeMap::new() }
    }

    /// Takes what a stream grew by; sends it if the last piece is long enough ago.
    pub(super) async fn printed(&mut self, stream: Stream, bytes: &[u8]) {
        let now = Instant::now();
        let gathered = self.streams.entry(stream).or_insert_with(|| Gathered {
            end_bytes: 0,
            offset_bytes: 0,
            bytes: Vec::new(),
            next_piece: now,
        });
        if gathered.bytes.is_empty() {
            gathered.offset_bytes = gathered.end_bytes;
        }
        // A piece has no gaps: what comes after bytes that found no room waits for the next one.
        let ends_here = gathered.offset_bytes + gathered.bytes.len() as u64 == gathered.end_bytes;
        let room = if ends_here { PIECE_MAX_BYTES - gathered.bytes.len() } else { 0 };
        gathered.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        gathered.end_bytes += bytes.len() as u64;
        if gathered.next_piece <= now {
            self.flush().await;
        }
    }

    /// Waits until a gathered piece is due; for ever if nothing is gathered.
    pub(super) async fn due(&self) {
        let waiting = self.streams.values().filter(|gathered| !gathered.bytes.is_empty());
        match waiting.map(|gathered| gathered.next_piece).min() {
            Some(next_piece) => sleep_until(next_piece).await,
            None => std::future::pending().await,
        }
    }

    /// Sends every piece that is due.
    pub(super) async fn flush(&mut self) {
        let now = Instant::now();
        for (&stream, gathered) in &mut self.streams {
            if gathered.bytes.is_empty() || gathered.next_piece > now {
                continue;
            }
            gathered.next_piece = now + PAUSE;
            let bytes = std::mem::take(&mut gathered.bytes);
            let offset_bytes = gathered.offset_bytes;
            let progress = Progress::Printed { stream, offset_bytes, bytes };
            let _ =
                self.inputs.send(AgentInput::Progress { attempt: self.attempt, progress }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(inputs: &mut mpsc::Receiver<AgentInput>) -> Vec<(u64, usize)> {
        let mut pieces = Vec::new();
        while let Ok(input) = inputs.try_recv() {
            let AgentInput::Progress { progress, .. } = input else { panic!("{input:?}") };
            let Progress::Printed { offset_bytes, bytes, .. } = progress else { panic!() };
            pieces.push((offset_bytes, bytes.len()));
        }
        pieces
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_bytes_come_at_once_and_the_rest_gathered() {
        let (sender, mut inputs) = mpsc::channel(16);
        let mut log = LiveLog::new("1.0#1".parse().unwrap(), sender);
        log.printed(Stream::Stdout, b"first").await;
        log.printed(Stream::Stdout, b"second").await;
        log.printed(Stream::Stdout, b"third").await;
        assert_eq!(received(&mut inputs), [(0, 5)]);
        log.due().await;
        log.flush().await;
        assert_eq!(received(&mut inputs), [(5, 11)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_leaves_a_gap_that_the_offset_shows() {
        let (sender, mut inputs) = mpsc::channel(16);
        let mut log = LiveLog::new("1.0#1".parse().unwrap(), sender);
        log.printed(Stream::Stdout, b"x").await;
        for _ in 0..3 {
            log.printed(Stream::Stdout, &[b'y'; 40 << 10]).await;
        }
        log.due().await;
        log.flush().await;
        log.due_or_printed_after_pause().await;
        assert_eq!(received(&mut inputs), [(0, 1), (1, PIECE_MAX_BYTES), (1 + (120 << 10), 1)]);
    }

    impl LiveLog {
        async fn due_or_printed_after_pause(&mut self) {
            tokio::time::advance(PAUSE).await;
            self.printed(Stream::Stdout, b"z").await;
        }
    }
}

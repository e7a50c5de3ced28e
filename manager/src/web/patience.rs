//! How long a client may take to send what it began to send, and to take what it asked for.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A request's body must be there within this time, and more for what has come of it; but no more than
/// this at once, or whoever has sent a lot could keep a place for hours.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// The least rate that buys more time. Bytes a second: the largest form takes three minutes then.
const BODY_LEAST_RATE: u64 = 16 << 10;

/// A client that takes nothing of its answer for this time has gone. Streams of events write something
/// every 15 s, so those of clients that have gone end as well.
const TAKES_WITHIN: Duration = Duration::from_secs(60);

/// A body that came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the request's body came too slowly")]
pub(super) struct TooSlow;

impl TooSlow {
    /// Whether this is behind an error.
    pub(super) fn is_behind(error: &(dyn Error + 'static)) -> bool {
        error.is::<Self>() || error.source().is_some_and(Self::is_behind)
    }
}

/// A body that ends with [`TooSlow`] where it comes too slowly.
pub(super) struct Paced<B> {
    body: B,
    deadline: Pin<Box<Sleep>>,
}

impl<B> Paced<B> {
    /// Its time begins now.
    pub(super) fn new(body: B) -> Self {
        Self { body, deadline: Box::pin(sleep(BODY_WITHIN)) }
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                let more = Duration::from_millis(bytes * 1000 / BODY_LEAST_RATE);
                let deadline = self.deadline.deadline() + more;
                let deadline = deadline.min(Instant::now() + BODY_WITHIN);
                self.deadline.as_mut().reset(deadline);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.deadline.as_mut().poll(cx).map(|()| Some(Err(TooSlow.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that fails once its client takes nothing for too long.
pub(super) struct Taken<S> {
    stream: S,
    /// Since when it takes nothing, while it does so.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, stalled: None }
    }

    /// Passes on what a write came to, unless it has stood still for too long.
    fn in_time<T>(
        &mut self,
        came_to: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if came_to.is_ready() {
            self.stalled = None;
            return came_to;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(TAKES_WITHIN)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let came_to = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(came_to, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let came_to = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.in_time(came_to, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came_to = Pin::new(&mut self.stream).poll_flush(cx);
        self.in_time(came_to, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came_to = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.in_time(came_to, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::{Body, Bytes};
    use futures_util::{StreamExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, sleep_until};

    use super::{Paced, Taken, TooSlow};

    /// Time of a clock that stands still otherwise.
    async fn pass(seconds: u64) {
        sleep_until(Instant::now() + Duration::from_secs(seconds)).await;
    }

    /// Reads a body of which so many bytes come every second, of so many in all; yields whether it came
    /// in time, and after how many seconds that was known.
    async fn read(bytes_per_s: usize, bytes: usize) -> (bool, u64) {
        let pieces = stream::unfold(bytes, move |left| async move {
            pass(1).await;
            let piece = left.min(bytes_per_s);
            let bytes = Bytes::from(vec![b'x'; piece]);
            (left > 0).then_some((Ok::<_, std::convert::Infallible>(bytes), left - piece))
        });
        let body = Body::new(Paced::new(Body::from_stream(pieces)));
        let began = Instant::now();
        let read = axum::body::to_bytes(body, 10 << 20).await;
        let seconds = began.elapsed().as_secs();
        match read {
            Ok(read) => (read.len() == bytes, seconds),
            Err(error) => (!TooSlow::is_behind(&error), seconds),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_comes_in_time_or_ends() {
        assert_eq!(read(1, 20).await, (true, 21));
        assert_eq!(read(1, 1000).await, (false, 30));
        assert_eq!(read(1, 0).await, (true, 1));
        assert_eq!(read(20 << 10, 2000 << 10).await, (true, 101), "slow, but good enough");
        assert_eq!(read(4 << 10, 2000 << 10).await, (false, 39), "a quarter of the rate");
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_fast_buys_no_long_silence() {
        let pieces = stream::unfold(0, |piece| async move {
            // A hundred MiB at once, then a byte a second: an hour's worth at the least rate.
            let bytes = if piece == 0 { 100 << 20 } else { 1 };
            pass(u64::from(piece > 0)).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(vec![b'x'; bytes])), piece + 1))
        });
        let mut body = Body::new(Paced::new(Body::from_stream(pieces))).into_data_stream();
        let began = Instant::now();
        let ended = loop {
            if let Err(error) = body.next().await.unwrap() {
                break error;
            }
        };
        assert!(TooSlow::is_behind(&ended));
        assert!((30..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_nothing_for_a_minute_has_gone() {
        let (mut client, server) = tokio::io::duplex(16);
        let mut server = Taken::new(server);
        let writing = tokio::spawn(async move { server.write_all(&[7; 40]).await });
        pass(50).await;
        client.read_exact(&mut [0; 16]).await.unwrap();
        pass(50).await;
        assert!(!writing.is_finished(), "it has taken something since");
        pass(11).await;
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}

//! One connection through the proxy: two pumps, and what befalls them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use super::{Strike, Way, Weather};

/// Less than a large frame, so that a cut between two pieces is often within one.
const PIECE_BYTES: usize = 4096;

/// A connection that stands.
pub(super) struct Line {
    pub(super) near: TcpStream,
    pub(super) far: TcpStream,
    pub(super) weather: watch::Receiver<Weather>,
    pub(super) struck: watch::Receiver<Option<Strike>>,
}

/// Carries one way; whatever it waits for can be broken off without losing a byte.
struct Pump<'a> {
    way: Way,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    weather: watch::Receiver<Weather>,
    struck: watch::Receiver<Option<Strike>>,
    /// Read and not yet written.
    pending: Vec<u8>,
    /// What happens after so many more bytes.
    fuse: Option<(usize, Then)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Cut,
    Repeat,
}

/// How a pump came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its sender has closed, or its receiver has gone: this way alone is over.
    Over,
    /// Both ends are to be told that all is over.
    Cut,
    /// The connection is over, but whoever sends this way is not to be told.
    HalfOpen(Way),
}

impl Line {
    pub(super) async fn run(self) {
        let Self { mut near, mut far, weather, struck } = self;
        match carry_both(&mut near, &mut far, &weather, &struck).await {
            End::Over => {}
            End::Cut => {
                reset(&near);
                reset(&far);
            }
            End::HalfOpen(untold) => {
                let (told, mut untold) = match untold {
                    Way::Up => (far, near),
                    Way::Down => (near, far),
                };
                reset(&told);
                drop(told);
                let mut piece = [0; PIECE_BYTES];
                while matches!(untold.read(&mut piece).await, Ok(read) if read > 0) {}
            }
        }
    }
}

async fn carry_both(
    near: &mut TcpStream,
    far: &mut TcpStream,
    weather: &watch::Receiver<Weather>,
    struck: &watch::Receiver<Option<Strike>>,
) -> End {
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    let pump = |way, from, to| Pump {
        way,
        from,
        to,
        weather: weather.clone(),
        struck: struck.clone(),
        pending: Vec::new(),
        fuse: None,
    };
    let up = pump(Way::Up, near_read, far_write).run();
    let down = pump(Way::Down, far_read, near_write).run();
    tokio::pin!(up, down);
    // A cut is for both ways, whichever of them it was that met it.
    tokio::select! {
        end = &mut up => if end == End::Over { down.await } else { end },
        end = &mut down => if end == End::Over { up.await } else { end },
    }
}

impl Pump<'_> {
    async fn run(mut self) -> End {
        let end = self.carry().await;
        if end == End::Over {
            let _ = self.to.shutdown().await;
        }
        end
    }

    async fn carry(&mut self) -> End {
        let mut struck = self.struck.clone();
        loop {
            let strike = tokio::select! {
                biased;
                changed = struck.changed() => match changed {
                    Ok(()) => *struck.borrow_and_update(),
                    Err(_) => return End::Cut,
                },
                end = self.carry_undisturbed() => return end,
            };
            match strike {
                None => {}
                Some(Strike::Cut) => return End::Cut,
                Some(Strike::Shut(way)) if way == self.way => return End::Over,
                Some(Strike::DeafWorker) => return End::HalfOpen(Way::Up),
                Some(Strike::DeafManager) => return End::HalfOpen(Way::Down),
                Some(Strike::Truncate { way, bytes }) if way == self.way => {
                    self.fuse = Some((bytes.into(), Then::Cut));
                }
                Some(Strike::Repeat { way, bytes }) if way == self.way => {
                    self.fuse = Some((bytes.into(), Then::Repeat));
                }
                Some(Strike::Shut(_) | Strike::Truncate { .. } | Strike::Repeat { .. }) => {}
            }
        }
    }

    async fn carry_undisturbed(&mut self) -> End {
        let mut piece = [0; PIECE_BYTES];
        loop {
            if self.pending.is_empty() {
                match self.from.read(&mut piece).await {
                    Ok(0) | Err(_) => return End::Over,
                    Ok(read) => self.pending.extend_from_slice(&piece[..read]),
                }
            }
            self.wait_for_fair_weather().await;
            let (next, then) = match self.fuse {
                Some((bytes, then)) if bytes < self.pending.len() => (bytes, Some(then)),
                Some(_) | None => (self.pending.len(), None),
            };
            if next > 0 {
                match self.to.write(&self.pending[..next]).await {
                    Ok(0) | Err(_) => return End::Over,
                    Ok(written) => self.have_written(written),
                }
                continue;
            }
            match then {
                Some(Then::Cut) => return End::Cut,
                Some(Then::Repeat) => {
                    self.fuse = None;
                    self.pending.extend_from_within(..);
                }
                None => {}
            }
        }
    }

    fn have_written(&mut self, bytes: usize) {
        self.pending.drain(..bytes);
        if let Some((left, _)) = &mut self.fuse {
            *left -= bytes.min(*left);
        }
    }

    async fn wait_for_fair_weather(&mut self) {
        loop {
            let weather = *self.weather.borrow_and_update();
            let stalls = match weather {
                Weather::Fair | Weather::Refusing => return,
                Weather::Stalled(way) => way == self.way,
                Weather::StalledBoth => true,
                Weather::Slow { delay_ms } => {
                    sleep(Duration::from_millis(delay_ms.into())).await;
                    return;
                }
            };
            if !stalls || self.weather.changed().await.is_err() {
                return;
            }
        }
    }
}

/// From now on its end is a reset, as of a machine that has gone.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

//! A bad network on loopback: carries bytes between two ends, and stalls, delays, cuts, truncates or
//! repeats them when it is told to. It understands nothing of what it carries.

mod line;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::error::ChaosError;
use line::Line;

/// A manager on the same machine answers at once or not at all.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From whoever has dialled, towards the manager.
    Up,
    Down,
}

/// What a connection is like while it lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weather {
    #[default]
    Fair,
    /// Nothing passes this way; it waits, and none of it is lost.
    Stalled(Way),
    /// Nothing passes at all.
    StalledBoth,
    /// Every piece takes this much longer, both ways.
    Slow { delay_ms: u16 },
    /// New connections are hung up at once; those that stand go on.
    Refusing,
}

/// What happens once, to all connections that stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Both ends are told that the connection is over.
    Cut,
    /// The way closes in order, as if its sender had nothing more to say; the other goes on.
    Shut(Way),
    /// The manager's end is cut; whoever has dialled is not told, and hears nothing ever again.
    DeafWorker,
    /// The dialling end is cut; the manager is not told, and hears nothing ever again.
    DeafManager,
    /// So many more bytes pass this way, then both ends are cut: in the middle of a frame, as a rule.
    Truncate { way: Way, bytes: u16 },
    /// After so many more bytes, what passes next this way passes twice.
    Repeat { way: Way, bytes: u16 },
}

/// A listening end; dropped, it hangs up on everybody.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: Arc<Orders>,
    accepting: AbortHandle,
}

type Strikes = watch::Sender<Option<Strike>>;

/// What connections are told from outside.
#[derive(Debug)]
struct Orders {
    upstream: watch::Sender<SocketAddr>,
    weather: watch::Sender<Weather>,
    lines: Mutex<BTreeMap<u64, (Strikes, AbortHandle)>>,
}

impl Proxy {
    /// Listens on a free port of loopback and carries what comes to `upstream`.
    ///
    /// # Errors
    ///
    /// `Proxy`.
    pub fn start(runtime: &Handle, upstream: SocketAddr) -> Result<Self, ChaosError> {
        let failed = |source| ChaosError::Proxy { source };
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let orders = Arc::new(Orders {
            upstream: watch::Sender::new(upstream),
            weather: watch::Sender::new(Weather::Fair),
            lines: Mutex::default(),
        });
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener).map_err(failed)?
        };
        let accepting = runtime.spawn(accept(listener, Arc::clone(&orders), runtime.clone()));
        Ok(Self { address, orders, accepting: accepting.abort_handle() })
    }

    /// Where to dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where new connections lead from now on.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.orders.upstream.send_replace(upstream);
    }

    /// Changes what all connections are like, standing and new.
    pub fn set(&self, weather: Weather) {
        self.orders.weather.send_replace(weather);
    }

    /// Strikes all connections that stand; yields how many.
    pub fn strike(&self, strike: Strike) -> usize {
        let lines = self.orders.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (line, _) in lines.values() {
            line.send_replace(Some(strike));
        }
        lines.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        let lines = self.orders.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, line) in lines.values() {
            line.abort();
        }
    }
}

async fn accept(listener: TcpListener, orders: Arc<Orders>, runtime: Handle) {
    for number in 0_u64.. {
        let Ok((near, _)) = listener.accept().await else { continue };
        if *orders.weather.borrow() == Weather::Refusing {
            continue;
        }
        let (strikes, struck) = watch::channel(None);
        let weather = orders.weather.subscribe();
        let upstream = *orders.upstream.borrow();
        let told = Arc::clone(&orders);
        // Listed before it can end and take itself off the list.
        let mut lines = orders.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let task = runtime.spawn(async move {
            // A manager that is not there looks from here as it would without us: hung up.
            if let Ok(Ok(far)) = timeout(DIAL_LIMIT, TcpStream::connect(upstream)).await {
                let _ = near.set_nodelay(true);
                let _ = far.set_nodelay(true);
                Line { near, far, weather, struck }.run().await;
            }
            told.lines.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        });
        lines.insert(number, (strikes, task.abort_handle()));
    }
}

#[cfg(test)]
mod tests;

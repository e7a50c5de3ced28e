//! One D-Bus: connected to as long as it is there, asked again and again, and at once when it signals.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, OwnedVariant};

use super::report::Report;
use super::sources::Asks;

/// A call is answered within this time, or what was asked is not known.
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// Between one attempt to reach a bus that is not there and the next.
const AGAIN: Duration = Duration::from_secs(60);
/// How often it is asked though it signals nothing.
const PERIOD: Duration = Duration::from_secs(10);
/// The same while a rule asks whether somebody is here: session monitors do not say when somebody comes.
const PRESENCE_PERIOD: Duration = Duration::from_secs(1);
/// Signals that wait; what comes beyond is of no use, since each only leads to a look at everything.
const SIGNALS: NonZeroUsize = NonZeroUsize::new(16).expect("it is not zero");

/// Signals that are to be heard: who sends them, and by which interface.
pub(super) type Signals = &'static [(&'static str, &'static str)];

/// Asks one bus for what it knows.
pub(super) trait Ask {
    /// What is signalled when something has changed.
    const SIGNALS: Signals;
    /// Asks those who are there. Nobody is started by being asked.
    fn ask(&mut self, bus: &Bus, asks: &Asks) -> impl Future<Output = Vec<Report>>;

    /// What is reported when there is no bus.
    fn absent(&self, why: &str) -> Vec<Report>;
}

/// A connection to a bus, and who is there.
pub(super) struct Bus {
    connection: Connection,
    names: BTreeSet<String>,
}

/// Where a bus is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// As the system says.
    System,
    /// As the session says in which this program was started.
    Session,
    At(String),
}

impl Bus {
    async fn connect(address: &Address) -> zbus::Result<Self> {
        let builder = match address {
            Address::System => Builder::system(),
            Address::Session => Builder::session(),
            Address::At(address) => Builder::address(address.as_str()),
        };
        let connection = builder.method_timeout(CALL_LIMIT).build().await?;
        Ok(Self { connection, names: BTreeSet::new() })
    }

    /// Whether somebody of this name is on the bus.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Calls a method and takes its answer apart.
    ///
    /// # Errors
    ///
    /// In words, when there is no answer, or another one than expected.
    pub(super) async fn call<B, R>(
        &self,
        (name, path): (&str, &str),
        (interface, method): (&str, &str),
        body: &B,
    ) -> Result<R, String>
    where
        B: serde::Serialize + zbus::DynamicType,
        R: serde::de::DeserializeOwned + zbus::Type,
    {
        let connection = &self.connection;
        let called = connection.call_method(Some(name), path, Some(interface), method, body);
        let words = |error: zbus::Error| format!("{method}: {error}");
        called.await.map_err(words)?.body().deserialize().map_err(words)
    }

    /// All properties of one interface.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub(super) async fn properties(
        &self,
        of: (&str, &str),
        interface: &str,
    ) -> Result<Properties, String> {
        let all = ("org.freedesktop.DBus.Properties", "GetAll");
        Ok(Properties(self.call(of, all, &(interface)).await?))
    }

    async fn look_around(&mut self) -> Result<(), String> {
        let bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        let names: Vec<String> = self.call(bus, ("org.freedesktop.DBus", "ListNames"), &()).await?;
        self.names = names.into_iter().collect();
        Ok(())
    }

    /// Wakes this program up on a signal.
    async fn hear(&self, (sender, interface): (&str, &str)) -> zbus::Result<MessageStream> {
        let rule = MatchRule::builder().msg_type(Type::Signal).sender(sender);
        let rule = rule.interface(interface).build()?;
        MessageStream::for_match_rule(rule, &self.connection, Some(SIGNALS)).await
    }
}

/// Properties by their names.
pub(super) struct Properties(BTreeMap<String, OwnedVariant>);

impl Properties {
    /// One of them, if it is there and of this type.
    pub(super) fn take<T: TryFrom<OwnedVariant>>(&mut self, name: &str) -> Option<T> {
        T::try_from(self.0.remove(name)?).ok()
    }
}

/// Asks a bus until `shutdown`, and tells what has come of it.
pub(super) async fn watch(
    address: Address,
    mut asker: impl Ask,
    mut asks: watch::Receiver<Asks>,
    told: watch::Sender<Vec<Report>>,
    shutdown: CancellationToken,
) {
    let tell = |reports: Vec<Report>| {
        told.send_if_modified(|last| {
            let is_other = *last != reports;
            *last = reports;
            is_other
        });
    };
    let watched = async {
        loop {
            match timeout(CALL_LIMIT, Bus::connect(&address)).await {
                Ok(Ok(bus)) => {
                    let why = listen(bus, &mut asker, &mut asks, &tell).await;
                    debug!("lost the bus {address:?}: {why}");
                    tell(asker.absent(&why));
                }
                Ok(Err(error)) => tell(asker.absent(&format!("no bus: {error}"))),
                Err(_) => tell(asker.absent("the bus does not answer")),
            }
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = watched => {}
    }
}

/// Asks until the bus is gone; tells why it is.
async fn listen<A: Ask>(
    mut bus: Bus,
    asker: &mut A,
    asks: &mut watch::Receiver<Asks>,
    tell: &impl Fn(Vec<Report>),
) -> String {
    let mut signals = Vec::new();
    for &signal in A::SIGNALS {
        match bus.hear(signal).await {
            Ok(stream) => signals.push(stream),
            Err(error) => return format!("no signals: {error}"),
        }
    }
    let mut signals = futures_util::stream::select_all(signals);
    loop {
        if let Err(why) = bus.look_around().await {
            return why;
        }
        let now_asked = *asks.borrow_and_update();
        tell(asker.ask(&bus, &now_asked).await);
        let period = if now_asked.presence { PRESENCE_PERIOD } else { PERIOD };
        tokio::select! {
            biased;
            changed = asks.changed() => if changed.is_err() {
                return "nobody asks any more".to_owned();
            },
            signal = signals.next() => if signal.is_none() {
                return "the bus is closed".to_owned();
            },
            () = sleep(period) => {}
        }
    }
}

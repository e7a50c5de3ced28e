//! The system's bus: logind's sessions and sleep, UPower's battery, NetworkManager's network.

use std::collections::BTreeMap;

use campusgrid_sharing::senses::{Feed, Presence};
use nix::time::{ClockId, clock_gettime};
use zbus::OwnedObjectPath;

use super::bus::{Ask, Bus, Properties, Signals};
use super::report::{Report, Said, Source};
use super::sources::Asks;
use crate::clock::boot_ms;

const LOGIND: &str = "org.freedesktop.login1";
const UPOWER: &str = "org.freedesktop.UPower";
const NETWORK: &str = "org.freedesktop.NetworkManager";

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Sessions that are looked at; more people than this are not at one machine.
const SESSIONS_MAX: usize = 64;

/// A session as logind lists it: id, user's number and name, seat, and where it is asked.
type Session = (String, u32, String, String, OwnedObjectPath);

/// Asks the system's bus.
#[derive(Debug, Default)]
pub(super) struct System {
    /// When each session was first seen locked.
    locked: BTreeMap<String, u64>,
}

impl Ask for System {
    const SIGNALS: Signals = &[
        (LOGIND, PROPERTIES),
        (LOGIND, "org.freedesktop.login1.Manager"),
        (LOGIND, "org.freedesktop.login1.Session"),
        (UPOWER, PROPERTIES),
        (NETWORK, PROPERTIES),
    ];

    async fn ask(&mut self, bus: &Bus, _asks: &Asks) -> Vec<Report> {
        let mut reports = Vec::new();
        let absent = || Err("not on the system's bus".to_owned());
        if bus.has(LOGIND) {
            let manager = self.logind(bus).await;
            let (presence, sleep) = match manager {
                Ok((presence, sleep)) => (Ok(Said::Presence(presence)), Ok(Said::Asleep(sleep))),
                Err(why) => (Err(why.clone()), Err(why)),
            };
            reports.push(Report::new(Source::Logind, presence));
            reports.push(Report::new(Source::LogindSleep, sleep));
        } else {
            reports.push(Report::new(Source::Logind, absent()));
        }
        let feed = if bus.has(UPOWER) { upower(bus).await } else { absent() };
        reports.push(Report::new(Source::UPower, feed));
        let metered = if bus.has(NETWORK) { network(bus).await } else { absent() };
        reports.push(Report::new(Source::NetworkManager, metered));
        reports
    }

    fn absent(&self, why: &str) -> Vec<Report> {
        [Source::Logind, Source::UPower, Source::NetworkManager]
            .map(|source| Report::new(source, Err(why.to_owned())))
            .into()
    }
}

impl System {
    /// Whether somebody is at a session, and whether the machine is about to sleep.
    async fn logind(&mut self, bus: &Bus) -> Result<(Presence, bool), String> {
        let manager = (LOGIND, "/org/freedesktop/login1");
        let interface = "org.freedesktop.login1.Manager";
        let mut properties = bus.properties(manager, interface).await?;
        let asleep = properties.take::<bool>("PreparingForSleep").unwrap_or(false);
        let sessions: Vec<Session> = bus.call(manager, (interface, "ListSessions"), &()).await?;
        let mut locked = BTreeMap::new();
        let mut presence = None;
        for (id, .., path) in sessions.into_iter().take(SESSIONS_MAX) {
            let session = "org.freedesktop.login1.Session";
            // A session may end while it is asked for.
            let Ok(mut session) = bus.properties((LOGIND, path.as_str()), session).await else {
                continue;
            };
            // Screens where people log in, and services, are not people.
            if session.take::<String>("Class").is_some_and(|class| !class.starts_with("user")) {
                continue;
            }
            let mut found = idle(&mut session);
            if session.take::<bool>("LockedHint") == Some(true) {
                let since = self.locked.get(&id).copied().unwrap_or_else(boot_ms);
                locked.insert(id, since);
                if found == Presence::Here {
                    found = Presence::AwaySince { boot_ms: since };
                }
            }
            presence = Some(presence.map_or(found, |before| nearer(before, found)));
        }
        self.locked = locked;
        // Without people logind counts from when the last one left.
        Ok((presence.unwrap_or_else(|| nobody(&mut properties)), asleep))
    }
}

/// Of two people the one who was here last.
fn nearer(one: Presence, other: Presence) -> Presence {
    match (one, other) {
        (Presence::AwaySince { boot_ms: one }, Presence::AwaySince { boot_ms: other }) => {
            Presence::AwaySince { boot_ms: one.max(other) }
        }
        (
            Presence::AwaySince { .. } | Presence::Here | Presence::Unknown,
            Presence::AwaySince { .. } | Presence::Here | Presence::Unknown,
        ) => Presence::Here,
    }
}

fn idle(properties: &mut Properties) -> Presence {
    if properties.take::<bool>("IdleHint") != Some(true) {
        return Presence::Here;
    }
    nobody(properties)
}

fn nobody(properties: &mut Properties) -> Presence {
    let since = properties.take::<u64>("IdleSinceHintMonotonic").unwrap_or(0);
    Presence::AwaySince { boot_ms: of_monotonic(since) }
}

/// A time of the clock that stands still while the machine sleeps, in microseconds, by the one that
/// does not; before the last sleep that is too late by what was slept since.
fn of_monotonic(monotonic_us: u64) -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return boot_ms() };
    let now_ms = now.tv_sec().unsigned_abs() * 1000 + now.tv_nsec().unsigned_abs() / 1_000_000;
    boot_ms().saturating_sub(now_ms.saturating_sub(monotonic_us / 1000))
}

async fn upower(bus: &Bus) -> Result<Said, String> {
    let mut properties = bus.properties((UPOWER, "/org/freedesktop/UPower"), UPOWER).await?;
    match properties.take::<bool>("OnBattery") {
        None => Err("does not say whether it is on battery".to_owned()),
        Some(false) => Ok(Said::Feed(Feed::Mains)),
        Some(true) => {
            let display = (UPOWER, "/org/freedesktop/UPower/devices/DisplayDevice");
            let device = bus.properties(display, "org.freedesktop.UPower.Device").await;
            let charge = device.ok().and_then(|mut device| device.take::<f64>("Percentage"));
            let charge_percent = charge.map(|percent| percent.clamp(0.0, 100.0) as u8);
            Ok(Said::Feed(Feed::Battery { charge_percent }))
        }
    }
}

async fn network(bus: &Bus) -> Result<Said, String> {
    let mut properties =
        bus.properties((NETWORK, "/org/freedesktop/NetworkManager"), NETWORK).await?;
    // NMMetered: 0 unknown, 1 yes, 2 no, 3 probably, 4 probably not.
    match properties.take::<u32>("Metered") {
        Some(metered) => Ok(Said::Metered(matches!(metered, 1 | 3))),
        None => Err("does not say whether the network is metered".to_owned()),
    }
}

//! The bus of the session in which the worker was started: how long nobody has used the desktop.

use campusgrid_sharing::senses::Presence;

use super::bus::{Ask, Bus, Signals};
use super::report::{Report, Said, Source};
use super::sources::Asks;
use super::steady::Steady;
use crate::clock::boot_ms;

const MUTTER: &str = "org.gnome.Mutter.IdleMonitor";
const SAVER: &str = "org.freedesktop.ScreenSaver";

/// Idle for longer, and the next use is to be told at once.
const WATCH_MS: u64 = 1000;

/// Asks the session's bus.
#[derive(Debug, Default)]
pub(super) struct Desktop {
    mutter: Steady,
    saver: Steady,
    unit: Unit,
    /// By the time since when nobody was here when it was set: Mutter's watch fires once.
    watched: Option<u64>,
}

impl Ask for Desktop {
    const SIGNALS: Signals = &[(MUTTER, MUTTER), (SAVER, SAVER)];

    async fn ask(&mut self, bus: &Bus, asks: &Asks) -> Vec<Report> {
        let absent = || Err("not on the session's bus".to_owned());
        let mutter = if bus.has(MUTTER) { self.mutter(bus, asks).await } else { absent() };
        let saver = if bus.has(SAVER) { self.saver(bus).await } else { absent() };
        [(Source::Mutter, mutter), (Source::ScreenSaver, saver)]
            .map(|(source, said)| Report::new(source, said))
            .into()
    }

    fn absent(&self, why: &str) -> Vec<Report> {
        [Source::Mutter, Source::ScreenSaver]
            .map(|source| Report::new(source, Err(why.to_owned())))
            .into()
    }
}

impl Desktop {
    async fn mutter(&mut self, bus: &Bus, asks: &Asks) -> Result<Said, String> {
        let monitor = (MUTTER, "/org/gnome/Mutter/IdleMonitor/Core");
        let idle_ms: u64 = bus.call(monitor, (MUTTER, "GetIdletime"), &()).await?;
        let since = self.mutter.take(boot_ms().saturating_sub(idle_ms));
        if asks.presence && idle_ms > WATCH_MS && self.watched != Some(since) {
            // Best effort: without it the next look finds out a second later.
            let _watch: Result<u32, String> =
                bus.call(monitor, (MUTTER, "AddUserActiveWatch"), &()).await;
            self.watched = Some(since);
        }
        Ok(Said::Presence(Presence::AwaySince { boot_ms: since }))
    }

    async fn saver(&mut self, bus: &Bus) -> Result<Said, String> {
        let saver = (SAVER, "/org/freedesktop/ScreenSaver");
        let idle: u32 = bus.call(saver, (SAVER, "GetSessionIdleTime"), &()).await?;
        let now_ms = boot_ms();
        let idle_ms = self.unit.take(now_ms, idle.into());
        let since = self.saver.take(now_ms.saturating_sub(idle_ms));
        Ok(Said::Presence(Presence::AwaySince { boot_ms: since }))
    }
}

/// Whether a screen saver counts in seconds, as was agreed, or in milliseconds, as some do.
#[derive(Debug, Default)]
struct Unit {
    last: Option<(u64, u64)>,
    is_seconds: bool,
}

impl Unit {
    /// The reading in milliseconds. Until it is clear what it counts in, it is taken to be short.
    fn take(&mut self, now_ms: u64, idle: u64) -> u64 {
        if let Some((before_ms, before)) = self.last
            && idle > before
            && now_ms > before_ms
        {
            // Within a second seconds grow by one or two, milliseconds by about a thousand.
            self.is_seconds = (idle - before) * 100 < now_ms - before_ms;
        }
        if self.last.is_none_or(|(_, before)| idle != before) {
            self.last = Some((now_ms, idle));
        }
        if self.is_seconds { idle.saturating_mul(1000) } else { idle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_screen_saver_shows_as_it_counts() {
        let mut seconds = Unit::default();
        assert_eq!(seconds.take(10_000, 7), 7);
        assert_eq!(seconds.take(11_000, 8), 8000);
        assert_eq!(seconds.take(11_500, 8), 8000);
        assert_eq!(seconds.take(12_000, 9), 9000);
        assert_eq!(seconds.take(13_000, 0), 0);
        let mut millis = Unit::default();
        assert_eq!(millis.take(10_000, 7000), 7000);
        assert_eq!(millis.take(11_000, 8003), 8003);
    }
}

//! The sources that tell by themselves when something has changed: the buses and input devices.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::keeper::moment;
use super::local::{Local, Wants};
use super::report::{Report, Source};
use super::session::Desktop;
use super::system::System;
use super::{Places, bus, input, terminals};

/// For the buses to answer for the first time.
const FIRST_LIMIT: Duration = Duration::from_secs(3);

/// What is worth looking at: some senses cost power, or wake this program up often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asks {
    pub(super) presence: bool,
}

/// The sources that tell by themselves.
pub(super) struct Sources {
    system: watch::Receiver<Vec<Report>>,
    desktop: watch::Receiver<Vec<Report>>,
    input: watch::Receiver<Report>,
    /// When somebody has typed last at a terminal that may be watched, by the boot clock.
    typed: watch::Receiver<u64>,
    _ended: DropGuard,
}

impl Sources {
    /// Waits for what the buses say first, but not for long.
    pub(super) async fn open(places: &Places, asked: watch::Receiver<Asks>) -> Self {
        let ended = CancellationToken::new();
        let (system, mut system_said) = watch::channel(Vec::new());
        let (desktop, mut desktop_said) = watch::channel(Vec::new());
        let not_asked = Report::new(Source::Input, Err("no rule asks".to_owned()));
        let (input, input_said) = watch::channel(not_asked);
        let (at, again) = (places.system_bus.clone(), asked.clone());
        tokio::spawn(bus::watch(at, System::default(), again, system, ended.clone()));
        let (at, again) = (places.session_bus.clone(), asked.clone());
        tokio::spawn(bus::watch(at, Desktop::default(), again, desktop, ended.clone()));
        let (dev, again) = (places.dev.clone(), asked.clone());
        tokio::spawn(input::watch_devices(dev, again, input, ended.clone()));
        let (typed, typed_said) = watch::channel(0);
        tokio::spawn(terminals::watch_terminals(places.dev.clone(), asked, typed, ended.clone()));
        let first = async {
            let is_told = |reports: &Vec<Report>| !reports.is_empty();
            let _ = system_said.wait_for(is_told).await;
            let _ = desktop_said.wait_for(is_told).await;
        };
        // A bus that hangs is one that says nothing, for now.
        let _ = timeout(FIRST_LIMIT, first).await;
        Self {
            system: system_said,
            desktop: desktop_said,
            input: input_said,
            typed: typed_said,
            _ended: ended.drop_guard(),
        }
    }

    /// Waits until one of them says something else.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            biased;
            Ok(()) = self.system.changed() => {}
            Ok(()) = self.desktop.changed() => {}
            Ok(()) = self.input.changed() => {}
            Ok(()) = self.typed.changed() => {}
            else => std::future::pending().await,
        }
    }

    /// What they say by now.
    pub(super) fn reports(&mut self) -> Vec<Report> {
        let mut reports = self.system.borrow_and_update().clone();
        reports.extend(self.desktop.borrow_and_update().iter().cloned());
        reports.push(self.input.borrow_and_update().clone());
        reports
    }

    /// When somebody has typed last at a terminal, if that was seen; 0 otherwise. By the boot clock.
    pub(super) fn typed(&mut self) -> u64 {
        *self.typed.borrow_and_update()
    }
}

/// What all sources of this machine say, whatever rules ask; takes seconds.
pub(crate) async fn look_once(places: &Places) -> Vec<Report> {
    let (_asks, asked) = watch::channel(Asks { presence: true });
    let mut sources = Sources::open(places, asked).await;
    let now = moment();
    let mut reports = sources.reports();
    reports.extend(Local::new(places.clone()).look(now, &Wants::all()).reports);
    reports
}

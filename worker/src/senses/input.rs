//! Somebody's hands: input devices that are read as they are used, and terminals.
//!
//! Of what is typed nothing is seen, only that a device was read.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_sharing::senses::{Now, Presence};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::report::{Report, Said, Source};
use super::sources::Asks;
use crate::clock::boot_ms;

/// A hand that moves is seen at once and then not looked at for so long, or every movement of a mouse
/// would wake this program up.
const REST: Duration = Duration::from_secs(1);

/// More terminals than this are not looked at.
const TERMINALS_MAX: usize = 4096;

/// Watches the devices beneath `dev` while a rule asks for it, until `shutdown`.
pub(super) async fn watch_devices(
    dev: PathBuf,
    mut asks: watch::Receiver<Asks>,
    told: watch::Sender<Report>,
    shutdown: CancellationToken,
) {
    let watched = async {
        loop {
            while !asks.borrow_and_update().presence {
                if asks.changed().await.is_err() {
                    return;
                }
            }
            match Devices::open(&dev) {
                Ok(devices) => devices.look(&mut asks, &told).await,
                Err(said) => {
                    told.send_replace(Report::new(Source::Input, said));
                    if asks.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = watched => {}
    }
}

/// Devices under watch.
struct Devices {
    events: AsyncFd<Watch>,
    /// Whether devices themselves may be watched, and not only the folder that they lie in, of which
    /// newer kernels tell nothing.
    is_sure: bool,
}

struct Watch(Inotify);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Devices {
    /// Watches; or says what is to be said without.
    fn open(dev: &Path) -> Result<Self, Result<Said, String>> {
        let folder = dev.join("input");
        let devices = event_devices(&folder);
        if devices.is_empty() {
            return Err(Ok(Said::NoDevices));
        }
        let failed = |error: Errno| Err(format!("cannot be watched: {error}"));
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let watch = Inotify::init(flags).map_err(failed)?;
        let mut is_sure = false;
        for device in &devices {
            is_sure |= watch.add_watch(device, AddWatchFlags::IN_ACCESS).is_ok();
        }
        watch.add_watch(&folder, AddWatchFlags::IN_ACCESS).map_err(failed)?;
        #[expect(deprecated, reason = "a watch owns its descriptor; the new way is unsafe to call")]
        let events = AsyncFd::new(Watch(watch));
        let events = events.map_err(|error| Err(format!("cannot be watched: {error}")))?;
        Ok(Self { events, is_sure })
    }

    /// Tells each use until no rule asks any more.
    async fn look(mut self, asks: &mut watch::Receiver<Asks>, told: &watch::Sender<Report>) {
        let away = |boot_ms| Ok(Said::Presence(Presence::AwaySince { boot_ms }));
        told.send_replace(Report::new(
            Source::Input,
            if self.is_sure {
                Ok(Said::Quiet(boot_ms()))
            } else {
                Err("may not be watched by this user (group input), and the folder has told nothing yet"
                    .to_owned())
            },
        ));
        loop {
            tokio::select! {
                biased;
                changed = asks.changed() => {
                    if changed.is_err() || !asks.borrow_and_update().presence {
                        return;
                    }
                }
                used = self.used() => {
                    if used.is_err() {
                        told.send_replace(Report::new(Source::Input, Err("the watch broke off".to_owned())));
                        return;
                    }
                    told.send_replace(Report::new(Source::Input, away(boot_ms())));
                    sleep(REST).await;
                }
            }
        }
    }

    /// Waits until a device is used.
    async fn used(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.events.readable_mut().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) if !events.is_empty() => return Ok(()),
                Ok(_) | Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn event_devices(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_event = |name: &str| name.starts_with("event") || name == "mice";
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_event))
        .map(|entry| entry.path())
        .collect()
}

/// When somebody has last typed at a terminal, by the times that the kernel notes, to eight seconds.
pub(super) fn terminals(dev: &Path, now: Now) -> Report {
    let used = |folder: &Path, is_terminal: fn(&str) -> bool| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(TERMINALS_MAX);
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_terminal))
            .filter_map(|entry| u64::try_from(entry.metadata().ok()?.atime()).ok())
            .max()
    };
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let consoles = used(dev, |name| {
        name.strip_prefix("tty").is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    });
    let said = match consoles.max(used(&dev.join("pts"), is_number)) {
        None => Err("none".to_owned()),
        Some(unix_s) => {
            let ago_ms = now.unix_ms.saturating_sub(unix_s.saturating_mul(1000));
            let boot_ms = now.boot_ms.saturating_sub(ago_ms);
            Ok(Said::Presence(Presence::AwaySince { boot_ms }))
        }
    };
    Report::new(Source::Terminals, said)
}

//! Somebody's hands: input devices that are read as they are used.
//!
//! Of what is typed nothing is seen, only that a device was read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_sharing::senses::Presence;
use nix::sys::inotify::AddWatchFlags;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::inotify::Watch;
use super::report::{Report, Said, Source};
use super::sources::Asks;
use crate::clock::boot_ms;

/// A hand that moves is seen at once and then not looked at for so long, or every movement of a mouse
/// would wake this program up.
const REST: Duration = Duration::from_secs(1);

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
    watch: Watch,
    /// Whether devices themselves may be watched, and not only the folder that they lie in, of which
    /// newer kernels tell nothing.
    is_sure: bool,
}

impl Devices {
    /// Watches; or says what is to be said without.
    fn open(dev: &Path) -> Result<Self, Result<Said, String>> {
        let folder = dev.join("input");
        let devices = event_devices(&folder);
        if devices.is_empty() {
            return Err(Ok(Said::NoDevices));
        }
        let failed = |error: io::Error| Err(format!("cannot be watched: {error}"));
        let watch = Watch::open().map_err(failed)?;
        let mut is_sure = false;
        for device in &devices {
            is_sure |= watch.add(device, AddWatchFlags::IN_ACCESS).is_ok();
        }
        let added = watch.add(&folder, AddWatchFlags::IN_ACCESS);
        added.map_err(|error| failed(error.into()))?;
        Ok(Self { watch, is_sure })
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
                used = self.watch.next() => {
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
}

fn event_devices(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_event = |name: &str| name.starts_with("event") || name == "mice";
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_event))
        .map(|entry| entry.path())
        .collect()
}

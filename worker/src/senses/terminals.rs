//! Terminals: who types at one is here, be it from elsewhere.
//!
//! The kernel notes the time only to eight seconds, so that those that may be watched are: of what is
//! typed nothing is seen, only that a terminal was read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_sharing::senses::{Now, Presence};
use nix::sys::inotify::AddWatchFlags;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::inotify::Watch;
use super::report::{Report, Said, Source};
use super::sources::Asks;
use crate::clock::boot_ms;

/// More terminals than this are not looked at.
const TERMINALS_MAX: usize = 4096;
/// After somebody has typed, and before terminals that are new are watched as well.
const REST: Duration = Duration::from_secs(1);
/// Terminals that may be watched by now are found after this time at the latest.
const RENEWAL: Duration = Duration::from_secs(60);

/// Watches the terminals beneath `dev` while a rule asks for it, until `shutdown`; tells when somebody
/// has typed last, by the boot clock.
pub(super) async fn watch_terminals(
    dev: PathBuf,
    mut asks: watch::Receiver<Asks>,
    told: watch::Sender<u64>,
    shutdown: CancellationToken,
) {
    let watched = async {
        loop {
            if asks.wait_for(|asks| asks.presence).await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                ended = asks.wait_for(|asks| !asks.presence) => if ended.is_err() { return },
                // As long as new ones may come; what broke off is begun anew.
                _ = timeout(RENEWAL, look(&dev, &told)) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = watched => {}
    }
}

/// Tells each use until a terminal is new.
async fn look(dev: &Path, told: &watch::Sender<u64>) {
    let mut watch = match Watch::open() {
        Ok(watch) => watch,
        Err(error) => {
            debug!("terminals cannot be watched: {error}");
            return sleep(RENEWAL).await;
        }
    };
    // First: one that comes while the others are listed is not missed.
    let _none = watch.add(&dev.join("pts"), AddWatchFlags::IN_CREATE);
    for terminal in terminals(dev) {
        // Those of other people may not be read; of these the times are looked at.
        let _not_ours = watch.add(&terminal, AddWatchFlags::IN_ACCESS);
    }
    loop {
        match watch.next().await {
            Ok(events) => {
                let is_new = |flags: AddWatchFlags| flags.contains(AddWatchFlags::IN_CREATE);
                if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_ACCESS)) {
                    told.send_replace(boot_ms());
                }
                // Who types need not wake this program up with each key.
                sleep(REST).await;
                if events.iter().any(|event| is_new(event.mask)) {
                    return;
                }
            }
            Err(error) => {
                debug!("the watch of terminals broke off: {error}");
                return sleep(RENEWAL).await;
            }
        }
    }
}

/// When somebody has last typed at a terminal, by the times that the kernel notes, to eight seconds.
pub(super) fn noted(dev: &Path, now: Now) -> Report {
    let times = terminals(dev)
        .into_iter()
        .filter_map(|terminal| u64::try_from(fs::metadata(terminal).ok()?.atime()).ok());
    let said = match times.max() {
        None => Err("none".to_owned()),
        Some(unix_s) => {
            let ago_ms = now.unix_ms.saturating_sub(unix_s.saturating_mul(1000));
            let boot_ms = now.boot_ms.saturating_sub(ago_ms);
            Ok(Said::Presence(Presence::AwaySince { boot_ms }))
        }
    };
    Report::new(Source::Terminals, said)
}

/// Consoles and what stands for terminals elsewhere.
fn terminals(dev: &Path) -> Vec<PathBuf> {
    let all = |folder: &Path, begin: &str| {
        let is_terminal = |name: &str| {
            name.strip_prefix(begin).is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter(move |entry| entry.file_name().to_str().is_some_and(is_terminal))
            .map(|entry| entry.path())
            .collect::<Vec<_>>()
    };
    let mut found = all(&dev.join("pts"), "");
    found.extend(all(dev, "tty"));
    found.truncate(TERMINALS_MAX);
    found
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use nix::pty::openpty;

    use super::*;

    #[tokio::test]
    async fn who_types_at_a_terminal_is_seen_at_once() {
        let Ok(terminal) = openpty(None, None) else {
            eprintln!("skipped: there are no terminals here");
            return;
        };
        let (mut keyboard, mut shell) = (File::from(terminal.master), File::from(terminal.slave));
        let name = fs::read_link(format!("/proc/self/fd/{}", shell.as_raw_fd())).unwrap();
        let dev = tempfile::tempdir().unwrap();
        fs::create_dir(dev.path().join("pts")).unwrap();
        std::os::unix::fs::symlink(&name, dev.path().join("pts/7")).unwrap();
        let (told, mut heard) = watch::channel(0);
        let (_asks, asked) = watch::channel(Asks { presence: true });
        let ended = CancellationToken::new();
        let watching = watch_terminals(dev.path().to_owned(), asked, told, ended.clone());
        let watching = tokio::spawn(watching);
        let mut line = [0; 8];
        // The watch may begin after the first keys.
        let seen = async {
            while !heard.has_changed().unwrap() {
                keyboard.write_all(b"ls\n").unwrap();
                assert_eq!(shell.read(&mut line).unwrap(), 3);
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), seen).await.unwrap();
        assert!(boot_ms().abs_diff(*heard.borrow_and_update()) < 5000);
        ended.cancel();
        watching.await.unwrap();
    }
}

//! Files under watch: what happens to them is told as it happens.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::io::unix::AsyncFd;

/// Files under watch.
pub(super) struct Watch(AsyncFd<Descriptor>);

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    ///
    /// The system's, when this user has too many of them.
    pub(super) fn open() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        #[expect(deprecated, reason = "a watch owns its descriptor; the new way is unsafe to call")]
        let events = AsyncFd::new(Descriptor(inotify))?;
        Ok(Self(events))
    }

    /// Watches this file as well.
    ///
    /// # Errors
    ///
    /// The system's, above all when this user may not read it.
    pub(super) fn add(&self, file: &Path, what: AddWatchFlags) -> Result<(), Errno> {
        self.0.get_ref().0.add_watch(file, what).map(drop)
    }

    /// Waits until something has happened, and tells all of it.
    ///
    /// # Errors
    ///
    /// The system's; nothing more is then told.
    pub(super) async fn next(&mut self) -> io::Result<Vec<InotifyEvent>> {
        loop {
            let mut ready = self.0.readable_mut().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) if !events.is_empty() => return Ok(events),
                Ok(_) | Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

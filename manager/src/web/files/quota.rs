//! How much users may bring: of one file, at once, and together with what is kept of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use campusgrid_protocol::array::TASKS_MAX;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::input::INPUTS_MAX;
use campusgrid_protocol::rest::files::Limits;
use tokio::sync::{Mutex, MutexGuard};

use super::churn::{Brought, Churn};
use super::turns::Turns;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::tally::{Bounds, Held, Tally};

/// Largest piece of an upload in pieces. Bytes.
pub(in crate::web) const PIECE_MAX_BYTES: u64 = 64 << 20;

/// Uploads that one user may have begun and not ended.
pub(super) const UNFINISHED_MAX: usize = 100;

/// Uploads whose bodies come at once; each holds a connection and some MiB.
const UPLOADS: Bounds = Bounds { of_one: 8, of_all: 128 };

/// Archives that are made at once; each reads from the disk as fast as its client takes it.
const ZIPS: Bounds = Bounds { of_one: 4, of_all: 32 };

/// Archives that are unpacked at once: each keeps a processor busy, and a thread that blocks.
const UNPACKING_MAX: usize = 2;

/// Drafts whose files are read at once; each keeps a thread that blocks.
const READING_MAX: usize = 4;

/// Users who may be in each other's way when what they have brought is counted.
const COUNTED_AT_ONCE: usize = 64;

/// What the operator has set about files.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    /// Of one file that a job brings. Bytes.
    pub file_max_bytes: u64,
    /// Of all that is kept of one user: files that jobs bring and leave. Bytes.
    pub storage_max_bytes: u64,
    /// How long the files and logs of a job are kept after its end.
    pub keep_days: u32,
    /// How long a draft that nobody touches is kept.
    pub draft_days: u32,
}

impl FileLimits {
    /// How long the files and logs of a job are kept after its end.
    pub fn keep_ms(&self) -> u64 {
        u64::from(self.keep_days) * 86_400_000
    }
}

/// Who has how much under way. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::web) struct Traffic {
    uploads: Tally<UserId>,
    pub(super) zips: Tally<UserId>,
    /// Archives that are unpacked.
    pub(super) unpacking: Turns,
    /// Drafts whose files are read, to be launched or priced.
    pub(in crate::web) reading: Turns,
    churn: Churn,
    counting: Arc<[Mutex<()>; COUNTED_AT_ONCE]>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            uploads: Tally::new(UPLOADS),
            zips: Tally::new(ZIPS),
            unpacking: Turns::new(UNPACKING_MAX),
            reading: Turns::new(READING_MAX),
            churn: Churn::default(),
            counting: Arc::new([const { Mutex::const_new(()) }; COUNTED_AT_ONCE]),
        }
    }
}

impl Traffic {
    /// Held while an upload of a user comes.
    ///
    /// # Errors
    ///
    /// `UploadsBusy`.
    pub(in crate::web) fn upload(&self, user: UserId) -> Result<Held<UserId>, WebError> {
        self.uploads.take(user).ok_or(WebError::UploadsBusy)
    }

    /// Held while what a user has is counted and more is added, so that two do not both take the last
    /// of it.
    pub(super) async fn count(&self, user: UserId) -> MutexGuard<'_, ()> {
        self.counting[place_of(user)].lock().await
    }
}

fn place_of(user: UserId) -> usize {
    usize::try_from(user.0 % COUNTED_AT_ONCE as u64).expect("a small number")
}

/// Show limits and storage
#[utoipa::path(get, path = "/api/v1/limits", tag = "files",
    responses((status = 200, body = Limits)))]
pub(in crate::web) async fn limits(
    State(site): State<Site>,
    login: Login,
) -> Result<Json<Limits>, WebError> {
    let FileLimits { file_max_bytes, storage_max_bytes, keep_days, draft_days: _ } =
        site.config.files;
    Ok(Json(Limits {
        file_max_bytes,
        piece_max_bytes: PIECE_MAX_BYTES,
        files_max: u32::try_from(INPUTS_MAX).expect("a small number"),
        storage_max_bytes,
        storage_used_bytes: used(&site, login.id()).await?,
        tasks_max: TASKS_MAX,
        keep_days,
    }))
}

/// What is kept of a user, on rows. Bytes.
///
/// # Errors
///
/// `Read`.
async fn used(site: &Site, user: UserId) -> Result<u64, WebError> {
    Ok(site.readers.read(move |reader| reader.storage_used(user)).await?)
}

/// How many bytes more a user may bring, beside what `begun_bytes` of uploads in pieces are to come to.
///
/// # Errors
///
/// `StorageFull` if `wanted_bytes` are more than that; `Read`.
pub(super) async fn check_storage(
    site: &Site,
    user: UserId,
    begun_bytes: u64,
    wanted_bytes: u64,
) -> Result<u64, WebError> {
    let max_bytes = site.config.files.storage_max_bytes;
    let used_bytes = used(site, user).await?.saturating_add(begun_bytes);
    let left_bytes = max_bytes.saturating_sub(used_bytes);
    if wanted_bytes > left_bytes {
        return Err(WebError::StorageFull { wanted_bytes, left_bytes, max_bytes });
    }
    Ok(left_bytes)
}

/// Checks and counts what a user has brought before it becomes blobs: those lie here for days, whatever
/// comes to refer to them.
///
/// # Errors
///
/// `StorageFull`, `WrittenTooMuch`, `Read`.
pub(super) async fn check_brought(
    site: &Site,
    user: UserId,
    begun_bytes: u64,
    brought: Brought,
) -> Result<(), WebError> {
    let _counting = site.files.count(user).await;
    check_storage(site, user, begun_bytes, brought.bytes).await?;
    let max_bytes = site.config.files.storage_max_bytes;
    site.files.churn.add(user, brought, max_bytes, site.clock.now())
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use campusgrid_protocol::id::UserId;

    use super::Traffic;

    #[tokio::test]
    async fn one_user_has_not_all_places_to_unpack() {
        let traffic = Traffic::default();
        let first = traffic.unpacking.take(UserId(1)).await;
        let mut second = pin!(traffic.unpacking.take(UserId(1)));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(traffic.unpacking.take(UserId(2)).await);
        drop(first);
        second.await;
    }
}

//! The pool of read-only connections that pages and the API share.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::store::StoreError;
use crate::store::read::Reader;

/// Connections, and so queries at once: more would only wait for the processor.
const READERS: usize = 4;

/// Read-only connections, opened at start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readers {
    idle: Arc<Mutex<Vec<Reader>>>,
    places: Arc<Semaphore>,
}

impl Readers {
    /// Opens the connections to a database that a `Store` has set up. Files and logs of jobs are kept for
    /// so long after their end. Milliseconds.
    ///
    /// # Errors
    ///
    /// `Open`.
    pub fn open(path: &Path, keep_ms: u64) -> Result<Self, StoreError> {
        let open = |_| Reader::open(path).map(|reader| reader.keeping(keep_ms));
        let idle = (0..READERS).map(open).collect::<Result<_, _>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(idle)), places: Arc::new(Semaphore::new(READERS)) })
    }

    /// Runs `read` on a thread of its own with one of the connections, in one read transaction.
    ///
    /// # Errors
    ///
    /// What `read` yields.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let places = Arc::clone(&self.places);
        let place = places.acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        let idle = Arc::clone(&self.idle);
        let task = tokio::task::spawn_blocking(move || {
            let lock = || idle.lock().expect("nothing panics while it holds the idle readers");
            let mut reader = lock().pop().expect("there are as many readers as places");
            let result = reader.in_transaction(read);
            lock().push(reader);
            drop(place);
            result
        });
        task.await.map_err(|_| StoreError::Stopped)?
    }
}

//! The dashboard and the JSON API: who may ask what, and what they get to see. All decisions are
//! the engine's.

mod accounts;
mod advice;
mod assets;
mod auth;
mod credits;
mod error;
mod events;
mod extract;
mod files;
mod jobs;
mod local;
mod logs;
mod origin;
mod pages;
mod passwords;
mod pep723;
mod routes;
mod serve;
mod text_stream;
mod words;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::engine::handle::EngineHandle;
use crate::live::LiveLogs;
use crate::readers::Readers;
pub use serve::serve;

use passwords::Passwords;

/// Streams of events and logs that may be open at once; each holds a connection and a few KiB.
const STREAMS_MAX: usize = 2048;

/// What the operator can set about the dashboard.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a login lasts. Days.
    pub login_days: u32,
    pub passwords: PasswordCosts,
    /// Where jobs and blobs are; `/health` checks that it can be written.
    pub data_dir: PathBuf,
}

/// What hashing a password costs with argon2id.
#[derive(Debug, Clone, Copy)]
pub struct PasswordCosts {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Default for PasswordCosts {
    /// The least that OWASP's Password Storage Cheat Sheet recommends.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// Everything that the pages and the API are made from.
#[derive(Debug, Clone)]
pub struct Web {
    pub engine: EngineHandle,
    pub readers: Readers,
    pub live: LiveLogs,
    pub blobs: Blobs,
    pub clock: Clock,
    pub config: Config,
    /// Ends every open stream and long wait, so that [`serve`] can return.
    pub shutdown: CancellationToken,
}

/// The state behind every handler. Cheap to clone.
#[derive(Debug, Clone)]
struct Site {
    engine: EngineHandle,
    readers: Readers,
    live: LiveLogs,
    blobs: Blobs,
    clock: Clock,
    config: Arc<Config>,
    passwords: Passwords,
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// All routes, with their checks and headers.
///
/// # Errors
///
/// If argon2 refuses the configured costs.
pub fn router(web: Web) -> Result<Router, CostsError> {
    let Web { engine, readers, live, blobs, clock, config, shutdown } = web;
    let passwords = Passwords::new(config.passwords)?;
    let streams = Arc::new(Semaphore::new(STREAMS_MAX));
    let config = Arc::new(config);
    let site = Site { engine, readers, live, blobs, clock, config, passwords, streams, shutdown };
    Ok(routes::all(site))
}

/// Costs of hashing that argon2 cannot work with.
#[derive(Debug, thiserror::Error)]
#[error(
    "argon2 cannot hash with {} KiB, {} passes and {} lanes",
    .0.memory_kib, .0.passes, .0.lanes
)]
pub struct CostsError(PasswordCosts);

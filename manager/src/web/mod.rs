//! The dashboard and the JSON API: who may ask what, and what they get to see. All decisions are
//! the engine's.

pub mod access;
mod accounts;
mod advice;
mod assets;
mod auth;
mod caller;
mod client;
mod cookie;
mod counters;
mod credits;
mod device;
mod docs;
mod error;
mod etag;
mod events;
mod extract;
mod files;
mod guard;
mod headers;
mod health;
mod jobs;
mod last_uses;
mod local;
mod logs;
mod market;
mod metrics;
mod network;
mod notices;
mod openapi;
mod origin;
mod pages;
mod passwords;
mod patience;
pub mod pep723;
mod places;
mod plain_http;
mod public_url;
pub mod routes;
mod serve;
mod tally;
mod text_stream;
mod throttle;
mod tls;
mod vouchers;
mod words;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_protocol::id::UserId;
use tokio_util::sync::CancellationToken;

use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::engine::handle::EngineHandle;
use crate::health::Health;
use crate::live::LiveLogs;
use crate::notify::{Links, Offered};
use crate::readers::Readers;
use crate::vitals::Vitals;
pub use accounts::domains::Domains;
pub use client::{NotAProxy, Proxies};
pub use files::quota::FileLimits;
pub use passwords::{HashError, hash_now};
pub use public_url::{NotPublic, PublicUrl};
pub use serve::serve;
pub use tls::{BadFile, BadName, Certificates, TlsError, TlsSetting, Transport, parse_names};

use client::UnlistedProxy;
use cookie::Cookies;
use counters::Counters;
use guard::Guard;
use health::Writable;
use last_uses::LastUses;
use local::Operators;
use origin::OwnAddress;
use tally::{Bounds, Tally};

/// Streams of events and logs that may be open at once; each holds a connection and a few KiB. A user
/// has enough of them for a few browsers full of pages, each of which holds one.
const STREAMS: Bounds = Bounds { of_one: 32, of_all: 2048 };

/// What the operator can set about the dashboard.
#[derive(Debug, Clone)]
pub struct Config {
    pub tls: TlsSetting,
    /// Where people find the dashboard, if not where it listens.
    pub public_url: Option<PublicUrl>,
    /// Who is believed about whom they speak for.
    pub proxies: Proxies,
    /// Whose addresses are worth starting credits, where these take an address.
    pub verified_domains: Domains,
    /// How long a login lasts. Days.
    pub login_days: u32,
    pub passwords: PasswordCosts,
    /// What people can be told of their jobs.
    pub notices: Offered,
    pub files: FileLimits,
    /// Where jobs and blobs are; `/health` checks that it can be written.
    pub data_dir: PathBuf,
}

impl Config {
    /// Whether browsers speak TLS, to us or to a proxy.
    fn is_secure(&self) -> bool {
        let is_public = self.public_url.as_ref().is_some_and(PublicUrl::is_secure);
        is_public || self.tls != TlsSetting::Off
    }
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
    pub health: Health,
    pub vitals: Vitals,
    /// By which people show that an address is theirs; none where no mail is sent.
    pub links: Option<Links>,
    /// What workers know this manager by.
    pub fingerprint: Fingerprint,
    /// The port that workers dial.
    pub worker_port: u16,
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
    health: Health,
    vitals: Vitals,
    counters: Counters,
    links: Option<Links>,
    fingerprint: Fingerprint,
    worker_port: u16,
    /// Where browsers find us.
    address: OwnAddress,
    /// Whether browsers speak TLS, to us or to a proxy: cookies are then kept from everything else.
    secure: bool,
    cookies: Cookies,
    guard: Guard,
    last_uses: LastUses,
    unlisted_proxy: UnlistedProxy,
    writable: Writable,
    streams: Tally<UserId>,
    files: files::Traffic,
    shutdown: CancellationToken,
}

/// All that is served: the routes, and what is to be told of those who use them.
#[derive(Debug)]
pub struct Dashboard {
    router: Router,
    last_uses: LastUses,
    engine: EngineHandle,
    operators: Operators,
}

/// All routes, with their checks and headers.
///
/// # Errors
///
/// If argon2 refuses the configured costs.
pub fn router(web: Web) -> Result<Dashboard, CostsError> {
    let guard = Guard::new(web.config.passwords, &web.config.data_dir)?;
    let last_uses = LastUses::default();
    let engine = web.engine.clone();
    let operators = Operators::new(&web);
    let router = routes::all(Site {
        engine: web.engine,
        readers: web.readers,
        live: web.live,
        blobs: web.blobs,
        clock: web.clock,
        health: web.health,
        vitals: web.vitals,
        counters: Counters::default(),
        links: web.links,
        fingerprint: web.fingerprint,
        worker_port: web.worker_port,
        address: OwnAddress::of(&web.config),
        secure: web.config.is_secure(),
        cookies: Cookies::of(web.config.is_secure()),
        config: Arc::new(web.config),
        guard,
        last_uses: last_uses.clone(),
        unlisted_proxy: UnlistedProxy::default(),
        writable: Writable::default(),
        streams: Tally::new(STREAMS),
        files: files::Traffic::default(),
        shutdown: web.shutdown,
    });
    Ok(Dashboard { router, last_uses, engine, operators })
}

/// Costs of hashing that argon2 cannot work with.
#[derive(Debug, thiserror::Error)]
#[error(
    "argon2 cannot hash with {} KiB, {} passes and {} lanes",
    .0.memory_kib, .0.passes, .0.lanes
)]
pub struct CostsError(PasswordCosts);

//! `GET /metrics`: the daemon in figures, in the text format of OpenMetrics. No names, no secrets.

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use campusgrid_core::input::{Intake, Shut};
use campusgrid_core::snapshot::WorkerView;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Site;
use super::error::WebError;
use super::workers::silent_ms;
use crate::health::HealthView;

/// Of the format that is written here.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every name begins so.
const PREFIX: &str = "campusgrid";

type Count = Gauge<u64, AtomicU64>;

/// `GET /metrics`.
pub(super) async fn metrics(State(site): State<Site>) -> Result<impl IntoResponse, WebError> {
    let health = site.health.clone();
    // It asks the file system, which may take its time.
    let health = tokio::task::spawn_blocking(move || health.view()).await;
    let health = health.expect("looking at the disk does not panic");
    let mut registry = Registry::with_prefix(PREFIX);
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The running manager", build);
    register_grid(&mut registry, &site);
    register_health(&mut registry, &health);
    site.vitals.register(&mut registry);
    site.counters.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| WebError::Metrics)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

fn register_grid(registry: &mut Registry, site: &Site) {
    let snapshot = site.engine.snapshot();
    let (open, balanced) = match &snapshot.intake {
        Intake::Open => (1, 1),
        Intake::Shut(Shut::DiskFull) => (0, 1),
        Intake::Shut(Shut::BooksBroken { .. }) => (0, 0),
    };
    set(registry, "intake_open", "Whether jobs and results are taken in", open);
    set(registry, "books_balanced", "Whether no check has found the books broken", balanced);
    let workers: Family<[(&'static str, &'static str); 1], Count> = Family::default();
    for state in ["online", "silent", "offline", "set_aside", "not_shared"] {
        let count =
            snapshot.workers.iter().filter(|worker| state_of(site, worker) == state).count();
        workers.get_or_create(&[("state", state)]).set(count as u64);
    }
    registry.register("workers", "Machines with an owner, by how they are", workers);
    let newcomers = snapshot.newcomers.len() as u64;
    set(registry, "workers_waiting", "Machines that wait for their owner's word", newcomers);
    set(registry, "tasks_queued", "Tasks that wait for a machine", snapshot.tasks_queued);
    set(registry, "tasks_running", "Tasks that a machine has", snapshot.tasks_running);
    set(registry, "users", "Registered users", snapshot.users);
}

/// One word for each machine; what keeps it from work comes first.
fn state_of(site: &Site, worker: &WorkerView) -> &'static str {
    match &worker.link {
        Some(_) | None if worker.set_aside.is_some() => "set_aside",
        Some(link) if silent_ms(site, link).is_some() => "silent",
        Some(link) if !link.is_open => "not_shared",
        Some(_) => "online",
        None => "offline",
    }
}

fn register_health(registry: &mut Registry, health: &HealthView) {
    if let Some(space) = &health.space {
        set(registry, "disk_free_bytes", "Free where the data is", space.free_bytes);
        set(registry, "disk_size_bytes", "Size of the disk with the data", space.total_bytes);
    }
    let reserve = health.disk.reserve_bytes;
    set(registry, "disk_reserve_bytes", "With less free, nothing is taken in", reserve);
    let stuck = u64::from(health.disk.stuck_since.is_some());
    set(registry, "engine_stuck", "Whether the engine waits for room to write", stuck);
    set(registry, "books_checks", "Checks of the books since the start", health.checks);
    let Some(books) = &health.books else { return };
    let at = seconds(books.at.0);
    set(registry, "books_checked_timestamp_seconds", "When the newest check began", at);
    let took = seconds(books.took_ms);
    set(registry, "books_check_seconds", "How long the newest check took", took);
    let findings = books.broken.len() as u64;
    set(registry, "books_findings", "What the newest check found broken", findings);
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn set<N>(registry: &mut Registry, name: &'static str, help: &'static str, value: N)
where
    AtomicU64: Atomic<N>,
    Gauge<N, AtomicU64>: prometheus_client::registry::Metric,
{
    let gauge = Gauge::<N, AtomicU64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

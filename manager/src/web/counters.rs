//! What the dashboard counts of itself, for `/metrics`: nothing of who asked or for what.

use axum::http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters of requests. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    answers: Family<[(&'static str, &'static str); 1], Counter>,
    logins_failed: Counter,
}

impl Counters {
    /// Counts an answer.
    pub(super) fn answered(&self, status: StatusCode) {
        let class = match status.as_u16() {
            0..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        self.answers.get_or_create(&[("class", class)]).inc();
    }

    /// Counts a login with a wrong password, or that was not even tried because there were too many.
    pub(super) fn login_failed(&self) {
        self.logins_failed.inc();
    }

    /// Names the counters as they are to be shown.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_requests",
            "Requests to the dashboard and the API that were answered, by class of status",
            self.answers.clone(),
        );
        registry.register("logins_failed", "Logins that were refused", self.logins_failed.clone());
    }
}

//! What the engine counts of itself while it runs, for `/metrics`.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of the engine. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Vitals {
    batches: Counter,
    inputs: Counter,
    commit_seconds: Histogram,
}

impl Default for Vitals {
    /// Nothing was counted yet.
    fn default() -> Self {
        // From a tenth of a millisecond, below any disk that keeps its word, to 1.6 s.
        let buckets = exponential_buckets(0.000_1, 4.0, 8);
        let commit_seconds = Histogram::new(buckets);
        Self { batches: Counter::default(), inputs: Counter::default(), commit_seconds }
    }
}

impl Vitals {
    /// Counts a batch of so many inputs, and how long it took to write what it changed.
    pub fn batch(&self, inputs: usize, commit: Duration) {
        self.batches.inc();
        self.inputs.inc_by(inputs as u64);
        self.commit_seconds.observe(commit.as_secs_f64());
    }

    /// Names the counters as they are to be shown.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "engine_batches",
            "Batches of inputs that the engine has applied and committed",
            self.batches.clone(),
        );
        registry.register("engine_inputs", "Inputs in those batches", self.inputs.clone());
        registry.register(
            "engine_commit_seconds",
            "How long it took to write what a batch changed",
            self.commit_seconds.clone(),
        );
    }
}

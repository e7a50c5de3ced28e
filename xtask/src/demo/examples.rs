//! The example jobs: what each needs, and what each must say.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One file of `examples/` as a job.
pub(super) struct Example {
    pub(super) name: &'static str,
    file: &'static str,
    kind: &'static str,
    cores: Cores,
    ram_mib: u32,
    /// Whether this is what it prints.
    pub(super) prints: fn(&str) -> bool,
    pub(super) leaves: Option<Output>,
}

/// A file that a job leaves.
pub(super) struct Output {
    pub(super) path: &'static str,
    /// Whether this is what it holds.
    pub(super) holds: fn(&str) -> bool,
}

#[derive(Debug, Clone, Copy)]
enum Cores {
    One,
    /// Two where the machine has two.
    TwoIfThere,
}

/// In the order in which they are submitted: the one that needs no packages shows a result first.
pub(super) const EXAMPLES: [Example; 4] = [
    Example {
        name: "Sum of squares",
        file: "sum_of_squares.py",
        kind: "python",
        cores: Cores::One,
        ram_mib: 256,
        prints: |text| text.trim() == "Result: 333332833333500000",
        leaves: None,
    },
    Example {
        name: "Pi with OpenMP",
        file: "pi_openmp.c",
        kind: "c",
        cores: Cores::TwoIfThere,
        ram_mib: 256,
        prints: |text| after(text, "Pi: ") == Some("3.141592653590"),
        leaves: Some(Output { path: "pi.txt", holds: |text| text.trim() == "3.141592653590" }),
    },
    Example {
        name: "Matrix product",
        file: "matrix_product.py",
        kind: "python",
        cores: Cores::One,
        ram_mib: 512,
        prints: |text| {
            // A sum of 10⁹ products of two uniform numbers: 2.5·10⁸ with a deviation below 10⁶.
            after(text, "Result shape: ") == Some("(1000, 1000)")
                && number_after(text, "Sum: ").is_some_and(|sum| (2.4e8..2.6e8).contains(&sum))
        },
        leaves: None,
    },
    Example {
        name: "Random forest",
        file: "random_forest.py",
        kind: "python",
        cores: Cores::One,
        ram_mib: 1024,
        // Scored on the data it learned from, a forest is nearly always right.
        prints: |text| number_after(text, "Accuracy: ").is_some_and(|part| part > 0.95),
        leaves: None,
    },
];

impl Example {
    /// The body of `POST jobs`.
    ///
    /// # Errors
    ///
    /// When the example cannot be read.
    pub(super) fn body(&self, folder: &Path) -> Result<Value> {
        let path = folder.join(self.file);
        let source = fs::read_to_string(&path);
        let source = source.with_context(|| format!("failed to read {}", path.display()))?;
        let requirements: Vec<String> = fs::read_to_string(path.with_extension("requirements.txt"))
            .unwrap_or_default()
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        Ok(json!({
            "kind": self.kind, "name": self.name, "source": source,
            "requirements": requirements, "cores": self.cores.count(), "ram_mib": self.ram_mib,
            "time_limit_s": 300,
        }))
    }
}

impl Cores {
    fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::TwoIfThere => thread::available_parallelism().map_or(1, |all| all.get().min(2)),
        }
    }
}

/// The rest of the line that begins with `mark`.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(mark)).map(str::trim)
}

fn number_after(text: &str, mark: &str) -> Option<f64> {
    after(text, mark)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::EXAMPLES;

    fn example_says(name: &str, text: &str) -> bool {
        let example = EXAMPLES.iter().find(|example| example.name == name).unwrap();
        (example.prints)(text)
    }

    #[test]
    fn right_results_pass_and_wrong_ones_do_not() {
        assert!(example_says("Sum of squares", "Result: 333332833333500000\n"));
        assert!(!example_says("Sum of squares", "Result: 333333833333500000\n"));
        assert!(example_says("Pi with OpenMP", "Threads: 2\nPi: 3.141592653590\n"));
        assert!(!example_says("Pi with OpenMP", "Threads: 2\nPi: 3.2\n"));
        let product = "Result shape: (1000, 1000)\nSum: 250123456.78\n";
        assert!(example_says("Matrix product", product));
        assert!(!example_says("Matrix product", "Result shape: (1000, 1000)\n"));
        assert!(example_says("Random forest", "Accuracy: 1.0000\n"));
        assert!(!example_says("Random forest", "Accuracy: nan\n"));
    }
}

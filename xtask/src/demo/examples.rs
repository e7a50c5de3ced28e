//! The example jobs: what each needs, and what each must say.

use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

/// One file of `examples/` as a job.
pub(super) struct Example {
    pub(super) name: &'static str,
    file: &'static str,
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
        cores: Cores::One,
        ram_mib: 256,
        prints: |text| text.trim() == "Result: 333332833333500000",
        leaves: None,
    },
    Example {
        name: "Pi with OpenMP",
        file: "pi_openmp.c",
        cores: Cores::TwoIfThere,
        ram_mib: 256,
        prints: |text| after(text, "Pi: ") == Some("3.141592653590"),
        leaves: Some(Output { path: "pi.txt", holds: |text| text.trim() == "3.141592653590" }),
    },
    Example {
        name: "Matrix product",
        file: "matrix_product.py",
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
        cores: Cores::One,
        ram_mib: 1024,
        // Scored on the data it learned from, a forest is nearly always right.
        prints: |text| number_after(text, "Accuracy: ").is_some_and(|part| part > 0.95),
        leaves: None,
    },
];

impl Example {
    /// The words behind `campusgrid` that submit it.
    ///
    /// # Errors
    ///
    /// When the example lies nowhere that can be typed.
    pub(super) fn words(&self, folder: &Path) -> Result<Vec<String>> {
        let text = |path: &Path| {
            let text = path.to_str().with_context(|| format!("{} is no text", path.display()))?;
            Ok::<_, anyhow::Error>(text.to_owned())
        };
        let path = folder.join(self.file);
        let mut words = vec!["submit".to_owned(), text(&path)?];
        let requirements = path.with_extension("requirements.txt");
        if requirements.exists() {
            words.extend(["--requirements".to_owned(), text(&requirements)?]);
        }
        let (cores, ram) = (self.cores.count().to_string(), format!("{}M", self.ram_mib));
        let options = ["--name", self.name, "--cpus", &cores, "--ram", &ram, "--time", "5m"];
        words.extend(options.map(str::to_owned));
        Ok(words)
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

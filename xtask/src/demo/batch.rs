//! The batch of `examples/batch-csv`, run by its one command, and whether it leaves what it should.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::Shell;
use crate::grid::Manager;
use crate::places::Places;
use crate::program;

const JOBS: usize = 5;

/// Runs it and yields what is not as it should be.
///
/// # Errors
///
/// When it cannot be run.
pub(super) fn run(
    places: &Places,
    shell: &Shell,
    manager: &Manager,
    folder: &Path,
) -> Result<Vec<String>> {
    println!("\n$ NUM_JOBS={JOBS} examples/batch-csv/run.sh");
    let outputs = folder.join("outputs");
    let mut command = shell.program(&places.root.join("examples/batch-csv/run.sh"))?;
    command.env("NUM_JOBS", JOBS.to_string()).env("OUTPUTS", &outputs);
    let port = manager.url.rsplit(':').next().context("the address has a port")?;
    program::run(command.env("API_PORT", port))?;
    let mut wrong = Vec::new();
    for number in 1..=JOBS {
        let path = outputs.join(format!("job_{number}.csv"));
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("failed to read {}", path.display()))?;
        if is_right(&text) {
            println!("    job_{number}.csv: {}", text.lines().nth(1).unwrap_or_default());
        } else {
            wrong.push(format!("{}: {text:?}", path.display()));
        }
    }
    Ok(wrong)
}

/// Whether it is as the seed's: a head, and `"[84, 62, …]",608,60.8`.
fn is_right(text: &str) -> bool {
    let mut lines = text.lines();
    let (head, row, more) = (lines.next(), lines.next().unwrap_or_default(), lines.next());
    let Some((list, rest)) = row.strip_prefix("\"[").and_then(|row| row.split_once("]\",")) else {
        return false;
    };
    let numbers: Result<Vec<u32>, _> = list.split(", ").map(str::parse).collect();
    let Ok(numbers) = numbers else { return false };
    let sum: u32 = numbers.iter().sum();
    head == Some("numbers,sum,mean")
        && more.is_none()
        && numbers.len() == 10
        && rest == format!("{sum},{}.{}", sum / 10, sum % 10)
}

#[cfg(test)]
mod tests {
    use super::is_right;

    #[test]
    fn a_row_adds_up() {
        let row = "numbers,sum,mean\n\"[84, 62, 95, 76, 74, 93, 33, 2, 69, 20]\",608,60.8\n";
        assert!(is_right(row));
        assert!(!is_right(&row.replace("608,", "609,")));
        assert!(!is_right("numbers,sum,mean\n"));
    }
}

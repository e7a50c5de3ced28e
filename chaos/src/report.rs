//! What a storm has come to, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::check::{Figures, Finding};

/// What a storm has come to.
#[derive(Debug, Clone)]
pub struct Report {
    pub seed: u64,
    pub kills: u32,
    /// What was done, by kind.
    pub acts: BTreeMap<String, u32>,
    pub figures: Figures,
    /// Certificates that workers renewed meanwhile.
    pub renewed: u32,
    pub findings: Vec<Finding>,
    /// Of all together, and of what came after the last fault.
    pub took: Duration,
    pub settled_in: Duration,
    /// Where logs, journals and the database are kept, if anything was found.
    pub kept: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.acts {
            writeln!(f, "{count:>6}  {kind}")?;
        }
        let Figures { jobs, tasks, attempts, succeeded, failed, cancelled, given_up, files } =
            self.figures;
        writeln!(f, "{jobs:>6}  jobs of {tasks} tasks, {attempts} attempts")?;
        writeln!(f, "{succeeded:>6}  succeeded, {failed} failed, {cancelled} cancelled")?;
        writeln!(f, "{given_up:>6}  of those that failed were given up by the grid, and refunded")?;
        writeln!(f, "{:>6}  certificates renewed meanwhile", self.renewed)?;
        writeln!(f, "{files:>6}  files and logs compared")?;
        for finding in &self.findings {
            writeln!(f, "FOUND   {finding}")?;
        }
        writeln!(f, "{:>6}  findings", self.findings.len())?;
        let (took, settled) = (self.took.as_secs_f32(), self.settled_in.as_secs_f32());
        writeln!(f, "took {took:.1} s, {settled:.1} s of them after the last fault")?;
        if let Some(folder) = &self.kept {
            writeln!(f, "kept in {folder}")?;
        }
        write!(f, "again: cargo xtask chaos --kills {} --seed {}", self.kills, self.seed)
    }
}

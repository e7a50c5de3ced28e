//! Whether a container came out as it was asked for.

use std::path::Path;

use campusgrid_sandbox::plan::Network;

use super::{Particulars, Walls};
use crate::error::EngineError;
use crate::event::Held;

/// The kernel may round sizes up to its largest page. Bytes.
const PAGE_BYTES: u64 = 64 * 1024;

impl Walls {
    /// Compares what the helper has read back with what was asked for.
    ///
    /// # Errors
    ///
    /// `Limit` for the first that does not hold.
    pub(crate) fn check(&self, held: &Held, expected: &Particulars<'_>) -> Result<(), EngineError> {
        let fail = |limit: &'static str, found: String| Err(EngineError::Limit { limit, found });
        // The kernel rounds to pages and the quota to microseconds; only more is not allowed.
        let holds = |found: Option<u64>, wanted: u64| found.is_some_and(|found| found <= wanted);
        if !holds(held.memory_bytes, self.memory_bytes) {
            return fail("memory", format!("{:?} bytes", held.memory_bytes));
        }
        let swap_holds = holds(held.memory_swap_bytes, self.memory_bytes)
            || (!held.has_swap && held.memory_swap_bytes.is_none());
        if !swap_holds {
            return fail("memory and swap", format!("{:?} bytes", held.memory_swap_bytes));
        }
        if !holds(held.cpu_millis, u64::from(self.time_millis())) {
            return fail("processor time", format!("{:?} thousandths", held.cpu_millis));
        }
        if !holds(held.processes, self.processes) {
            return fail("processes", format!("{:?}", held.processes));
        }
        for (bytes, files) in &held.writable {
            if *bytes == 0 || *bytes > self.scratch_bytes + PAGE_BYTES {
                return fail("scratch space", format!("{bytes} bytes"));
            }
            if expected.limits_files && (*files == 0 || *files > self.scratch_files) {
                return fail("files in scratch space", format!("{files}"));
            }
        }
        let is_granted = |place: &str| {
            self.read_write.iter().any(|(_, inside)| inside.as_path() == Path::new(place))
        };
        let stray: Vec<&str> =
            held.stray.iter().map(String::as_str).filter(|place| !is_granted(place)).collect();
        let granted = held.stray.len() - stray.len();
        let walls = [
            ("system calls", held.seccomp, "they are not filtered".to_owned()),
            ("privileges", held.no_new_privileges, "they can be gained".to_owned()),
            (
                "capabilities",
                held.capabilities.chars().all(|digit| digit == '0'),
                format!("there are {}", held.capabilities),
            ),
            ("user", held.uid == expected.uid, format!("it is uid {}", held.uid)),
            ("read-only system", !held.is_root_writable, "it can be written".to_owned()),
            ("writable places", stray.is_empty(), stray.join(", ")),
            (
                "what may be changed",
                granted == self.read_write.len(),
                format!("{granted} of {} directories", self.read_write.len()),
            ),
            (
                "network",
                held.interfaces == 0 || self.network == Network::Host,
                format!("{} interfaces", held.interfaces),
            ),
        ];
        match walls.into_iter().find(|(_, holds, _)| !holds) {
            Some((limit, _, found)) => fail(limit, found),
            None => Ok(()),
        }
    }
}

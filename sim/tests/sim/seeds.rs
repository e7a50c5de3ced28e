//! Worlds without a planted bug, in which no oracle may find anything.

use crate::played;

/// Worlds of one push; a night has 20,000.
const SEEDS: u64 = 300;

#[test]
fn x() {
    let _ = SEEDS;
    played(1, None).unwrap();
}

//! How fast this machine computes, measured and not claimed: integers and floats in one mix, on one core
//! alone and then on all of them.

use std::hint::black_box;
use std::time::Duration;

use campusgrid_protocol::resource::Speed;
use campusgrid_sandbox::clock::Stopwatch;

/// For each of the two measurements: short enough for a worker's start.
const TIME: Duration = Duration::from_millis(100);
/// Rounds between two looks at the clock.
const BATCH: u32 = 20_000;
/// What speeds are told in thousandths of: a core that does so many rounds of [`mix`] per second, which is
/// about what one of a current laptop's does in a release build.
const REFERENCE_ROUNDS_S: u64 = 100_000_000;
/// More than this many threads tell nothing new.
const THREADS_MAX: u32 = 512;

/// Measures for a fifth of a second, on `cores` threads in the second half.
pub fn measure(cores: u32) -> Speed {
    let one = rounds_s();
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..cores.clamp(1, THREADS_MAX)).map(|_| scope.spawn(rounds_s)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    Speed { core_permille: permille(one), all_permille: permille(all) }
}

fn permille(rounds_s: u64) -> u32 {
    u32::try_from(rounds_s.saturating_mul(1000) / REFERENCE_ROUNDS_S).unwrap_or(u32::MAX)
}

/// Rounds per second of this thread.
fn rounds_s() -> u64 {
    let watch = Stopwatch::start();
    let mut batches = 0_u64;
    loop {
        black_box(mix(black_box(BATCH)));
        batches += 1;
        let passed = watch.passed();
        if passed >= TIME {
            let rounds = u128::from(batches) * u128::from(BATCH) * 1_000_000_000;
            return u64::try_from(rounds / passed.as_nanos().max(1)).unwrap_or(u64::MAX);
        }
    }
}

/// Each round needs what the one before has yielded, so that no compiler can do many at once.
fn mix(rounds: u32) -> (u64, f64) {
    let (mut word, mut number) = (0x9E37_79B9_7F4A_7C15_u64, 1.0_f64);
    for _ in 0..rounds {
        word ^= word << 13;
        word ^= word >> 7;
        word = word.wrapping_mul(0xD129_1E0B_5C8A_33B5);
        let small = (word >> 40) as f64;
        number = (number * 0.75 + small) / 1.25;
    }
    (word, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_tells_how_fast_it_is_within_its_time() {
        let watch = Stopwatch::start();
        let speed = measure(2);
        assert!(watch.passed() < 3 * TIME + Duration::from_millis(700));
        assert!(speed.core_permille > 0 && speed.all_permille > 0, "{speed:?}");
    }
}

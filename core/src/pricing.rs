//! What a task costs: the formula of the CampusGrid seed, exact to the micro-credit.

use campusgrid_protocol::resource::Needs;

use crate::money::Micros;

/// The terms of `cost = rate · (base + core·cores + ram·GiB + gpu·gpus + minute·minutes)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    pub base: Micros,
    pub core: Micros,
    pub ram_gib: Micros,
    pub gpu: Micros,
    pub minute: Micros,
    /// Factor on everything, in thousandths.
    pub rate_permille: u32,
}

/// Prices one run of `run_ms` under `needs`.
///
/// One division, rounded up once, over the common denominator of milli-cores, MiB and milliseconds.
/// Saturates where the price does not fit an `i64`, which no balance can cover.
pub fn price(prices: &Prices, needs: &Needs, run_ms: u64) -> Micros {
    const MILLI: i128 = 1000;
    const MIB: i128 = 1024;
    const MINUTE_MS: i128 = 60_000;
    const COMMON: i128 = MIB * MINUTE_MS; // A multiple of MILLI as well.
    let term = |price: Micros, amount: i128, unit: i128| {
        i128::from(price.0).saturating_mul(amount).saturating_mul(COMMON / unit)
    };
    let sum = term(prices.base, 1, 1)
        .saturating_add(term(prices.core, needs.cpu_millis.into(), MILLI))
        .saturating_add(term(prices.ram_gib, needs.ram_mib.into(), MIB))
        .saturating_add(term(prices.gpu, needs.gpus.into(), 1))
        .saturating_add(term(prices.minute, run_ms.into(), MINUTE_MS));
    let (sum, common) = (sum.saturating_mul(prices.rate_permille.into()), COMMON * MILLI);
    let rounded_up = sum.saturating_add(common - 1) / common;
    Micros(i64::try_from(rounded_up).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::resource::Needs;
    use proptest::prelude::*;

    use super::{Prices, price};
    use crate::money::Micros;

    const SEED: Prices = Prices {
        base: Micros::from_credits(5),
        core: Micros::from_credits(2),
        ram_gib: Micros::from_credits(1),
        gpu: Micros::from_credits(10),
        minute: Micros::from_credits(1),
        rate_permille: 1000,
    };

    fn needs(cpu_millis: u32, ram_mib: u32, gpus: u16) -> Needs {
        Needs { cpu_millis, ram_mib, disk_mib: 1, gpus, gpu_memory_mib: 0 }
    }

    #[test]
    fn the_seeds_formula_holds() {
        for (needs, run_ms, credits) in [
            (needs(1000, 1024, 0), 60_000, "9"),
            (needs(2000, 2048, 1), 600_000, "31"),
            (needs(500, 512, 0), 0, "6.5"),
            (needs(1000, 512, 0), 1, "7.500017"), // 1/60000 of a credit, rounded up.
            (needs(1000, 1, 0), 0, "7.000977"),
        ] {
            assert_eq!(price(&SEED, &needs, run_ms).to_string(), credits);
        }
    }

    proptest! {
        #[test]
        fn more_never_costs_less(cpu in 0..1_000_000_u32, ram in 0..10_000_000_u32, gpus in 0..64_u16, ms in 0..10_000_000_000_u64) {
            let at = |cpu, ram, gpus, ms| price(&SEED, &needs(cpu, ram, gpus), ms);
            let here = at(cpu, ram, gpus, ms);
            prop_assert!(here >= SEED.base);
            prop_assert!(at(cpu + 1, ram, gpus, ms) >= here);
            prop_assert!(at(cpu, ram + 1, gpus, ms) >= here);
            prop_assert!(at(cpu, ram, gpus + 1, ms) >= here + SEED.gpu);
            prop_assert!(at(cpu, ram, gpus, ms + 1) >= here);
        }
    }
}

//! Prices by the seed's table, and that pieces of a run cost what the whole does.

use campusgrid_protocol::resource::Needs;
use proptest::prelude::*;

use super::{Prices, Tariff, charge, price, quote, spread};
use crate::ask::Deal;
use crate::money::Micros;

const SEED: Prices = Prices {
    base: Micros::from_credits(5),
    core: Micros::from_credits(2),
    ram_gib: Micros::from_credits(1),
    gpu: Micros::from_credits(10),
    minute: Micros::from_credits(1),
    core_minute: Micros::ZERO,
    ram_gib_minute: Micros::ZERO,
    gpu_minute: Micros::ZERO,
    minimum: Micros::ZERO,
};

/// Nothing to begin with, and by what is used: what an owner may ask for.
const BY_USE: Prices = Prices {
    base: Micros::ZERO,
    core: Micros::ZERO,
    ram_gib: Micros::ZERO,
    gpu: Micros::ZERO,
    minute: Micros::ZERO,
    core_minute: Micros(300_000),
    ram_gib_minute: Micros(100_000),
    gpu_minute: Micros(2_000_000),
    minimum: Micros(3_000_000),
};

const FREE: Prices = Prices {
    base: Micros::ZERO,
    core: Micros::ZERO,
    ram_gib: Micros::ZERO,
    gpu: Micros::ZERO,
    minute: Micros::ZERO,
    core_minute: Micros::ZERO,
    ram_gib_minute: Micros::ZERO,
    gpu_minute: Micros::ZERO,
    minimum: Micros::ZERO,
};

fn needs(cpu_millis: u32, ram_mib: u32, gpus: u16) -> Needs {
    Needs { cpu_millis, ram_mib, disk_mib: 1, gpus, gpu_memory_mib: 0 }
}

fn tariff(formula: Prices, limit_ms: u64, rate_permille: u32) -> Tariff {
    Tariff { formula, needs: needs(1000, 1024, 0), limit_ms, rate_permille }
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

#[test]
fn an_ask_may_be_by_use_alone_and_have_a_minimum() {
    for (needs, minutes, credits) in [
        (needs(1000, 1024, 0), 1, "3"), // The minimum.
        (needs(1000, 1024, 0), 10, "4"),
        (needs(4000, 2048, 1), 10, "34"),
        (needs(500, 512, 0), 60, "12"),
    ] {
        assert_eq!(price(&BY_USE, &needs, minutes * 60_000).to_string(), credits);
    }
    let at_half = quote(&BY_USE, &needs(1000, 1024, 0), 600_000, 1500);
    assert_eq!(at_half.to_string(), "6");
}

#[test]
fn a_run_is_charged_by_its_part_of_the_price() {
    let minutes = |deal: &Deal, formula, run: u64| {
        charge(deal, &tariff(formula, 600_000, 1000), run * 60_000).to_string()
    };
    let formula = Deal { price: Micros::from_credits(18), prices: None };
    let bid = Deal { price: Micros::from_credits(9), prices: None };
    let ask = Deal { price: Micros::from_credits(4), prices: Some(BY_USE) };
    for (deal, prices, run, credits) in [
        (&formula, SEED, 10, "18"),
        (&formula, SEED, 1, "9"),
        (&formula, SEED, 0, "8"),   // The start.
        (&formula, SEED, 99, "18"), // Not beyond the limit.
        (&bid, SEED, 10, "9"),
        (&bid, SEED, 1, "4.5"),
        (&ask, SEED, 10, "4"),
        (&ask, SEED, 5, "3"),   // Its minimum.
        (&bid, FREE, 5, "4.5"), // By time alone, where the formula asks for nothing.
    ] {
        assert_eq!(minutes(deal, prices, run), credits, "{deal:?} {run}");
    }
}

#[test]
fn what_is_saved_is_worth_its_part_of_the_time() {
    for (run_ms, micros) in
        [(0, 0), (1, 30), (60_000, 1_800_000), (600_000, 18_000_000), (u64::MAX, 18_000_000)]
    {
        assert_eq!(spread(Micros::from_credits(18), 600_000, run_ms), Micros(micros), "{run_ms}");
    }
    assert_eq!(spread(Micros(1), 3, 1), Micros(1), "rounded up");
    assert_eq!(spread(Micros(5), 0, 0), Micros::ZERO);
}

#[test]
fn what_no_balance_covers_does_not_overflow() {
    let huge = Prices { base: Micros(i64::MAX), gpu_minute: Micros(i64::MAX), ..SEED };
    let (needs, forever) = (needs(u32::MAX, u32::MAX, u16::MAX), u64::MAX);
    assert_eq!(price(&huge, &needs, forever), Micros(i64::MAX));
    let deal = Deal { price: Micros(i64::MAX), prices: Some(huge) };
    let tariff = Tariff { formula: huge, needs, limit_ms: forever, rate_permille: u32::MAX };
    assert!(charge(&deal, &tariff, forever / 2) <= deal.price);
}

proptest! {
    #[test]
    fn more_never_costs_less(cpu in 0..1_000_000_u32, ram in 0..10_000_000_u32, gpus in 0..64_u16, ms in 0..10_000_000_000_u64, by_use in any::<bool>()) {
        let prices = if by_use { BY_USE } else { SEED };
        let at = |cpu, ram, gpus, ms| price(&prices, &needs(cpu, ram, gpus), ms);
        let here = at(cpu, ram, gpus, ms);
        prop_assert!(here >= prices.base.max(prices.minimum));
        prop_assert!(at(cpu + 1, ram, gpus, ms) >= here);
        prop_assert!(at(cpu, ram + 1, gpus, ms) >= here);
        prop_assert!(at(cpu, ram, gpus + 1, ms) >= here);
        prop_assert!(at(cpu, ram, gpus, ms + 1) >= here);
    }

    #[test]
    fn what_is_saved_never_costs_more_than_the_run(price_micros in 0..100_000_000_i64, rate in 1..3000_u32, run_ms in 0..3_600_000_u64, own in any::<bool>()) {
        let limit_ms = 3_600_000;
        let tariff = tariff(SEED, limit_ms, rate);
        for deal in [
            Deal { price: Micros(price_micros), prices: own.then_some(BY_USE) },
            Deal { price: quote(&SEED, &tariff.needs, limit_ms, rate), prices: None },
        ] {
            let (saved, whole) = (spread(deal.price, limit_ms, run_ms), charge(&deal, &tariff, run_ms));
            // A rounded price may be above that of its prices by less than the smallest amount.
            prop_assert!(saved.0 <= whole.0 + 1, "{saved} of {whole}");
            prop_assert_eq!(charge(&deal, &tariff, limit_ms), deal.price);
            prop_assert_eq!(spread(deal.price, limit_ms, limit_ms), deal.price);
        }
    }

    #[test]
    fn a_run_by_the_formula_costs_what_it_always_did(cpu in 1..64_000_u32, ram in 1..500_000_u32, limit in 1..86_400_000_u64, run in 0..86_400_000_u64, rate in 1..3000_u32) {
        let (run, needs) = (run.min(limit), needs(cpu, ram, 1));
        let tariff = Tariff { formula: SEED, needs, limit_ms: limit, rate_permille: rate };
        let deal = Deal { price: quote(&SEED, &needs, limit, rate), prices: None };
        prop_assert_eq!(charge(&deal, &tariff, run), quote(&SEED, &needs, run, rate));
    }
}

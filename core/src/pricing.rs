//! What a task costs: the formula of the CampusGrid seed, and what owners ask for in its place, exact
//! to the micro-credit.

use campusgrid_protocol::resource::Needs;

use crate::ask::Deal;
use crate::money::Micros;

/// The terms of `cost = max(minimum, base + core·cores + ram·GiB + gpu·gpus + minutes · (minute +
/// core_minute·cores + ram_gib_minute·GiB + gpu_minute·gpus))`. The seed's formula has no minimum and
/// none of the last three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prices {
    pub base: Micros,
    pub core: Micros,
    pub ram_gib: Micros,
    pub gpu: Micros,
    pub minute: Micros,
    pub core_minute: Micros,
    pub ram_gib_minute: Micros,
    pub gpu_minute: Micros,
    pub minimum: Micros,
}

/// The rate at which a price is what its terms say.
pub const RATE_ONE: u32 = 1000;

const MILLI: i128 = 1000;
const MIB: i128 = 1024;
const MINUTE_MS: i128 = 60_000;

/// The common denominator of micro-credits per milli-core, per MiB and per millisecond: the least
/// common multiple of 1000 and 1024, times the milliseconds of a minute.
const COMMON: i128 = 128_000 * MINUTE_MS;

/// Prices one run of `run_ms` under `needs`.
///
/// One division, rounded up once. Saturates where the price does not fit an `i64`, which no balance
/// can cover.
pub fn price(prices: &Prices, needs: &Needs, run_ms: u64) -> Micros {
    quote(prices, needs, run_ms, RATE_ONE)
}

/// As [`price`], times a rate in thousandths; rounded up once all the same.
pub fn quote(prices: &Prices, needs: &Needs, run_ms: u64, rate_permille: u32) -> Micros {
    let sum = exact(prices, needs, run_ms).saturating_mul(rate_permille.into());
    rounded_up(sum, COMMON * MILLI)
}

/// What a deal's price is part of, whoever runs the job.
#[derive(Debug, Clone, Copy)]
pub struct Tariff {
    /// The grid's formula.
    pub formula: Prices,
    pub needs: Needs,
    pub limit_ms: u64,
    pub rate_permille: u32,
}

/// What a run of so long is charged by a deal: `price · P(run) / P(limit)`, where `P` are its prices.
///
/// Rounded up once. Where the deal's price is that of its prices at the tariff's rate, what was rounded
/// to make it is not counted twice: the run costs what [`quote`] says of it. At most the deal's price,
/// however long the run.
pub fn charge(deal: &Deal, tariff: &Tariff, run_ms: u64) -> Micros {
    let Tariff { formula, needs, limit_ms, rate_permille } = tariff;
    let prices = deal.prices.as_ref().unwrap_or(formula);
    let run_ms = run_ms.min(*limit_ms);
    let whole = exact(prices, needs, *limit_ms);
    if whole == 0 {
        // Prices of nothing say nothing about how a price grows: by time alone.
        return spread(deal.price, *limit_ms, run_ms);
    }
    let part = exact(prices, needs, run_ms);
    if deal.price == quote(prices, needs, *limit_ms, *rate_permille) {
        let sum = part.saturating_mul((*rate_permille).into());
        return rounded_up(sum, COMMON * MILLI).min(deal.price);
    }
    share(deal.price, part, whole)
}

/// What checkpoints up to so far into a run are worth: a price spread evenly over the time limit, the
/// start included, so that whoever saves first has not earned all of that. Rounded up once; at most the
/// price.
pub fn spread(price: Micros, limit_ms: u64, run_ms: u64) -> Micros {
    let limit_ms = limit_ms.max(1);
    share(price, run_ms.min(limit_ms).into(), limit_ms.into())
}

/// In micro-credits over [`COMMON`]; never negative, and never less for more.
fn exact(prices: &Prices, needs: &Needs, run_ms: u64) -> i128 {
    let term = |price: Micros, amount: i128, unit: i128| {
        i128::from(price.0).saturating_mul(amount).saturating_mul(COMMON / unit)
    };
    let (cores, ram, gpus) = (needs.cpu_millis.into(), needs.ram_mib.into(), needs.gpus.into());
    let minutes = |amount: i128| amount.saturating_mul(run_ms.into());
    let sum = term(prices.base, 1, 1)
        .saturating_add(term(prices.core, cores, MILLI))
        .saturating_add(term(prices.ram_gib, ram, MIB))
        .saturating_add(term(prices.gpu, gpus, 1))
        .saturating_add(term(prices.minute, run_ms.into(), MINUTE_MS))
        .saturating_add(term(prices.core_minute, minutes(cores), MILLI * MINUTE_MS))
        .saturating_add(term(prices.ram_gib_minute, minutes(ram), MIB * MINUTE_MS))
        .saturating_add(term(prices.gpu_minute, minutes(gpus), MINUTE_MS));
    sum.max(term(prices.minimum, 1, 1))
}

/// `price · part / whole`, rounded up; at most `price`.
fn share(price: Micros, part: i128, whole: i128) -> Micros {
    let part = part.clamp(0, whole);
    // Beyond what 127 bits hold, the last bits of a part of nine million million credits go.
    let bits = |number: i128| i128::BITS - number.leading_zeros();
    let excess = (bits(price.0.into()) + bits(part)).saturating_sub(i128::BITS - 2);
    let (part, whole) = (part >> excess, (whole >> excess).max(1));
    rounded_up(i128::from(price.0) * part, whole).min(price)
}

fn rounded_up(sum: i128, unit: i128) -> Micros {
    let rounded_up = sum.saturating_add(unit - 1) / unit;
    Micros(i64::try_from(rounded_up).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;

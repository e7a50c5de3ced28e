//! What work costs: the formula, the factor on it, and what was charged lately.

use axum::Json;
use axum::extract::State;
use campusgrid_core::money::Micros;
use campusgrid_core::pricing::Prices;
use campusgrid_protocol::rest::market::{
    Going, GoingRates, PRICE_HOURS_MAX, PriceHour, PriceTerms,
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::Params;
use crate::web::workers::silent_ms;

const HOUR_MS: u64 = 3_600_000;
/// Hours of the going rate.
const DAY_HOURS: u32 = 24;
/// Hours of history, unless asked for fewer or more: a week.
pub(in crate::web) const HOURS_DEFAULT: u32 = 7 * DAY_HOURS;

/// How much history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct Hours {
    /// The last so many hours, 1 to 672; 168 if absent.
    hours: Option<u32>,
}

/// Show prices
///
/// The formula, the factor on it right now, and what an hour of a core and of a GPU has come to lately.
#[utoipa::path(get, path = "/api/v1/market/prices", tag = "market", params(Hours),
    responses((status = 200, body = GoingRates)))]
pub(in crate::web) async fn show(
    State(site): State<Site>,
    _login: Login,
    Params(Hours { hours }): Params<Hours>,
) -> Result<Json<GoingRates>, WebError> {
    Ok(Json(read_rates(&site, hours.unwrap_or(HOURS_DEFAULT)).await?))
}

/// What work costs, with the history of so many hours, or as many as are allowed.
///
/// # Errors
///
/// `Read`.
pub(in crate::web) async fn read_rates(site: &Site, hours: u32) -> Result<GoingRates, WebError> {
    let hours = hours.clamp(1, PRICE_HOURS_MAX);
    let this_hour = site.clock.now().0 / HOUR_MS;
    let first = |hours: u32| (this_hour + 1).saturating_sub(hours.into());
    let wanted = hours.max(DAY_HOURS);
    let from = first(wanted);
    let stored = site.readers.read(move |reader| reader.prices(from, wanted)).await?;
    let row = |hour: u64, cpu: (Micros, u64), gpu: (Micros, u64)| PriceHour {
        at_ms: hour * HOUR_MS,
        going: Going::of((cpu.0.0, cpu.1), (gpu.0.0, gpu.1)),
    };
    let mut history: Vec<PriceHour> = stored
        .into_iter()
        .map(|hour| {
            let (cpu, gpu) = ((hour.cpu_charged, hour.core_ms), (hour.gpu_charged, hour.gpu_ms));
            row(hour.hour, cpu, gpu)
        })
        .collect();
    history.sort_unstable_by_key(|hour| hour.at_ms);
    let lately = history.iter().filter(|hour| hour.at_ms >= first(DAY_HOURS) * HOUR_MS);
    let day = lately.fold(Going::default(), |sum, hour| sum.and(hour.going));
    history.retain(|hour| hour.at_ms >= first(hours) * HOUR_MS);
    let snapshot = site.engine.snapshot();
    let links = snapshot.workers.iter().filter_map(|worker| worker.link.as_ref());
    let online = links.filter(|link| silent_ms(site, link).is_none()).count();
    Ok(GoingRates {
        formula: terms_of(&site.engine.policy().prices),
        rate_permille: snapshot.rate_permille,
        premium: site.engine.policy().premium,
        tasks_queued: snapshot.tasks_queued,
        workers_online: u32::try_from(online).unwrap_or(u32::MAX),
        day,
        history,
    })
}

/// Prices as they are told.
pub(in crate::web) fn terms_of(prices: &Prices) -> PriceTerms {
    PriceTerms {
        base_micros: prices.base.0,
        core_micros: prices.core.0,
        ram_gib_micros: prices.ram_gib.0,
        gpu_micros: prices.gpu.0,
        minute_micros: prices.minute.0,
        core_minute_micros: prices.core_minute.0,
        ram_gib_minute_micros: prices.ram_gib_minute.0,
        gpu_minute_micros: prices.gpu_minute.0,
        minimum_micros: prices.minimum.0,
    }
}

/// Prices that somebody asks for, once they are checked.
pub(in crate::web) fn prices_of(terms: &PriceTerms) -> Prices {
    Prices {
        base: Micros(terms.base_micros),
        core: Micros(terms.core_micros),
        ram_gib: Micros(terms.ram_gib_micros),
        gpu: Micros(terms.gpu_micros),
        minute: Micros(terms.minute_micros),
        core_minute: Micros(terms.core_minute_micros),
        ram_gib_minute: Micros(terms.ram_gib_minute_micros),
        gpu_minute: Micros(terms.gpu_minute_micros),
        minimum: Micros(terms.minimum_micros),
    }
}

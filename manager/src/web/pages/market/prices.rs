//! What work costs: what was paid lately, how that was before, and the formula.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::rest::market::{GoingRates, PRICE_HOURS_MAX, PriceHour, PriceTerms};
use serde::Deserialize;

use super::chart::steps;
use crate::web::Site;
use crate::web::extract::Params;
use crate::web::market::prices::read_rates;
use crate::web::pages::{Frame, PageError, Visitor};
use crate::web::words::{self, Moment};

const HOUR_MS: u64 = 3_600_000;

/// How far back to look: hours, and words.
const SPANS: [(u32, &str); 3] = [(24, "a day"), (168, "a week"), (PRICE_HOURS_MAX, "four weeks")];

/// One line.
struct Chart {
    title: &'static str,
    series: &'static str,
    line: String,
    max: String,
    /// For those who do not see it.
    words: String,
}

/// An hour in which something was charged.
struct PriceRow {
    at: Moment,
    core_hour: String,
    gpu_hour: String,
    charged: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "market/prices.html")]
pub(in crate::web) struct PricesPage {
    frame: Frame,
    core_hour: String,
    gpu_hour: String,
    rate: String,
    demand: String,
    premium: &'static str,
    spans: [(u32, &'static str); 3],
    chosen: u32,
    charts: Vec<Chart>,
    from: String,
    rows: Vec<PriceRow>,
    formula: String,
    address: String,
}

/// How many hours back.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Wanted {
    hours: Option<u32>,
}

/// `GET /market/prices`.
pub(in crate::web) async fn prices(
    State(site): State<Site>,
    visitor: Visitor,
    Params(Wanted { hours }): Params<Wanted>,
) -> Result<PricesPage, PageError> {
    let frame = visitor.frame.following_grid(&site); // Before reading.
    let chosen = hours.unwrap_or(168).clamp(1, PRICE_HOURS_MAX);
    let rates = read_rates(&site, chosen).await?;
    let now = site.clock.now();
    let charts = charts(&rates.history, chosen, now);
    let premium = match rates.premium {
        true => "The rate rises while more tasks wait than there are machines, up to twofold.",
        false => "",
    };
    Ok(PricesPage {
        frame,
        core_hour: or_dash(rates.day.core_hour_micros),
        gpu_hour: or_dash(rates.day.gpu_hour_micros),
        rate: words::exact_credits(i64::from(rates.rate_permille) * 1000),
        demand: demand(&rates),
        premium,
        spans: SPANS,
        chosen,
        charts,
        from: format!("{} ago", words::span(u64::from(chosen) * HOUR_MS)),
        rows: rates.history.iter().rev().map(|hour| PriceRow::new(hour, now)).collect(),
        formula: formula(&rates.formula),
        address: format!("/market/prices?hours={chosen}"),
    })
}

fn demand(rates: &GoingRates) -> String {
    let tasks = words::counted(rates.tasks_queued, "task waits", "tasks wait");
    let machines = words::counted(rates.workers_online.into(), "machine", "machines");
    format!("{tasks}, and {machines} can take them.")
}

/// A line for each series that has anything.
fn charts(history: &[PriceHour], hours: u32, now: Timestamp) -> Vec<Chart> {
    let cores = of_hours(history, hours, now, |hour| hour.going.core_hour_micros);
    let gpus = of_hours(history, hours, now, |hour| hour.going.gpu_hour_micros);
    let all = [("A core for an hour", "cores", cores), ("A GPU for an hour", "gpus", gpus)];
    all.into_iter()
        .filter_map(|(title, series, values)| Chart::new(title, series, &values))
        .collect()
}

/// A value for each hour up to now, oldest first.
fn of_hours(
    history: &[PriceHour],
    hours: u32,
    now: Timestamp,
    value: impl Fn(&PriceHour) -> Option<i64>,
) -> Vec<Option<i64>> {
    let first = (now.0 / HOUR_MS + 1).saturating_sub(hours.into());
    let mut values = vec![None; usize::try_from(hours).expect("a few hundred")];
    for hour in history {
        let place =
            (hour.at_ms / HOUR_MS).checked_sub(first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = place.and_then(|place| values.get_mut(place)) {
            *slot = value(hour);
        }
    }
    values
}

impl Chart {
    /// Nothing, if there is no value.
    fn new(title: &'static str, series: &'static str, values: &[Option<i64>]) -> Option<Self> {
        let (min, max) = (values.iter().flatten().min()?, values.iter().flatten().max()?);
        let last = values.iter().rev().flatten().next()?;
        let (min, max, last) = (words::credits(*min), words::credits(*max), words::credits(*last));
        let words = format!("{title}: between {min} and {max} credits, lately {last}");
        Some(Self { title, series, line: steps(values), max, words })
    }
}

impl PriceRow {
    fn new(hour: &PriceHour, now: Timestamp) -> Self {
        let charged = hour.going.cpu_charged_micros.saturating_add(hour.going.gpu_charged_micros);
        Self {
            at: Moment::new(hour.at_ms, now),
            core_hour: or_dash(hour.going.core_hour_micros),
            gpu_hour: or_dash(hour.going.gpu_hour_micros),
            charged: words::credits(charged),
        }
    }
}

fn or_dash(micros: Option<i64>) -> String {
    micros.map_or("–".to_owned(), words::credits)
}

/// A price's terms, those that count, in words.
pub(in crate::web::pages) fn formula(terms: &PriceTerms) -> String {
    let counted = [
        (terms.base_micros, ""),
        (terms.core_micros, " a core"),
        (terms.ram_gib_micros, " a GiB"),
        (terms.gpu_micros, " a GPU"),
        (terms.minute_micros, " a minute"),
        (terms.core_minute_micros, " a core and minute"),
        (terms.ram_gib_minute_micros, " a GiB and minute"),
        (terms.gpu_minute_micros, " a GPU and minute"),
    ];
    let parts = counted.iter().filter(|(micros, _)| *micros != 0);
    let parts: Vec<String> =
        parts.map(|(micros, of)| format!("{}{of}", words::exact_credits(*micros))).collect();
    let sum = if parts.is_empty() { "nothing".to_owned() } else { parts.join(" + ") };
    match terms.minimum_micros {
        0 => sum,
        minimum => format!("{sum}, at least {}", words::exact_credits(minimum)),
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::rest::market::{Going, PriceHour, PriceTerms};

    use super::{HOUR_MS, formula, of_hours};

    #[test]
    fn each_hour_has_its_place_and_the_present_one_is_the_last() {
        let hour = |hour: u64, micros| PriceHour {
            at_ms: hour * HOUR_MS,
            going: Going::of((micros, HOUR_MS), (0, 0)),
        };
        let history = [hour(6, 1), hour(8, 2), hour(10, 3)];
        let now = Timestamp(10 * HOUR_MS + 5);
        let cores = of_hours(&history, 4, now, |hour| hour.going.core_hour_micros);
        assert_eq!(cores, [None, Some(2), None, Some(3)]);
        assert_eq!(of_hours(&history, 2, Timestamp(0), |_| Some(1)), [None, None]);
    }

    #[test]
    fn only_what_counts_of_a_price_is_said() {
        let seed = PriceTerms {
            base_micros: 5_000_000,
            core_micros: 2_000_000,
            minute_micros: 1_000_000,
            ..PriceTerms::default()
        };
        let text = formula(&seed);
        assert!(text.contains(" a core + ") && !text.contains("GPU"), "{text}");
        let least = PriceTerms { minimum_micros: 1_000_000, ..PriceTerms::default() };
        assert!(formula(&least).starts_with("nothing, at least 1"), "{}", formula(&least));
    }
}

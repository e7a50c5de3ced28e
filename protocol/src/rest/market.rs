//! The market: jobs that take bids, the bids, and what work costs.

use serde::{Deserialize, Serialize};

use super::workers::Record;
use super::{FieldError, WorkKind, check_range, field};
use crate::resource::{Isolation, Needs, Speed};

/// How soon after it is accepted a bid may say that the task's clock runs. Seconds.
pub const START_WITHIN_MIN_S: u32 = 30;
pub const START_WITHIN_MAX_S: u32 = 24 * 3600;
/// Unless the bid says otherwise. Seconds.
pub const START_WITHIN_S: u32 = 300;
/// The highest price that anybody names: a million credits. Micro-credits.
pub const PRICE_MAX_MICROS: i64 = 1_000_000_000_000;
/// Hours of history that `GET market/prices` gives at most: four weeks.
pub const PRICE_HOURS_MAX: u32 = 28 * 24;

/// How a bid is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SoldBy {
    /// By the submitter, who sees all of them.
    Hand,
    /// By the grid, when the time is over; until then nobody sees any but their own.
    Rule,
}

/// A row of `GET market/jobs`: a job that takes bids.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OpenJob {
    pub job: u64,
    pub name: String,
    pub submitter: String,
    /// Whether it belongs to whoever asks, who cannot bid on it then.
    pub own: bool,
    pub kind: WorkKind,
    pub needs: Needs,
    pub time_limit_s: u32,
    /// What a machine must offer; that of its image is among them.
    pub labels: Vec<String>,
    pub image: Option<String>,
    /// The least confinement that it accepts.
    pub isolation: Isolation,
    pub sold_by: SoldBy,
    /// The most that its submitter pays; absent for everybody else, and where it is sold by hand.
    pub max_price_micros: Option<i64>,
    pub submitted_at_ms: u64,
    /// When the best bid is accepted; absent where it is sold by hand.
    pub closes_at_ms: Option<u64>,
    /// How often it was opened again because an accepted bid failed.
    pub round: u32,
    /// Bids that stand on it; machines that bid by their asks when it closes not included.
    pub bids: u32,
    /// What it would cost by the grid's formula.
    pub formula_micros: i64,
    /// The viewer's machines that could run it when idle, with what each would ask.
    pub machines: Vec<OwnMachine>,
}

/// One of the viewer's machines that could run an open job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OwnMachine {
    pub worker: u64,
    pub name: String,
    /// Its price by its standing ask.
    pub ask_micros: i64,
}

/// How far a job has come that is sold by bids: a part of `GET jobs/{id}` and of `GET jobs/{id}/bids`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobMarket {
    pub sold_by: SoldBy,
    /// As in [`OpenJob`].
    pub max_price_micros: Option<i64>,
    pub close_after_s: Option<u32>,
    /// How often it was opened again because an accepted bid failed.
    pub round: u32,
    /// Whether it takes bids.
    pub open: bool,
    /// Whether nobody is shown any bid but their own: while one sold by rule is open.
    pub sealed: bool,
    pub closes_at_ms: Option<u64>,
    /// Bids that stand.
    pub bids: u32,
    /// The bid that was accepted last, while it holds.
    pub award: Option<Award>,
}

/// A bid that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Award {
    pub worker: u64,
    pub worker_name: String,
    /// Whose machine it is.
    pub owner: String,
    /// What is paid for the whole time limit: what was bid, or what the second best would have had.
    pub price_micros: i64,
    pub start_within_s: u32,
    /// Whether it was the machine's standing ask.
    pub automatic: bool,
    /// By when the task's clock has to run; absent while it does.
    pub start_by_ms: Option<u64>,
}

/// Answers `GET jobs/{id}/bids`: all for its submitter and operators, their own for everybody else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobBids {
    pub job: u64,
    pub name: String,
    /// Whether it belongs to whoever asks.
    pub own: bool,
    pub market: JobMarket,
    /// Those that stand first, by price; then what has become of the others, newest first.
    pub bids: Vec<Bid>,
}

/// What has become of a bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BidState {
    /// It stands.
    Open,
    Accepted,
    /// Another one was accepted.
    Refused,
    Withdrawn,
    /// It was accepted, and the machine has not started in time.
    Failed,
    /// The job has ended otherwise.
    Over,
}

/// A price for a whole job on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Bid {
    pub job: u64,
    pub job_name: String,
    pub round: u32,
    pub worker: u64,
    pub worker_name: String,
    /// Whose machine it is.
    pub owner: String,
    /// Whether the machine belongs to whoever asks.
    pub own: bool,
    /// For the whole time limit. Absent while it is sealed from whoever asks, who does not see either
    /// whose it is then: the machine is 0, and the names are empty.
    pub price_micros: Option<i64>,
    /// What it gets, once it is accepted.
    pub agreed_micros: Option<i64>,
    pub start_within_s: u32,
    /// Whether it was made by the machine's standing ask.
    pub automatic: bool,
    pub at_ms: u64,
    pub state: BidState,
    /// The machine as it stands now; absent when it is gone.
    pub machine: Option<BidMachine>,
}

/// What a submitter wants to know of a machine that bids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BidMachine {
    pub online: bool,
    /// That its owner shares.
    pub cpu_millis: u32,
    pub speed: Option<Speed>,
    /// How reliable it has been, from 0 to 1000.
    pub score_permille: u32,
    /// What that is made of.
    pub record: Record,
    /// When the job would start, if the bid were accepted now; absent where nobody can tell.
    pub start_at_ms: Option<u64>,
    /// When it would be over at the latest.
    pub end_at_ms: Option<u64>,
}

/// `POST jobs/{id}/bids`: places a bid, in place of the machine's one that stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(example = json!({"worker": 3, "price_micros": 12_500_000, "start_within_s": 300}))
)]
#[serde(deny_unknown_fields)]
pub struct PlaceBid {
    pub worker: u64,
    /// For the whole time limit, up to a million credits.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1_000_000_000_000_i64))]
    pub price_micros: i64,
    /// How long after it is accepted the task's clock runs at the latest.
    #[serde(default = "start_within_s")]
    #[cfg_attr(feature = "schema", schema(minimum = 30, maximum = 86_400, default = 300))]
    pub start_within_s: u32,
}

fn start_within_s() -> u32 {
    START_WITHIN_S
}

impl PlaceBid {
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        check_price(&mut errors, "price_micros", self.price_micros, 1);
        let (min, max) = (START_WITHIN_MIN_S, START_WITHIN_MAX_S);
        check_range(&mut errors, "start_within_s", self.start_within_s, min, max);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// `POST jobs/{id}/accept`: accepts the bid of a machine if it still is of this price.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(example = json!({"worker": 3, "price_micros": 12_500_000}))
)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    pub worker: u64,
    pub price_micros: i64,
}

/// The terms of a price: `max(minimum, base + core·cores + ram_gib·GiB + gpu·gpus + minutes · (minute +
/// core_minute·cores + ram_gib_minute·GiB + gpu_minute·gpus))`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PriceTerms {
    /// For each run, whatever it is.
    pub base_micros: i64,
    /// For each core, however long it runs.
    pub core_micros: i64,
    pub ram_gib_micros: i64,
    pub gpu_micros: i64,
    pub minute_micros: i64,
    pub core_minute_micros: i64,
    pub ram_gib_minute_micros: i64,
    pub gpu_minute_micros: i64,
    pub minimum_micros: i64,
}

/// `GET` and `PUT workers/{id}/ask`: an owner's standing price for a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(example = json!({"prices": {"base_micros": 1_000_000, "core_minute_micros": 20_000}, "automatic": true}))
)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The grid's formula, if absent.
    #[serde(default)]
    pub prices: Option<PriceTerms>,
    /// Whether the grid bids with it on open jobs that the machine could run.
    #[serde(default)]
    pub automatic: bool,
}

impl Ask {
    /// Checks each term.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        for (name, micros) in self.prices.iter().flat_map(PriceTerms::named) {
            check_price(&mut errors, &format!("prices.{name}"), micros, 0);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl PriceTerms {
    /// Each term with the name of its field.
    pub fn named(&self) -> [(&'static str, i64); 9] {
        [
            ("base_micros", self.base_micros),
            ("core_micros", self.core_micros),
            ("ram_gib_micros", self.ram_gib_micros),
            ("gpu_micros", self.gpu_micros),
            ("minute_micros", self.minute_micros),
            ("core_minute_micros", self.core_minute_micros),
            ("ram_gib_minute_micros", self.ram_gib_minute_micros),
            ("gpu_minute_micros", self.gpu_minute_micros),
            ("minimum_micros", self.minimum_micros),
        ]
    }
}

/// Answers `GET market/prices`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GoingRates {
    /// The grid's formula.
    pub formula: PriceTerms,
    /// The factor on it right now, in thousandths: what jobs that are submitted now are charged by.
    pub rate_permille: u32,
    /// Whether the factor rises while more tasks wait than there are machines.
    pub premium: bool,
    pub tasks_queued: u64,
    pub workers_online: u32,
    /// What was charged over the last 24 hours.
    pub day: Going,
    /// Hour by hour, oldest first; hours in which nothing was charged are left out.
    pub history: Vec<PriceHour>,
}

/// What was charged in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PriceHour {
    /// When the hour began.
    pub at_ms: u64,
    #[serde(flatten)]
    pub going: Going,
}

/// What was charged, and for how much work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Going {
    /// For work without GPUs.
    pub cpu_charged_micros: i64,
    /// Its cores times its running time.
    pub core_ms: u64,
    /// For work with GPUs, all that it had.
    pub gpu_charged_micros: i64,
    /// Its GPUs times its running time.
    pub gpu_ms: u64,
    /// What an hour of one core came to; absent where none was worked.
    pub core_hour_micros: Option<i64>,
    pub gpu_hour_micros: Option<i64>,
}

impl Going {
    /// What these come to by the hour.
    pub fn of(cpu: (i64, u64), gpu: (i64, u64)) -> Self {
        Self {
            cpu_charged_micros: cpu.0,
            core_ms: cpu.1,
            gpu_charged_micros: gpu.0,
            gpu_ms: gpu.1,
            core_hour_micros: by_the_hour(cpu),
            gpu_hour_micros: by_the_hour(gpu),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::of(
            (
                self.cpu_charged_micros.saturating_add(other.cpu_charged_micros),
                self.core_ms.saturating_add(other.core_ms),
            ),
            (
                self.gpu_charged_micros.saturating_add(other.gpu_charged_micros),
                self.gpu_ms.saturating_add(other.gpu_ms),
            ),
        )
    }
}

fn by_the_hour((charged_micros, ms): (i64, u64)) -> Option<i64> {
    const HOUR_MS: i128 = 3_600_000;
    let micros = (i128::from(charged_micros) * HOUR_MS).checked_div(i128::from(ms))?;
    Some(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Answers `GET jobs/{id}/receipt`: what a job has cost, and for what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Receipt {
    pub job: u64,
    pub name: String,
    pub owner: String,
    pub submitted_at_ms: u64,
    pub ended_at_ms: Option<u64>,
    pub needs: Needs,
    pub time_limit_s: u32,
    pub tasks: u32,
    /// The most that one run of a task costs.
    pub task_micros: i64,
    /// The factor on the grid's formula as it was at submit, in thousandths.
    pub rate_permille: u32,
    pub held_micros: i64,
    pub charged_micros: i64,
    pub refunded_micros: i64,
    /// Runs that were charged for, by index and number.
    pub lines: Vec<ReceiptLine>,
    /// For `?from=`: the index from which on there is more.
    pub next: Option<u64>,
    /// What has gone into the hold and out of it, oldest first; the first 1,000.
    pub transfers: Vec<ReceiptTransfer>,
}

/// A row of the ledger that belongs to a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReceiptTransfer {
    pub transfer: u64,
    pub key: String,
    /// Positive: into the hold.
    pub amount_micros: i64,
    /// A user, or `escrow`, `fee`.
    pub from: String,
    pub to: String,
    pub at_ms: u64,
}

/// What one run of a task has cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReceiptLine {
    /// The task's, as its program sees it.
    pub index: u32,
    pub attempt: u32,
    pub worker: u64,
    pub worker_name: String,
    pub ended_at_ms: Option<u64>,
    pub run_ms: u64,
    /// What was agreed for the whole time limit.
    pub price_micros: i64,
    pub charged_micros: i64,
    /// How it ended, in words; absent while it runs.
    pub outcome: Option<String>,
}

/// A price that somebody names.
pub(super) fn check_price(errors: &mut Vec<FieldError>, name: &str, micros: i64, min: i64) {
    if !(min..=PRICE_MAX_MICROS).contains(&micros) {
        let message = format!("must be {min} to {PRICE_MAX_MICROS} micro-credits, is {micros}");
        errors.push(field(name, &message));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{Ask, Going, PlaceBid, PriceTerms};
    use crate::rest::tests::lines;

    #[test]
    fn a_bid_is_checked() {
        let told = |json: &str| {
            let bid: PlaceBid = serde_json::from_str(json).unwrap();
            bid.check().map_or_else(|errors| lines(&errors), |()| String::new())
        };
        assert_eq!(told(r#"{"worker":1,"price_micros":1}"#), "");
        assert_eq!(told(r#"{"worker":1,"price_micros":1000000000000,"start_within_s":86400}"#), "");
        let wrong = [
            r#"{"worker":1,"price_micros":0}"#,
            r#"{"worker":1,"price_micros":-1,"start_within_s":29}"#,
            r#"{"worker":1,"price_micros":1000000000001,"start_within_s":86401}"#,
        ];
        expect![[r#"
            price_micros: must be 1 to 1000000000000 micro-credits, is 0
            price_micros: must be 1 to 1000000000000 micro-credits, is -1
            start_within_s: must be 30 to 86400, is 29
            price_micros: must be 1 to 1000000000000 micro-credits, is 1000000000001
            start_within_s: must be 30 to 86400, is 86401
        "#]]
        .assert_eq(&wrong.map(told).concat());
        assert!(serde_json::from_str::<PlaceBid>(r#"{"worker":1,"price":1}"#).is_err());
    }

    #[test]
    fn an_ask_may_be_the_formula_or_free_and_never_owes() {
        let check = |ask: Ask| ask.check().map_or_else(|errors| lines(&errors), |()| String::new());
        assert_eq!(check(Ask::default()), "");
        assert_eq!(check(Ask { prices: Some(PriceTerms::default()), automatic: true }), "");
        let prices = PriceTerms {
            core_minute_micros: -1,
            minimum_micros: i64::MAX,
            ..PriceTerms::default()
        };
        expect![[r#"
            prices.core_minute_micros: must be 0 to 1000000000000 micro-credits, is -1
            prices.minimum_micros: must be 0 to 1000000000000 micro-credits, is 9223372036854775807
        "#]]
        .assert_eq(&check(Ask { prices: Some(prices), automatic: false }));
    }

    #[test]
    fn rates_are_by_the_hour_and_add_up() {
        let hour = Going::of((2_000_000, 7_200_000), (0, 0));
        assert_eq!((hour.core_hour_micros, hour.gpu_hour_micros), (Some(1_000_000), None));
        let both = hour.and(Going::of((4_000_000, 3_600_000), (5, 3_600_000)));
        assert_eq!((both.core_hour_micros, both.gpu_hour_micros), (Some(2_000_000), Some(5)));
        assert_eq!(Going::of((i64::MAX, 1), (0, 0)).core_hour_micros, Some(i64::MAX));
    }
}

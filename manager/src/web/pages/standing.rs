//! Who earned how much: the leaderboard, and one's own account.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use campusgrid_core::snapshot::Snapshot;
use campusgrid_protocol::rest::Transfer;

use super::machine::record::score;
use super::{Frame, PageError, Visitor};
use crate::web::credits::{LEADERS_MAX, read_credits, read_transfers};
use crate::web::extract::Params;
use crate::web::jobs::Part;
use crate::web::words::{self, Moment};
use crate::web::{Site, words::exact_credits};

/// A row of the leaderboard.
struct LeaderRow {
    rank: u32,
    user: String,
    earned: String,
    workers: u32,
    /// Of their machines on average; empty without any.
    score: String,
    is_me: bool,
}

#[derive(Template, WebTemplate)]
#[template(path = "leaderboard.html")]
pub(in crate::web) struct LeaderboardPage {
    frame: Frame,
    leaders: Vec<LeaderRow>,
}

/// A row of the ledger, in words.
struct TransferRow {
    at: Moment,
    what: String,
    job: Option<u64>,
    amount: String,
    is_in: bool,
}

#[derive(Template, WebTemplate)]
#[template(path = "credits.html")]
pub(in crate::web) struct CreditsPage {
    frame: Frame,
    balance: String,
    held: String,
    sharing: String,
    using: String,
    rate: String,
    transfers: Vec<TransferRow>,
    next: Option<u64>,
}

/// `GET /leaderboard`.
pub(in crate::web) async fn leaderboard(
    State(site): State<Site>,
    visitor: Visitor,
) -> Result<LeaderboardPage, PageError> {
    let leaders = site.readers.read(|reader| reader.leaderboard(LEADERS_MAX)).await?;
    let me = &visitor.login.user.name;
    let snapshot = site.engine.snapshot();
    let row = |leader: campusgrid_protocol::rest::Leader| LeaderRow {
        rank: leader.rank,
        is_me: leader.user == *me,
        score: mean_score(&snapshot, &leader.user),
        user: leader.user,
        earned: words::credits(leader.sharing_credit_micros),
        workers: leader.workers,
    };
    let leaders = leaders.into_iter().map(row).collect();
    Ok(LeaderboardPage { frame: visitor.frame, leaders })
}

/// How reliable a user's machines have been on average; empty if there are none.
fn mean_score(snapshot: &Snapshot, user: &str) -> String {
    let own = snapshot.workers.iter().filter(|view| view.owner_name == user);
    let (count, sum) =
        own.fold((0, 0), |(count, sum), view| (count + 1, sum + view.score_permille));
    sum.checked_div(count).map(score).unwrap_or_default()
}

/// `GET /credits`.
pub(in crate::web) async fn credits(
    State(site): State<Site>,
    visitor: Visitor,
    Params(part): Params<Part>,
) -> Result<CreditsPage, PageError> {
    let frame = visitor.frame.clone().following_grid(&site); // Before reading.
    let credits = read_credits(&site, visitor.login.id()).await?;
    let transfers = read_transfers(&site, &visitor.login, part).await?;
    let now = site.clock.now();
    Ok(CreditsPage {
        frame,
        balance: words::credits(credits.balance_micros),
        held: words::credits(credits.held_micros),
        sharing: words::credits(credits.sharing_credit_micros),
        using: words::credits(credits.using_credit_micros),
        rate: format!("{}.{:02}", credits.rate_permille / 1000, credits.rate_permille % 1000 / 10),
        transfers: transfers.items.iter().map(|row| TransferRow::new(row, now)).collect(),
        next: transfers.next,
    })
}

impl TransferRow {
    fn new(row: &Transfer, now: campusgrid_core::time::Timestamp) -> Self {
        let (kind, rest) = row.key.split_once(':').unwrap_or((row.key.as_str(), ""));
        let is_in = row.amount_micros >= 0;
        let what = match (kind, is_in) {
            ("grant", _) => "Welcome credits",
            ("hold", _) => "Held for",
            ("refund", _) => "Returned from",
            ("pay", true) => "Earned by running",
            _ => kind,
        };
        let number = rest.split(['.', ':']).next().unwrap_or_default().parse();
        // A machine's owner is paid for jobs that are not theirs to look at.
        let job = number.ok().filter(|_| kind == "hold" || kind == "refund");
        let what = match kind {
            "pay" => format!("{what} task {}", rest.split(':').next().unwrap_or(rest)),
            _ => what.to_owned(),
        };
        let sign = if is_in { "+" } else { "" };
        let amount = format!("{sign}{}", exact_credits(row.amount_micros));
        Self { at: Moment::new(row.at_ms, now), what, job, amount, is_in }
    }
}

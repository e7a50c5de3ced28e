//! The first page: the grid in figures and the newest of one's own jobs.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use campusgrid_protocol::rest::operate::Stats;

use super::jobs::JobRow;
use super::{Frame, PageError, Visitor};
use crate::web::credits::read_stats;
use crate::web::jobs::{JobPart, read_list};
use crate::web::{Site, words};

/// Jobs shown here; all are on a page of their own.
const JOBS_SHOWN: u32 = 8;

#[derive(Template, WebTemplate)]
#[template(path = "overview.html")]
pub(in crate::web) struct OverviewPage {
    frame: Frame,
    stats: Stats,
    cores_free: String,
    cores: String,
    jobs: Vec<JobRow>,
    more: bool,
}

/// `GET /`.
pub(in crate::web) async fn overview(
    State(site): State<Site>,
    visitor: Visitor,
) -> Result<OverviewPage, PageError> {
    let frame = visitor.frame.following_grid(&site); // Before reading: nothing after it is missed.
    let stats = read_stats(&site).await?;
    let page = read_list(&site, visitor.login.viewer(), JobPart::first(JOBS_SHOWN)).await?;
    let now = site.clock.now();
    Ok(OverviewPage {
        frame,
        cores_free: words::cores(stats.cpu_free_millis),
        cores: words::cores(stats.cpu_millis),
        stats,
        jobs: page.items.iter().map(|job| JobRow::new(job, now)).collect(),
        more: page.next.is_some(),
    })
}

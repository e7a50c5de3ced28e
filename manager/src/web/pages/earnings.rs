//! What one's machines have earned.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;

use super::machine::earned::Figures;
use super::{Frame, PageError, Visitor};
use crate::web::workers::earnings::read_earnings;
use crate::web::{Site, words};

/// What one machine has earned.
struct MachineRow {
    worker: u64,
    name: String,
    /// Whether it was taken out.
    removed: bool,
    figures: Figures,
}

#[derive(Template, WebTemplate)]
#[template(path = "earnings.html")]
pub(in crate::web) struct EarningsPage {
    frame: Frame,
    all: Figures,
    machines: Vec<MachineRow>,
}

/// `GET /earnings`.
pub(in crate::web) async fn earnings(
    State(site): State<Site>,
    visitor: Visitor,
) -> Result<EarningsPage, PageError> {
    let frame = visitor.frame.clone().following_grid(&site); // Before reading.
    let earned = read_earnings(&site, &visitor.login).await?;
    let row = |machine: &campusgrid_protocol::rest::workers::MachineEarned| MachineRow {
        worker: machine.worker,
        name: words::visible(&machine.name),
        removed: machine.removed,
        figures: Figures::new(&machine.earned),
    };
    Ok(EarningsPage {
        frame,
        all: Figures::new(&earned.all),
        machines: earned.machines.iter().map(row).collect(),
    })
}

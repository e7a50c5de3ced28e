//! Shows credits, and the rows of the ledger.

use campusgrid_protocol::rest::{Credits, Page, Transfer};

use crate::arguments::account::Credits as Wanted;
use crate::error::CliError;
use crate::screen::Cell;
use crate::session::Session;
use crate::units::{credits, moment, rate};

/// Rows of one request.
const PAGE: u32 = 200;

pub(super) fn show(session: &Session, wanted: &Wanted) -> Result<(), CliError> {
    if let Some(count) = wanted.transfers {
        return transfers(session, count);
    }
    let found: Credits = session.client.get("credits")?;
    session.screen.object(&found);
    session.screen.pairs(&[
        ("balance", credits(found.balance_micros).into()),
        ("held", credits(found.held_micros).into()),
        ("earned", credits(found.sharing_credit_micros).into()),
        ("spent", credits(found.using_credit_micros).into()),
        ("rate", rate(found.rate_permille).into()),
    ]);
    Ok(())
}

fn transfers(session: &Session, count: u32) -> Result<(), CliError> {
    let (mut left, mut before) = (count, String::new());
    let mut rows = Vec::new();
    while left > 0 {
        let path = format!("credits/transfers?limit={}{before}", left.min(PAGE));
        let page: Page<Transfer> = session.client.get(path)?;
        for transfer in &page.items {
            session.screen.object(transfer);
            rows.push(vec![
                Cell::number(transfer.transfer),
                moment(transfer.at_ms).into(),
                Cell::number(credits(transfer.amount_micros)),
                transfer.key.as_str().into(),
            ]);
        }
        left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        let Some(next) = page.next else { break };
        before = format!("&before={next}");
    }
    session.screen.table(&["ROW", "WHEN", "CREDITS", "WHAT"], &rows);
    Ok(())
}

//! A machine's standing price.

use campusgrid_protocol::rest::market::{Ask, PriceTerms};
use ureq::http::Method;

use super::market::formula;
use super::workers::{any_machine, own_machine};
use crate::arguments::market::{self, Switch, Terms};
use crate::error::CliError;
use crate::session::Session;

pub(super) fn ask(session: &Session, wanted: &market::Ask) -> Result<(), CliError> {
    let is_question =
        !wanted.formula && wanted.terms == Terms::default() && wanted.automatic.is_none();
    if is_question {
        // Operators may know those of others.
        let machine = any_machine(session, &wanted.machine)?;
        let found: Ask = session.client.get(format!("workers/{}/ask", machine.worker))?;
        show(session, &found);
        return Ok(());
    }
    let machine = own_machine(session, &wanted.machine)?;
    let path = format!("workers/{}/ask", machine.worker);
    let mut ask: Ask = session.client.get(&*path)?;
    if wanted.formula {
        ask.prices = None;
    }
    if wanted.terms != Terms::default() {
        // What is not said of the first price of one's own is not asked for.
        ask.prices = Some(changed(ask.prices.unwrap_or_default(), &wanted.terms));
    }
    ask.automatic = wanted.automatic.map_or(ask.automatic, Switch::is_on);
    let kept: Ask = session.client.send(Method::PUT, path, &ask, None)?;
    show(session, &kept);
    Ok(())
}

fn changed(from: PriceTerms, terms: &Terms) -> PriceTerms {
    PriceTerms {
        base_micros: terms.start.unwrap_or(from.base_micros),
        core_micros: terms.core.unwrap_or(from.core_micros),
        ram_gib_micros: terms.gib.unwrap_or(from.ram_gib_micros),
        gpu_micros: terms.gpu.unwrap_or(from.gpu_micros),
        minute_micros: terms.minute.unwrap_or(from.minute_micros),
        core_minute_micros: terms.core_minute.unwrap_or(from.core_minute_micros),
        ram_gib_minute_micros: terms.gib_minute.unwrap_or(from.ram_gib_minute_micros),
        gpu_minute_micros: terms.gpu_minute.unwrap_or(from.gpu_minute_micros),
        minimum_micros: terms.minimum.unwrap_or(from.minimum_micros),
    }
}

fn show(session: &Session, ask: &Ask) {
    session.screen.object(ask);
    let price = ask.prices.as_ref().map_or_else(|| "the grid's formula".to_owned(), formula);
    let automatic = if ask.automatic { "bids with it by itself" } else { "does not bid by itself" };
    session.screen.pairs(&[("asks for", price.into()), ("and", automatic.into())]);
}

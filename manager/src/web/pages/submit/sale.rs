//! How a job is sold, as the form has it.

use campusgrid_protocol::rest::market::SoldBy;
use campusgrid_protocol::rest::{FieldError, Submit};

use super::read::{terms, wrong};
use crate::web::pages::form::{Fields, credits};

/// The ways to sell a job: what the form sends, and its words.
pub(super) const SALES: [(&str, &str); 3] = [
    ("formula", "by the grid’s formula (usual)"),
    ("hand", "owners bid, and I accept one of their bids"),
    ("rule", "owners bid under seal, and the grid accepts the best"),
];

/// How long it takes bids, unless the form says otherwise.
const CLOSE_AFTER_S: u32 = 300;

/// How a job is sold.
pub(super) struct SaleRead {
    pub(super) market: Option<SoldBy>,
    pub(super) max_price_micros: Option<i64>,
    pub(super) close_after_s: Option<u32>,
}

/// What the form says; what it hides for other ways to sell a job stays behind.
pub(super) fn read(fields: &Fields, errors: &mut Vec<FieldError>) -> SaleRead {
    let market = match fields.text("market") {
        "hand" => Some(SoldBy::Hand),
        "rule" => Some(SoldBy::Rule),
        "formula" | "" => None,
        _ => {
            errors.push(wrong("market", "must be one of those in the list"));
            None
        }
    };
    if market != Some(SoldBy::Rule) {
        return SaleRead { market, max_price_micros: None, close_after_s: None };
    }
    let max_price_micros = credits::parse(fields.text("max_price"));
    if max_price_micros.is_none() {
        errors.push(wrong("max_price_micros", "must be an amount of credits, such as 20"));
    }
    let close_after_s = terms::number(fields, "close_after_s", errors).or(Some(CLOSE_AFTER_S));
    SaleRead { market, max_price_micros, close_after_s }
}

/// The fields of a form that reads as this request, as far as it is about selling.
pub(super) fn write(fields: &mut Fields, body: &Submit) {
    let market = match body.market {
        None => "formula",
        Some(SoldBy::Hand) => "hand",
        Some(SoldBy::Rule) => "rule",
    };
    fields.set("market", market);
    fields.set("max_price", &credits::write(body.max_price_micros));
    let close_after_s = body.close_after_s.map(|s| s.to_string());
    fields.set("close_after_s", &close_after_s.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::{Fields, read};

    #[test]
    fn what_only_bids_need_stays_behind() {
        let said = |market: &str, max_price: &str| {
            let mut fields = Fields::default();
            for (name, text) in
                [("market", market), ("max_price", max_price), ("close_after_s", "60")]
            {
                fields.set(name, text);
            }
            let mut errors = Vec::new();
            let sale = read(&fields, &mut errors);
            let fields: Vec<String> = errors.into_iter().map(|error| error.field).collect();
            (sale.max_price_micros, sale.close_after_s, fields.join(","))
        };
        assert_eq!(said("formula", "x"), (None, None, String::new()));
        assert_eq!(said("hand", "x"), (None, None, String::new()));
        assert_eq!(said("rule", "20,5"), (Some(20_500_000), Some(60), String::new()));
        assert_eq!(said("rule", ""), (None, Some(60), "max_price_micros".to_owned()));
        assert_eq!(said("auction", ""), (None, None, "market".to_owned()));
    }
}

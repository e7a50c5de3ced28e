//! A machine's standing price as the form on its page has it.

use campusgrid_core::pricing::{Prices, price};
use campusgrid_protocol::resource::Needs;
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::market::{Ask, PriceTerms};

use crate::web::market::prices::prices_of;
use crate::web::pages::form::{Fields, credits};
use crate::web::words;

/// The terms of a price: the names of their fields in the API, and in words.
pub(in crate::web::pages) const TERMS: [(&str, &str); 9] = [
    ("base_micros", "To start"),
    ("minimum_micros", "At least"),
    ("core_minute_micros", "A core, a minute"),
    ("ram_gib_minute_micros", "A GiB, a minute"),
    ("gpu_minute_micros", "A GPU, a minute"),
    ("minute_micros", "A minute"),
    ("core_micros", "A core"),
    ("ram_gib_micros", "A GiB of memory"),
    ("gpu_micros", "A GPU"),
];

/// The form as a request of the API.
///
/// # Errors
///
/// All fields that cannot be read.
pub(super) fn read(fields: &Fields) -> Result<Ask, Vec<FieldError>> {
    let automatic = !fields.text("automatic").is_empty();
    if fields.text("price") != "own" {
        return Ok(Ask { prices: None, automatic });
    }
    let mut errors = Vec::new();
    let mut term = |name: &str| {
        let text = fields.text(name).trim();
        let micros = if text.is_empty() { Some(0) } else { credits::parse(text) };
        micros.unwrap_or_else(|| {
            let message = "must be an amount of credits, such as 0.05".to_owned();
            errors.push(FieldError { field: format!("prices.{name}"), message });
            0
        })
    };
    let prices = PriceTerms {
        base_micros: term("base_micros"),
        core_micros: term("core_micros"),
        ram_gib_micros: term("ram_gib_micros"),
        gpu_micros: term("gpu_micros"),
        minute_micros: term("minute_micros"),
        core_minute_micros: term("core_minute_micros"),
        ram_gib_minute_micros: term("ram_gib_minute_micros"),
        gpu_minute_micros: term("gpu_minute_micros"),
        minimum_micros: term("minimum_micros"),
    };
    if errors.is_empty() { Ok(Ask { prices: Some(prices), automatic }) } else { Err(errors) }
}

/// An ask as the fields of a form that reads as it.
pub(super) fn write(ask: &Ask) -> Fields {
    let mut fields = Fields::default();
    fields.set("price", if ask.prices.is_some() { "own" } else { "formula" });
    fields.set("automatic", if ask.automatic { "on" } else { "" });
    for (name, micros) in ask.prices.iter().flat_map(PriceTerms::named) {
        let micros = Some(micros).filter(|micros| *micros != 0);
        fields.set(name, &credits::write(micros));
    }
    fields
}

/// What a job of usual size costs by an ask and by the formula, in words.
pub(super) fn example(ask: &Ask, formula: &Prices) -> String {
    const RUN_MS: u64 = 600_000;
    let needs =
        Needs { cpu_millis: 1000, ram_mib: 1024, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 };
    let usual = price(formula, &needs, RUN_MS);
    let own = ask.prices.map_or(usual, |terms| price(&prices_of(&terms), &needs, RUN_MS));
    format!(
        "Ten minutes of one core with 1 GiB cost {} here; by the formula {}.",
        words::credits(own.0),
        words::credits(usual.0)
    )
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rest::market::{Ask, PriceTerms};

    use super::{Fields, TERMS, read, write};

    #[test]
    fn what_is_written_reads_as_the_same() {
        let prices = PriceTerms {
            base_micros: 1_000_000,
            core_minute_micros: 20_000,
            minimum_micros: 500_000,
            ..PriceTerms::default()
        };
        for ask in [
            Ask::default(),
            Ask { prices: Some(prices), automatic: true },
            Ask { prices: Some(PriceTerms::default()), automatic: false },
        ] {
            assert_eq!(read(&write(&ask)), Ok(ask));
        }
    }

    #[test]
    fn every_term_has_its_field() {
        let mut named: Vec<&str> = PriceTerms::default().named().map(|(name, _)| name).to_vec();
        let mut shown = TERMS.map(|(name, _)| name).to_vec();
        named.sort_unstable();
        shown.sort_unstable();
        assert_eq!(named, shown);
    }

    #[test]
    fn what_is_no_amount_is_told() {
        let mut fields = Fields::default();
        for (name, text) in [("price", "own"), ("base_micros", "-1"), ("minute_micros", "x")] {
            fields.set(name, text);
        }
        let errors: Vec<String> =
            read(&fields).unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(errors, ["prices.base_micros", "prices.minute_micros"]);
        fields.set("price", "formula");
        assert_eq!(read(&fields), Ok(Ask::default()));
    }
}

//! The terms of a price as a column: nine numbers with commas between them, micro-credits each.

use campusgrid_core::money::Micros;
use campusgrid_core::pricing::Prices;

/// As it is written.
pub(super) fn text(prices: &Prices) -> String {
    let Prices {
        base,
        core,
        ram_gib,
        gpu,
        minute,
        core_minute,
        ram_gib_minute,
        gpu_minute,
        minimum,
    } = prices;
    let all = [base, core, ram_gib, gpu, minute, core_minute, ram_gib_minute, gpu_minute, minimum];
    all.map(|term| term.0.to_string()).join(",")
}

/// As it was written; None for what this program never writes.
pub(super) fn parse(text: &str) -> Option<Prices> {
    let terms: Vec<Micros> =
        text.split(',').map(|term| term.parse().ok().map(Micros)).collect::<Option<_>>()?;
    let [base, core, ram_gib, gpu, minute, core_minute, ram_gib_minute, gpu_minute, minimum] =
        <[Micros; 9]>::try_from(terms).ok()?;
    let prices = Prices {
        base,
        core,
        ram_gib,
        gpu,
        minute,
        core_minute,
        ram_gib_minute,
        gpu_minute,
        minimum,
    };
    Some(prices)
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn terms_are_read_as_they_were_written() {
        let written = "1,2,3,4,5,6,7,8,9223372036854775807";
        assert_eq!(text(&parse(written).unwrap()), written);
        for nonsense in ["", "1,2,3", "1,2,3,4,5,6,7,8,9,10", "1,2,3,4,5,6,7,8,9223372036854775808"]
        {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}

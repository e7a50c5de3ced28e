//! What a machine offers by name, and whether that is what a job requires.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Stands at the end of an offered label for all that go on from there.
const ANY: char = '*';

/// A machine's labels, in an order in which they are quickly found.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// All of them, sorted, each once.
    labels: Vec<String>,
    /// Those that end with `*`, without it.
    beginnings: Vec<String>,
}

impl Offer {
    /// What a machine says that it offers.
    pub fn new(mut labels: Vec<String>) -> Self {
        labels.sort_unstable();
        labels.dedup();
        let beginning = |label: &String| label.strip_suffix(ANY).map(str::to_owned);
        let beginnings = labels.iter().filter_map(beginning).collect();
        Self { labels, beginnings }
    }

    /// The labels as the machine says them, sorted, each once.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Whether one required label is offered, by its name or by its beginning.
    pub fn has(&self, required: &str) -> bool {
        self.labels.binary_search_by(|label| label.as_str().cmp(required)).is_ok()
            || self.beginnings.iter().any(|beginning| required.starts_with(beginning))
    }

    /// Whether all of these are offered.
    pub fn has_all(&self, required: &[String]) -> bool {
        required.iter().all(|required| self.has(required))
    }
}

/// The offers of the machines that are connected, one value for all that offer the same: campus
/// laptops are much alike, and what looks at all of them then looks at each offer once.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    known: BTreeSet<Arc<Offer>>,
    /// How many were in use when those of nobody last went.
    used: usize,
}

/// Offers that are kept before anybody looks for those of nobody.
const OFFERS_MIN: usize = 64;

impl Offers {
    /// Whether some machine may offer all of these.
    pub(crate) fn have_all(&self, required: &[String]) -> bool {
        let mut in_use = self.known.iter().filter(|known| Arc::strong_count(known) > 1);
        required.is_empty() || in_use.any(|offer| offer.has_all(required))
    }

    /// The shared value of an offer.
    pub(crate) fn share(&mut self, offer: Offer) -> Arc<Offer> {
        if let Some(known) = self.known.get(&offer) {
            return Arc::clone(known);
        }
        // A machine may offer something else at every join, so those of machines that have gone go
        // too; half of them at a time, or a campus of machines that all differ would be slow.
        if self.known.len() >= OFFERS_MIN.max(2 * self.used) {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.used = self.known.len();
        }
        let offer = Arc::new(offer);
        self.known.insert(Arc::clone(&offer));
        offer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{OFFERS_MIN, Offer, Offers};

    #[test]
    fn a_label_is_offered_by_name_or_by_its_beginning() {
        let offered = ["python3.12", "image:docker.io/library/*", "R", "R"];
        let offer = Offer::new(offered.map(str::to_owned).to_vec());
        assert_eq!(offer.labels(), ["R", "image:docker.io/library/*", "python3.12"]);
        for (required, is_offered) in [
            ("python3.12", true),
            ("R", true),
            ("image:docker.io/library/gcc@sha256:00", true),
            ("image:docker.io/library/", true),
            ("python3.1", false),
            ("python3.122", false),
            ("r", false),
            ("image:docker.io/lib", false),
            ("image:docker.io/other/gcc@sha256:00", false),
            ("", false),
        ] {
            assert_eq!(offer.has(required), is_offered, "{required}");
        }
        let all = |labels: &[&str]| {
            offer.has_all(&labels.iter().copied().map(str::to_owned).collect::<Vec<_>>())
        };
        assert!(all(&[]) && all(&["R", "python3.12"]) && !all(&["R", "julia"]));
        assert!(!Offer::default().has("R"));
    }

    #[test]
    fn equal_offers_are_one_and_those_of_nobody_go() {
        let of = |label: &str| Offer::new(vec![label.to_owned()]);
        let mut offers = Offers::default();
        let kept = offers.share(of("R"));
        assert!(Arc::ptr_eq(&kept, &offers.share(of("R"))));
        for number in 0..1000 {
            offers.share(of(&format!("python3.{number}")));
            assert!(offers.known.len() <= OFFERS_MIN);
        }
        assert!(Arc::ptr_eq(&kept, &offers.share(of("R"))));
        let has = |offers: &Offers, label: &str| offers.have_all(&[label.to_owned()]);
        assert!(has(&offers, "R") && !has(&offers, "python3.999") && offers.have_all(&[]));
        let many: Vec<_> = (0..1000).map(|number| offers.share(of(&number.to_string()))).collect();
        assert!(offers.known.len() >= many.len());
    }
}

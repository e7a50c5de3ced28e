//! What connected machines offer that a job can require, as suggestions of the form.

use std::collections::BTreeMap;

use campusgrid_core::snapshot::Snapshot;
use campusgrid_protocol::task::LABEL_4;
use campusgrid_protocol::text::{DEFAULT_IMAGE, check_feature, check_image};

use crate::web::pages::form::Fields;

/// The name of a suggestion's field begins so and goes on with the feature.
pub(super) const FEATURE_FIELD: &str = "feature.";

/// Suggestions of each kind at most: machines may offer hundreds.
const SHOWN_MAX: usize = 24;

/// What the form suggests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    /// Those that most machines offer first.
    pub(super) features: Vec<Feature>,
    /// In the form that a job names them.
    pub(super) images: Vec<String>,
    /// Beginnings of the names of images that some machine would fetch.
    pub(super) image_beginnings: Vec<String>,
}

/// A feature to choose.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) machines: u32,
    pub(super) chosen: bool,
}

impl Offers {
    /// What is offered now, and whatever else has been chosen already.
    pub(super) fn of(snapshot: &Snapshot, fields: &Fields) -> Self {
        let links = snapshot.workers.iter().filter_map(|worker| worker.link.as_ref());
        let labels = links.flat_map(|link| link.offer.labels());
        Self::from_labels(labels.map(String::as_str), fields)
    }

    fn from_labels<'a>(labels: impl Iterator<Item = &'a str>, fields: &Fields) -> Self {
        let mut offers = Self::default();
        let mut machines: BTreeMap<&str, u32> = BTreeMap::new();
        for label in labels {
            *machines.entry(label).or_default() += 1;
        }
        let chosen: Vec<&str> = fields.named(FEATURE_FIELD).take(SHOWN_MAX).collect();
        for &name in &chosen {
            machines.entry(name).or_default();
        }
        let mut ranked: Vec<(&str, u32)> = machines.into_iter().collect();
        ranked.sort_by_key(|&(name, machines)| (!chosen.contains(&name), u32::MAX - machines));
        for (label, machines) in ranked {
            // What machines say of themselves is no better than what anybody types.
            match label.strip_prefix("image:") {
                Some(image) => offers.suggest_image(image),
                // Required where it is needed, and nothing that people choose.
                None if label == LABEL_4 => {}
                // With every version of every tool the list would be long; those can be typed.
                None if !chosen.contains(&label) && label.contains('/') => {}
                None if check_feature(label).is_ok() => {
                    let (name, chosen) = (label.to_owned(), chosen.contains(&label));
                    offers.features.push(Feature { name, machines, chosen });
                }
                None => {}
            }
        }
        offers.features.truncate(SHOWN_MAX);
        offers.images.sort_by_key(|image| image != DEFAULT_IMAGE);
        offers.images.truncate(SHOWN_MAX);
        offers.image_beginnings.truncate(SHOWN_MAX);
        offers
    }

    fn suggest_image(&mut self, image: &str) {
        match image.strip_suffix('*') {
            Some(beginning) if !beginning.is_empty() && check_feature(beginning).is_ok() => {
                self.image_beginnings.push(beginning.to_owned());
            }
            Some(_) => {}
            None if check_image(image).is_ok() => self.images.push(image.to_owned()),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FEATURE_FIELD, Feature, Offers, SHOWN_MAX};
    use crate::web::pages::form::Fields;

    fn feature(name: &str, machines: u32, chosen: bool) -> Feature {
        Feature { name: name.to_owned(), machines, chosen }
    }

    #[test]
    fn what_most_machines_offer_comes_first_and_nothing_hostile() {
        let image = format!("docker.io/library/gcc@sha256:{}", "0".repeat(64));
        let of_image = format!("image:{image}");
        let labels = [
            "R",
            "node",
            "R",
            "<script>",
            "a b",
            "x*",
            "\u{202e}",
            "",
            &of_image,
            "image:gcc:latest",
            "image:default",
            "image:ghcr.io/campus/*",
            "image:*",
            "image:<b>*",
        ];
        let offers = Offers::from_labels(labels.into_iter(), &Fields::default());
        assert_eq!(offers.features, [feature("R", 2, false), feature("node", 1, false)]);
        assert_eq!(offers.images, ["default", &image]);
        assert_eq!(offers.image_beginnings, ["ghcr.io/campus/"]);
    }

    #[test]
    fn what_was_chosen_stays_though_nobody_offers_it_now() {
        let mut fields = Fields::default();
        fields.set(&format!("{FEATURE_FIELD}octave"), "on");
        let names: Vec<String> = (0..100).map(|number| format!("f{number}")).collect();
        let offers = Offers::from_labels(names.iter().map(String::as_str), &fields);
        assert_eq!(offers.features.len(), SHOWN_MAX);
        assert_eq!(offers.features[0], feature("octave", 0, true));
    }
}

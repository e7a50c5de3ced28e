//! Two sets of limits that both hold.

use campusgrid_protocol::rules::{Kind, Limits, Whose};

/// What both allow: of each limit the stricter one.
///
/// Where no kind of job is left, `at_once` is 0, since no kinds at all would mean every kind.
pub fn stricter(one: &Limits, other: &Limits) -> Limits {
    let kinds = both_kinds(&one.kinds, &other.kinds);
    let at_once = least(one.at_once, other.at_once);
    Limits {
        cores: least(one.cores, other.cores),
        core_percent: one.core_percent.min(other.core_percent),
        ram_mib: least(one.ram_mib, other.ram_mib),
        disk_mib: least(one.disk_mib, other.disk_mib),
        gpus: least(one.gpus, other.gpus),
        network_kib_s: least(one.network_kib_s, other.network_kib_s),
        at_once: if kinds.is_none() { Some(0) } else { at_once },
        longest_s: least(one.longest_s, other.longest_s),
        whose: both_whose(&one.whose, &other.whose),
        kinds: kinds.unwrap_or_else(|| one.kinds.clone()),
    }
}

/// Whether the two leave no kind of job.
pub(crate) fn leave_no_kind(one: &Limits, other: &Limits) -> bool {
    both_kinds(&one.kinds, &other.kinds).is_none()
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn both_whose(one: &Whose, other: &Whose) -> Whose {
    match (one, other) {
        (Whose::Everyone, whose) | (whose, Whose::Everyone) => whose.clone(),
        (Whose::Mine, Whose::Mine | Whose::Of(_)) | (Whose::Of(_), Whose::Mine) => Whose::Mine,
        (Whose::Of(names), Whose::Of(_)) => {
            let both: Vec<String> =
                names.iter().filter(|name| other.includes(name)).cloned().collect();
            if both.is_empty() { Whose::Mine } else { Whose::Of(both) }
        }
    }
}

/// None, if no kind is left.
fn both_kinds(one: &[Kind], other: &[Kind]) -> Option<Vec<Kind>> {
    if one.is_empty() || other.is_empty() {
        return Some(if one.is_empty() { other.to_vec() } else { one.to_vec() });
    }
    let both: Vec<Kind> = one.iter().filter(|kind| other.contains(kind)).copied().collect();
    (!both.is_empty()).then_some(both)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(names: &[&str]) -> Whose {
        Whose::Of(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn nobody_is_let_in_by_one_whom_the_other_keeps_out() {
        assert_eq!(both_whose(&Whose::Everyone, &of(&["ada"])), of(&["ada"]));
        assert_eq!(both_whose(&of(&["ada", "bob"]), &of(&["bob", "eve"])), of(&["bob"]));
        assert_eq!(both_whose(&of(&["Ada", "bob"]), &of(&["ADA"])), of(&["Ada"]));
        assert_eq!(both_whose(&of(&["ada"]), &of(&["eve"])), Whose::Mine);
        assert_eq!(both_whose(&of(&["ada"]), &Whose::Mine), Whose::Mine);
    }

    #[test]
    fn where_no_kind_is_left_nothing_may_run() {
        let python = Limits { kinds: vec![Kind::Python], ..Limits::default() };
        let c = Limits { kinds: vec![Kind::C, Kind::Shell], ..Limits::default() };
        assert_eq!(stricter(&python, &c).at_once, Some(0));
        assert_eq!(stricter(&python, &Limits::default()), python);
        assert!(leave_no_kind(&c, &python) && !leave_no_kind(&c, &c));
    }

    fn some_limits() -> impl Strategy<Value = Limits> {
        let kinds = proptest::collection::vec(
            prop_oneof![Just(Kind::Python), Just(Kind::C), Just(Kind::Container)],
            0..3,
        );
        let whose =
            prop_oneof![Just(Whose::Everyone), Just(Whose::Mine), Just(of(&["ada", "bob"]))];
        let number = || proptest::option::of(1..9u32);
        (number(), 10..=100u8, number(), number(), kinds, whose).prop_map(
            |(cores, core_percent, at_once, longest_s, kinds, whose)| Limits {
                cores,
                core_percent,
                at_once,
                longest_s,
                kinds,
                whose,
                ..Limits::default()
            },
        )
    }

    proptest! {
        #[test]
        fn more_limits_never_allow_more(one in some_limits(), other in some_limits()) {
            let both = stricter(&one, &other);
            for limits in [&one, &other] {
                prop_assert!(both.cores.unwrap_or(99) <= limits.cores.unwrap_or(99));
                prop_assert!(both.at_once.unwrap_or(99) <= limits.at_once.unwrap_or(99));
                prop_assert!(both.longest_s.unwrap_or(99) <= limits.longest_s.unwrap_or(99));
                prop_assert!(both.core_percent <= limits.core_percent);
                let runs = |kind: &Kind| limits.kinds.is_empty() || limits.kinds.contains(kind);
                prop_assert!(both.at_once == Some(0) || both.kinds.iter().all(runs));
            }
            prop_assert_eq!(stricter(&one, &one).whose, one.whose);
        }
    }
}

//! Patterns of paths, followed part by part while a tree is walked.
//!
//! They are checked by [`campusgrid_protocol::text::check_pattern`]: `*` stands for any characters of a
//! part, `?` for one, and `**` as a part for any parts, or none.

use std::collections::BTreeSet;

const ANY_PARTS: &str = "**";

/// Some patterns, as their parts.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<Vec<String>>);

/// Where patterns stand after the first parts of a path: the number of each pattern that fits so far,
/// and of the part that is next in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing(BTreeSet<(usize, usize)>);

impl Patterns {
    pub(crate) fn new(patterns: &[String]) -> Self {
        let parts = |pattern: &String| pattern.split('/').map(str::to_owned).collect();
        Self(patterns.iter().map(parts).collect())
    }

    /// Before the first part.
    pub(crate) fn start(&self) -> Standing {
        let mut standing = Standing::default();
        (0..self.0.len()).for_each(|pattern| self.enter(pattern, 0, &mut standing));
        standing
    }

    /// After one more part.
    pub(crate) fn after(&self, before: &Standing, name: &str) -> Standing {
        let mut standing = Standing::default();
        for &(pattern, next) in &before.0 {
            match self.0[pattern].get(next) {
                Some(part) if part == ANY_PARTS => self.enter(pattern, next, &mut standing),
                Some(part) if fits(part, name) => self.enter(pattern, next + 1, &mut standing),
                Some(_) | None => {}
            }
        }
        standing
    }

    /// Whether what has these parts is meant.
    pub(crate) fn is_met(&self, standing: &Standing) -> bool {
        standing.0.iter().any(|&(pattern, next)| next == self.0[pattern].len())
    }

    /// Whether something beneath it can be meant.
    pub(crate) fn goes_on(&self, standing: &Standing) -> bool {
        standing.0.iter().any(|&(pattern, next)| next < self.0[pattern].len())
    }

    fn enter(&self, pattern: usize, mut next: usize, standing: &mut Standing) {
        standing.0.insert((pattern, next));
        // It may stand for no part at all.
        while self.0[pattern].get(next).is_some_and(|part| part == ANY_PARTS) {
            next += 1;
            standing.0.insert((pattern, next));
        }
    }
}

/// Whether a name fits a part; in time that grows with the product of their lengths at most.
fn fits(part: &str, name: &str) -> bool {
    let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // The last star, and how far the name had come there: what it stands for can grow.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match part.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&c) if c == '?' || c == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            Some(_) | None => match &mut star {
                Some((place, begun)) => {
                    *begun += 1;
                    (at, in_name) = (*place + 1, *begun);
                }
                None => return false,
            },
        }
    }
    part[at..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a path is meant, and whether something beneath it can be.
    fn check(patterns: &[&str], path: &str, expected: (bool, bool)) {
        let owned: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let patterns = Patterns::new(&owned);
        let mut standing = patterns.start();
        for part in path.split('/') {
            standing = patterns.after(&standing, part);
        }
        let found = (patterns.is_met(&standing), patterns.goes_on(&standing));
        assert_eq!(found, expected, "{owned:?} {path}");
    }

    #[test]
    fn stars_stay_within_a_part() {
        check(&["*.csv"], "a.csv", (true, false));
        check(&["*.csv"], "a.csv.gz", (false, false));
        check(&["*.csv"], "b/a.csv", (false, false));
        check(&["*/*.csv"], "b", (false, true));
        check(&["*/*.csv"], "b/a.csv", (true, false));
        check(&["part-?.b*n"], "part-7.bin", (true, false));
        check(&["part-?.bin"], "part-17.bin", (false, false));
        check(&["a*b*c"], "aXbYbZc", (true, false));
        check(&["*"], ".hidden", (true, false));
        check(&["[a]"], "a", (false, false));
    }

    #[test]
    fn two_stars_are_any_parts_or_none() {
        check(&["**"], "a/b/c", (true, true));
        check(&["a/**"], "a", (true, true));
        check(&["a/**"], "b", (false, false));
        check(&["**/x.txt"], "x.txt", (true, true));
        check(&["**/x.txt"], "a/b/x.txt", (true, true));
        check(&["a/**/b/**/c"], "a/b/c", (true, true));
        check(&["a/**/b/**/c"], "a/c", (false, true));
        check(&["x", "a/*"], "a", (false, true));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(120);
        check(&[&pattern], &"a".repeat(119), (false, false));
        check(
            &[&"**/".repeat(15), "x"].map(|p| p.trim_end_matches('/')),
            "x/x/x/x/x",
            (true, true),
        );
    }
}

//! Which paths a pattern means: those of `check_pattern` in [`crate::text`].

/// Whether a pattern means this path: `*` in a part stands for any characters of it, `?` for one, and
/// `**` as a part for any parts, or none. What is hidden by a dot is meant like anything else.
///
/// Costs at most the product of both lengths, whatever they are.
pub fn matches(pattern: &str, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    // Which beginnings of the path, by their number of parts, are meant by what was read of the pattern.
    let mut reached = vec![false; parts.len() + 1];
    reached[0] = true;
    for wanted in pattern.split('/') {
        if wanted == "**" {
            let first = reached.iter().position(|reached| *reached);
            reached.iter_mut().skip(first.unwrap_or(usize::MAX)).for_each(|it| *it = true);
            continue;
        }
        for at in (0..parts.len()).rev() {
            reached[at + 1] = reached[at] && part_matches(wanted, parts[at]);
        }
        reached[0] = false;
    }
    reached[parts.len()]
}

/// With a single way back, to the last `*`: an earlier one need never take more.
fn part_matches(wanted: &str, part: &str) -> bool {
    let wanted: Vec<char> = wanted.chars().collect();
    let part: Vec<char> = part.chars().collect();
    let (mut w, mut p) = (0, 0);
    let mut back = None;
    while p < part.len() {
        match wanted.get(w) {
            Some('*') => {
                back = Some((w, p));
                w += 1;
            }
            Some(&c) if c == '?' || c == part[p] => {
                w += 1;
                p += 1;
            }
            Some(_) | None => {
                let Some((star, taken)) = back else { return false };
                back = Some((star, taken + 1));
                (w, p) = (star + 1, taken + 1);
            }
        }
    }
    wanted[w..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_mean_what_shells_mean() {
        for (pattern, path, meant) in [
            ("a.csv", "a.csv", true),
            ("a.csv", "b/a.csv", false),
            ("*.csv", "a.csv", true),
            ("*.csv", ".csv", true),
            ("*.csv", "b/a.csv", false),
            ("*", "a/b", false),
            ("job_?.csv", "job_7.csv", true),
            ("job_?.csv", "job_17.csv", false),
            ("?", "ä", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("**", "a", true),
            ("**", "a/b/c", true),
            ("results/**", "results/a/b", true),
            ("results/**", "results", true),
            ("results/**", "result/a", false),
            ("**/*.csv", "a.csv", true),
            ("**/*.csv", "x/y/a.csv", true),
            ("**/*.csv", "x/y/a.txt", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/b/c", false),
            ("a/**/b/**/c", "a/b/x/b/c", true),
            ("**/a", "b/a/b", false),
        ] {
            assert_eq!(matches(pattern, path), meant, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let stars = "a*".repeat(120);
        assert!(!matches(&stars, &("a".repeat(254) + "b/c")));
        let deep = "**/".repeat(16) + "x";
        assert!(!matches(&deep, "y/y/y/y/y/y/y/y/y/y/y/y/y/y/y/y"));
    }
}

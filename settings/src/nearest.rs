//! Which known name a mistyped one was probably meant to be.

/// The known name with the fewest edits from `typed`, if a slip of the hand explains the difference:
/// at most a third of its letters, and at most three.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (edits(typed, name), name))
        .filter(|&(edits, name)| edits <= 3.min(name.chars().count().div_ceil(3)))
        .min()
        .map(|(_, name)| name)
}

/// Letters to insert, delete or replace to turn one text into the other (Levenshtein's distance).
pub(crate) fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[to.len()]
}

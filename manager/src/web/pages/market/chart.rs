//! Prices over time as lines, drawn without a script.

/// Width and height of the picture, and what is left free above and below. Units of its own.
const WIDTH: usize = 1000;
const TOP: i128 = 10;
const BOTTOM: i128 = 290;

/// A step for each value that there is, as a path of SVG: the highest at the top, nothing at the
/// bottom. Empty if there is no value.
pub(super) fn steps(values: &[Option<i64>]) -> String {
    let max = values.iter().flatten().copied().max().unwrap_or(0).max(1);
    let mut path = String::new();
    let mut is_drawing = false;
    for (place, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let y = BOTTOM - i128::from((*value).max(0)) * (BOTTOM - TOP) / i128::from(max);
        let (from, to) = (place * WIDTH / values.len(), (place + 1) * WIDTH / values.len());
        if is_drawing {
            path.push_str(&format!("V{y}H{to}"));
        } else {
            path.push_str(&format!("M{from} {y}H{to}"));
        }
        is_drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn what_is_missing_leaves_a_gap() {
        for (values, path) in [
            (&[][..], ""),
            (&[None, None], ""),
            (&[Some(0)], "M0 290H1000"),
            (&[Some(5)], "M0 10H1000"),
            (&[Some(10), Some(5), None, Some(i64::MIN)], "M0 10H250V150H500M750 290H1000"),
            (&[Some(i64::MAX), None], "M0 10H500"),
        ] {
            assert_eq!(steps(values), path);
        }
    }
}

//! Which part of a file a client asks for. Source: RFC 9110, sections 13.1.5 and 14.

use axum::http::{HeaderMap, Method, header};

/// What is to be sent of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum Asked {
    All,
    /// So many bytes from there on: at least one.
    Part {
        from: u64,
        bytes: u64,
    },
    /// A part that begins behind its end.
    Nothing,
}

/// What a request asks for of something that has so many bytes and goes by this tag, quotes included.
///
/// Several parts at once, and whatever cannot be read, ask for all of it, as the standard lets servers
/// take them.
pub(in crate::web) fn asked(method: &Method, headers: &HeaderMap, tag: &str, size: u64) -> Asked {
    let mut ranges = headers.get_all(header::RANGE).into_iter();
    let (Some(range), None, &Method::GET) = (ranges.next(), ranges.next(), method) else {
        return Asked::All;
    };
    // A part of something else than the client has the beginning of is of no use to it. A time says
    // nothing here: nothing that is sent has one.
    if headers.get(header::IF_RANGE).is_some_and(|known| known != tag) {
        return Asked::All;
    }
    range.to_str().ok().and_then(|range| read(range, size)).unwrap_or(Asked::All)
}

/// `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-HOW_MANY_OF_THE_END`.
fn read(range: &str, size: u64) -> Option<Asked> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    if first.is_empty() {
        let bytes = number(last)?.min(size);
        let part = Asked::Part { from: size - bytes, bytes };
        return Some(if bytes == 0 { Asked::Nothing } else { part });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    if first >= size {
        return Some(Asked::Nothing);
    }
    Some(Asked::Part { from: first, bytes: last.min(size - 1) - first + 1 })
}

/// One that is too large to be a number is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method, header};

    use super::Asked::{All, Nothing, Part};
    use super::asked;

    const TAG: &str = "\"tag\"";

    fn headers(range: &str) -> HeaderMap {
        [(header::RANGE, HeaderValue::from_str(range).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_part_is_asked_for_in_three_ways() {
        for (range, size, expected) in [
            ("bytes=0-4", 10, Part { from: 0, bytes: 5 }),
            ("bytes=0-0", 10, Part { from: 0, bytes: 1 }),
            ("Bytes= 3-", 10, Part { from: 3, bytes: 7 }),
            ("bytes=-3", 10, Part { from: 7, bytes: 3 }),
            ("bytes=-30", 10, Part { from: 0, bytes: 10 }),
            ("bytes=5-99", 10, Part { from: 5, bytes: 5 }),
            ("bytes=9-99999999999999999999999", 10, Part { from: 9, bytes: 1 }),
            ("bytes=0-18446744073709551615", u64::MAX, Part { from: 0, bytes: u64::MAX }),
            ("bytes=10-", 10, Nothing),
            ("bytes=99999999999999999999999-", 10, Nothing),
            ("bytes=-0", 10, Nothing),
            ("bytes=0-", 0, Nothing),
            ("bytes=-5", 0, Nothing),
        ] {
            assert_eq!(asked(&Method::GET, &headers(range), TAG, size), expected, "{range}");
        }
    }

    #[test]
    fn what_cannot_be_read_asks_for_all() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-3",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2,4-5",
            "lines=1-2",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=0x1-2",
        ] {
            assert_eq!(asked(&Method::GET, &headers(range), TAG, 10), All, "{range}");
        }
        assert_eq!(asked(&Method::HEAD, &headers("bytes=0-1"), TAG, 10), All);
        let mut twice = headers("bytes=0-1");
        twice.append(header::RANGE, HeaderValue::from_static("bytes=2-3"));
        assert_eq!(asked(&Method::GET, &twice, TAG, 10), All);
    }

    #[test]
    fn a_part_of_something_else_is_not_sent() {
        for (known, expected) in [
            (TAG, Part { from: 0, bytes: 2 }),
            ("\"other\"", All),
            ("W/\"tag\"", All),
            ("Sun, 06 Nov 1994 08:49:37 GMT", All),
        ] {
            let mut headers = headers("bytes=0-1");
            headers.insert(header::IF_RANGE, HeaderValue::from_str(known).unwrap());
            assert_eq!(asked(&Method::GET, &headers, TAG, 10), expected, "{known}");
        }
    }
}

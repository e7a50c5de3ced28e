//! Logs that are kept: in parts, per run, and followed to their end.

use rusqlite::params;

use super::{database, ended, get, hex, keep, send};
use crate::site::Site;

/// As if the task had run so often, and every time printed this, with so much cut out.
fn print(site: &Site, job: u64, runs: &[&[u8]], cut_bytes: u64) {
    let database = database(site);
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| database.execute(sql, values).unwrap();
    run(
        "INSERT INTO task (job, idx, attempts, tries_left, runs_left, state, ended_at)
            VALUES (?1, 0, ?2, 2, 1, 'cancelled', 1)",
        params![job, runs.len()],
    );
    for (at, content) in runs.iter().enumerate() {
        let blob = keep(site, content);
        run(
            "INSERT INTO log (job, idx, attempt, stream, hash, size, cut_bytes)
                VALUES (?1, 0, ?2, 'stdout', ?3, ?4, ?5)",
            params![job, at + 1, blob.hash.0, blob.size_bytes, cut_bytes],
        );
    }
}

#[test]
fn a_kept_log_comes_in_parts_and_per_run() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = ended(&site, &ada, 1);
    print(&site, job, &[b"first run\n", b"second run\n"], 0);
    let path = format!("/api/v1/jobs/{job}/logs");
    let newest = get(&site, &path, &ada);
    assert_eq!((newest.status, newest.text()), (200, "second run\n"));
    assert_eq!(newest.head.header("etag"), format!("\"{}\"", hex(b"second run\n")));
    assert_eq!(get(&site, &format!("{path}?task=0&attempt=1"), &ada).text(), "first run\n");
    assert_eq!(get(&site, &format!("{path}?attempt=3"), &ada).status, 404);
    assert_eq!(get(&site, &format!("{path}?task=1"), &ada).status, 404);
    assert_eq!(get(&site, &format!("{path}?stream=stderr"), &ada).text(), "");
    let end = send(&site, &format!("GET {path}"), &ada, "Range: bytes=-4\r\n", b"");
    assert_eq!((end.status, end.text()), (206, "run\n"));
}

/// The pieces of a followed log: the id of each event, and its text.
fn followed(site: &Site, token: &str, job: u64, last: &str) -> Vec<(String, String)> {
    let path = format!("/api/v1/jobs/{job}/logs?stream=stdout&follow=true");
    let header = if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
    let (mut found, mut id) = (Vec::new(), String::new());
    for line in site.stream(&path, token, &header) {
        if let Some(found_id) = line.strip_prefix("id: ") {
            found_id.clone_into(&mut id);
        } else if let Some(data) = line.strip_prefix("data: ")
            && let Ok(piece) = serde_json::from_str::<serde_json::Value>(data)
            && let Some(text) = piece["text"].as_str()
        {
            found.push((id.clone(), text.to_owned()));
        }
    }
    found
}

#[test]
fn a_long_log_is_told_in_pieces_and_goes_on_where_it_broke_off() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = ended(&site, &ada, 1);
    let head: String = (0..20_000).map(|line| format!("head {line:05}\n")).collect();
    let tail: String = (0..20_000).map(|line| format!("tail {line:05}\n")).collect();
    let mark = "\n[... 1000000 bytes cut here ...]\n";
    let log = format!("{head}{mark}{tail}");
    print(&site, job, &[log.as_bytes()], 1_000_000);
    let pieces = followed(&site, &ada, job, "");
    assert!(pieces.len() > 10 && pieces.iter().all(|(_, text)| text.len() <= 32 << 10));
    let all: String = pieces.iter().map(|(_, text)| text.as_str()).collect();
    assert!(all == log);
    for at in 0..pieces.len() {
        let rest: String =
            followed(&site, &ada, job, &pieces[at].0).into_iter().map(|(_, text)| text).collect();
        let expected: String = pieces[at + 1..].iter().map(|(_, text)| text.as_str()).collect();
        assert!(rest == expected, "after piece {at}, {}", pieces[at].0);
    }
}

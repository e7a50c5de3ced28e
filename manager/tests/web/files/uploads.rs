//! Files that come whole, or by their hash.

use serde_json::json;

use super::{draft, get, hex, listed, put, send};
use crate::site::Site;

const MIB: u64 = 1 << 20;

#[test]
fn a_file_goes_in_and_comes_out() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let content = b"a,b\n1,2\n";
    let path = "data/gr%C3%B6%C3%9Fe%201.csv";
    let came = put(&site, &ada, (job, path), content);
    assert_eq!(came.status, 201, "{}", came.text());
    let file = &came.value()["files"][0];
    assert_eq!(file["path"], "data/größe 1.csv");
    assert_eq!(
        (file["size_bytes"].as_u64(), file["blake3"].as_str()),
        (Some(8), Some(&*hex(content)))
    );
    assert_eq!(listed(&site, &ada, job), [("data/größe 1.csv".to_owned(), 8)]);
    let back = get(&site, &format!("/api/v1/jobs/{job}/files/{path}"), &ada);
    assert_eq!((back.status, &back.body[..]), (200, &content[..]));
    assert_eq!(back.head.header("etag"), format!("\"{}\"", hex(content)));
    // In its place, another; then none.
    assert_eq!(put(&site, &ada, (job, path), b"").status, 201);
    assert_eq!(listed(&site, &ada, job), [("data/größe 1.csv".to_owned(), 0)]);
    let remove = format!("DELETE /api/v1/jobs/{job}/files/{path}");
    assert_eq!(send(&site, &remove, &ada, "", b"").status, 204);
    assert_eq!(send(&site, &remove, &ada, "", b"").status, 404);
    assert_eq!(listed(&site, &ada, job), []);
}

#[test]
fn what_comes_is_what_was_announced_or_nothing() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let path = |query: &str| format!("PUT /api/v1/jobs/{job}/files/a.txt{query}");
    let right = format!("?blake3={}&executable=true", hex(b"content"));
    assert_eq!(send(&site, &path(&right), &ada, "", b"content").status, 201);
    let wrong = send(&site, &path(&right), &ada, "", b"kontent");
    assert_eq!((wrong.status, &*wrong.code()), (422, "wrong_hash"), "{}", wrong.text());
    for (query, status) in [("?blake3=abc", 422), ("?hash=1", 400), ("?unpack=true", 422)] {
        let refused = send(&site, &path(query), &ada, "", b"content");
        assert_eq!(refused.status, status, "{query}: {}", refused.text());
    }
    let files = get(&site, &format!("/api/v1/jobs/{job}/files"), &ada).value();
    assert_eq!(files["items"][0]["blake3"], hex(b"content"));
    assert_eq!(files["items"][0]["executable"], true);
    for path in ["..%2Fx", "%2Fetc%2Fpasswd", "a//b", "a%00b", "a%5Cb", "./a"] {
        let refused = put(&site, &ada, (job, path), b"x");
        assert!([404, 422].contains(&refused.status), "{path}: {}", refused.text());
    }
    assert_eq!(put(&site, &ada, (job, "a.txt/b"), b"x").code(), "path_taken");
    assert_eq!(listed(&site, &ada, job).len(), 1);
}

#[test]
fn a_client_that_breaks_off_leaves_nothing() {
    use std::io::Write;
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let mut connection = site.connect();
    let head = format!(
        "PUT /api/v1/jobs/{job}/files/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada}\r\n\
         Content-Length: 5000000\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&[7; 2_000_000]).unwrap();
    drop(connection);
    let unfinished = site.directory.join("blobs/unfinished");
    while std::fs::read_dir(&unfinished).unwrap().count() > 0 {
        assert_eq!(listed(&site, &ada, job), []);
    }
    assert_eq!(listed(&site, &ada, job), []);
}

#[test]
fn nobody_gets_at_what_others_have_by_its_hash() {
    let site = Site::start();
    let (ada, bob) = (site.register("ada"), site.register("bob"));
    let (own, other) = (draft(&site, &ada), draft(&site, &bob));
    assert_eq!(put(&site, &ada, (own, "secret"), b"secret").status, 201);
    let attach = |job: u64, size_bytes: u64| {
        let line = format!("POST /api/v1/jobs/{job}/files");
        (line, json!({"path": "b", "blake3": hex(b"secret"), "size_bytes": size_bytes}))
    };
    let ask = |job, size, token: &str| {
        let (line, body) = attach(job, size);
        site.json(&line, token, &body)
    };
    let taken = ask(own, 6, &ada);
    assert_eq!(taken.status, 201, "{}", taken.body);
    assert_eq!(listed(&site, &ada, own).len(), 2);
    for (job, size, token) in [(other, 6, &bob), (own, 7, &ada)] {
        let refused = ask(job, size, token);
        assert_eq!((refused.status, &*refused.code()), (409, "upload_needed"), "{}", refused.body);
    }
    // Also where the content has gone from the disk, whatever the rows say.
    let blob = super::keep(&site, b"secret");
    std::fs::remove_file(site.blobs.path(blob.hash)).unwrap();
    assert_eq!(ask(own, 6, &ada).code(), "upload_needed");
}

#[test]
fn others_drafts_and_launched_jobs_take_nothing() {
    let site = Site::start();
    let (ada, bob) = (site.register("ada"), site.register("bob"));
    let job = draft(&site, &ada);
    let headers = "Upload-Offset: 0\r\nUpload-Length: 1\r\n";
    let ways = |job: u64| {
        [
            (format!("PUT /api/v1/jobs/{job}/files/a"), "", &b"x"[..]),
            (format!("PATCH /api/v1/jobs/{job}/uploads/a"), headers, b"x"),
        ]
    };
    for (line, headers, body) in ways(job) {
        assert_eq!(send(&site, &line, &bob, headers, body).status, 404, "{line}");
    }
    assert_eq!(put(&site, &ada, (job, "a"), b"x").status, 201);
    let launch =
        site.ask(&format!("POST /api/v1/jobs/{job}/launch"), &crate::site::bearer(&ada), "");
    assert_eq!(launch.status, 201, "{}", launch.body);
    for (line, headers, body) in ways(job) {
        let refused = send(&site, &line, &ada, headers, body);
        assert_eq!((refused.status, &*refused.code()), (409, "launched"), "{line}");
    }
    assert_eq!(listed(&site, &ada, job), [("a".to_owned(), 1)], "what a launched job brings stays");
    for path in [format!("/api/v1/jobs/{job}/files"), format!("/api/v1/jobs/{job}/files/a")] {
        assert_eq!(get(&site, &path, &bob).status, 404);
    }
}

#[test]
fn nobody_takes_more_than_their_share() {
    let site = Site::start_with(|config| {
        config.web.files.file_max_bytes = 2 * MIB;
        config.web.files.storage_max_bytes = 3 * MIB;
    });
    let (ada, bob) = (site.register("ada"), site.register("bob"));
    let job = draft(&site, &ada);
    let large = vec![1; usize::try_from(2 * MIB + 1).unwrap()];
    let refused = put(&site, &ada, (job, "a"), &large);
    assert_eq!((refused.status, &*refused.code()), (413, "file_too_large"));
    assert_eq!(put(&site, &ada, (job, "a"), &large[1..]).status, 201);
    let refused = put(&site, &ada, (job, "b"), &large[1..]);
    assert_eq!((refused.status, &*refused.code()), (409, "storage_full"), "{}", refused.text());
    // Without an announced length, it is found out on the way.
    let line = format!("PUT /api/v1/jobs/{job}/files/b");
    let mut chunked = format!("{:x}\r\n", large.len() - 1).into_bytes();
    chunked.extend_from_slice(&large[1..]);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let refused = raw_chunked(&site, &line, &ada, &chunked);
    assert!(refused.starts_with("HTTP/1.1 409") && refused.contains("storage_full"), "{refused}");
    // Begun uploads count as well, and so do archives that unpack to more.
    let headers = format!("Upload-Offset: 0\r\nUpload-Length: {}\r\n", MIB + 1);
    let begin = format!("PATCH /api/v1/jobs/{job}/uploads/c");
    assert_eq!(send(&site, &begin, &ada, &headers, b"").code(), "storage_full");
    let headers = format!("Upload-Offset: 0\r\nUpload-Length: {MIB}\r\n");
    assert_eq!(send(&site, &begin, &ada, &headers, b"").status, 200);
    assert_eq!(put(&site, &ada, (job, "d"), b"x").code(), "storage_full");
    let limits = get(&site, "/api/v1/limits", &ada).value();
    assert_eq!(limits["file_max_bytes"], 2 * MIB);
    assert_eq!(
        (&limits["storage_max_bytes"], &limits["storage_used_bytes"]),
        (&json!(3 * MIB), &json!(2 * MIB))
    );
    assert_eq!((&limits["piece_max_bytes"], &limits["keep_days"]), (&json!(64 * MIB), &json!(30)));
    let other = draft(&site, &bob);
    assert_eq!(put(&site, &bob, (other, "a"), &large[1..]).status, 201, "another's share");
    assert_eq!(get(&site, "/api/v1/limits", &bob).value()["storage_used_bytes"], 2 * MIB);
}

#[test]
fn what_is_replaced_time_and_again_has_a_bound() {
    let site = Site::start_with(|config| config.web.files.storage_max_bytes = 100_000);
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    for number in 0..5 {
        let came = put(&site, &ada, (job, "a"), &[number; 40_000]);
        assert_eq!(came.status, 201, "{number}: {}", came.text());
    }
    let blobs = || walk(&site.directory.join("blobs"));
    let before = blobs();
    let tar = [0; 1024];
    let headers = "Upload-Offset: 0\r\nUpload-Length: 1024\r\n";
    let pieces = format!("PATCH /api/v1/jobs/{job}/uploads/a");
    for refused in
        [put(&site, &ada, (job, "a"), &[5; 40_000]), send(&site, &pieces, &ada, headers, &tar)]
    {
        assert_eq!((refused.status, &*refused.code()), (409, "storage_full"));
        assert!(refused.text().contains("within two days"), "{}", refused.text());
    }
    // What an archive holds counts, and not the archive.
    let came = put(&site, &ada, (job, "in.tar?unpack=true"), &tar);
    assert_eq!(came.status, 201, "{}", came.text());
    let limits = get(&site, "/api/v1/limits", &ada).value();
    assert_eq!(limits["storage_used_bytes"], 40_000);
    assert_eq!(blobs(), before + 2, "an upload in pieces, which can be ended later, and its note");
}

/// How many files lie beneath a directory.
fn walk(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

fn raw_chunked(site: &Site, line: &str, token: &str, body: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut connection = site.connect();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    drop(connection.write_all(body)); // It may be refused on the way.
    let mut answer = Vec::new();
    drop(connection.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

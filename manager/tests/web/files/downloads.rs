//! What tasks have left: in parts, not again, and all of it as an archive.

use std::io::Cursor;

use campusgrid_manager::archive::{self, Kind, Limits, Part};

use super::{Got, ended, get, hex, leave, send};
use crate::site::Site;

fn with(site: &Site, path: &str, token: &str, headers: &str) -> Got {
    send(site, &format!("GET {path}"), token, headers, b"")
}

#[test]
fn an_output_comes_in_parts_and_not_again() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = ended(&site, &ada, 1);
    leave(&site, job, 0, "out/a.txt", b"0123456789");
    let path = format!("/api/v1/jobs/{job}/outputs/0/out/a.txt");
    let tag = format!("\"{}\"", hex(b"0123456789"));
    let all = get(&site, &path, &ada);
    assert_eq!((all.status, &all.body[..]), (200, &b"0123456789"[..]));
    assert_eq!((all.head.header("etag"), all.head.header("accept-ranges")), (&*tag, "bytes"));
    assert_eq!(all.head.header("content-length"), "10");
    for (range, part, told) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
    ] {
        let got = with(&site, &path, &ada, &format!("Range: {range}\r\nIf-Range: {tag}\r\n"));
        assert_eq!((got.status, got.text()), (206, part));
        assert_eq!(got.head.header("content-range"), told);
        let changed = with(&site, &path, &ada, &format!("Range: {range}\r\nIf-Range: \"x\"\r\n"));
        assert_eq!((changed.status, changed.text()), (200, "0123456789"));
    }
    let beyond = with(&site, &path, &ada, "Range: bytes=10-\r\n");
    assert_eq!((beyond.status, &*beyond.code()), (416, "part_missing"));
    assert_eq!(beyond.head.header("content-range"), "bytes */10");
    let several = with(&site, &path, &ada, "Range: bytes=0-1,3-4\r\n");
    assert_eq!((several.status, several.text()), (200, "0123456789"));
    for known in [&*tag, "*", &format!("\"x\", W/{tag}")] {
        let got = with(&site, &path, &ada, &format!("If-None-Match: {known}\r\n"));
        assert_eq!((got.status, got.text()), (304, ""), "{known}");
        assert_eq!(got.head.header("etag"), tag);
    }
    let head = send(&site, &format!("HEAD {path}"), &ada, "Range: bytes=2-4\r\n", b"");
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!((head.head.header("content-length"), head.head.header("etag")), ("10", &*tag));
    let bob = site.register("bob");
    assert_eq!(get(&site, &path, &bob).status, 404);
}

/// The names and contents of a zip.
fn unzip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let limits = Limits { files: 1000, file_bytes: 1 << 30, all_bytes: 1 << 30 };
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    archive::read(Kind::Zip, Cursor::new(bytes), limits, |part| -> Result<(), ()> {
        match part {
            Part::File { path, .. } => found.push((path, Vec::new())),
            Part::Data(piece) => found.last_mut().unwrap().1.extend_from_slice(piece),
            Part::End => {}
        }
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn outputs_come_as_one_archive() {
    let site = Site::start();
    let ada = site.register("ada");
    let large: Vec<u8> = (0..700_000_u32).map(|at| (at % 251) as u8).collect();
    let single = ended(&site, &ada, 1);
    leave(&site, single, 0, "a/large.bin", &large);
    leave(&site, single, 0, "b.csv", b"1,2\n");
    leave(&site, single, 0, "empty", b"");
    let zip = get(&site, &format!("/api/v1/jobs/{single}/outputs.zip"), &ada);
    assert_eq!((zip.status, zip.head.header("content-type")), (200, "application/zip"));
    assert!(zip.head.header("content-disposition").contains(&format!("job-{single}.zip")));
    let found = unzip(&zip.body);
    let names: Vec<_> = found.iter().map(|(name, content)| (&**name, content.len())).collect();
    assert_eq!(names, [("a/large.bin", 700_000), ("b.csv", 4), ("empty", 0)]);
    assert!(found[0].1 == large);
    let many = ended(&site, &ada, 4);
    for index in 0..4 {
        leave(&site, many, index, "job.csv", format!("{index}\n").as_bytes());
        leave(&site, many, index, "log/x.txt", b"x");
    }
    let ask = |query: &str| {
        let zip = get(&site, &format!("/api/v1/jobs/{many}/outputs.zip{query}"), &ada);
        assert_eq!(zip.status, 200, "{}", zip.text());
        unzip(&zip.body)
    };
    assert_eq!(ask("").len(), 8);
    let csv = ask("?pattern=*.csv");
    assert_eq!((csv.len(), &csv[2]), (4, &("2/job.csv".to_owned(), b"2\n".to_vec())));
    let of_task = ask("?task=3");
    assert_eq!(of_task[0], ("3/job.csv".to_owned(), b"3\n".to_vec()));
    assert_eq!(
        (of_task.len(), ask("?task=3&pattern=**/x.txt").len(), ask("?task=99").len()),
        (2, 1, 0)
    );
    let refused = get(&site, &format!("/api/v1/jobs/{many}/outputs.zip?pattern=../x"), &ada);
    assert_eq!(refused.status, 422);
    let bob = site.register("bob");
    assert_eq!(get(&site, &format!("/api/v1/jobs/{many}/outputs.zip"), &bob).status, 404);
}

/// An archive that cannot be finished must not look like one that is.
#[test]
fn an_archive_that_breaks_off_is_no_archive() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = ended(&site, &ada, 1);
    leave(&site, job, 0, "a", b"here");
    leave(&site, job, 0, "b", b"gone");
    let gone = super::keep(&site, b"gone");
    std::fs::remove_file(site.blobs.path(gone.hash)).unwrap();
    let raw = site.raw(&format!(
        "GET /api/v1/jobs/{job}/outputs.zip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
        crate::site::bearer(&ada)
    ));
    assert_eq!(raw.status, 200);
    assert!(raw.body.contains("here") && !raw.body.ends_with("0\r\n\r\n"), "{}", raw.body);
}

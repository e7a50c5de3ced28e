//! Uploads in pieces, which go on after whatever has broken off.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::{Got, draft, get, hex, listed, send};
use crate::site::Site;

/// Sends a piece of an upload of this size.
fn piece(
    site: &Site,
    token: &str,
    (job, path): (u64, &str),
    (offset, size): (u64, u64),
    body: &[u8],
) -> Got {
    let line = format!("PATCH /api/v1/jobs/{job}/uploads/{path}");
    let headers = format!("Upload-Offset: {offset}\r\nUpload-Length: {size}\r\n");
    send(site, &line, token, &headers, body)
}

fn content(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn pieces_become_a_file() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let content = content(3_000_000);
    let size = content.len() as u64;
    let path = format!("in/large.bin?blake3={}&executable=true", hex(&content));
    let place = (job, path.as_str());
    let (first, rest) = content.split_at(1_234_567);
    let answer = piece(&site, &ada, place, (0, size), first);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = json!({"path": "in/large.bin", "offset_bytes": 1_234_567, "size_bytes": size});
    assert_eq!(answer.value(), told);
    let upload = format!("/api/v1/jobs/{job}/uploads/in/large.bin");
    assert_eq!(get(&site, &upload, &ada).value(), told);
    assert_eq!(listed(&site, &ada, job), []);
    // A piece that comes twice, or from elsewhere, is told where to go on.
    for offset in [0, 1_000_000, 2_000_000] {
        let wrong = piece(&site, &ada, place, (offset, size), rest);
        assert_eq!((wrong.status, &*wrong.code()), (409, "upload_offset"));
        assert_eq!(wrong.value()["error"]["offset_bytes"], 1_234_567);
    }
    let last = piece(&site, &ada, place, (1_234_567, size), rest);
    assert_eq!(last.status, 201, "{}", last.text());
    let file = &last.value()["files"][0];
    assert_eq!((&file["blake3"], &file["executable"]), (&json!(hex(&content)), &json!(true)));
    assert_eq!(get(&site, &upload, &ada).status, 404, "it is over");
    let back = get(&site, &format!("/api/v1/jobs/{job}/files/in/large.bin"), &ada);
    assert!(back.body == content);
    // Whoever did not hear that it is over learns so.
    let again = piece(&site, &ada, place, (size, size), b"");
    assert_eq!((again.status, &again.value()["error"]["offset_bytes"]), (409, &json!(0)));
}

#[test]
fn an_upload_outlasts_the_manager() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let content = content(2_000_000);
    let size = content.len() as u64;
    let path = format!("a?blake3={}", hex(&content));
    let place = (job, path.as_str());
    assert_eq!(piece(&site, &ada, place, (0, size), &content[..1_500_000]).status, 200);
    let site = site.again();
    let upload = get(&site, &format!("/api/v1/jobs/{job}/uploads/a"), &ada).value();
    assert_eq!(upload["offset_bytes"], 1_500_000);
    let last = piece(&site, &ada, place, (1_500_000, size), &content[1_500_000..]);
    assert_eq!(last.status, 201, "{}", last.text());
    assert_eq!(listed(&site, &ada, job), [("a".to_owned(), size)]);
}

/// What has come of the only upload, written or not promised yet.
fn uploaded_bytes(site: &Site) -> u64 {
    let folders = std::fs::read_dir(site.directory.join("blobs/uploads")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let parts = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension() == Some("part".as_ref()));
    parts.map(|path| std::fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn what_came_before_a_connection_broke_is_kept() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let content = content(3_000_000);
    let size = content.len() as u64;
    let mut connection = site.connect();
    let head = format!(
        "PATCH /api/v1/jobs/{job}/uploads/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada}\r\n\
         Upload-Offset: 0\r\nUpload-Length: {size}\r\nContent-Length: {size}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&content[..2_000_000]).unwrap();
    // The connection stays open and says no more, as one does whose other end is gone: whoever comes
    // back need not wait for it, and goes on behind what has come.
    // It is waited on meanwhile, since to look at the disk all the time takes the processor from the
    // manager, which may wait long for a sync.
    connection.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while uploaded_bytes(&site) < 1_000_000 {
        assert!(connection.peek(&mut [0]).is_err(), "nothing is said on it");
    }
    let answer = piece(&site, &ada, (job, "a"), (1, size), b"");
    assert_eq!(answer.code(), "upload_offset", "{}", answer.text());
    let came = answer.value()["error"]["offset_bytes"].as_u64().unwrap();
    let came = usize::try_from(came).unwrap();
    assert!(came >= 1_000_000);
    assert!(came <= 2_000_000);
    let last = piece(&site, &ada, (job, "a"), (came as u64, size), &content[came..]);
    assert_eq!(last.status, 201, "{}", last.text());
    assert_eq!(last.value()["files"][0]["blake3"], hex(&content));
    drop(connection);
}

#[test]
fn pieces_that_lie_come_to_nothing() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let wrong = format!("a?blake3={}", hex(b"other"));
    let refused = piece(&site, &ada, (job, &wrong), (0, 7), b"content");
    assert_eq!((refused.status, &*refused.code()), (422, "wrong_hash"));
    let upload = format!("/api/v1/jobs/{job}/uploads/a");
    assert_eq!(get(&site, &upload, &ada).status, 404, "no piece can mend it");
    let long = piece(&site, &ada, (job, "a"), (0, 7), b"contents");
    assert_eq!(long.status, 422, "{}", long.text());
    for headers in ["", "Upload-Offset: 0\r\n", "Upload-Offset: x\r\nUpload-Length: 1\r\n"] {
        let line = format!("PATCH {upload}");
        assert_eq!(send(&site, &line, &ada, headers, b"").status, 422, "{headers}");
    }
    let headers = "Upload-Offset: 0\r\nUpload-Length: 99999999999999\r\n";
    let refused = send(&site, &format!("PATCH {upload}"), &ada, headers, b"");
    assert_eq!((refused.status, &*refused.code()), (413, "file_too_large"));
    // Another file under that path begins anew; who was at the first one is told.
    assert_eq!(piece(&site, &ada, (job, "a"), (0, 7), b"con").status, 200);
    assert_eq!(piece(&site, &ada, (job, "a"), (0, 8), b"con").status, 200);
    let replaced = piece(&site, &ada, (job, "a"), (3, 7), b"tent");
    assert_eq!((replaced.status, &*replaced.code()), (409, "upload_replaced"));
    let discard = format!("DELETE {upload}");
    assert_eq!(send(&site, &discard, &ada, "", b"").status, 204);
    assert_eq!(send(&site, &discard, &ada, "", b"").status, 404);
    assert_eq!(listed(&site, &ada, job), []);
    // An empty file is one piece.
    assert_eq!(piece(&site, &ada, (job, "empty"), (0, 0), b"").status, 201);
}

#[test]
fn two_at_once_come_to_one_of_both() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let contents = [vec![1_u8; 3_000_000], vec![2; 3_000_000]];
    let upload = |content: &[u8]| {
        let (mut offset, size) = (0, content.len() as u64);
        let path = format!("a?blake3={}", hex(content));
        loop {
            let from = usize::try_from(offset).unwrap();
            let until = content.len().min(from + 500_000);
            let answer = piece(&site, &ada, (job, &path), (offset, size), &content[from..until]);
            match (answer.status, answer.code().as_str()) {
                (201, _) => return true,
                (200, _) => offset = until as u64,
                (409, "upload_offset") => {
                    offset = answer.value()["error"]["offset_bytes"].as_u64().unwrap();
                }
                (409, "upload_replaced") => return false,
                (status, code) => panic!("{status} {code}"),
            }
        }
    };
    let ended = std::thread::scope(|scope| {
        let both = [0, 1].map(|at| {
            scope.spawn({
                let upload = &upload;
                let content = &contents[at];
                move || upload(content)
            })
        });
        both.map(|one| one.join().unwrap())
    });
    assert!(ended.contains(&true) || listed(&site, &ada, job).is_empty());
    let got = get(&site, &format!("/api/v1/jobs/{job}/files/a"), &ada);
    assert!(got.status == 404 || contents.contains(&got.body));
}

//! Files in and out over HTTP: uploads whole and in pieces, archives, downloads in parts, archives of
//! outputs, logs, and what goes when.

mod archives;
mod downloads;
mod forms;
mod logs;
mod pieces;
mod retention;
mod uploads;

use std::io::{Read, Write};

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::task::BlobRef;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::site::{Answer, Site, bearer};

/// An answer with a body that may be anything.
struct Got {
    status: u16,
    head: Answer,
    body: Vec<u8>,
}

impl Got {
    fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn code(&self) -> String {
        self.value()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends a request with this body; `headers` are lines.
fn send(site: &Site, line: &str, token: &str, headers: &str, body: &[u8]) -> Got {
    let mut connection = site.connect();
    let (host, length, bearer) = (site.address, body.len(), bearer(token));
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {bearer}{headers}\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    // Whoever is refused early need not be listened to until the end.
    drop(connection.write_all(body));
    let mut bytes = Vec::new();
    drop(connection.read_to_end(&mut bytes));
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = Answer::parse(&String::from_utf8_lossy(&bytes[..split + 4]));
    let body = bytes.split_off(split + 4);
    let chunked = head.header("transfer-encoding") == "chunked";
    let body = if chunked { dechunked(&body) } else { body };
    Got { status: head.status, head, body }
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
}

fn get(site: &Site, path: &str, token: &str) -> Got {
    send(site, &format!("GET {path}"), token, "", b"")
}

fn draft(site: &Site, token: &str) -> u64 {
    let body = json!({"kind": "shell", "source": "true", "draft": true});
    let answer = site.json("POST /api/v1/jobs", token, &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.value()["job"].as_u64().unwrap()
}

fn put(site: &Site, token: &str, (job, path): (u64, &str), content: &[u8]) -> Got {
    send(site, &format!("PUT /api/v1/jobs/{job}/files/{path}"), token, "", content)
}

/// The paths of a job's files, with their sizes.
fn listed(site: &Site, token: &str, job: u64) -> Vec<(String, u64)> {
    let got = get(site, &format!("/api/v1/jobs/{job}/files"), token);
    assert_eq!(got.status, 200, "{}", got.text());
    let items = got.value()["items"].as_array().unwrap().clone();
    items
        .iter()
        .map(|it| (it["path"].as_str().unwrap().to_owned(), it["size_bytes"].as_u64().unwrap()))
        .collect()
}

fn hex(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

fn keep(site: &Site, content: &[u8]) -> BlobRef {
    let blob = site.blobs.keep(content).unwrap();
    assert_eq!(blob.hash, BlobHash(*blake3::hash(content).as_bytes()));
    blob
}

/// The database as the engine has it; what is written here it does not know of.
fn database(site: &Site) -> Connection {
    let database = Connection::open(site.directory.join("campusgrid.sqlite")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    database.pragma_update(None, "foreign_keys", "OFF").unwrap();
    database
}

/// A job of so many tasks that has ended.
fn ended(site: &Site, token: &str, tasks: u32) -> u64 {
    let body = json!({"kind": "shell", "source": "true", "tasks": tasks});
    let answer = site.json("POST /api/v1/jobs", token, &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let job = answer.value()["job"].as_u64().unwrap();
    let cancel = format!("POST /api/v1/jobs/{job}/cancel");
    assert_eq!(site.ask(&cancel, &bearer(token), "").status, 204);
    job
}

/// As if the task had left this.
fn leave(site: &Site, job: u64, index: u32, path: &str, content: &[u8]) {
    let blob = keep(site, content);
    let insert = "INSERT INTO output (job, idx, path, hash, size) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![job, index, path, blob.hash.0, blob.size_bytes];
    database(site).execute(insert, values).unwrap();
}

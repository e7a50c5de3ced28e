//! A job whose log, outputs and packages are made to trick whoever looks at them.

use campusgrid_manager::blobs::Blobs;
use campusgrid_protocol::id::{BlobHash, WorkerId};
use campusgrid_protocol::task::BlobRef;
use rusqlite::{Connection, params};
use serde_json::json;

use crate::site::Site;

/// In everything that only its owner may see.
pub(crate) const SECRET: &str = "tHe-sEcReT";

/// What a terminal or a browser would make something of, and bytes that are no text at all.
pub(crate) const LOG: &[u8] =
    b"tHe-sEcReT \x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b[0m \x9b31m \xc2\x9b31m\r\n\
    <script>alert(1)</script><img src=x onerror=alert(1)> &amp; \"quoted\"\x00\x08\x7f\n\
    10 %\r20 %\r\ntxt.\xe2\x80\xaeexe\xe2\x80\x8b \xff\xfe\xc0\xaf end\n";

/// Good as a path, and made to be taken for another.
pub(crate) const OUTPUT_PATH: &str = "tHe-sEcReT.txt";

/// Ends a job that waits, as if its task had run: with a log, an output and a lock.
pub(crate) fn end_with_output(site: &Site, owner: &str, job: u64) {
    let cancel = format!("POST /api/v1/jobs/{job}/cancel");
    assert_eq!(site.json(&cancel, owner, &json!({})).status, 204);
    let blobs = Blobs::open(site.directory.join("blobs"), 0).unwrap();
    let content = SECRET.as_bytes();
    let hash = *blake3::hash(content).as_bytes();
    let blob = BlobRef { hash: BlobHash(hash), size_bytes: content.len() as u64 };
    if !blobs.contains(blob) {
        let mut incoming = blobs.begin(blob, "test", WorkerId(1)).unwrap();
        incoming.add(content).unwrap();
        incoming.finish().unwrap();
    }
    // Jobs that have ended are in the database only, where the engine does not look for them again.
    let database = Connection::open(site.directory.join("campusgrid.sqlite")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    // The attempt and its machine are nobody's business here.
    database.pragma_update(None, "foreign_keys", false).unwrap();
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| database.execute(sql, values).unwrap();
    run(
        "INSERT INTO task (job, idx, attempts, tries_left, runs_left, state, left_behind, ended_at)
            VALUES (?1, 0, 1, 2, 1, 'cancelled', ?2, 1)",
        params![job, "<b>\u{1b}[31m\u{202e}"],
    );
    for stream in ["stdout", "stderr"] {
        run(
            "INSERT INTO log (job, idx, attempt, stream, content, size, cut_bytes)
                VALUES (?1, 0, 1, ?2, ?3, ?4, 0)",
            params![job, stream, LOG, LOG.len()],
        );
    }
    for path in [OUTPUT_PATH, "<b>\u{202e}fdp.exe"] {
        run(
            "INSERT INTO output (job, idx, path, hash, size) VALUES (?1, 0, ?2, ?3, ?4)",
            params![job, path, hash, content.len()],
        );
    }
    run(
        "INSERT INTO file (job, path, hash, size, executable) VALUES (?1, ?2, ?3, ?4, 0)",
        params![job, OUTPUT_PATH, hash, content.len()],
    );
    run("UPDATE job_spec SET lock = ?2 WHERE job = ?1", params![job, format!("six==1 # {SECRET}")]);
}

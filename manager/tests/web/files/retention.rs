//! What is kept goes when it is due, and nothing that somebody has use for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use campusgrid_manager::sweep::{GRACE, Sweep, Swept};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{database, draft, ended, get, leave, listed, put, send};
use crate::site::{Site, wait};

fn sweep(site: &Site, keep_ms: u64) -> Sweep {
    Sweep {
        engine: site.engine.clone(),
        readers: site.readers.clone(),
        blobs: site.blobs.clone(),
        clock: campusgrid_manager::clock::Clock::start(campusgrid_core::time::Timestamp(0)),
        keep_ms,
    }
}

const DAY_MS: u64 = 86_400_000;

#[test]
fn what_is_kept_of_a_job_goes_when_its_owner_says_so() {
    let site = Site::start();
    let (ada, bob) = (site.register("ada"), site.register("bob"));
    let job = draft(&site, &ada);
    assert_eq!(put(&site, &ada, (job, "in"), b"input").status, 201);
    let delete =
        |job: u64, token: &str| send(&site, &format!("DELETE /api/v1/jobs/{job}"), token, "", b"");
    assert_eq!(delete(job, &bob).status, 404);
    let launch = format!("POST /api/v1/jobs/{job}/launch");
    assert_eq!(site.ask(&launch, &crate::site::bearer(&ada), "").status, 201);
    assert_eq!(delete(job, &ada).code(), "still_open");
    let cancel = format!("POST /api/v1/jobs/{job}/cancel");
    assert_eq!(site.ask(&cancel, &crate::site::bearer(&ada), "").status, 204);
    leave(&site, job, 0, "out", b"output");
    assert_eq!(get(&site, &format!("/api/v1/jobs/{job}/outputs/0/out"), &ada).status, 200);
    assert_eq!(delete(job, &ada).status, 204);
    assert_eq!(get(&site, &format!("/api/v1/jobs/{job}/outputs/0/out"), &ada).status, 404);
    assert_eq!(listed(&site, &ada, job), []);
    let detail = get(&site, &format!("/api/v1/jobs/{job}"), &ada).value();
    assert_eq!((&detail["state"], &detail["kept_until_ms"]), (&json!("cancelled"), &json!(null)));
    assert_eq!(get(&site, "/api/v1/limits", &ada).value()["storage_used_bytes"], 0);
    // A draft goes as a whole.
    let job = draft(&site, &ada);
    assert_eq!(delete(job, &ada).status, 204);
    assert_eq!(get(&site, &format!("/api/v1/jobs/{job}"), &ada).status, 404);
    assert_eq!(delete(job, &ada).status, 404);
}

#[test]
fn the_sweep_takes_what_is_due_and_nothing_else() {
    let site = Site::start();
    let ada = site.register("ada");
    let (old, young, waiting) = (ended(&site, &ada, 1), ended(&site, &ada, 1), draft(&site, &ada));
    for (job, content) in
        [(old, &b"old"[..]), (young, b"young"), (old, b"of both"), (young, b"of both")]
    {
        leave(&site, job, 0, &String::from_utf8_lossy(content), content);
    }
    assert_eq!(put(&site, &ada, (waiting, "draft"), b"draft").status, 201);
    let stray = super::keep(&site, b"stray");
    let past = "UPDATE job SET ended_at = ended_at - ?2 WHERE id = ?1";
    database(&site).execute(past, rusqlite::params![old, 31 * DAY_MS]).unwrap();
    let sweep = sweep(&site, 30 * DAY_MS);
    // Nothing is old enough to go, but the job's rows.
    let swept = wait(sweep.round(GRACE)).unwrap();
    assert_eq!(swept, Swept { jobs: 1, ..Swept::default() });
    assert_eq!(get(&site, &format!("/api/v1/jobs/{old}/outputs/0/old"), &ada).status, 404);
    assert!(site.blobs.contains(stray));
    // With no grace: condemned first, gone the next time. What is referred to stays.
    let swept = wait(sweep.round(Duration::ZERO)).unwrap();
    assert_eq!(swept, Swept { condemned: 2, ..Swept::default() }, "\"old\" and \"stray\"");
    assert!(site.blobs.contains(stray));
    let swept = wait(sweep.round(Duration::ZERO)).unwrap();
    assert_eq!(swept, Swept { blobs: 2, bytes: 8, ..Swept::default() });
    assert!(!site.blobs.contains(stray));
    for path in ["young", "of%20both"] {
        assert_eq!(get(&site, &format!("/api/v1/jobs/{young}/outputs/0/{path}"), &ada).status, 200);
    }
    assert_eq!(get(&site, &format!("/api/v1/jobs/{waiting}/files/draft"), &ada).body, b"draft");
    assert_eq!(wait(sweep.round(Duration::ZERO)).unwrap(), Swept::default());
}

#[test]
fn uploads_go_with_their_drafts() {
    let site = Site::start();
    let ada = site.register("ada");
    let (gone, stays) = (draft(&site, &ada), draft(&site, &ada));
    for job in [gone, stays] {
        let headers = "Upload-Offset: 0\r\nUpload-Length: 10\r\n";
        let line = format!("PATCH /api/v1/jobs/{job}/uploads/a");
        assert_eq!(send(&site, &line, &ada, headers, b"12345").status, 200);
    }
    assert_eq!(send(&site, &format!("DELETE /api/v1/jobs/{gone}"), &ada, "", b"").status, 204);
    let swept = wait(sweep(&site, DAY_MS).round(GRACE)).unwrap();
    assert_eq!(swept, Swept { uploads: 1, ..Swept::default() });
    let upload = |job: u64| get(&site, &format!("/api/v1/jobs/{job}/uploads/a"), &ada);
    assert_eq!((upload(gone).status, upload(stays).status), (404, 200));
}

/// Content comes and goes again and again under a sweep that spares little: whatever a client was told to
/// be here is here.
#[test]
fn the_sweep_takes_nothing_from_under_anybodys_hands() {
    let site = Site::start();
    let ada = site.register("ada");
    let (job, source) = (draft(&site, &ada), draft(&site, &ada));
    let (removed, done) = (AtomicUsize::new(0), CancellationToken::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let sweep = sweep(&site, DAY_MS);
            while !done.is_cancelled() {
                // In place of 48 hours: more than from a touch to a row.
                let swept = wait(sweep.round(Duration::from_millis(100))).unwrap();
                removed.fetch_add(swept.blobs, Ordering::Relaxed);
            }
        });
        let _done = done.clone().drop_guard(); // Also if this fails.
        let mut turn = 0;
        while removed.load(Ordering::Relaxed) < 60 {
            // The same comes again when nothing has referred to it for a while.
            let content = format!("content {}", turn % 40);
            turn += 1;
            assert_eq!(put(&site, &ada, (source, "a"), content.as_bytes()).status, 201);
            let (blake3, size) = (super::hex(content.as_bytes()), content.len());
            let attach = json!({"path": "b", "blake3": blake3, "size_bytes": size});
            let attached = site.json(&format!("POST /api/v1/jobs/{job}/files"), &ada, &attach);
            assert_eq!(attached.status, 201, "{}", attached.body);
            for (job, path) in [(source, "a"), (job, "b")] {
                let got = get(&site, &format!("/api/v1/jobs/{job}/files/{path}"), &ada);
                assert_eq!((got.status, &got.body[..]), (200, content.as_bytes()), "turn {turn}");
            }
        }
    });
}

//! Archives that come, good ones and others.

use super::{draft, listed, put, send};
use crate::site::Site;

const ZIP: &[u8] = include_bytes!("../../../src/archive/fixtures/info-zip.zip");
const TGZ: &[u8] = include_bytes!("../../../src/archive/fixtures/gnu.tar.gz");
const ZST: &[u8] = include_bytes!("../../../src/archive/fixtures/gnu.tar.zst");

fn names(site: &Site, token: &str, job: u64) -> Vec<String> {
    listed(site, token, job).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn archives_become_files_beside_them() {
    let site = Site::start();
    let ada = site.register("ada");
    for (path, archive) in
        [("x/in.zip", ZIP), ("x/in.tar.gz", TGZ), ("x/in.tgz", TGZ), ("x/in.tar.zst", ZST)]
    {
        let job = draft(&site, &ada);
        let came = put(&site, &ada, (job, &format!("{path}?unpack=true")), archive);
        assert_eq!(came.status, 201, "{path}: {}", came.text());
        assert_eq!(came.value()["files"].as_array().unwrap().len(), 3);
        let found = names(&site, &ada, job);
        assert_eq!((&*found[0], &*found[2]), ("x/a.txt", "x/run.sh"), "{path}");
        let files = super::get(&site, &format!("/api/v1/jobs/{job}/files"), &ada).value();
        assert_eq!(
            (&files["items"][2]["executable"], &files["items"][0]["executable"]),
            (&true.into(), &false.into())
        );
        let text = super::get(&site, &format!("/api/v1/jobs/{job}/files/x/a.txt"), &ada);
        assert_eq!(text.body, b"hello\n");
    }
    // In pieces, the archive is unpacked with the last one.
    let job = draft(&site, &ada);
    let line = format!("PATCH /api/v1/jobs/{job}/uploads/in.zip?unpack=true");
    let (size, half) = (ZIP.len(), ZIP.len() / 2);
    for (offset, body, status) in [(0, &ZIP[..half], 200), (half, &ZIP[half..], 201)] {
        let headers = format!("Upload-Offset: {offset}\r\nUpload-Length: {size}\r\n");
        let answer = send(&site, &line, &ada, &headers, body);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(names(&site, &ada, job).len(), 3);
    assert_eq!(std::fs::read_dir(site.directory.join("blobs/unfinished")).unwrap().count(), 0);
}

/// A tar of these entries: name, kind, content.
fn tar(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content) in entries {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000644");
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = *kind;
        block[157..168].copy_from_slice(b"/etc/passwd");
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

#[test]
fn an_archive_that_is_bad_in_one_thing_leaves_nothing() {
    let site = Site::start();
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let good: (&str, u8, &[u8]) = ("good", b'0', b"1");
    for (bad, words) in [
        (tar(&[good, ("../../bad", b'0', b"1")]), "relative path"),
        (tar(&[good, ("/etc/cron.d/bad", b'0', b"1")]), "relative path"),
        (tar(&[good, ("bad", b'2', b"")]), "link or a device"),
        (tar(&[good, ("bad", b'1', b"")]), "link or a device"),
        (tar(&[good, ("bad", b'3', b"")]), "link or a device"),
        (tar(&[good, good]), "twice"),
        (tar(&[good, ("good/bad", b'0', b"1")]), "twice"),
        (tar(&[good])[..600].to_vec(), "cut short"),
        (b"this is no archive".to_vec(), "cut short"),
    ] {
        let refused = put(&site, &ada, (job, "in.tar?unpack=true"), &bad);
        assert_eq!((refused.status, &*refused.code()), (422, "bad_archive"));
        assert!(refused.text().contains(words), "{}", refused.text());
        let line = format!("PATCH /api/v1/jobs/{job}/uploads/in.tar?unpack=true");
        let headers = format!("Upload-Offset: 0\r\nUpload-Length: {}\r\n", bad.len());
        let refused = send(&site, &line, &ada, &headers, &bad);
        assert_eq!((refused.status, &*refused.code()), (422, "bad_archive"));
    }
    // Too deep beside the archive's own path, though not by itself.
    let deep = "d/".repeat(10) + "in.tar?unpack=true";
    let inner = "e/".repeat(10) + "x";
    let refused = put(&site, &ada, (job, &deep), &tar(&[(&inner, b'0', b"1")]));
    assert_eq!((refused.status, &*refused.code()), (422, "bad_archive"), "{}", refused.text());
    assert_eq!(names(&site, &ada, job), [""; 0]);
    let blobs = site.directory.join("blobs");
    assert_eq!(std::fs::read_dir(blobs.join("unfinished")).unwrap().count(), 0);
    // What one of the draft's files is in the way of is as little taken in parts.
    assert_eq!(put(&site, &ada, (job, "good/x"), b"1").status, 201);
    let refused = put(&site, &ada, (job, "in.tar?unpack=true"), &tar(&[("a", b'0', b"1"), good]));
    assert_eq!(refused.code(), "path_taken", "{}", refused.text());
    assert_eq!(names(&site, &ada, job), ["good/x"]);
}

#[test]
fn a_bomb_is_bounded_by_what_is_left_of_the_storage() {
    let site = Site::start_with(|config| config.web.files.storage_max_bytes = 1 << 20);
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    let zeros = vec![0; 600 << 10];
    let archive = tar(&[("a", b'0', &zeros), ("b", b'0', &zeros)]);
    let mut packed = Vec::new();
    // As gzip stores it, so that no program is needed to make it.
    for (at, block) in archive.chunks(60_000).enumerate() {
        let is_last = (at + 1) * 60_000 >= archive.len();
        let length = u16::try_from(block.len()).unwrap();
        packed.push(u8::from(is_last));
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(&(!length).to_le_bytes());
        packed.extend_from_slice(block);
    }
    let mut gz = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    gz.extend(packed);
    gz.extend([0; 8]);
    let refused = put(&site, &ada, (job, "in.tar.gz?unpack=true"), &gz);
    assert_eq!((refused.status, &*refused.code()), (409, "storage_full"), "{}", refused.text());
    let half = tar(&[("a", b'0', &zeros[..500 << 10])]);
    assert_eq!(put(&site, &ada, (job, "in.tar?unpack=true"), &half).status, 201);
    let refused = put(&site, &ada, (job, "in.tar?unpack=true"), &archive[..]);
    assert!(["storage_full", "bad_archive"].contains(&&*refused.code()), "{}", refused.text());
    assert_eq!(names(&site, &ada, job), ["a"]);
}

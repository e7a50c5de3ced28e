//! Archives as programs make them, and archives as nobody should.

mod made;

use std::io::{Cursor, Write};

use super::{ArchiveError, Kind, Limits, Part, Stopped, read};
use made::{Zipped, tar, tar_entry, tar_files, zip, zip_files};

const LIMITS: Limits = Limits { files: 50, file_bytes: 1 << 20, all_bytes: 4 << 20 };

/// What was found of a file: its path, whether it can be run, its content.
type Found = (String, bool, Vec<u8>);

fn unpack_within(kind: Kind, bytes: &[u8], limits: Limits) -> Result<Vec<Found>, ArchiveError> {
    let mut found: Vec<Found> = Vec::new();
    let taken = read(kind, Cursor::new(bytes), limits, |part| -> Result<(), ()> {
        match part {
            Part::File { path, executable } => found.push((path, executable, Vec::new())),
            Part::Data(piece) => found.last_mut().unwrap().2.extend_from_slice(piece),
            Part::End => {}
        }
        Ok(())
    });
    match taken {
        Ok(()) => {
            found.sort();
            Ok(found)
        }
        Err(Stopped::Archive(error)) => Err(error),
        Err(Stopped::Taker(())) => panic!("nothing was refused"),
    }
}

fn unpack(kind: Kind, bytes: &[u8]) -> Result<Vec<Found>, ArchiveError> {
    unpack_within(kind, bytes, LIMITS)
}

fn why(kind: Kind, bytes: &[u8]) -> String {
    match unpack(kind, bytes) {
        Ok(found) => panic!("taken: {found:?}"),
        Err(error) => error.to_string(),
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// In every form.
fn packed(files: &[(&str, &[u8])]) -> Vec<(Kind, Vec<u8>)> {
    let plain = tar_files(files);
    vec![
        (Kind::Zip, zip_files(files)),
        (Kind::TarGz, gz(&plain)),
        (Kind::TarZst, zst(&plain)),
        (Kind::Tar, plain),
    ]
}

#[test]
fn files_come_out_as_they_went_in() {
    let large = vec![7; 200_000];
    let files: &[(&str, &[u8])] =
        &[("a.txt", b"one"), ("b/c/größe.csv", &large), ("b/d", b"x"), ("b/empty", b"")];
    for (kind, bytes) in packed(files) {
        let found = unpack(kind, &bytes).unwrap();
        let plain: Vec<_> = found.iter().map(|(path, _, data)| (&path[..], &data[..])).collect();
        assert!(plain == files, "{kind:?}");
    }
}

/// Each made of `a.txt` (`hello`), `run.sh` (executable) and `dir/deep/long…` by the program named.
#[test]
fn what_usual_programs_make_is_read() {
    let long = format!("dir/{}/{}.csv", "n".repeat(90), "m".repeat(120));
    for (name, kind, bytes) in [
        ("Info-ZIP", Kind::Zip, &include_bytes!("fixtures/info-zip.zip")[..]),
        ("Info-ZIP, to a pipe", Kind::Zip, include_bytes!("fixtures/info-zip-pipe.zip")),
        ("Python's zipfile", Kind::Zip, include_bytes!("fixtures/python.zip")),
        ("Python's zipfile, to a pipe, large", Kind::Zip, include_bytes!("fixtures/python64.zip")),
        ("GNU tar", Kind::TarGz, include_bytes!("fixtures/gnu.tar.gz")),
        ("GNU tar, POSIX", Kind::TarGz, include_bytes!("fixtures/posix.tar.gz")),
        ("GNU tar and zstd", Kind::TarZst, include_bytes!("fixtures/gnu.tar.zst")),
        ("Python's tarfile", Kind::TarGz, include_bytes!("fixtures/python.tgz")),
    ] {
        let found = unpack(kind, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let shown: Vec<_> = found.iter().map(|(path, run, _)| (&path[..], *run)).collect();
        assert_eq!(shown, [("a.txt", false), (&long, false), ("run.sh", true)], "{name}");
        assert_eq!(found[0].2, b"hello\n", "{name}");
        assert_eq!(found[1].2, b"0123456789\n".repeat(1000), "{name}");
    }
}

#[test]
fn the_form_is_known_by_the_name() {
    for (name, kind) in [
        ("x.ZIP", Some(Kind::Zip)),
        ("a/x.tar", Some(Kind::Tar)),
        ("x.tar.gz", Some(Kind::TarGz)),
        ("x.tgz", Some(Kind::TarGz)),
        ("x.tar.zst", Some(Kind::TarZst)),
        ("x.gz", None),
        ("zip", None),
        ("x.tar.xz", None),
    ] {
        assert_eq!(Kind::of_name(name), kind, "{name}");
    }
}

#[test]
fn no_name_leads_elsewhere() {
    let deep = "d/".repeat(16) + "x";
    let long = "n".repeat(256);
    for name in [
        "../x",
        "a/../../x",
        "a/..",
        "/etc/passwd",
        "//x",
        "a//b",
        "a/./b",
        "..\\x",
        "C:\\x",
        "a\nb",
        "a\u{7f}",
        &deep,
        &long,
        "/",
    ] {
        for (kind, bytes) in packed(&[("good", b"1"), (name, b"2")]) {
            let error = unpack(kind, &bytes).expect_err(name);
            assert!(matches!(error, ArchiveError::Name { .. }), "{kind:?} {name:?}: {error}");
        }
    }
    let zero = zip(&[Zipped::new("a\0b", b"")]);
    assert!(matches!(unpack(Kind::Zip, &zero), Err(ArchiveError::Name { .. })));
    let odd = Zipped { name: b"a\xff".to_vec(), ..Zipped::new("", b"") };
    assert!(matches!(unpack(Kind::Zip, &zip(&[odd])), Err(ArchiveError::NotUtf8 { .. })));
    let found = unpack(Kind::Tar, &tar_files(&[("./a", b"1"), ("././b", b"2")])).unwrap();
    assert_eq!((&found[0].0[..], &found[1].0[..]), ("a", "b"), "as tar writes them");
}

#[test]
fn links_and_devices_are_refused() {
    for kind in [b'1', b'2', b'3', b'4', b'6', b'S', b'V', b'K'] {
        let bytes = tar(&[tar_entry("good", b'0', b"1"), tar_entry("bad", kind, b"")]);
        assert!(matches!(unpack(Kind::Tar, &bytes), Err(ArchiveError::NotAFile { .. })), "{kind}");
    }
    for mode in [0o120_777, 0o010_644, 0o020_644, 0o060_644, 0o140_644, 0o040_755] {
        let entry = Zipped { mode, ..Zipped::new("bad", b"/etc/passwd") };
        let bytes = zip(&[Zipped::new("good", b"1"), entry]);
        assert!(
            matches!(unpack(Kind::Zip, &bytes), Err(ArchiveError::NotAFile { .. })),
            "{mode:o}"
        );
    }
    let folder = Zipped { mode: 0o120_777, ..Zipped::new("bad/", b"") };
    assert!(matches!(unpack(Kind::Zip, &zip(&[folder])), Err(ArchiveError::NotAFile { .. })));
}

#[test]
fn a_name_comes_once_and_no_file_is_a_folder() {
    for files in [&["a", "a"][..], &["a", "a/b"], &["a/b/c", "x", "a/b"], &["./a", "a"]] {
        let files: Vec<(&str, &[u8])> = files.iter().map(|name| (*name, &b"1"[..])).collect();
        for (kind, bytes) in packed(&files) {
            let error = unpack(kind, &bytes).expect_err(files[0].0);
            assert!(matches!(error, ArchiveError::Twice { .. }), "{kind:?} {files:?}: {error}");
        }
    }
    unpack(Kind::Tar, &tar_files(&[("a", b""), ("a.b", b""), ("a-b/c", b"")])).unwrap();
}

#[test]
fn bombs_do_not_go_off() {
    let limits = Limits { files: 50, file_bytes: 10 << 30, all_bytes: 10 << 30 };
    // By ratio, whatever the headers say: here by headers that say nothing.
    let zeros = vec![0; 1 << 20];
    let words = [&b"65000 comment="[..], &[b'n'; 65_000 - 15], b"\n"].concat();
    let headers = tar_entry("x", b'x', &words).repeat(16);
    let many = Limits { files: 10_000, ..limits };
    for pack in [gz, zst] {
        let kind = if pack(b"")[0] == 0x1f { Kind::TarGz } else { Kind::TarZst };
        let packed = pack(&headers).repeat(400);
        let error = unpack_within(kind, &packed, many).unwrap_err();
        assert!(matches!(error, ArchiveError::Bomb), "{kind:?}: {error}");
    }
    let says = Zipped { says_unpacked: Some(5 << 30), ..Zipped::new("a", &zeros) };
    let error = unpack_within(Kind::Zip, &zip(&[says.deflated()]), limits).unwrap_err();
    assert!(matches!(error, ArchiveError::Bomb), "{error}");
    // By count.
    let names: Vec<String> = (0..51).map(|number| number.to_string()).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b""[..])).collect();
    let folders: Vec<_> = (0..201).map(|number| format!("{number}/")).collect();
    let folders: Vec<(&str, &[u8])> = folders.iter().map(|name| (&name[..], &b""[..])).collect();
    for files in [many, folders] {
        for (kind, bytes) in packed(&files) {
            let error = unpack(kind, &bytes).unwrap_err();
            assert!(matches!(error, ArchiveError::TooManyFiles { .. }), "{kind:?}: {error}");
        }
    }
    // By size, one and all.
    let (half, large) = (vec![1; 900 << 10], vec![1; (1 << 20) + 1]);
    for (kind, bytes) in packed(&[("a", &large)]) {
        let error = unpack(kind, &bytes).unwrap_err();
        assert!(matches!(error, ArchiveError::FileTooLarge { .. }), "{kind:?}: {error}");
    }
    for (kind, bytes) in packed(&["a", "b", "c", "d", "e"].map(|name| (name, &half[..]))) {
        let error = unpack(kind, &bytes).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge { .. }), "{kind:?}: {error}");
    }
}

#[test]
fn little_may_follow_the_end_of_a_tar() {
    let whole = tar_files(&[("a", b"1")]);
    for (behind, is_taken) in [(512 << 10, true), (2 << 20, false)] {
        let bytes = [&whole[..], &vec![0; behind]].concat();
        let (gz, zst) = (gz(&bytes), zst(&bytes));
        for (kind, bytes) in [(Kind::Tar, bytes), (Kind::TarGz, gz), (Kind::TarZst, zst)] {
            assert_eq!(unpack(kind, &bytes).is_ok(), is_taken, "{kind:?} and {behind} bytes");
        }
    }
}

#[test]
fn cut_short_anywhere_nothing_is_taken() {
    let content: Vec<u8> = (0..2000_u32).flat_map(|number| number.to_le_bytes()).collect();
    for (kind, bytes) in packed(&[("a", &content), ("b", b"2")]) {
        let step = if kind == Kind::Tar { 61 } else { 7 };
        // One block of zeros of the two ends a tar, and what is behind that is padding.
        let whole = if kind == Kind::Tar { bytes.len() - 512 } else { bytes.len() };
        for length in (0..whole).step_by(step) {
            assert!(unpack(kind, &bytes[..length]).is_err(), "{kind:?} cut to {length}");
        }
    }
}

#[test]
fn changed_anywhere_nothing_breaks() {
    let content = b"some content that is long enough to be compressed compressed compressed";
    for (kind, bytes) in packed(&[("a", content), ("dir/b", b"2")]) {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                let Ok(found) = unpack(kind, &changed) else { continue };
                assert!(found.len() <= 2, "{kind:?} at {at}");
                // Whatever has a checksum over content shows it; a plain tar has none.
                let is_whole = found.iter().all(|(_, _, data)| data == content || data == b"2");
                assert!(kind == Kind::Tar || is_whole, "{kind:?} at {at}: {found:?}");
            }
        }
    }
}

#[test]
fn a_zip_that_lies_is_found_out() {
    let one = || Zipped::new("a", b"one content");
    for (entry, words) in [
        (Zipped { local_name: Some(b"b".to_vec()), ..one() }, "does not agree"),
        (Zipped { says_unpacked: Some(5), ..one() }, "sizes of a file do not agree"),
        (Zipped { says_packed: Some(1 << 30), ..one() }, "reaches beyond"),
        (Zipped { says_at: Some(1 << 40), ..one() }, "reaches beyond"),
        (Zipped { crc: Some(1), ..one() }, "cannot be unpacked"),
        (Zipped { flags: 1, ..one() }, "encrypted"),
        (Zipped { method: 12, ..one() }, "compressed in a way"),
        (Zipped { mode: 0, name: b"folder/".to_vec(), ..one() }, "folder with content"),
    ] {
        let found = why(Kind::Zip, &zip(&[entry]));
        assert!(found.contains(words), "{found} instead of {words}");
    }
    // Deflated content that goes on, or ends before, where it says.
    for says in [4, 40] {
        let entry = Zipped { says_unpacked: Some(says), ..one() }.deflated();
        let found = why(Kind::Zip, &zip(&[entry]));
        assert!(found.contains("damaged"), "{found}");
    }
    // Fifield's: one file's content is other files with their headers.
    let both = [Zipped::new("a", b"1"), Zipped { says_at: Some(0), ..Zipped::new("a", b"1") }];
    assert!(why(Kind::Zip, &zip(&both)).contains("share a place"));
    let mut longer = zip(&[one()]);
    longer.extend_from_slice(b"and more behind the end");
    assert!(why(Kind::Zip, &longer).contains("directory"));
    let mut before = b"a program, say".to_vec();
    before.extend(zip(&[one()]));
    assert!(why(Kind::Zip, &before).contains("directory"));
    assert!(why(Kind::Zip, b"").contains("directory"));
}

#[test]
fn a_tar_that_lies_is_found_out() {
    let pax = |words: &[u8]| tar(&[tar_entry("x", b'x', words), tar_entry("a", b'0', b"1")]);
    for (words, expected) in [
        (&b"13 path=../b\n"[..], "named \"../b\""),
        (b"12 path=a/b\n", ""),
        (b"99 path=b\n", "extended header"),
        (b"0 path=b\n", "extended header"),
        (b"path=b\n", "extended header"),
        (b"10 path\xffb\n", "extended header"),
        (b"12 path=a\0b\n", "extended header"),
        (b"11 size=-1\n", "extended header"),
        (b"28 size=18446744073709551615\n", "extended header"),
        (b"29 size=18446744073709551615\n", "is larger than"),
        (b"22 GNU.sparse.major=1\n", "link or a device"),
    ] {
        let found = unpack(Kind::Tar, &pax(words))
            .map_or_else(|error| error.to_string(), |_| String::new());
        assert!(
            found.contains(expected) && found.is_empty() == expected.is_empty(),
            "{found}: {expected}"
        );
    }
    let of_all = tar(&[tar_entry("x", b'g', b"10 path=b\n"), tar_entry("a", b'0', b"1")]);
    assert!(why(Kind::Tar, &of_all).contains("for all of its files"));
    for kind in [b'x', b'L', b'g'] {
        let words = vec![b'n'; (64 << 10) + 1];
        let bytes = tar(&[tar_entry("x", kind, &words), tar_entry("a", b'0', b"1")]);
        assert!(why(Kind::Tar, &bytes).contains("too long"));
    }
    let mut sum = tar(&[tar_entry("a", b'0', b"1")]);
    sum[0] = b'b';
    assert!(why(Kind::Tar, &sum).contains("checksum"));
    let folder = tar(&[tar_entry("a/", b'5', b"1")]);
    assert!(why(Kind::Tar, &folder).contains("folder with content"));
    let no_end = tar_entry("a", b'0', b"1");
    assert!(why(Kind::Tar, &no_end).contains("ends too early"));
}

#[test]
fn whoever_takes_can_stop_it() {
    let bytes = tar_files(&[("a", b"1"), ("b", b"2")]);
    let mut parts = 0;
    let stopped = read(Kind::Tar, Cursor::new(bytes), LIMITS, |_| {
        parts += 1;
        if parts == 3 { Err("enough") } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Stopped::Taker("enough"))));
    assert_eq!(parts, 3);
}

//! Files: brought along, deduplicated, resumed, and fetched back.

use std::io::Write;
use std::path::Path;

use campusgrid_protocol::rest::files::Upload;

use crate::rig::{Grid, until};

#[test]
fn a_folder_comes_along_and_outputs_come_back() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/files");
    for path in ["main.py", "tools/mean.py", "data/heights.csv"] {
        ada.write(path, std::fs::read(example.join(path)).unwrap());
    }
    let words = ["--ram", "64M", "--disk", "16M", "--out", "report/**"];
    let said =
        ada.run(&[&["submit", "-F", "--entry", "main.py", "--file", "."], &words[..]].concat());
    assert_eq!(said.succeeded(), "The mean of 3 heights is 168.0\n");
    let job = ada.json(&["jobs"])["job"].to_string();
    let listed = ada.run(&["files", &job, "--json"]).succeeded();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(ada.run(&["get", &job]).succeeded().contains("1 files"));
    let place = format!("job-{job}/report/mean.txt");
    assert_eq!(ada.read(&place), "168.0\n");
    // Again there is nothing to do; what is in the way stays unless told otherwise.
    assert!(ada.run(&["get", &job]).succeeded().contains("1 were there"));
    ada.write(&place, "mine");
    ada.run(&["get", &job]).failed(73);
    ada.run(&["get", &job, "--force", "report/*.txt"]).succeeded();
    assert_eq!(ada.read(&place), "168.0\n");
    ada.run(&["get", &job, "--zip"]).succeeded();
    let zip = std::fs::read(ada.folder.join(format!("job-{job}.zip"))).unwrap();
    assert!(zip.starts_with(b"PK"));
    ada.run(&["discard", &job]).succeeded();
    assert!(ada.run(&["get", &job, "-d", "later"]).succeeded().contains("no longer kept"));
}

#[test]
fn large_files_go_in_pieces_and_only_once() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    // More than one piece, of text that is nowhere the same.
    let mut text = Vec::new();
    for number in 0..3_000_000 {
        writeln!(text, "{number}").unwrap();
    }
    ada.write("large.txt", &text);
    let words = ["submit", "--ram", "256M", "--disk", "64M", "--file", "large.txt", "-F"];
    let command = ["--cmd", "wc -c < large.txt; cp large.txt $OUTPUT_DIR/copy.txt"];
    let said = ada.run(&[&words[..], &command].concat()).succeeded();
    assert_eq!(said.trim(), text.len().to_string());
    let job = ada.json(&["jobs"])["job"].to_string();
    // A download that was begun goes on where it stopped.
    let hash = blake3::hash(&text).to_string();
    ada.write(&format!("back/.copy.txt.{}.part", &hash[..16]), &text[..1_000_000]);
    ada.run(&["get", &job, "-d", "back"]).succeeded();
    assert_eq!(ada.read("back/copy.txt").as_bytes(), text);
    // And one that is damaged is thrown away.
    ada.write(&format!("bad/.copy.txt.{}.part", &hash[..16]), "nonsense");
    assert!(ada.run(&["get", &job, "-d", "bad"]).failed(1).contains("try again"));
    ada.run(&["get", &job, "-d", "bad"]).succeeded();
    // The second time the manager has it already.
    let draft = ada.submit(&["--draft", "--cmd", "true", "--file", "large.txt"]).to_string();
    let listed = ada.json(&["files", &draft, "--inputs"]);
    assert_eq!(listed["file"]["blake3"], hash);
    assert!(ada.json(&["limits"])["storage_used_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn an_upload_goes_on_when_the_manager_was_away() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    let text: Vec<u8> = (0..16_000_000_u32).flat_map(u32::to_le_bytes).collect();
    ada.write("large.bin", &text);
    let draft = ada.submit(&["--draft", "--cmd", "true"]).to_string();
    let mut command = ada.command();
    let mut child = command.args(["upload", &draft, "large.bin"]).spawn().unwrap();
    let client = ada.client(&grid);
    until("a piece has come", || {
        let upload = client.get::<Upload>(format!("jobs/{draft}/uploads/large.bin"));
        let has_begun = upload.is_ok_and(|upload| upload.offset_bytes > 0);
        has_begun || child.try_wait().unwrap().is_some()
    });
    grid.kill_manager();
    grid.start_manager();
    assert!(child.wait().unwrap().success());
    let listed = ada.json(&["files", &draft, "--inputs"]);
    assert_eq!(listed["file"]["blake3"], blake3::hash(&text).to_string());
}

#[test]
fn a_draft_takes_files_until_it_is_launched() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    ada.write("a.txt", "a\n");
    ada.write("more/b.txt", "b\n");
    ada.write("more/empty name.txt", "");
    let words = ["--draft", "--cmd", "cat a.txt more/* c/*", "--file", "a.txt"];
    let draft = ada.submit(&words).to_string();
    assert!(ada.run(&["wait", &draft]).failed(64).contains("campusgrid launch"));
    ada.run(&["upload", &draft, "more"]).succeeded();
    std::fs::write(ada.folder.join("c.txt"), "c\n").unwrap();
    let mut tar = std::process::Command::new("tar");
    tar.current_dir(&ada.folder).args(["-czf", "c.tar.gz", "c.txt"]);
    assert!(tar.status().unwrap().success());
    ada.run(&["upload", &draft, "--archive", "c.tar.gz:c"]).succeeded();
    let said = ada.run(&["launch", &draft, "-F"]).succeeded();
    assert_eq!(said, "a\nb\nc\n");
    assert!(ada.run(&["launch", &draft]).code != 0);
}

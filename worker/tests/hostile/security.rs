//! Holds what was run against the tables of `docs/security.md`, or writes them there.

use std::fs::{self, File};
use std::io::Read;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
const HEAD: &str = "| program | outcome | level | held by |\n| --- | --- | --- | --- |\n";

/// Compares the table of this name, one row a program, with what the document says.
///
/// With `UPDATE_EXPECT=1` the document is rewritten instead. Where only some programs could be run,
/// their rows must be there.
pub(crate) fn hold(table: &str, rows: &[String], is_whole: bool) {
    // Tests of other groups may be at it as well.
    let mut file = File::options().read(true).write(true).open(DOCUMENT).unwrap();
    file.lock().unwrap();
    let mut document = String::new();
    file.read_to_string(&mut document).unwrap();
    let (begin, end) = (format!("<!-- {table} -->\n"), format!("<!-- end of {table} -->\n"));
    let (before, rest) = document.split_once(&begin).expect("the document has no such table");
    let (held, after) = rest.split_once(&end).expect("the table has no end");
    let run = format!("{HEAD}{}\n", rows.join("\n"));
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") && is_whole {
        fs::write(DOCUMENT, format!("{before}{begin}{run}{end}{after}")).unwrap();
    } else if is_whole {
        assert_eq!(held, run, "docs/security.md is not what was run: UPDATE_EXPECT=1 rewrites it");
    } else {
        for row in rows {
            assert!(held.lines().any(|line| line == row), "docs/security.md lacks {row}");
        }
    }
}

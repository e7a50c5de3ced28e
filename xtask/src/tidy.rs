//! `cargo xtask tidy`: the rules of style that neither rustc, clippy nor rustfmt knows.

mod manifest;
mod paths;
mod rules;
mod source;
mod walls;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::summary::Outcome;
use crate::tidy::source::Source;

/// Folders that hold nothing of ours.
const FOREIGN: [&str; 4] = ["target", "node_modules", ".git", "static"];

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1 on.
    line: usize,
    rule: &'static str,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.message)
    }
}

/// # Errors
///
/// When the tree cannot be read; findings are told by the exit status.
pub(crate) fn run(places: &Places) -> Result<ExitCode> {
    let outcome = check(places)?;
    Ok(if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints every finding.
///
/// # Errors
///
/// When the tree cannot be read.
pub(crate) fn check(places: &Places) -> Result<Outcome> {
    let mut files = Vec::new();
    collect(&places.root, &mut files)?;
    let mut texts = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("failed to read {}", path.display()))?;
        let relative = path.strip_prefix(&places.root).unwrap_or(&path);
        texts.push((relative.to_string_lossy().into_owned(), text));
    }
    let findings = findings(&texts);
    for finding in &findings {
        println!("{finding}");
    }
    println!("{} files, {} findings", texts.len(), findings.len());
    let passed = Outcome::one_passed();
    Ok(if findings.is_empty() { passed } else { Outcome::one_failed() })
}

/// What is wrong in a tree, given as paths relative to its root and their texts.
fn findings(texts: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sources: Vec<Source> = Vec::new();
    for (path, text) in texts {
        if path.ends_with(".rs") {
            sources.push(Source::read(path, text));
        } else {
            manifest::check(path, text, &mut findings);
        }
    }
    manifest::check_lints(texts, &mut findings);
    source::mark_test_modules(&mut sources);
    for source in &sources {
        rules::check(source, &mut findings);
        walls::check(source, &mut findings);
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Rust sources and manifests, in a fixed order.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder);
    let entries = entries.with_context(|| format!("failed to read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            if !FOREIGN.contains(&name.as_ref()) {
                collect(&path, files)?;
            }
        } else if name.ends_with(".rs") || name == "Cargo.toml" {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::findings;

    /// The findings of a tree of one file, as `LINE rule: message`.
    fn found(path: &str, text: &str) -> Vec<String> {
        let texts = [(path.to_owned(), text.to_owned())];
        findings(&texts)
            .iter()
            .map(|it| format!("{} {}: {}", it.line, it.rule, it.message))
            .collect()
    }

    #[track_caller]
    fn check(path: &str, text: &str, rules: &[(usize, &str)]) {
        let found = found(path, text);
        let short: Vec<(usize, &str)> = found
            .iter()
            .map(|text| {
                let (line, rest) = text.split_once(' ').unwrap();
                (line.parse().unwrap(), rest.split_once(": ").unwrap().0)
            })
            .collect();
        assert_eq!(short, rules, "{found:#?}");
    }

    #[test]
    fn a_good_file_has_no_findings() {
        check("core/src/job.rs", "//! A job.\n\nuse std::collections::BTreeMap;\n", &[]);
    }

    #[test]
    fn a_file_says_first_what_it_holds() {
        check("core/src/job.rs", "use std::fmt;\n", &[(1, "file-doc")]);
        check("core/src/job.rs", "", &[(1, "file-doc")]);
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        check("worker/src/utils.rs", "//! Things.\n", &[(1, "file-name")]);
        check("worker/src/job/part2.rs", "//! More.\n", &[(1, "file-name")]);
        check("worker/src/common/mod.rs", "//! More.\n", &[(1, "file-name")]);
    }

    #[test]
    fn the_core_does_no_input_or_output_in_whatever_way_it_is_written() {
        let text = "//! X.\nuse std::{fmt, fs::File, time::{Duration, Instant}};\nfn f() { std::net::x(); }\n";
        check("core/src/x.rs", text, &[(2, "wall"), (2, "wall"), (3, "wall")]);
        check("worker/src/x.rs", text, &[]);
    }

    #[test]
    fn the_core_has_neither_floats_nor_hashed_order() {
        let text = "//! X.\nstruct A { x: f64, y: HashMap<u8, u8> }\n";
        check("core/src/x.rs", text, &[(2, "wall"), (2, "wall")]);
    }

    #[test]
    fn comments_strings_and_longer_names_break_no_wall() {
        let text = "//! X with std::fs and HashMap.\n/* f64 /* nested */ tokio */\nconst A: &str = \"std::fs\";\nconst B: &str = r#\"f64 \" tokio\"#;\nfn f(c: char) -> bool { c == '\"' || c == '\\'' }\nstruct MyHashMap<'a>(&'a u8);\n";
        check("core/src/x.rs", text, &[]);
    }

    #[test]
    fn walls_do_not_hold_for_tests() {
        let text = "//! X.\n#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() { if true { } }\n}\nuse std::fs;\n";
        check("core/src/x.rs", text, &[(7, "wall")]);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_a_test() {
        let texts = [
            ("core/src/a.rs", "//! A.\n#[cfg(test)]\nmod model;\n"),
            ("core/src/a/model.rs", "//! M.\nuse std::fs;\n"),
            ("core/src/a/other.rs", "//! O.\nuse std::fs;\n"),
        ];
        let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let paths: Vec<String> = findings(&texts).into_iter().map(|it| it.path).collect();
        assert_eq!(paths, ["core/src/a/other.rs"]);
    }

    #[test]
    fn sql_is_the_stores() {
        let text = "//! X.\nconst A: &str = \"SELECT 1\";\nconst B: &str = \"select a plan\";\n";
        check("manager/src/web/x.rs", text, &[(2, "sql")]);
        check("manager/src/fleet/x.rs", "//! X.\nuse rusqlite::Connection;\n", &[(2, "wall")]);
        check("manager/src/store/x.rs", text, &[]);
    }

    #[test]
    fn folders_of_the_manager_are_rooms() {
        let text = "//! X.\nuse axum::Router;\nuse tokio::sync;\n";
        check("manager/src/store/x.rs", text, &[(2, "wall"), (3, "wall")]);
        check("manager/src/engine/x.rs", text, &[(2, "wall")]);
        check("manager/src/web/x.rs", text, &[]);
        let text = "//! X.\nuse campusgrid_core::grid::Grid;\nuse crate::store::{read, write};\n";
        check("manager/src/web/x.rs", text, &[(2, "wall"), (3, "wall")]);
        check("manager/src/fleet/x.rs", text, &[(2, "wall")]);
        check("manager/src/engine/x.rs", text, &[]);
    }

    #[test]
    fn the_codec_has_one_file() {
        check("protocol/src/frame.rs", "//! X.\nuse bincode::config;\n", &[]);
        check("worker/src/x.rs", "//! X.\nuse bincode::config;\n", &[(2, "wall")]);
    }

    #[test]
    fn engines_are_the_container_crates_and_it_knows_no_grid() {
        let text = "//! X.\nuse bollard::Docker;\nuse campusgrid_core::grid::Grid;\n";
        check("container/src/x.rs", text, &[(3, "wall")]);
        check("worker/src/x.rs", text, &[(2, "wall"), (3, "wall")]);
        let text = "[dependencies]\nbollard.workspace = true\ncampusgrid-core.workspace = true\n";
        check("container/Cargo.toml", text, &[(3, "wall")]);
        check("manager/Cargo.toml", text, &[(2, "wall")]);
        let text = "[dependencies]\ncampusgrid-container.workspace = true\n";
        check("sandbox/Cargo.toml", text, &[(2, "wall")]);
        check("worker/Cargo.toml", text, &[]);
    }

    #[test]
    fn lints_of_a_crates_own_are_the_workspaces() {
        let root = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\na = 1\n\n[workspace.lints.clippy]\nb = 1\n";
        let own = "[lints.rust]\nunsafe_code = \"deny\"\na = 1\n# Why.\n[lints.clippy]\nb = 2\n";
        let texts = [("Cargo.toml", root), ("sandbox/Cargo.toml", own), ("core/Cargo.toml", "")];
        let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let found: Vec<String> = findings(&texts).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["sandbox/Cargo.toml:1: lints: [lints.clippy] lacks the workspace's b = 1"]
        );
    }

    #[test]
    fn unsafe_code_has_one_place_even_in_tests() {
        let text =
            "//! X, unsafe.\n#[expect(unsafe_code, reason = \"x\")]\nfn f() { unsafe { g() } }\n";
        check("sandbox/src/helper/x.rs", text, &[]);
        check("sandbox/src/x.rs", text, &[(3, "unsafe")]);
        check("worker/tests/x.rs", text, &[(3, "unsafe")]);
    }

    #[test]
    fn a_task_without_an_issue_is_refused() {
        let text =
            "//! X.\n// TODO: later\n// TODO(ada, #12): later\n// FIXME soon\n// code XXXX-XXXX\n";
        check("worker/src/x.rs", text, &[(2, "todo"), (4, "todo")]);
    }

    #[test]
    fn allow_is_refused_and_expect_is_not() {
        let text = "//! X.\n#[allow(dead_code, reason = \"x\")]\nfn f() {}\n#[expect(dead_code, reason = \"x\")]\nfn g() {}\n";
        check("worker/src/x.rs", text, &[(2, "allow")]);
        check("worker/src/x.rs", "//! X.\n#![allow(unused)]\n", &[(2, "allow")]);
    }

    #[test]
    fn channels_have_bounds() {
        let text =
            "//! X.\nuse std::sync::mpsc::channel;\nuse tokio::sync::mpsc::UnboundedSender;\n";
        check("worker/src/x.rs", text, &[(2, "unbounded"), (3, "unbounded")]);
    }

    #[test]
    fn tests_do_not_sleep_and_are_not_ignored() {
        let text = "//! X.\nfn f() { std::thread::sleep(d); }\n#[ignore]\nfn g() {}\n";
        check("worker/tests/x.rs", text, &[(2, "test-sleep"), (3, "test-ignore")]);
        check("worker/src/x.rs", text, &[]);
    }

    #[test]
    fn long_files_are_refused_but_tests_and_comments_do_not_count() {
        let long = format!("//! X.\n{}", "fn f() {}\n".repeat(401));
        check("worker/src/x.rs", &long, &[(1, "file-size")]);
        let tests =
            format!("//! X.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(500));
        check("worker/src/x.rs", &tests, &[]);
        let comments = format!("//! X.\n{}", "// why\n\n".repeat(500));
        check("worker/src/x.rs", &comments, &[]);
    }

    #[test]
    fn crates_depend_only_on_what_their_room_may_use() {
        let text = "[package]\nname = \"x\"\n[dependencies]\ncampusgrid-core.workspace = true\ntokio = \"1\"\n";
        check("worker/Cargo.toml", text, &[(4, "wall")]);
        check("core/Cargo.toml", text, &[(5, "wall")]);
        check("manager/Cargo.toml", text, &[]);
    }
}

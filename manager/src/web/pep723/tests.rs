//! The examples of PEP 723, and what only looks like one.

use super::{Header, blocks, read};

fn names(dependencies: &[&str], requires_python: Option<&str>) -> Header {
    Header {
        dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
        requires_python: requires_python.map(str::to_owned),
    }
}

fn problems(source: &str) -> Vec<String> {
    let errors = read(source).unwrap_err();
    assert!(errors.iter().all(|error| error.field == "source"));
    errors.into_iter().map(|error| error.message).collect()
}

#[test]
fn the_example_of_the_pep_is_read() {
    let source = r#"#!/usr/bin/env python
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "requests<3",
#   "rich",
# ]
#
# [tool.uv]
# index-url = "https://elsewhere.example/simple"
# ///

import requests
"#;
    let expected = names(&["requests<3", "rich"], Some(">=3.11"));
    assert_eq!(read(source), Ok(expected.clone()));
    assert_eq!(read(&source.replace('\n', "\r\n")), Ok(expected), "as browsers send it");
}

#[test]
fn what_is_no_block_asks_for_nothing() {
    for source in [
        "",
        "print(1)",
        "# /// script\n# dependencies = [\"numpy\"]\nprint(1)", // Never closed.
        "# /// script\n# ///",                                  // Nothing in it.
        "# /// script\n#dependencies = [\"numpy\"]\n# ///",     // No space behind the mark.
        "#/// script\n# dependencies = [\"numpy\"]\n# ///",
        "# /// script \n# dependencies = [\"numpy\"]\n# ///",
        "# ///  script\n# dependencies = [\"numpy\"]\n# ///",
        " # /// script\n# dependencies = [\"numpy\"]\n# ///",
        "# /// script\n# dependencies = [\"numpy\"]\n\n# ///", // Its lines do not follow each other.
        "# /// script\n# dependencies = [\"numpy\"]\n# /// ",
        "# /// SCRIPT\n# dependencies = [\"numpy\"]\n# ///",
        "# /// pyproject\n# dependencies = [\"numpy\"]\n# ///",
        "# /// script\n# # a comment\n# ///",
    ] {
        assert_eq!(read(source), Ok(Header::default()), "{source:?}");
    }
}

#[test]
fn the_last_end_in_a_row_of_comments_ends_the_block() {
    let source = "# /// script\n# [tool.x]\n# text = \"\"\"\n# ///\n# \"\"\"\n# ///\n# after\n1";
    let found = blocks(source);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].content, ["[tool.x]", "text = \"\"\"", "///", "\"\"\""]);
    assert_eq!(read(source), Ok(Header::default()));
}

#[test]
fn a_block_inside_of_another_is_its_content() {
    let source = "# /// notes\n# /// script\n# dependencies = [\"numpy\"]\n# ///\n";
    assert_eq!(blocks(source).iter().map(|block| block.kind).collect::<Vec<_>>(), ["notes"]);
    assert_eq!(read(source), Ok(Header::default()));
}

#[test]
fn an_open_block_hides_no_later_one() {
    let source = "# /// notes\n# x\n\n# /// script\n# dependencies = [\"numpy\"]\n# ///\n";
    assert_eq!(read(source), Ok(names(&["numpy"], None)));
}

#[test]
fn two_blocks_are_refused_with_the_line() {
    let source = "# /// script\n# dependencies = []\n# ///\n\n# /// script\n# a = 1\n# ///\n";
    assert_eq!(problems(source), ["has a second \"# /// script\" block in line 5"]);
}

#[test]
fn bad_toml_is_told_with_the_line_of_the_source() {
    for (content, line) in [
        ("# dependencies = [\"numpy\"", 3),
        ("# a = 1\n# dependencies = \"numpy\"", 4),
        ("# a = 1\n# a = 2", 4),
        ("# dependencies = [1]", 3),
        ("# requires-python = 3.11", 3),
        ("#\n#\n# ]", 5),
    ] {
        let found = problems(&format!("import x\n# /// script\n{content}\n# ///\n"));
        let begin = format!("has a script block that is wrong in line {line}: ");
        assert!(found.len() == 1 && found[0].starts_with(&begin), "{content:?}: {found:?}");
        assert!(!found[0].ends_with(": "), "it says what is wrong: {found:?}");
    }
}

#[test]
fn only_names_are_packages() {
    for name in [
        "https://evil.example/x.whl",
        "x @ https://evil.example/x.whl",
        "-r /etc/passwd",
        "--index-url=https://evil.example",
        "numpy --hash=sha256:00",
        "numpy\\n--index-url x",
        "./here",
        "",
    ] {
        let source = format!("# /// script\n# dependencies = [\n# \"{name}\"]\n# ///\n");
        let found = problems(&source);
        assert!(found.len() == 1 && found[0].starts_with("line 3: "), "{name:?}: {found:?}");
    }
}

#[test]
fn versions_of_python_are_comparisons() {
    let header = |python: &str| format!("# /// script\n# requires-python = {python:?}\n# ///\n");
    for python in [">=3.11", "==3.12.*", ">= 3.9, < 4", "~=3.10", "!=3.11.0,>3.8"] {
        assert_eq!(read(&header(python)), Ok(names(&[], Some(python))));
    }
    for python in ["", "3.11", ">=", ">=3.11,", ">=3.11\n[tool]", ">=3.11\"", &">=3,".repeat(90)] {
        let found = problems(&header(python));
        assert!(found[0].starts_with("line 2: requires-python must be"), "{found:?}");
    }
}

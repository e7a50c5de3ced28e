//! What a task executes: its files, its commands with their arguments. Nothing of a submitter's text but
//! a shell program itself is ever read by a shell.

use std::time::Duration;

use campusgrid_protocol::task::{Program, TaskSpec, Work};
use campusgrid_sandbox::checkpoint::CHECKPOINT;
use campusgrid_sandbox::plan::Step;

use super::plan::COMPILE_LIMIT;

/// Where a job's files are seen inside.
pub(super) const INPUTS: &str = "/inputs";

/// Arguments are so long in all at most, once their placeholders are filled in. What a sandbox can be
/// ordered to execute is twice that. Bytes.
const ARGUMENTS_MAX_BYTES: usize = 512 << 10;

/// The least that a task has which goes on when its time is almost over.
const LEAST_MS: u64 = 1000;

/// Files that the plan writes, and the commands.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) steps: Vec<Step>,
}

/// The commands of a task that has run for `done_ms` in earlier attempts, which it goes on from.
///
/// # Errors
///
/// In words, if its arguments are too long.
pub(super) fn commands(
    spec: &TaskSpec,
    python: &str,
    (index, line): (u32, Option<&str>),
    done_ms: u64,
) -> Result<Commands, String> {
    let arguments = fill(&spec.arguments, index, line)?;
    let mut files = Vec::new();
    let mut source = |name: &str, program: &Program| match program {
        Program::Source(text) => {
            files.push((name.to_owned(), text.as_bytes().to_vec()));
            name.to_owned()
        }
        Program::Entry(path) => entry(path, &spec.work),
    };
    let mut steps = Vec::new();
    let mut last: Vec<String> = match &spec.work {
        Work::Python { program, packages: _ } => {
            vec![python.to_owned(), "-u".to_owned(), source("main.py", program)]
        }
        Work::C { program, flags } => {
            let file = source("main.c", program);
            let mut argv: Vec<String> = ["gcc", "-O2", "-fopenmp"].map(str::to_owned).to_vec();
            argv.extend(flags.iter().cloned());
            argv.extend(["-I.", "-o", "main", &file, "-lm"].map(str::to_owned));
            steps.push(Step { argv, wall: COMPILE_LIMIT, warn: None });
            vec!["./main".to_owned()]
        }
        Work::Shell { program: Program::Source(command) } => {
            ["/bin/sh", "-c", command, "sh"].map(str::to_owned).to_vec()
        }
        Work::Shell { program: Program::Entry(path) } => {
            vec!["/bin/sh".to_owned(), entry(path, &spec.work)]
        }
    };
    last.extend(arguments);
    // Whoever goes on has the rest of its time, and what is left of a second.
    let limit_ms = u64::from(spec.time_limit_s) * 1000;
    let wall = Duration::from_millis(limit_ms.saturating_sub(done_ms).max(LEAST_MS));
    let warn = (spec.warn_s > 0).then(|| Duration::from_secs(u64::from(spec.warn_s)));
    steps.push(Step { argv: last, wall, warn });
    Ok(Commands { files, steps })
}

/// Names in the task's directory that are the plan's own, so that no input is linked there. What has
/// such a name is still in `/inputs`.
pub(super) fn own_names(work: &Work) -> Vec<&'static str> {
    let source = |name| match work.program() {
        Program::Source(_) => Some(name),
        Program::Entry(_) => None,
    };
    let mut names = vec!["outputs", CHECKPOINT];
    match work {
        Work::Python { .. } => names.extend(source("main.py")),
        Work::C { .. } => {
            names.push("main");
            names.extend(source("main.c"));
        }
        Work::Shell { .. } => {}
    }
    names
}

/// An input file as an argument that cannot be taken for anything else: `-c`, `+x` and `@x` are options
/// to some of those who get it.
fn entry(path: &str, work: &Work) -> String {
    let top = path.split('/').next().unwrap_or(path);
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    if own_names(work).contains(&top) {
        format!("{INPUTS}/{path}")
    } else if path.starts_with(plain) {
        path.to_owned()
    } else {
        format!("./{path}")
    }
}

/// Fills placeholders in, once: what comes in by one is not looked at again.
fn fill(arguments: &[String], index: u32, line: Option<&str>) -> Result<Vec<String>, String> {
    let index = index.to_string();
    let places = [Some(("{index}", index.as_str())), line.map(|line| ("{line}", line))];
    let mut bytes = 0;
    let mut filled = Vec::new();
    for argument in arguments {
        let mut text = String::new();
        let mut rest = argument.as_str();
        while let Some(begin) = rest.find('{') {
            let (before, at) = rest.split_at(begin);
            text.push_str(before);
            let place = places.iter().flatten().find(|(name, _)| at.starts_with(name));
            let (name, value) = place.copied().unwrap_or(("{", "{"));
            text.push_str(value);
            rest = &at[name.len()..];
            if bytes + text.len() > ARGUMENTS_MAX_BYTES {
                return Err(too_long());
            }
        }
        text.push_str(rest);
        bytes += text.len();
        filled.push(text);
    }
    if bytes > ARGUMENTS_MAX_BYTES { Err(too_long()) } else { Ok(filled) }
}

fn too_long() -> String {
    let max_kib = ARGUMENTS_MAX_BYTES >> 10;
    format!("with what they stand for, its arguments are longer than {max_kib} KiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(argument: &str, line: Option<&str>, expected: &str) {
        assert_eq!(fill(&[argument.to_owned()], 7, line).unwrap(), [expected]);
    }

    #[test]
    fn placeholders_are_filled_in_once() {
        check("--seed={index}", None, "--seed=7");
        check("{index}{index}-{line}", Some("a b"), "77-a b");
        check("{line}", Some("{index}{line}"), "{index}{line}");
        check("{line}", None, "{line}");
        check("{{index}} {indexes} {Index} {", None, "{7} {indexes} {Index} {");
        check("é{index}é", Some(""), "é7é");
        check("", None, "");
    }

    #[test]
    fn arguments_do_not_grow_without_end() {
        let line = "x".repeat(60 << 10);
        let one = "{line}".to_owned();
        assert_eq!(fill(&vec![one.clone(); 8], 1, Some(&line)).unwrap().len(), 8);
        fill(&vec![one; 9], 1, Some(&line)).unwrap_err();
        fill(&["{line}".repeat(5000)], 1, Some(&line)).unwrap_err();
    }

    #[test]
    fn an_entry_is_nothing_but_a_file() {
        let shell = Work::Shell { program: Program::Entry(String::new()) };
        let c = Work::C { program: Program::Entry(String::new()), flags: Vec::new() };
        for (path, expected) in [
            ("src/run.sh", "src/run.sh"),
            ("-c", "./-c"),
            ("+x", "./+x"),
            ("@files", "./@files"),
            (".hidden", "./.hidden"),
            ("outputs/x.sh", "/inputs/outputs/x.sh"),
            ("main/x.c", "main/x.c"),
        ] {
            assert_eq!(entry(path, &shell), expected);
        }
        assert_eq!(entry("main/x.c", &c), "/inputs/main/x.c");
    }
}

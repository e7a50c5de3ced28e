//! Reads which libraries the driver consists of from a CDI specification, as `nvidia-ctk` writes it.
//!
//! <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>. Only the libraries
//! are taken: device nodes follow from what the driver itself says, hooks are never run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use tracing::warn;
use yaml_rust2::parser::Parser;
use yaml_rust2::{Event, Yaml, YamlLoader};

const KIND: &str = "nvidia.com/gpu";
/// Those of machines with eight GPUs have about 100 KiB.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// Real ones are six deep. The parser calls itself for each level.
const DEPTH_MAX: u32 = 32;
const FILES_MAX: usize = 64;

/// The libraries of NVIDIA's driver, on the host, by the first specification that names any.
pub(super) fn libraries(directories: &[PathBuf]) -> Vec<PathBuf> {
    for directory in directories {
        for file in specifications(directory) {
            match read(&file) {
                Ok(libraries) if !libraries.is_empty() => return libraries,
                Ok(_) => {}
                Err(why) => warn!(file = %file.display(), "CDI specification passed over: {why}"),
            }
        }
    }
    Vec::new()
}

fn specifications(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "yaml" || ending == "json")
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_one).take(FILES_MAX).collect();
    files.sort_unstable();
    files
}

fn read(file: &Path) -> Result<Vec<PathBuf>, String> {
    let metadata = fs::metadata(file).map_err(|error| error.to_string())?;
    // Whoever can write it could have any file shown to tasks.
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err("others than root can write it".to_owned());
    }
    if metadata.len() > FILE_MAX_BYTES {
        return Err(format!("it has more than {FILE_MAX_BYTES} bytes"));
    }
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    parse(&text)
}

/// Host paths of the libraries in a specification; none if it is of another kind of device.
///
/// JSON is YAML too.
fn parse(text: &str) -> Result<Vec<PathBuf>, String> {
    check_shape(text)?;
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    let Some(document) = documents.first() else { return Ok(Vec::new()) };
    if document["kind"].as_str() != Some(KIND) {
        return Ok(Vec::new());
    }
    let list = |yaml: &Yaml| yaml.as_vec().cloned().unwrap_or_default();
    let all = std::iter::once(document).chain(document["devices"].as_vec().into_iter().flatten());
    let mut libraries: Vec<PathBuf> = all
        .flat_map(|part| list(&part["containerEdits"]["mounts"]))
        .filter_map(|mount| mount["hostPath"].as_str().map(PathBuf::from))
        .filter(|path| is_library(path))
        .collect();
    libraries.sort_unstable();
    libraries.dedup();
    Ok(libraries)
}

/// Refuses what would take the loader more memory or stack than its length says: references, which
/// are copied, and nesting.
fn check_shape(text: &str) -> Result<(), String> {
    let mut parser = Parser::new_from_str(text);
    let mut depth = 0_u32;
    loop {
        let (event, _) = parser.next_token().map_err(|error| error.to_string())?;
        if matches!(event, Event::Alias(_)) {
            return Err("it has references, as none that we know".to_owned());
        } else if matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)) {
            depth += 1;
        } else if matches!(event, Event::SequenceEnd | Event::MappingEnd) {
            depth = depth.saturating_sub(1);
        } else if matches!(event, Event::StreamEnd) {
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
    }
}

/// A plain absolute path of a shared library, such as `/usr/lib64/libcuda.so.550.54.15`.
fn is_library(path: &Path) -> bool {
    let is_plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.is_absolute() && is_plain && name.starts_with("lib") && name.contains(".so")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        let said = match parse(text) {
            Ok(paths) => paths.iter().map(|path| format!("{}\n", path.display())).collect(),
            Err(why) => format!("refused: {why}\n"),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn libraries_are_taken_and_nothing_else() {
        check(
            include_str!("recordings/nvidia.yaml"),
            expect![[r#"
                /usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15
                /usr/lib/x86_64-linux-gnu/libcudadebugger.so.550.54.15
                /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.54.15
                /usr/lib/x86_64-linux-gnu/libnvidia-nvvm.so.550.54.15
                /usr/lib/x86_64-linux-gnu/libnvidia-opencl.so.550.54.15
                /usr/lib/x86_64-linux-gnu/libnvidia-ptxjitcompiler.so.550.54.15
            "#]],
        );
    }

    #[test]
    fn json_is_read_as_well() {
        let text = r#"{"cdiVersion":"0.5.0","kind":"nvidia.com/gpu","devices":[{"name":"0",
            "containerEdits":{"mounts":[{"hostPath":"/opt/nv/libcuda.so.1"}]}}]}"#;
        check(text, expect!["/opt/nv/libcuda.so.1\n"]);
    }

    #[test]
    fn other_devices_are_passed_over() {
        let text = "kind: example.com/nic\ncontainerEdits:\n  mounts:\n  - hostPath: /l/libx.so\n";
        check(text, expect![""]);
        check("", expect![""]);
        check("- 1\n- kind", expect![""]);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_not_taken() {
        let text = "kind: nvidia.com/gpu\ncontainerEdits:\n  mounts:\n  - hostPath: /usr/../etc/libx.so\n  \
                    - hostPath: lib/libx.so\n  - hostPath: /etc/shadow\n  - hostPath: [1]\n  - 7\n  - hostPath: /a/libok.so.1\n";
        check(text, expect!["/a/libok.so.1\n"]);
    }

    #[test]
    fn what_would_blow_up_is_refused() {
        check(
            "a: &x [1, 2]\nb: [*x, *x]\n",
            expect!["refused: it has references, as none that we know\n"],
        );
        check(
            &"[".repeat(100_000),
            expect![[r#"
            refused: recursion limit exceeded at byte 255 line 1 column 256
        "#]],
        );
        check(
            "a: [1",
            expect![[r#"
            refused: while parsing a flow sequence, expected ',' or ']' at byte 5 line 2 column 1
        "#]],
        );
    }
}

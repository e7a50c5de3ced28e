//! Which crate may depend on what: the table of DESIGN.md's section on rooms, for manifests.

use crate::tidy::Finding;

/// What a crate with lints of its own may leave out.
const FORBIDDEN: &str = "unsafe_code = \"forbid\"";
/// Crates, and what none of them may depend on.
const WALLS: [(&[&str], &[&str]); 6] = [
    (
        &["worker", "cli", "container", "sandbox", "settings", "protocol"],
        &["campusgrid-core", "campusgrid-manager"],
    ),
    // The container's plan and report are the sandbox's, and not the other way round.
    (&["sandbox", "protocol", "settings", "core", "manager"], &["campusgrid-container"]),
    (&["core", "protocol", "settings"], &["tokio", "tokio-util", "axum", "rusqlite"]),
    (&["core"], &["rand", "getrandom", "jiff", "nix"]),
    (&["manager", "worker", "cli", "container", "sandbox", "settings", "core"], &["bincode"]),
    (&["manager", "worker", "cli", "sandbox", "settings", "core", "protocol"], &["bollard"]),
];

/// Holds the lints of crates that have a list of their own against the workspace's.
///
/// A crate may have such a list only because the workspace forbids unsafe code, which leaves no
/// exception; all else must be the same.
pub(super) fn check_lints(texts: &[(String, String)], findings: &mut Vec<Finding>) {
    let Some((_, root)) = texts.iter().find(|(path, _)| path == "Cargo.toml") else { return };
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with("/Cargo.toml")) {
        let has_own = text.lines().any(|line| line.starts_with("[lints."));
        for table in ["lints.rust", "lints.clippy"].into_iter().filter(|_| has_own) {
            let own = rows(text, table);
            for row in rows(root, &format!("workspace.{table}")) {
                if !own.contains(&row) && row != FORBIDDEN {
                    let message = format!("[{table}] lacks the workspace's {row}");
                    findings.push(Finding { path: path.clone(), line: 1, rule: "lints", message });
                }
            }
        }
    }
}

/// The lines of a table.
fn rows<'a>(text: &'a str, table: &str) -> Vec<&'a str> {
    let head = format!("[{table}]");
    let lines = text.lines().skip_while(|line| line.trim() != head).skip(1);
    let rows = lines.take_while(|line| !line.starts_with('[')).map(str::trim);
    rows.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

pub(super) fn check(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let Some(folder) = path.strip_suffix("/Cargo.toml") else { return };
    let mut in_dependencies = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.trim_end().ends_with("dependencies]");
            continue;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        let is_banned = WALLS
            .iter()
            .any(|(folders, banned)| folders.contains(&folder) && banned.contains(&name));
        if in_dependencies && is_banned {
            let message = format!("{folder} must not depend on {name}");
            findings.push(Finding {
                path: path.to_owned(),
                line: number + 1,
                rule: "wall",
                message,
            });
        }
    }
}

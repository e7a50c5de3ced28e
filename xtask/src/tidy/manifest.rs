//! Which crate may depend on what: the table of DESIGN.md's section on rooms, for manifests.

use crate::tidy::Finding;

/// Crates, and what none of them may depend on.
const WALLS: [(&[&str], &[&str]); 4] = [
    (
        &["worker", "cli", "sandbox", "settings", "protocol"],
        &["campusgrid-core", "campusgrid-manager"],
    ),
    (&["core", "protocol", "settings"], &["tokio", "tokio-util", "axum", "rusqlite"]),
    (&["core"], &["rand", "getrandom", "jiff", "nix"]),
    (&["manager", "worker", "cli", "sandbox", "settings", "core"], &["bincode"]),
];

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

//! Which room may use what: the table of DESIGN.md's section on rooms, for code.

use crate::tidy::Finding;
use crate::tidy::paths;
use crate::tidy::source::Source;

/// What must not be named in a folder's code; tests are free.
struct Wall {
    folder: &'static str,
    /// Paths, or parts of paths.
    banned: &'static [&'static str],
    why: &'static str,
}

const IO: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
];

const WALLS: [Wall; 16] = [
    Wall {
        folder: "core/src/",
        banned: &IO,
        why: "the core does no input or output and reads no clock",
    },
    Wall {
        folder: "core/src/",
        banned: &["rusqlite", "axum", "rand", "getrandom", "RandomState"],
        why: "the core is pure",
    },
    Wall {
        folder: "core/src/",
        banned: &["HashMap", "HashSet"],
        why: "its order differs from run to run: use BTreeMap or BTreeSet",
    },
    Wall {
        folder: "core/src/",
        banned: &["f32", "f64"],
        why: "money and resources are whole numbers",
    },
    Wall {
        folder: "protocol/src/",
        banned: &["tokio", "std::net", "std::fs", "std::time::Instant", "std::time::SystemTime"],
        why: "the protocol is about bytes, not about sockets, files or the clock",
    },
    Wall {
        folder: "sharing/src/",
        banned: &IO,
        why: "an owner's rules are decided from what is handed in, so that they can be simulated",
    },
    Wall {
        folder: "sandbox/src/",
        banned: &["TcpStream", "TcpListener", "UdpSocket", "campusgrid_core", "campusgrid_manager"],
        why: "the sandbox knows neither the network nor money",
    },
    Wall {
        folder: "cli/src/",
        banned: &["campusgrid_core", "campusgrid_manager", "tokio"],
        why: "the command knows the API that everybody knows",
    },
    Wall {
        folder: "container/src/",
        banned: &["campusgrid_core", "campusgrid_manager"],
        why: "containers know plans and engines, neither the grid nor money",
    },
    Wall {
        folder: "identity/src/",
        banned: &["tokio", "TcpStream", "TcpListener", "campusgrid_core", "campusgrid_manager"],
        why: "identities are keys, certificates and configurations, not connections",
    },
    Wall {
        folder: "manager/src/admin/",
        banned: &["Grid", "axum", "store::write"],
        why: "the local socket asks the engine like everybody else",
    },
    Wall {
        folder: "manager/src/store/",
        banned: &["tokio", "axum", "askama"],
        why: "the store is blocking and knows no clients",
    },
    Wall { folder: "manager/src/engine/", banned: &["axum"], why: "the engine knows no clients" },
    Wall {
        folder: "manager/src/fleet/",
        banned: &["Grid", "axum"],
        why: "sessions ask the engine, they decide nothing",
    },
    Wall {
        folder: "manager/src/web/",
        banned: &["Grid", "store::write"],
        why: "pages read snapshots and ask the engine, they change nothing themselves",
    },
    Wall {
        folder: "worker/src/",
        banned: &["campusgrid_core", "campusgrid_manager"],
        why: "the worker knows the protocol only",
    },
];

const STORE: &str = "manager/src/store/";
/// The one file that may name the codec.
const CODEC_FILE: &str = "protocol/src/frame.rs";
/// The only crate that may name what talks to Docker and Podman.
const ENGINES: &str = "container/";
/// The only place for what the compiler cannot check: system calls between fork and exec.
const UNSAFE: &str = "sandbox/src/helper/";
/// With white space behind them: the beginnings of SQL.
const SQL: [&str; 8] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "PRAGMA", "BEGIN", "WITH"];

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    let path = source.path.as_str();
    let is_test = |line: usize| source.lines.get(line).is_some_and(|line| line.is_test);
    let mut find = |line: usize, rule: &'static str, message: String| {
        findings.push(Finding { path: path.to_owned(), line: line + 1, rule, message });
    };
    for named in paths::all(&source.code()) {
        if named.holds("unsafe") && !path.starts_with(UNSAFE) {
            find(named.line, "unsafe", format!("unsafe code belongs in {UNSAFE} alone"));
        }
        if is_test(named.line) {
            continue;
        }
        let mut ban = |banned: &str, why: &str| {
            if named.holds(banned) {
                find(named.line, "wall", format!("{banned} must not be named here: {why}"));
            }
        };
        for wall in WALLS.iter().filter(|wall| path.starts_with(wall.folder)) {
            for banned in wall.banned {
                ban(banned, wall.why);
            }
        }
        if !path.starts_with(STORE) {
            ban("rusqlite", "the database is the store's");
        }
        if !path.starts_with(ENGINES) {
            ban("bollard", "engines are talked to in the container crate alone");
        }
        if path != CODEC_FILE {
            ban("bincode", "the codec is named in protocol/src/frame.rs alone");
        }
    }
    for (line, text) in &source.texts {
        let is_ours = path.starts_with("manager/src/") && !path.starts_with(STORE);
        if is_ours && !is_test(*line) && is_sql(text) {
            find(*line, "sql", "SQL is the store's".to_owned());
        }
    }
}

fn is_sql(text: &str) -> bool {
    let text = text.trim_start();
    SQL.iter().any(|word| {
        text.strip_prefix(word).is_some_and(|rest| rest.starts_with(char::is_whitespace))
    })
}

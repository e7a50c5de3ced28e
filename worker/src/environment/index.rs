//! Where packages come from on this machine: uv's own settings, or else those that pip has here.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables of the worker that uv is given. All else stays out of its sight.
const PASSED: [&str; 19] = [
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INSECURE_HOST",
    "UV_SYSTEM_CERTS",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_RETRIES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// pip's option, its variable, the variable of uv that means the same, and those that outweigh it.
const FROM_PIP: [(&str, &str, &str, &[&str]); 4] = [
    ("index-url", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", &["UV_DEFAULT_INDEX", "UV_INDEX_URL"]),
    ("extra-index-url", "PIP_EXTRA_INDEX_URL", "UV_INDEX", &["UV_INDEX", "UV_EXTRA_INDEX_URL"]),
    ("find-links", "PIP_FIND_LINKS", "UV_FIND_LINKS", &["UV_FIND_LINKS"]),
    ("cert", "PIP_CERT", "SSL_CERT_FILE", &["SSL_CERT_FILE", "SSL_CERT_DIR"]),
];

/// The variables to run uv with, given those of the worker and the texts of pip's configuration
/// files, the most general first.
pub fn variables_for_uv(
    variables: &BTreeMap<String, String>,
    pip_files: &[String],
) -> BTreeMap<String, String> {
    let mut for_uv: BTreeMap<String, String> = PASSED
        .iter()
        .filter_map(|&name| Some((name.to_owned(), variables.get(name)?.clone())))
        .collect();
    for (option, pip_variable, uv_variable, stronger) in FROM_PIP {
        if stronger.iter().any(|&name| for_uv.contains_key(name)) {
            continue;
        }
        let from_files = || pip_files.iter().rev().find_map(|text| global_option(text, option));
        if let Some(value) = variables.get(pip_variable).cloned().or_else(from_files) {
            for_uv.insert(uv_variable.to_owned(), value);
        }
    }
    for_uv
}

/// Where pip looks for its configuration, the most general first.
pub fn pip_files(variables: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/pip.conf")];
    if let Some(home) = variables.get("HOME").map(PathBuf::from) {
        files.push(home.join(".pip/pip.conf"));
        let config = variables.get("XDG_CONFIG_HOME").map(PathBuf::from);
        files.push(config.unwrap_or_else(|| home.join(".config")).join("pip/pip.conf"));
    }
    files.extend(variables.get("PIP_CONFIG_FILE").map(PathBuf::from));
    files
}

/// The owner's configuration of uv, if there is one: the nearest to the user.
pub fn config_file(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let path = |name: &str| variables.get(name).map(PathBuf::from);
    let home = path("HOME").map(|home| home.join(".config"));
    let user = path("XDG_CONFIG_HOME").or(home).map(|config| config.join("uv/uv.toml"));
    let all = [path("UV_CONFIG_FILE"), user, Some(PathBuf::from("/etc/uv/uv.toml"))];
    all.into_iter().flatten().find(|file| file.is_absolute() && file.is_file())
}

/// The files and directories of this machine that uv's variables name, such as those of wheels.
///
pub fn local_paths(for_uv: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let named = LOCAL.iter().filter_map(|&name| for_uv.get(name));
    let words = named.flat_map(|value| value.split([' ', ',']));
    let mut paths: Vec<PathBuf> = words
        .map(|word| PathBuf::from(word.strip_prefix("file://").unwrap_or(word)))
        .filter(|path| path.is_absolute() && path.exists())
        .filter(|path| !NOT_TO_SHOW.iter().any(|other| path.starts_with(other)))
        .collect();
    paths.sort_unstable();
    paths.dedup_by(|later, first| later.starts_with(first));
    paths
}

/// Variables of uv that may name files or directories.
const LOCAL: [&str; 7] = [
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Seen anyway, or hidden by what stands there in a sandbox.
const NOT_TO_SHOW: [&str; 5] = ["/usr", "/etc/ssl", "/etc/pki", "/tmp", "/job"];

/// An option of the `[global]` section; several lines of values are joined by blanks, as in pip.
fn global_option(text: &str, option: &str) -> Option<String> {
    let mut in_global = false;
    let mut values: Option<Vec<&str>> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let continues = line.starts_with([' ', '\t']);
        if let (true, Some(values)) = (continues, values.as_mut()) {
            values.push(trimmed);
        } else if values.is_some() {
            break;
        } else if trimmed.starts_with('[') {
            in_global = trimmed == "[global]";
        } else if let Some((name, value)) = trimmed.split_once(['=', ':'])
            && in_global
            && name.trim().replace('_', "-") == option
        {
            values = Some(vec![value.trim()]);
        }
    }
    Some(values?.join(" ").trim().to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], pip_files: &[&str], expected: &[(&str, &str)]) {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let files: Vec<String> = pip_files.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(variables_for_uv(&map(variables), &files), map(expected));
    }

    #[test]
    fn the_workers_own_variables_stay_out_of_sight() {
        let own = [("SECRET", "x"), ("HOME", "/home/ada"), ("UV_PUBLISH_TOKEN", "x")];
        check(&own, &[], &[]);
        check(&[("HTTPS_PROXY", "http://p")], &[], &[("HTTPS_PROXY", "http://p")]);
    }

    #[test]
    fn pips_index_is_used_where_uv_has_none() {
        let pip = "[global]\nindex-url = https://mirror.example/simple\n";
        check(&[], &[pip], &[("UV_DEFAULT_INDEX", "https://mirror.example/simple")]);
        let own = [("UV_INDEX_URL", "https://own.example")];
        check(&own, &[pip], &own);
    }

    #[test]
    fn a_variable_outweighs_a_file_and_the_users_file_the_systems() {
        let system = "[global]\nindex-url = http://system\ncert = /c.pem";
        let user = "[install]\nindex-url = http://no\n[global]\nindex_url: http://user";
        let cert = ("SSL_CERT_FILE", "/c.pem");
        check(&[], &[system, user], &[("UV_DEFAULT_INDEX", "http://user"), cert]);
        let variables = [("PIP_INDEX_URL", "http://variable")];
        check(&variables, &[system, user], &[("UV_DEFAULT_INDEX", "http://variable"), cert]);
    }

    #[test]
    fn several_lines_of_a_value_are_one() {
        let pip = "[global]\n# more\nfind-links =\n    /wheels\n    /more\ntimeout = 5\n";
        check(&[], &[pip], &[("UV_FIND_LINKS", "/wheels /more")]);
    }

    #[test]
    fn what_variables_name_on_this_machine_is_shown() {
        let variables = [
            ("UV_FIND_LINKS", "/var/lib /nonexistent /var /var"),
            ("UV_DEFAULT_INDEX", "file:///var/lib"),
            ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
            ("UV_INDEX", "https://a.example/ relative /tmp"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(local_paths(&variables), [PathBuf::from("/var")]);
    }
}

//! Python environments built for real by uv; skipped, with the reason, where there is no uv or no
//! package index.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: helpers are not seen as such"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use campusgrid_worker::environment::{EnvironmentError, Environments, EnvironmentsConfig};
use tempfile::TempDir;

/// Where `cargo xtask` installs uv, beneath the home directory.
const UV_OF_XTASK: &str = ".cache/campusgrid/tools/uv/bin/uv";

fn uv() -> Option<PathBuf> {
    let named = std::env::var_os("CAMPUSGRID_WORKER_UV").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join("uv")).find(|uv| uv.is_file());
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(UV_OF_XTASK));
    named.or(in_path).or(home).filter(|uv| uv.is_file())
}

fn open(dir: &TempDir, more: &[(&str, &str)]) -> Option<Environments> {
    let Some(uv) = uv() else {
        eprintln!("skipped: uv is not installed");
        return None;
    };
    let mut variables: BTreeMap<String, String> = std::env::vars().collect();
    variables.extend(more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
    let data_dir = dir.path().to_owned();
    let fresh = Duration::from_secs(3600);
    let config = EnvironmentsConfig { data_dir, uv: Some(uv), fresh, variables };
    Some(Environments::open(config).unwrap())
}

fn lines(requirements: &[&str]) -> Vec<String> {
    requirements.iter().map(|&line| line.to_owned()).collect()
}

/// None, with a printed reason, if the index cannot be reached from here.
fn unless_out_of_reach<T>(result: Result<T, EnvironmentError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(EnvironmentError::Machine { message }) => {
            eprintln!("skipped: no package index: {message}");
            None
        }
        Err(EnvironmentError::Requirements { message }) => panic!("{message}"),
    }
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("environments")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_environment_is_built_once_for_all_who_wait_and_works_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let Some(environments) = open(&dir, &[]) else { return };
    let requirements = lines(&["six==1.16.0"]);
    let (first, second) =
        tokio::join!(environments.ready(&requirements), environments.ready(&requirements));
    let Some(environment) = unless_out_of_reach(first) else { return };
    assert_eq!(second.unwrap(), environment);
    let mut left = names(&dir);
    left.sort();
    assert_eq!(left.len(), 2, "one environment and the answers, nothing half built: {left:?}");

    let moved = dir.path().join("moved");
    fs::rename(&environment, &moved).unwrap();
    let python = Command::new(moved.join("bin/python3"))
        .args(["-c", "import six, sys; print(six.__version__, sys.prefix)"])
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(python.stdout).unwrap();
    assert_eq!(said, format!("1.16.0 {}\n", moved.display()));
    let compiled = fs::read_dir(moved.join("lib"))
        .unwrap()
        .flatten()
        .any(|python| python.path().join("site-packages/__pycache__").is_dir());
    assert!(compiled, "tasks cannot write bytecode, so it must be there");
}

#[tokio::test]
async fn the_same_requirements_need_no_index_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(environments) = open(&dir, &[]) else { return };
    let requirements = lines(&["six==1.16.0"]);
    let Some(first) = unless_out_of_reach(environments.ready(&requirements).await) else { return };
    let nowhere = [("UV_DEFAULT_INDEX", "http://127.0.0.1:9/"), ("UV_OFFLINE", "1")];
    let again = open(&dir, &nowhere).unwrap();
    assert_eq!(again.ready(&requirements).await, Ok(first));
}

#[tokio::test]
async fn what_does_not_exist_or_has_no_wheel_is_the_submitters_fault() {
    let dir = tempfile::tempdir().unwrap();
    let Some(environments) = open(&dir, &[]) else { return };
    for (requirement, word) in
        [("six==99.0", "six==99.0"), ("docopt==0.6.2", "wheel"), ("six>=(1", "not a package name")]
    {
        match environments.ready(&lines(&[requirement])).await {
            Err(EnvironmentError::Requirements { message }) => {
                assert!(message.contains(word), "{message}");
            }
            Err(EnvironmentError::Machine { message }) => {
                eprintln!("skipped: no package index: {message}");
                return;
            }
            Ok(environment) => panic!("{requirement} came to {}", environment.display()),
        }
    }
    assert_eq!(names(&dir), ["answers"]);
}

#[tokio::test]
async fn an_index_out_of_reach_is_the_machines_fault() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = [("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")];
    let Some(environments) = open(&dir, &nowhere) else { return };
    let result = environments.ready(&lines(&["six==1.16.0"])).await;
    assert!(matches!(result, Err(EnvironmentError::Machine { .. })), "{result:?}");
    assert_eq!(names(&dir), ["answers"]);
}

fn without_uv(dir: &TempDir, more: &[(&str, &str)]) -> Environments {
    let mut variables: BTreeMap<String, String> = std::env::vars().collect();
    variables.insert("PATH".to_owned(), "/nonexistent".to_owned());
    variables.extend(more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
    let data_dir = dir.path().to_owned();
    let config = EnvironmentsConfig { data_dir, uv: None, fresh: Duration::ZERO, variables };
    Environments::open(config).unwrap()
}

#[tokio::test]
async fn a_missing_uv_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let result = without_uv(&dir, &[]).ready(&lines(&["six==1.16.0"])).await;
    let Some(environment) = unless_out_of_reach(result) else { return };
    assert!(environment.join("bin/python3").exists());
    assert!(dir.path().join("tools/bin/uv").is_file());
}

#[tokio::test]
async fn a_uv_that_cannot_be_installed_is_named_with_the_fix() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = [("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), ("PIP_RETRIES", "0")];
    let result = without_uv(&dir, &nowhere).ready(&lines(&["six"])).await;
    let Err(EnvironmentError::Machine { message }) = result else {
        panic!("no uv was needed");
    };
    assert!(message.contains("pipx install uv"), "{message}");
}

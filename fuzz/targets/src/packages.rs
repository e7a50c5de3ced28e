//! What jobs say of their packages: nothing that passes can make a package manager read, fetch or run
//! anything but the packages that are named.

use campusgrid_manager::web::pep723;
use campusgrid_protocol::lock::Lock;
use campusgrid_protocol::message::LOCK_MAX_BYTES;
use campusgrid_protocol::python::{PythonVersion, Specifiers};
use campusgrid_protocol::requirement::{Requirement, is_name, normalised, uncommented};
use campusgrid_protocol::rest::REQUIREMENTS_MAX;
use campusgrid_protocol::rest::packages::check_names;
use campusgrid_worker::environment::uv_lock::Project;

use crate::Verdict;

/// A lock, as workers and submitters send it.
pub fn lock(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    let Ok(lock) = Lock::check(text) else { return Verdict::Refused };
    assert!(lock.text().len() <= LOCK_MAX_BYTES);
    assert_eq!(Lock::check(lock.text()).as_ref(), Ok(&lock), "written anew, it means another");
    let (python, lines): (Vec<&str>, Vec<&str>) =
        lock.text().lines().partition(|line| line.starts_with('#'));
    assert_eq!(
        (python.len(), lines.len()),
        (usize::from(lock.python().is_some()), lock.packages())
    );
    for line in lines {
        let (package, hashes) = line.split_once(" --hash=").expect("every package has a hash");
        assert!(is_plain(package) && package.contains("=="), "{line:?}");
        let is_hash = |hash: &str| {
            let hash = hash.strip_prefix("--hash=").unwrap_or(hash);
            hash.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64)
        };
        assert!(hashes.split(' ').all(is_hash), "{line:?}");
    }
    let python = Specifiers::parse(">=3.11").expect("it is one");
    let named = lock.clone().for_python(python);
    if named.text().len() <= LOCK_MAX_BYTES {
        assert_eq!(Lock::check(named.text()), Ok(named));
    }
    Verdict::Taken
}

/// Lines of requirements, and versions of Python.
pub fn requirements(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    let mut verdict = Verdict::Refused;
    for line in text.lines() {
        assert!(line.starts_with(uncommented(line)));
        if let Some(requirement) = Requirement::parse(line) {
            assert_eq!(normalised(&requirement.name), requirement.name);
            assert!(is_name(&requirement.name) && is_plain(line.trim()), "{line:?}");
            verdict = Verdict::Taken;
        }
        for error in check_names("requirements", &[line]) {
            assert!(error.message.len() < 2000, "{} bytes", error.message.len());
        }
        if let Some(python) = Specifiers::parse(line) {
            assert_eq!(Specifiers::parse(&python.to_string()), Some(python.clone()));
            // A minor version that will do has a release that does.
            let minor = u32::from(bytes.len() as u8 % 20);
            let ends = [0, u32::MAX].map(|micro| python.hold_for(PythonVersion(3, minor, micro)));
            assert_eq!(python.hold_for_minor(minor), ends.contains(&true));
            verdict = Verdict::Taken;
        }
    }
    verdict
}

/// A `uv.lock`, as a submitter sends it.
pub fn uv_lock(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    let Ok(project) = Project::read(text) else { return Verdict::Refused };
    // It is read by the package manager, so nothing of the lock may become a setting there.
    let lines: Vec<&str> = project.pyproject.lines().collect();
    let is_ours = |line: &&str| {
        ["[project]", "name = \"", "version = \"", "requires-python = "]
            .iter()
            .any(|begin| line.starts_with(begin))
            || line.is_empty()
    };
    assert!(lines.iter().all(is_ours), "{:?}", project.pyproject);
    Verdict::Taken
}

/// The header of a Python script.
pub fn header(bytes: &[u8]) -> Verdict {
    let Ok(source) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    match pep723::read(source) {
        Ok(header) => {
            assert!(check_names("source", &header.dependencies).is_empty());
            assert!(header.dependencies.len() <= REQUIREMENTS_MAX);
            Verdict::of(Some(()).filter(|()| !header.is_empty()))
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let bytes: usize = errors.iter().map(|error| error.message.len()).sum();
            assert!(bytes < 64 << 10, "{bytes} bytes of complaints");
            Verdict::Refused
        }
    }
}

/// Names, versions and markers: no option, no address, no path, no variable.
fn is_plain(text: &str) -> bool {
    !text.starts_with('-')
        && !text.contains(" -")
        && !text.contains(['/', '\\', '@', '$', '`', '#', '%', '\n', '\r', '\0'])
}

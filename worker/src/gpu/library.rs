//! The libraries of the running driver: which they are, and under what names a task sees them.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::GpuError;
use super::{Places, Root, cdi};

/// Where they are shown when the task's own system does not have them.
const INSIDE: &str = "/gpu/lib";
/// Where every loader looks by itself.
const STANDARD: [&str; 4] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
/// Where distributions and cloud images put a driver: theirs is not in the directories above.
const ELSEWHERE: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/local/nvidia/lib64",
    "/run/opengl-driver/lib",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
];
/// A driver has about thirty, most of them with two names.
const FILES_MAX: usize = 200;

/// What a task is shown of the driver.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Host path, path inside.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
    /// Where its loader must look beside the usual.
    pub(super) path: Option<String>,
}

/// The directories to look in, the one that NVML itself was loaded from first.
pub(super) fn usual_directories() -> Vec<PathBuf> {
    STANDARD.into_iter().chain(ELSEWHERE).map(PathBuf::from).collect()
}

impl Shown {
    /// What a task around which `root` stands must see to use the driver of this version.
    ///
    /// # Errors
    ///
    /// `Libraries` when there are none of this version: another one's would not work with it.
    pub(super) fn find(places: &Places, driver: &str, root: Root) -> Result<Self, GpuError> {
        let libraries = libraries(places, driver)?;
        let directory = |path: &PathBuf| path.parent().map(Path::to_owned);
        let is_visible = libraries.iter().all(|library| library.starts_with("/usr"));
        if root == Root::Machine && is_visible {
            let odd = libraries.iter().filter_map(directory).find(|directory| {
                !STANDARD.iter().any(|standard| directory == Path::new(standard))
            });
            let path = odd.map(|directory| directory.display().to_string());
            return Ok(Self { files: Vec::new(), path });
        }
        let mut files = Vec::new();
        for library in libraries {
            let names = names(&library);
            files.extend(
                names.into_iter().map(|name| (library.clone(), Path::new(INSIDE).join(name))),
            );
        }
        files.truncate(FILES_MAX);
        Ok(Self { files, path: Some(INSIDE.to_owned()) })
    }
}

/// The files themselves, by the specification if it is of this driver, else by their names.
fn libraries(places: &Places, driver: &str) -> Result<Vec<PathBuf>, GpuError> {
    let is_of_driver = |path: &Path| path.to_string_lossy().ends_with(&format!(".so.{driver}"));
    let real = |path: PathBuf| path.canonicalize().ok().filter(|path| path.is_file());
    let is_whole = |found: &[PathBuf]| {
        let is_cuda = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libcuda.so"))
        };
        found.iter().any(|path| is_cuda(path) && is_of_driver(path))
    };
    let specified: Vec<PathBuf> =
        cdi::libraries(&places.cdi).into_iter().filter_map(real).collect();
    if is_whole(&specified) {
        return Ok(specified);
    }
    for directory in &places.libraries {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> =
            paths.filter(|path| is_of_driver(path)).filter_map(real).collect();
        if is_whole(&found) {
            found.sort_unstable();
            found.dedup();
            return Ok(found);
        }
    }
    Err(GpuError::Libraries { driver: driver.to_owned() })
}

/// A library's own name and those of the links to it beside it: programs ask for `libcuda.so.1`.
fn names(library: &Path) -> Vec<String> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = name(library).into_iter().collect();
    let entries = library.parent().and_then(|directory| fs::read_dir(directory).ok());
    let links = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    names.extend(
        links
            .filter(|link| {
                link.is_symlink() && link.canonicalize().is_ok_and(|real| real == library)
            })
            .filter_map(|link| name(&link))
            .filter(|name| name.starts_with("lib")),
    );
    names.sort_unstable();
    names
}

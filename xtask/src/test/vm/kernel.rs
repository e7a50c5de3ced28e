//! A kernel for the virtual machine: Debian's, downloaded once and only unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::program;

/// The package that depends on the newest kernel for virtual machines. That has the serial
/// console, cgroups, namespaces and Landlock built in, so no module is needed.
const NEWEST: &str = "linux-image-cloud-amd64";

/// The newest kernel that can be had, or one that was had before.
///
/// # Errors
///
/// When apt knows none or cannot download it, and none was downloaded before.
pub(super) fn get(cache: &Path) -> Result<PathBuf> {
    let found = newest().and_then(|package| {
        let kernel = cache.join(&package).join("vmlinuz");
        if !kernel.exists() {
            download(cache, &package, &kernel)?;
        }
        Ok(kernel)
    });
    // Without a network, or when the mirror has moved on, an older one does as well.
    found.or_else(|error| older(cache).ok_or(error))
}

/// The name of the package that holds it.
fn newest() -> Result<String> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("there is a recipe for x86-64 only");
    }
    let said = program::quiet(Command::new("apt-cache").args(["depends", NEWEST]))
        .context("no kernel can be had: this is not Debian")?;
    let name = said.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let name = name.with_context(|| format!("apt does not know {NEWEST}"))?;
    Ok(format!("linux-image-{name}"))
}

fn download(cache: &Path, package: &str, kernel: &Path) -> Result<()> {
    println!("downloading {package}");
    let folder = cache.join("unpacking");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to remove a half unpacked kernel")?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    program::quiet(Command::new("apt-get").args(["download", package]).current_dir(&folder))?;
    let deb = only_file(&folder, "")?;
    program::quiet(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&folder))?;
    let image = only_file(&folder.join("boot"), "vmlinuz-")?;
    fs::create_dir_all(cache.join(package)).context("failed to make the kernel's folder")?;
    fs::rename(&image, kernel).context("failed to put the kernel in its place")?;
    fs::remove_dir_all(&folder).context("failed to remove what is not needed of a kernel")
}

/// The file in a folder whose name begins so.
fn only_file(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder);
    let entries = entries.with_context(|| format!("failed to read {}", folder.display()))?;
    let mut files = entries.flatten().filter(|entry| {
        entry.file_name().to_string_lossy().starts_with(prefix) && entry.path().is_file()
    });
    let file = files.next().with_context(|| format!("{} has no {prefix}…", folder.display()))?;
    Ok(file.path())
}

fn older(cache: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(cache).ok()?.flatten();
    entries.map(|entry| entry.path().join("vmlinuz")).filter(|path| path.exists()).max()
}

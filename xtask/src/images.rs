//! `cargo xtask images`: container images of the manager and the worker, without a registry.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::places::{Places, Profile};
use crate::program::{cargo, on_path, quiet, run};

/// What jobs find in the worker's image beside the smallest Debian.
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev,python3,python3-venv";

/// Where programs look for the certificates of others, here and in the image.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Builds both images and names them `campusgrid-manager` and `campusgrid-worker`.
pub(crate) fn build(places: &Places) -> Result<()> {
    let engine = ["docker", "podman"].into_iter().find_map(on_path);
    let engine = engine.context("neither docker nor podman is installed")?;
    let words = ["build", "--release", "-p", "campusgrid-manager", "-p", "campusgrid-worker"];
    run(cargo(&places.root, &words).args(["-p", "campusgrid-cli"]))?;
    let at = &fresh(&places.cache.join("images/context"))?;
    let (manager, worker) = (at.join("manager"), at.join("worker"));
    place(places, &manager, &["campusgrid-manager", "campusgrid"])?;
    for library in libraries(&places.binary(Profile::Release, "campusgrid-manager"))? {
        copy(&library, &manager, &library)?;
    }
    copy(Path::new(CERTIFICATES), &manager, Path::new(CERTIFICATES))?;
    place(places, &worker, &["campusgrid-worker", "campusgrid"])?;
    for folder in [at.join("data"), manager.join("tmp")] {
        fs::create_dir_all(folder).context("failed to make a directory for the build")?;
    }
    let debian = debian(places)?;
    // By a link, if both are on one file system: it is half a gigabyte.
    let tar = at.join("debian.tar");
    if fs::hard_link(&debian, &tar).is_err() {
        fs::copy(&debian, &tar).context("failed to copy the worker's system")?;
    }
    let file = places.root.join("packaging/container/Containerfile");
    for target in ["manager", "worker"] {
        let tag = format!("campusgrid-{target}");
        let mut command = Command::new(&engine);
        command.args(["build", "--target", target, "--tag", &tag, "--file"]).arg(&file).arg(at);
        run(&mut command)?;
    }
    Ok(())
}

/// An empty directory.
fn fresh(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(path).context("failed to empty the directory of an earlier build")?;
    }
    fs::create_dir_all(path).context("failed to make a directory for the build")?;
    Ok(path.to_owned())
}

/// Puts programs where the images have them.
fn place(places: &Places, root: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let to = Path::new("/usr/local/bin").join(name);
        copy(&places.binary(Profile::Release, name), root, &to)?;
    }
    Ok(())
}

/// Copies a file to a place below `root`, with its permissions.
fn copy(from: &Path, root: &Path, to: &Path) -> Result<()> {
    let to = root.join(to.strip_prefix("/").unwrap_or(to));
    let copied = (|| {
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        fs::copy(from, &to)
    })();
    copied.map(drop).with_context(|| format!("failed to copy {} for an image", from.display()))
}

/// What a program is linked with, the loader included, as ldd lists it.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = quiet(Command::new("ldd").arg(program))?;
    // `libm.so.6 => /lib/…/libm.so.6 (0x…)`, and the loader without an arrow.
    let path =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(listed.lines().filter_map(path).collect())
}

/// The worker's system as a tar file, made once.
fn debian(places: &Places) -> Result<PathBuf> {
    let tar = places.cache.join("images/debian.tar");
    if tar.is_file() {
        return Ok(tar);
    }
    if !nix::unistd::Uid::effective().is_root() {
        bail!("debootstrap makes the worker's system, and needs root: sudo -E cargo xtask images");
    }
    let work = fresh(&places.cache.join("images/work"))?;
    let (root, half) = (work.join("root"), work.join("debian.tar"));
    let include = format!("--include={PACKAGES}");
    run(Command::new("debootstrap").args(["--variant=minbase", &include, "stable"]).arg(&root))?;
    // As any root directory, not as one for its owner alone.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755))
        .context("failed to open the system")?;
    let mut pack = Command::new("tar");
    pack.args(["--create", "--numeric-owner", "--one-file-system"]);
    pack.args(["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*"]);
    run(pack.arg("--file").arg(&half).arg("--directory").arg(&root).arg("."))?;
    fs::rename(half, &tar).context("failed to keep the worker's system")?;
    fs::remove_dir_all(work).context("failed to remove what the worker's system was made in")?;
    Ok(tar)
}

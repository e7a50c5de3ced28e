//! Where things lie: the checkout, the build's binaries, the caches that outlive a run.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Every path that this crate uses is derived from these.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, whichever way it was set.
    pub(crate) target: PathBuf,
    /// `$XDG_CACHE_HOME/campusgrid`, or below `~/.cache`.
    pub(crate) cache: PathBuf,
}

/// How a binary was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

impl Places {
    /// # Errors
    ///
    /// When not started by Cargo, or when there is no home directory.
    pub(crate) fn find() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("start it as cargo xtask")?;
        let root = PathBuf::from(manifest).parent().context("xtask lies in the root")?.to_owned();
        let own = std::env::current_exe().context("failed to find the own binary")?;
        let target = own.parent().and_then(|profile| profile.parent());
        let target = target.context("the own binary lies outside of a target directory")?;
        Ok(Self { root, target: target.to_owned(), cache: cache()? })
    }

    /// Tools that are installed once, each in a version of its own.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    pub(crate) fn uv(&self) -> PathBuf {
        self.tools().join("uv/bin/uv")
    }

    pub(crate) fn binary(&self, profile: Profile, name: &str) -> PathBuf {
        let folder = match profile {
            Profile::Debug => "debug",
            Profile::Release => "release",
        };
        self.target.join(folder).join(name)
    }
}

fn cache() -> Result<PathBuf> {
    // A relative path there is to be ignored, says the XDG base directory specification.
    let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|it| it.is_absolute());
    let base = match set {
        Some(base) => base,
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("campusgrid"))
}

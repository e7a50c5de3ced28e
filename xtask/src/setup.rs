//! Installs what the system lacks: Debian packages, `uv`, Cargo's test tools.

mod packages;
mod tools;

pub(crate) use packages::{CHROMIUMS, install as install_packages};
pub(crate) use tools::{cargo_deny, cargo_nextest, uv};

use anyhow::Result;

use crate::places::Places;

/// What the system is to be made ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Demo,
    /// Everything that the demo needs, and more.
    Test,
}

/// # Errors
///
/// The first thing that cannot be had, with the command that a person could type.
pub(crate) fn run(places: &Places, purpose: Purpose) -> Result<()> {
    install_packages(purpose)?;
    uv(places)?;
    match purpose {
        Purpose::Demo => Ok(()),
        Purpose::Test => {
            cargo_nextest(places)?;
            cargo_deny(places).map(|_| ())
        }
    }
}

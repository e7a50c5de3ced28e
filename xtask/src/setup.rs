//! Installs what the system lacks: Debian packages, `uv`, Cargo's test tools.

mod packages;
mod tools;

pub(crate) use packages::{CHROMIUMS, install as install_packages, install_extra};
pub(crate) use tools::{cargo_deny, cargo_fuzz, cargo_nextest, schemathesis, uv};

use anyhow::Result;

use crate::places::Places;

/// What the system is to be made ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Demo,
    /// Everything that the demo needs, and more.
    Test,
}

/// What only some tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    Containers,
    VirtualMachine,
}

/// Installs what some tests need, or says why they will be skipped.
pub(crate) fn try_extra(extra: Extra) {
    if let Err(error) = install_extra(extra) {
        println!("setup: tests that need it will be skipped: {error:#}");
    }
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
            try_extra(Extra::Containers);
            try_extra(Extra::VirtualMachine);
            cargo_nextest(places)?;
            cargo_deny(places).map(|_| ())
        }
    }
}

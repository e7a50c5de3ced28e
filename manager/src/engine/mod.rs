//! One thread owns the grid and the only write connection: apply, commit, tell.

mod batch;
mod deliver;
pub mod handle;
pub mod run;

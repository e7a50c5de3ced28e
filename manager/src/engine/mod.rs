//! One thread owns the grid and the only write connection: apply, commit, tell.

mod batch;
mod deliver;
mod gate;
pub mod handle;
pub mod run;

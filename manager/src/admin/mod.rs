//! Administration by whoever sits at the manager's own machine: one order, one answer, over a Unix
//! socket in the data directory that only the daemon's own user can open.

mod client;
mod message;
mod place;
mod places;
mod server;

pub use client::{AskError, ask};
pub use message::{Answer, Order};
pub use places::Places;
pub use server::{Admin, ServeError};

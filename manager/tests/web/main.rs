//! The dashboard and the API over real sockets, with the real engine and store behind them and no
//! worker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod encrypted;
mod files;
mod front_door;
mod hostile;
mod jobs;
mod machines;
mod market;
mod openapi;
mod operate;
mod route_walk;
mod site;

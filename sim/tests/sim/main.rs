//! The simulation's tests.

mod planted;
mod seeds;

//! Whether a machine is shared right now, as a pure state machine: the owner's rules, what the machine
//! senses and the time go in, a verdict in words comes out. No I/O and no clock.

mod gate;
mod hours;
pub mod limits;
pub mod senses;
pub mod sharing;
mod side;
pub mod verdict;
mod words;
pub mod zone;

//! The real core, agent and store on a made-up network, clock and disk, all from one seed.
//!
//! [`world::run`] plays one world: a storm of faults, then calm until everything has ended. Oracles
//! watch all the while, and [`saboteur::Bug`] plants mistakes that they must catch.

mod agenda;
mod bills;
mod clock;
mod disk;
pub mod economy;
mod engine;
mod enrolment;
mod event;
mod fate;
mod fault;
mod fleet;
mod identity;
mod link;
mod machine;
mod manager;
mod model;
mod network;
pub mod oracle;
mod owner;
mod plan;
mod record;
mod recorded;
mod run;
pub mod saboteur;
mod story;
mod tell;
mod users;
mod want;
pub mod world;

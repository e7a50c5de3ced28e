//! The grid under test, as its neighbours see it: what goes in, what comes out.

mod enrolling;
mod gpus;
mod intake;
mod joining;
mod labels;
mod locks;
mod losing;
mod model;
mod money;
mod people;
mod properties;
mod requests;
mod scale;
mod scheduling;
mod set_aside;
mod words;
mod world;

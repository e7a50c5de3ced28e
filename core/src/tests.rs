//! The grid under test, as its neighbours see it: what goes in, what comes out.

mod busy;
mod chains;
mod drafts;
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
mod priorities;
mod properties;
mod requests;
mod retries;
mod scale;
mod scheduling;
mod set_aside;
mod terms;
mod twin;
mod words;
mod world;

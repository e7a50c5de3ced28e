//! The grid under test, as its neighbours see it: what goes in, what comes out.

mod gpus;
mod joining;
mod labels;
mod locks;
mod model;
mod money;
mod properties;
mod requests;
mod scale;
mod scheduling;
mod words;
mod world;

//! Real tasks in a real sandbox; skipped, with the reason, where a machine cannot make one.

mod bare;
mod checkpoints;
mod crash;
mod endings;
mod freezing;
mod inputs;
mod limits;
mod outputs;
mod programs;
mod residue;
mod restricted;
mod rig;
mod tools;
mod walls;
mod warning;

//! Real tasks in a real sandbox; skipped, with the reason, where a machine cannot make one.

mod bare;
mod endings;
mod limits;
mod outputs;
mod rig;
mod walls;

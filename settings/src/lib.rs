//! Merges flags, the environment and `config.toml` into typed settings and reports every problem at
//! once; opens nothing but the file that [`file::read`] is asked for.

pub mod file;
mod nearest;
pub mod problem;
pub mod reader;
#[cfg(test)]
mod tests;
mod value;

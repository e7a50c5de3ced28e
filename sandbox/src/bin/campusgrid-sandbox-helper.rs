//! The helper as a program of its own, for this crate's tests; a worker re-executes itself instead.

fn main() {
    campusgrid_sandbox::helper::helper_main()
}

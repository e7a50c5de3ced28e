//! The helper on its own, for tests: workers carry it in their own binary.

fn main() {
    campusgrid_container::helper::helper_main()
}

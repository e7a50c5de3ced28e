//! The fuzzer's binary for [`campusgrid_fuzz_targets::front_door::run`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    campusgrid_fuzz_targets::front_door::run(bytes);
});

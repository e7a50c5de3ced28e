//! The fuzzer's binary for [`campusgrid_fuzz_targets::manifest::run`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    campusgrid_fuzz_targets::manifest::run(bytes);
});

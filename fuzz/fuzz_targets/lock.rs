//! The fuzzer's binary for [`campusgrid_fuzz_targets::packages::lock`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    campusgrid_fuzz_targets::packages::lock(bytes);
});

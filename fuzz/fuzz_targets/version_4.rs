//! The fuzzer's binary for [`campusgrid_fuzz_targets::messages::version_4`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    campusgrid_fuzz_targets::messages::version_4(bytes);
});

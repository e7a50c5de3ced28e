//! The fuzzer's binary for [`campusgrid_fuzz_targets::wire::hello`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    campusgrid_fuzz_targets::wire::hello(bytes);
});

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| seamless_tests::fuzz::run("configuration", input));

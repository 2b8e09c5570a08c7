//! Thin over `cnnip_testkit::fuzzing::package`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cnnip_testkit::fuzzing::package(bytes));

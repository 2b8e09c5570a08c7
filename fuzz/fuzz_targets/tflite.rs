//! Thin over `cnnip_testkit::fuzzing::tflite`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cnnip_testkit::fuzzing::tflite(bytes));

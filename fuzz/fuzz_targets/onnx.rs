//! Thin over `cnnip_testkit::fuzzing::onnx`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cnnip_testkit::fuzzing::onnx(bytes));

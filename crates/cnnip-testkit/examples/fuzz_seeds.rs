//! Writes the seeds of the fuzz targets, from the examples: `cargo run -p cnnip-testkit --example fuzz_seeds`.

use std::path::Path;
use std::{fs, io};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PROGRAMS: [&str; 3] = ["conv3x3", "loop", "race"];
/// Seeds of generated lists.
const GENERATED: u32 = 24;

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = Path::new(ROOT).join("fuzz/seeds").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn main() -> io::Result<()> {
    let examples = Path::new(ROOT).join("examples");
    for name in PROGRAMS {
        let text = fs::read_to_string(examples.join(name).with_extension("s"))?;
        write("assembly", name, text.as_bytes())?;
        let package = cnnip_package::text::from_text(&text).map_err(|found| io::Error::other(found[0].to_string()))?;
        write("package", name, &package.to_bytes())?;
        for list in &package.lists {
            write("decode", &format!("{name}_{}", list.name), &bytes(&list.words))?;
        }
    }
    for seed in 0..GENERATED {
        let piece = seed * 37 % 256;
        write("run_lists", &format!("generated_{seed:02}"), &bytes(&[piece << 24 | 1, seed, seed]))?;
    }
    let digits = fs::read(examples.join("digits/digits.tflite"))?;
    write("tflite", "digits", &digits)?;
    let graph = cnnip_graph::tflite::import_tflite(&digits).map_err(io::Error::other)?;
    write("onnx", "digits", &cnnip_graph::onnx::export_onnx(&graph).map_err(io::Error::other)?)?;
    write("package", "digits", &fs::read(examples.join("digits/digits.cnnip"))?)
}

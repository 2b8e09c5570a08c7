//! An application under test, complete: load a package once, run it on many pictures, check every output bit, and see the
//! report of a fault.
//!
//! ```text
//! cargo run --release -p cnnip-driver --example digits
//! cargo test -p cnnip-driver --example digits
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::path::{Path, PathBuf};

use cnnip_driver::{Color, Device, Outputs, Package, Picture, RunOptions, Session};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The folder with the network and its pictures.
fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits")
}

/// The network on a device of the package's own target.
fn open() -> Result<Session> {
    let package = Package::read_file(digits().join("digits.cnnip"))?;
    Ok(Device::open(&package.target)?.load(package)?)
}

/// Runs the network on a picture. A fault of the program comes back as an error whose text is the whole report.
fn run(mut session: Session, picture: &str) -> Result<Outputs> {
    let pixels = image::open(digits().join("images").join(picture))?.into_luma8();
    let (width, height) = pixels.dimensions();
    session.bind_picture("image", &Picture { width, height, color: Color::Gray, pixels: &pixels })?;
    session.submit()?.wait().map_err(|failed| failed.report().to_string().into())
}

/// Position of the largest element, the first of equal ones.
fn best(probabilities: &[i8]) -> Option<usize> {
    let largest = probabilities.iter().max()?;
    probabilities.iter().position(|one| one == largest)
}

fn main() -> Result<()> {
    let mut session = open()?;
    for picture in ["3_00.png", "7_00.png", "8_01.png"] {
        let outputs = run(session, picture)?;
        let probabilities = outputs.get("probabilities")?.to_vec::<i8>()?;
        let cycles = outputs.totals().cycles;
        println!("{picture}: digit {:?}, {probabilities:?}, {cycles} cycles (estimate)", best(&probabilities));
        session = outputs.into_session(); // the same memory for the next job
    }
    session.set_options(RunOptions { max_commands: Some(40), ..RunOptions::default() });
    if let Err(fault) = run(session, "7_00.png") {
        println!("\nWith an allowance of 40 commands:\n{fault}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seven_gives_every_bit_as_the_device_does() {
        let outputs = run(open().unwrap(), "7_00.png").unwrap();
        let probabilities = outputs.get("probabilities").unwrap().to_vec::<i8>().unwrap();
        assert_eq!(probabilities, [-127, -127, -126, -127, -127, -126, -127, 118, -128, -127]);
        assert_eq!(best(&probabilities), Some(7));
    }

    #[test]
    fn a_fault_says_which_command_it_was() {
        let mut session = open().unwrap();
        session.set_options(RunOptions { max_commands: Some(40), ..RunOptions::default() });
        let fault = run(session, "7_00.png").unwrap_err().to_string();
        assert!(fault.starts_with("fault Budget (code 14): needs 41 commands, the budget is 40\n  at `"), "{fault}");
    }
}

//! Runs a package on the instruction set simulator.

use std::process::ExitCode;

fn main() -> ExitCode {
    cnnip_cli::main(cnnip_cli::iss_run)
}

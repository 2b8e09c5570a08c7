//! Makes packages and looks into them.

use std::process::ExitCode;

fn main() -> ExitCode {
    cnnip_cli::main(cnnip_cli::cnnip)
}

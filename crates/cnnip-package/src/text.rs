//! The text form of packages, for people: what `cnnip asm` reads and `cnnip disasm` writes.
//!
//! Lines with directives, described in `isa-spec/package.md`; the lines of a command list are those of the assembler in
//! `cnnip-isa`. [`to_text`] says everything, so that its text makes the same bytes again; a person may leave out what
//! follows from the rest.
//!
//! ```
//! let package = cnnip_package::text::from_text("
//! .region image input
//! .region copy output
//! .tensor image int8 [1, 8, 8, 1]
//! .tensor copy int8 [1, 8, 8, 1]
//! .constant weights
//!     .i8 1, -2, 3
//! .list dma0
//!     end
//! .endlist
//! ").unwrap();
//! assert_eq!(package.regions[0].bytes, 64);
//! assert_eq!(package.inputs.len(), 1);
//! ```

mod build;
mod data;
mod diagnostic;
mod directive;
mod print;
mod scan;
mod value;

pub use build::{DEFAULT_BUDGET, DEFAULT_TARGET, from_text};
pub use diagnostic::Diagnostic;
pub use print::to_text;

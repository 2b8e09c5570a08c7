//! The Fast Simulator: a quantized network in float, every tensor rounded to its grid.
//!
//! The weights are the real numbers that the quantized weights stand for, and every activation is quantized and de-quantized
//! as its scale, zero point and type say, in the epilogue of the layer that makes it. What is left out is the integer
//! arithmetic between: sums are binary32, and products are rounded once, to nearest, ties to even, whatever the
//! profile of the exact network. So results differ from the exact ones in few elements by few steps;
//! [`Difference`] counts them.
//!
//! ```
//! use std::sync::Arc;
//! use cnnip_fast::{Elements, Fast};
//! use cnnip_graph::{ElementType, GraphBuilder, Op, Quantization, Shape, Tensor};
//!
//! let mut build = GraphBuilder::new("square");
//! let x = Tensor::new("x", Shape::new([3])?, ElementType::I8).quantized(Quantization::per_tensor(0.5, 0));
//! let x = build.input(x);
//! let y = Op::Mul { activation: cnnip_graph::Activation::None };
//! let y = build.apply_as("y", y, &[x, x], ElementType::I8, Some(Quantization::per_tensor(0.25, -128)));
//! build.output(y);
//!
//! let fast = Fast::new(Arc::new(build.finish()?), &[])?;
//! let mut session = fast.session();
//! session.bind("x", &Elements::Integer(vec![1, -3, 127]))?;
//! let outputs = session.run()?;
//! let y = outputs.get("y")?;
//! assert_eq!(y.codes(), Some(vec![-127, -119, 127]));
//! assert_eq!(y.real(), [0.25, 2.25, 63.75]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod difference;
mod error;
mod session;
mod view;

pub use cnnip_float::Elements;
pub use difference::Difference;
pub use error::FastError;
pub use session::{Fast, Key, Outputs, Session};
pub use view::TensorView;

//! Chores of the workspace: code generation and its check.
fn main() {}

//! Estimated cycles, bytes and multiply-accumulates of one operation on one target.

//! Exact arithmetic of the steps that run on the host.

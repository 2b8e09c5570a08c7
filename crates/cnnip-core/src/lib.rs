//! The machine: engines, register files, scratchpad, tokens, faults; step and run.

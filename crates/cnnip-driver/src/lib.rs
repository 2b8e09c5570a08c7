//! Host interface: devices, buffers, jobs, registers, interrupts.

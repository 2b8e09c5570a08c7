//! Fast exact kernels for the device's operations, chosen at run time.

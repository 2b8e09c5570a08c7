//! From a quantized graph to a package of command lists.

//! Neural networks in memory, and the TFLite importer.

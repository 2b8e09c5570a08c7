//! The .cnnip container: command lists, constants and tables, read and written.

//! Commands, registers, operations and targets of the open CNN-IP: decode, encode, assemble, disassemble.

//! The device's integer arithmetic as pure scalar functions.

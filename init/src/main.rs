//! `/init` of a head.

fn main() {}

//! The ways to hear the peer: serial, Ethernet.

//! Everything that is `unsafe`: system calls and kernel structures that `rustix` does not cover.
//!
//! Each function here is safe to call and says which kernel header or file its layout comes from.
#![allow(unsafe_code)]

pub mod bpf;
pub mod dm;
#[cfg(test)]
pub mod headers;
pub mod icmpv6;
pub mod klog;
pub mod md;
pub mod namespace;
pub mod netlink;
pub mod nvme;
pub mod packet;
pub mod pr;
pub mod resize;
pub mod sched;
pub mod sg;
pub mod signal;
pub mod wdt;

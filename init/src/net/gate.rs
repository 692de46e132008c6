//! What leaves a data port from a service address, leaves it only while the heartbeat thread runs and holds the pool.
//!
//! The kernel serves clients by itself: its target answers, and its neighbour table says where the address is,
//! whether or not this program still runs. An owner whose user space hangs, or that was paused and goes on,
//! would go on to answer after its pool was taken over, with errors from disks that it may not write any more. So
//! a small program of our own on the way out of the port compares the kernel's clock with a time that the heartbeat
//! thread moves on while it runs ([`Gate::hold_until`]); when that has passed, whatever comes from a service
//! address of the pool is dropped. To clients this is the silence of a dead head, which they outlast: what
//! was not answered they ask again, from whoever owns the pool then.
//!
//! The time ends `dead` after the heartbeat thread ran last, which is before the peer can have taken such a
//! silence for death: it hears the last beat later than it was sent, and then waits as long. The clock is
//! `CLOCK_BOOTTIME` on both sides, so that a machine that was stopped by a signal finds its gate closed. What it cannot
//! cover is a virtual machine whose clock stood still with it.
//!
//! The heartbeat thread also lets it close while no disk of the pool was read back for a second, or all of them fail: an owner
//! whose path to the shelf comes back may find that its new session is no registrant, and what its clients' waiting writes
//! are then answered by is not for them.
//!
//! Rejected: a packet filter of nftables with elements that expire (a transaction of the kernel's for every beat, on the
//! one thread that must never wait), and taking the address away (needs somebody who still runs).
//!
//! The program goes by the sender: the source of IPv4, the sender of ARP. Everything else passes, other programs on the
//! port get their turn.

use std::net::Ipv4Addr;

use embassy_time::Instant;
use rustix::io::Errno;

use super::{Interface, NetError};
use crate::sys::bpf::{Instruction, Number, Program};

/// More addresses than a pool can have: it bounds the distance of a jump.
const MOST_ADDRESSES: usize = 64;

/// The gate of one pool, which stands as long as the head runs.
pub struct Gate(Number);

impl Gate {
    /// Puts a gate onto the way out of a port, closed for what comes from these addresses.
    pub fn place(addresses: &[Ipv4Addr], port: &Interface) -> Result<Gate, NetError> {
        let error = |errno| NetError::new(&port.name, "put a gate onto it", errno);
        let (gate, program) = checked(addresses).map_err(error)?;
        let place = program.attach(port.index).map_err(error)?;
        // Nothing may ever take it away: what would be left is a way without a gate.
        std::mem::forget(place);
        Ok(gate)
    }

    /// Lets pass until then, on `CLOCK_BOOTTIME`. No system call, no lock: for the heartbeat thread.
    pub fn hold_until(&self, end: Instant) {
        self.0.set(end.as_micros().saturating_mul(1000));
    }

    /// One that stands nowhere.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Result<Gate, Errno> {
        Number::new().map(Gate)
    }

    /// Until when it lets pass.
    #[cfg(test)]
    pub(crate) fn end(&self) -> Instant {
        Instant::from_micros(self.0.value() / 1000)
    }
}

/// The program, taken by the kernel, and its gate, whose time stands at zero.
fn checked(addresses: &[Ipv4Addr]) -> Result<(Gate, Program), Errno> {
    if addresses.len() > MOST_ADDRESSES {
        return Err(Errno::TOOBIG);
    }
    let number = Number::new()?;
    let program = Program::load(&program(addresses, number.descriptor()))?;
    Ok((Gate(number), program))
}

// Registers.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R6: u8 = 6;

/// `bpf_ktime_get_boot_ns`.
const KTIME_GET_BOOT_NS: i32 = 125;
/// `BPF_PSEUDO_MAP_VALUE`: the address of a map's value.
const MAP_VALUE: u8 = 2;
/// `offsetof(struct __sk_buff, protocol)`.
const AT_PROTOCOL: i16 = 16;
/// `TCX_NEXT`: the next program's turn, or on its way.
const NEXT: i32 = -1;
/// `TCX_DROP`.
const DROP: i32 = 2;
/// Where the sender's address is in a frame.
const IPV4_SOURCE: i32 = 14 + 12;
const ARP_SENDER: i32 = 14 + 14;

/// The program: frames from an address, after the time in the map, are dropped.
fn program(addresses: &[Ipv4Addr], map: i32) -> Vec<Instruction> {
    // The protocol is in network order, as it is in the frame.
    let protocol = |number: u16| i32::from(number.to_be());
    let mut code = vec![
        instruction(0xbf, R6, R1, 0, 0),               // r6 = the frame
        instruction(0x61, R2, R6, AT_PROTOCOL, 0),     // r2 = its protocol
        instruction(0x15, R2, 0, 3, protocol(0x0800)), // IPv4?
        instruction(0x15, R2, 0, 4, protocol(0x0806)), // ARP?
        instruction(0xb7, R0, 0, 0, NEXT),
        instruction(0x95, 0, 0, 0, 0),
        // A frame too short for what it says it is ends the program here: it passes.
        instruction(0x20, 0, 0, 0, IPV4_SOURCE), // r0 = the source
        instruction(0x05, 0, 0, 1, 0),
        instruction(0x20, 0, 0, 0, ARP_SENDER), // r0 = the sender
    ];
    for (index, address) in addresses.iter().enumerate() {
        // Over the comparisons that are left, and over the way out behind them. At most MOST_ADDRESSES + 1.
        let over = (addresses.len() - index) as i16 + 1;
        let address = address.to_bits().cast_signed();
        code.push(instruction(0x16, R0, 0, over, address)); // 32 bits: is it this one?
    }
    code.extend([
        instruction(0xb7, R0, 0, 0, NEXT),
        instruction(0x95, 0, 0, 0, 0),
        instruction(0x85, 0, 0, 0, KTIME_GET_BOOT_NS), // r0 = now
        instruction(0x18, R1, MAP_VALUE, 0, map),      // r1 = where the time is
        instruction(0, 0, 0, 0, 0),
        instruction(0x79, R1, R1, 0, 0), // r1 = the time
        instruction(0x3d, R1, R0, 2, 0), // not over yet?
        instruction(0xb7, R0, 0, 0, DROP),
        instruction(0x95, 0, 0, 0, 0),
        instruction(0xb7, R0, 0, 0, NEXT),
        instruction(0x95, 0, 0, 0, 0),
    ]);
    code
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: to | from << 4,
        offset,
        immediate,
    }
}

#[cfg(test)]
mod tests {
    use embassy_time::Duration;

    use super::*;
    use crate::clock;

    const SERVICE: [Ipv4Addr; 2] = [
        Ipv4Addr::new(10, 77, 0, 10),
        Ipv4Addr::new(192, 168, 255, 254),
    ];
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);

    fn frame(protocol: u16, at: usize, sender: Ipv4Addr) -> Vec<u8> {
        let mut frame = vec![0; 64];
        frame[12..14].copy_from_slice(&protocol.to_be_bytes());
        frame[at..at + 4].copy_from_slice(&sender.octets());
        frame
    }

    fn ipv4(sender: Ipv4Addr) -> Vec<u8> {
        let mut frame = frame(0x0800, 26, sender);
        frame[14] = 0x45;
        frame
    }

    fn arp(sender: Ipv4Addr) -> Vec<u8> {
        frame(0x0806, 28, sender)
    }

    #[test]
    fn what_comes_from_a_service_address_passes_only_in_its_time() {
        let (gate, program) = match checked(&SERVICE) {
            Ok(checked) => checked,
            Err(Errno::PERM) => {
                return eprintln!("SKIPPED: bpf needs the rights of root on the machine");
            }
            Err(error) => panic!("{error}"),
        };
        let said = |frame: &[u8]| program.run(frame).unwrap();
        let from_service = || {
            SERVICE
                .into_iter()
                .flat_map(|address| [ipv4(address), arp(address)])
        };
        // Never held: closed.
        for frame in from_service() {
            assert_eq!(said(&frame), DROP);
        }
        gate.hold_until(clock::now() + Duration::from_secs(3600));
        for frame in from_service() {
            assert_eq!(said(&frame), NEXT);
        }
        gate.hold_until(clock::now() - Duration::from_micros(1));
        for frame in from_service() {
            assert_eq!(said(&frame), DROP);
        }
        // Others never meet it, nor does the address in another place.
        for frame in [
            ipv4(OTHER),
            arp(OTHER),
            frame(0x0800, 30, SERVICE[0]),
            frame(0x0806, 38, SERVICE[0]),
            frame(0x88b5, 26, SERVICE[0]),
            frame(0x86dd, 26, SERVICE[0]),
        ] {
            assert_eq!(said(&frame), NEXT, "{frame:?}");
        }
    }

    #[test]
    fn more_addresses_than_any_pool_has_are_refused() {
        assert_eq!(
            checked(&[OTHER; MOST_ADDRESSES + 1]).err(),
            Some(Errno::TOOBIG)
        );
    }
}

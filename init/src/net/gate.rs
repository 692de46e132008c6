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
//! The program goes by the sender: the source of IPv4 and IPv6, neighbour discovery among it, and the sender of ARP. Everything
//! else passes, other programs on the port get their turn.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    pub fn place(addresses: &[IpAddr], port: &Interface) -> Result<Gate, NetError> {
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
fn checked(addresses: &[IpAddr]) -> Result<(Gate, Program), Errno> {
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
const R7: u8 = 7;
const R9: u8 = 9;

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
const IPV6_SOURCE: i32 = 14 + 8;
const ARP_SENDER: i32 = 14 + 14;

/// Places in the program that are jumped to.
#[derive(Clone, Copy)]
enum Place {
    Ipv4,
    Arp,
    Ipv6,
    Short,
    Found,
    Pass,
}

/// A program in the making.
#[derive(Default)]
struct Code {
    lines: Vec<Instruction>,
    jumps: Vec<(usize, Place)>,
    places: [usize; 6],
}

impl Code {
    fn line(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        self.lines
            .push(instruction(code, to, from, offset, immediate));
    }

    fn jump(&mut self, code: u8, register: u8, immediate: i32, place: Place) {
        self.jumps.push((self.lines.len(), place));
        self.line(code, register, 0, 0, immediate);
    }

    fn place(&mut self, place: Place) {
        self.places[place as usize] = self.lines.len();
    }

    fn leave(&mut self, verdict: i32) {
        self.line(0xb7, R0, 0, 0, verdict);
        self.line(0x95, 0, 0, 0, 0);
    }

    /// All jumps go forward, over a few hundred lines at most: the number of addresses is limited.
    fn finish(mut self) -> Vec<Instruction> {
        for (at, place) in self.jumps {
            self.lines[at].offset = (self.places[place as usize] - at - 1) as i16;
        }
        self.lines
    }
}

/// The program: frames from an address, after the time in the map, are dropped.
fn program(addresses: &[IpAddr], map: i32) -> Vec<Instruction> {
    // The protocol is in network order, as it is in the frame.
    let protocol = |number: u16| i32::from(number.to_be());
    let mut code = Code::default();
    code.line(0xbf, R6, R1, 0, 0); // r6 = the frame
    code.line(0x61, R2, R6, AT_PROTOCOL, 0); // r2 = its protocol
    code.jump(0x15, R2, protocol(0x0800), Place::Ipv4);
    code.jump(0x15, R2, protocol(0x0806), Place::Arp);
    code.jump(0x15, R2, protocol(0x86dd), Place::Ipv6);
    code.leave(NEXT);
    // A frame too short for what it says it is ends the program at one of these: it passes.
    code.place(Place::Ipv4);
    code.line(0x20, 0, 0, 0, IPV4_SOURCE); // r0 = the source
    code.jump(0x05, 0, 0, Place::Short);
    code.place(Place::Arp);
    code.line(0x20, 0, 0, 0, ARP_SENDER); // r0 = the sender
    code.place(Place::Short);
    for address in addresses.iter().filter_map(v4) {
        // 32 bits: is it this one?
        code.jump(0x16, R0, address.to_bits().cast_signed(), Place::Found);
    }
    code.leave(NEXT);
    code.place(Place::Ipv6);
    for (register, at) in (R7..=R9).zip((IPV6_SOURCE..).step_by(4)) {
        code.line(0x20, 0, 0, 0, at);
        code.line(0xbf, register, R0, 0, 0);
    }
    code.line(0x20, 0, 0, 0, IPV6_SOURCE + 12); // r7 to r9 and r0 = the source
    for address in addresses.iter().filter_map(v6) {
        let word = |index: u32| (address.to_bits() >> (96 - 32 * index)) as u32;
        for index in 0..3 {
            let (register, word) = (R7 + index as u8, word(index).cast_signed());
            code.line(0x56, register, 0, 3 - index as i16, word); // another one: over to the next
        }
        code.jump(0x16, R0, word(3).cast_signed(), Place::Found);
    }
    code.jump(0x05, 0, 0, Place::Pass);
    code.place(Place::Found);
    code.line(0x85, 0, 0, 0, KTIME_GET_BOOT_NS); // r0 = now
    code.line(0x18, R1, MAP_VALUE, 0, map); // r1 = where the time is
    code.line(0, 0, 0, 0, 0);
    code.line(0x79, R1, R1, 0, 0); // r1 = the time
    code.jump(0x3d, R1, 0, Place::Pass); // r0 at most r1: not over yet
    code.leave(DROP);
    code.place(Place::Pass);
    code.leave(NEXT);
    code.finish()
}

fn v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: &IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(*address),
    }
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
    const SERVICE_V6: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x10),
        Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 1, 0x8000, 2, 0xf000, 3),
    ];
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);

    fn all() -> Vec<IpAddr> {
        let (short, long) = (SERVICE.map(IpAddr::V4), SERVICE_V6.map(IpAddr::V6));
        // In any order.
        vec![short[0], long[0], short[1], long[1]]
    }

    fn frame(protocol: u16, at: usize, sender: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 64];
        frame[12..14].copy_from_slice(&protocol.to_be_bytes());
        frame[at..at + sender.len()].copy_from_slice(sender);
        frame
    }

    fn ipv4(sender: Ipv4Addr) -> Vec<u8> {
        let mut frame = frame(0x0800, 26, &sender.octets());
        frame[14] = 0x45;
        frame
    }

    fn arp(sender: Ipv4Addr) -> Vec<u8> {
        frame(0x0806, 28, &sender.octets())
    }

    fn ipv6(sender: Ipv6Addr) -> Vec<u8> {
        let mut frame = frame(0x86dd, 22, &sender.octets());
        frame[14] = 0x60;
        frame
    }

    #[test]
    fn what_comes_from_a_service_address_passes_only_in_its_time() {
        let (gate, program) = match checked(&all()) {
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
                .chain(SERVICE_V6.map(ipv6))
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
            frame(0x0800, 30, &SERVICE[0].octets()),
            frame(0x0806, 38, &SERVICE[0].octets()),
            frame(0x88b5, 26, &SERVICE[0].octets()),
            frame(0x86dd, 26, &SERVICE[0].octets()),
            frame(0x86dd, 38, &SERVICE_V6[0].octets()),
            frame(0x0800, 22, &SERVICE_V6[0].octets()),
        ] {
            assert_eq!(said(&frame), NEXT, "{frame:?}");
        }
        // Nor does one that differs in a single bit.
        for bit in 0..128 {
            let address = Ipv6Addr::from_bits(SERVICE_V6[1].to_bits() ^ 1 << bit);
            assert_eq!(said(&ipv6(address)), NEXT, "{address}");
        }
    }

    #[test]
    fn more_addresses_than_any_pool_has_are_refused() {
        assert_eq!(
            checked(&[IpAddr::V4(OTHER); MOST_ADDRESSES + 1]).err(),
            Some(Errno::TOOBIG)
        );
    }
}

//! Do the gateways answer? Asked of the data port of each head twice a second, whether it serves or stands by.
//!
//! A port may have its link and lead nowhere: a switch without its uplink, a VLAN that is not there, a card in the wrong socket. The
//! clients behind the gateway tell nothing of that, and a head without service addresses has no connection to look at. What
//! is found out is told to the core ([`crate::health`]), and the better head serves; a gateway that is silent to both moves nothing.
//!
//! Only an answer to this card counts: what a gateway says to all comes in where nothing goes out. Of IPv6 the question is that of
//! any host, from the port's own address of the link. Of IPv4 a standby has no address, so both heads ask from none, as an ARP probe
//! does. Some routers answer no such question, and one that looks for another with its address while it boots (RFC 5227) takes it
//! for that other: for these the configuration has `gateway_watch = false`.
//!
//! What cannot be asked is not known, and no reason to move anything.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing::{info, warn};

use super::ears::{Ears, Heard};
use super::{DataPort, Interface, Mac, NetError, address, arp, ndp};
use crate::sync::lock;

/// Between two questions. The heads do not ask at the same moment, and a router that dies must be silent to both within what the
/// core waits before it acts on what is broken.
const INTERVAL: Duration = Duration::from_millis(500);
/// Ten questions without an answer.
const SILENT: Duration = Duration::from_secs(5);
/// The same before the first answer: a head that boots beside a dead router must know so before its peer takes it for the better
/// one, which is what the core waits (2 s) less what the news needs.
const FIRST: Duration = Duration::from_secs(1);
/// Without a question for so long it is not known whether there would be an answer.
const UNASKED: Duration = Duration::from_secs(2);

/// Whether each gateway answers.
pub struct Gateways {
    asked: Mutex<HashMap<IpAddr, Asked>>,
}

/// What is known of one.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The last question.
    last: Instant,
    /// From when on it is silent, unless it answers.
    due: Instant,
}

impl Gateways {
    /// Begins to ask for these; a thread is started where there are some.
    ///
    /// # Errors
    /// The errno of starting a thread.
    pub fn watch(port: DataPort, gateways: Vec<IpAddr>) -> std::io::Result<Arc<Gateways>> {
        let watch = Arc::new(Gateways {
            asked: Mutex::default(),
        });
        if !gateways.is_empty() {
            let asks = watch.clone();
            thread::Builder::new()
                .name("gateways".to_owned())
                .spawn(move || asks.run(&port, &gateways))?;
        }
        Ok(watch)
    }

    /// Those of these that are asked and do not answer.
    pub fn silent(&self, of: &[IpAddr]) -> Vec<IpAddr> {
        self.silent_at(of, Instant::now())
    }

    fn silent_at(&self, of: &[IpAddr], now: Instant) -> Vec<IpAddr> {
        let asked = lock(&self.asked);
        let is_silent = |gateway: &&IpAddr| {
            asked.get(*gateway).is_some_and(|asked| {
                now.saturating_duration_since(asked.last) < UNASKED && now >= asked.due
            })
        };
        of.iter().filter(is_silent).copied().collect()
    }

    fn note_question(&self, gateway: IpAddr, now: Instant) {
        let mut all = lock(&self.asked);
        let anew = Asked {
            last: now,
            due: now + FIRST,
        };
        let asked = all.entry(gateway).or_insert(anew);
        if now.saturating_duration_since(asked.last) >= UNASKED {
            asked.due = asked.due.max(anew.due);
        }
        asked.last = now;
    }

    fn note_answer(&self, gateway: IpAddr, now: Instant) {
        if let Some(asked) = lock(&self.asked).get_mut(&gateway) {
            if now >= asked.due {
                info!("the gateway {gateway} answers");
            }
            asked.due = now + SILENT;
        }
    }

    fn run(&self, port: &DataPort, gateways: &[IpAddr]) {
        let mut said = None;
        loop {
            let Err(error) = self.ask(port, gateways);
            // A port that comes and goes is the health's to say; here it is said once what keeps the questions from being put.
            if said.as_ref() != Some(&error) {
                warn!("not known whether the gateways answer: {error}");
                said = Some(error);
            }
            thread::sleep(INTERVAL);
        }
    }

    /// Asks until that fails.
    fn ask(&self, port: &DataPort, gateways: &[IpAddr]) -> Result<Infallible, NetError> {
        let port = port.find()?;
        let error = |errno| NetError::new(&port.name, "ask for a gateway", errno);
        let ears = Ears::open(&port, gateways).map_err(error)?;
        loop {
            for gateway in gateways {
                let Some(question) = question(&port, *gateway)? else {
                    continue;
                };
                match ears.send(&question) {
                    Ok(()) => self.note_question(*gateway, Instant::now()),
                    // The port's queue is full: it was not asked this time.
                    Err(Errno::NOBUFS | Errno::AGAIN) => {}
                    Err(errno) => return Err(error(errno)),
                }
            }
            let until = Instant::now() + INTERVAL;
            while Instant::now() < until {
                let says = |heard: Heard<'_>| answers(heard, gateways, port.mac);
                if let Some(gateway) = ears.hear(until, says).map_err(error)? {
                    self.note_answer(gateway, Instant::now());
                }
            }
        }
    }
}

/// `None` while the port has no address to ask from.
fn question(port: &Interface, gateway: IpAddr) -> Result<Option<Vec<u8>>, NetError> {
    Ok(match gateway {
        IpAddr::V4(ip) => Some(arp::probe(port.mac, ip).to_vec()),
        IpAddr::V6(ip) => {
            address::link_local(port)?.map(|from| ndp::solicitation(port.mac, from, ip))
        }
    })
}

/// Which gateway this is an answer of, to this card.
fn answers(heard: Heard<'_>, gateways: &[IpAddr], mac: Mac) -> Option<IpAddr> {
    let is_of = |gateway: &&IpAddr| match (gateway, heard) {
        (IpAddr::V4(ip), Heard::Arp(frame)) => arp::answers(frame, mac, *ip),
        (IpAddr::V6(ip), Heard::Icmp(message, hop_limit)) => ndp::answers(message, hop_limit, *ip),
        _ => false,
    };
    gateways.iter().find(is_of).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_gateway_is_silent_after_its_time_while_it_is_asked() {
        let [one, two] = [1, 2].map(|last| IpAddr::from([10, 77, 0, last]));
        let watch = Gateways {
            asked: Mutex::default(),
        };
        let begun = Instant::now();
        let silent = |at: Instant| watch.silent_at(&[one, two], at);
        assert!(silent(begun + SILENT).is_empty(), "nobody was asked");
        watch.note_question(one, begun);
        assert!(silent(begun + FIRST - MS).is_empty());
        assert_eq!(silent(begun + FIRST), [one]);
        // A clock that a thread read before another.
        assert!(silent(begun - MS).is_empty());

        let heard = begun + FIRST;
        watch.note_answer(one, heard);
        watch.note_answer(two, heard);
        let asked_until = |end: Instant| {
            let mut now = heard;
            while now < end {
                watch.note_question(one, now);
                now += INTERVAL;
            }
        };
        asked_until(heard + SILENT);
        assert!(silent(heard + SILENT - MS).is_empty());
        assert_eq!(silent(heard + SILENT), [one]);
        // From here on it is asked no more, and nothing is known.
        let end = heard + SILENT - INTERVAL + UNASKED;
        assert_eq!(silent(end - MS), [one]);
        assert!(silent(end).is_empty());
        // Asked again it has its time again.
        watch.note_question(one, end);
        assert!(silent(end + FIRST - MS).is_empty());
        assert_eq!(silent(end + FIRST), [one]);
    }

    #[test]
    fn a_head_knows_of_a_dead_gateway_before_its_peer_thinks_it_better() {
        let config = orthrus_hb::Timing::default();
        // The look of the health and some beats.
        let news = Duration::from_millis(500 + 300);
        let settle = Duration::from_millis(config.health_settle.as_millis());
        assert!(FIRST + news < settle);
        // Nor does it when both lose it, one just before and the other just behind a question.
        assert!(INTERVAL + news < settle);
    }
}

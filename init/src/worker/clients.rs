//! Tells the peer who is connected to the pools that this head serves.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use orthrus_hb::PoolState;
use tracing::warn;

use crate::clients;
use crate::config::Config;
use crate::inbox::{Handle, Input};
use crate::net::{self, Connection};
use crate::status::Snapshot;
use crate::sync::lock;

/// How often the connections are listed. A client that connected within the last interval before a
/// crash is not told of, and finds out by its own retransmission.
const INTERVAL: Duration = Duration::from_millis(500);

/// Starts the thread that does it.
///
/// # Errors
/// The errno of starting a thread.
pub fn tell_clients(
    config: &Arc<Config>,
    snapshot: &Arc<Mutex<Snapshot>>,
    networks: Vec<Arc<AtomicU32>>,
    handle: Handle,
) -> std::io::Result<()> {
    let (config, snapshot) = (config.clone(), snapshot.clone());
    thread::Builder::new()
        .name("clients".to_owned())
        .spawn(move || {
            let mut told = Vec::new();
            loop {
                thread::sleep(INTERVAL);
                let before = served(&config, &snapshot, &networks);
                let seen = connected(&before);
                // A release may have begun meanwhile, and ended the connections that were looked for.
                let mut still = served(&config, &snapshot, &networks);
                still.retain(|address| before.contains(address));
                let still: Vec<IpAddr> = still.into_iter().map(|(address, _)| address).collect();
                let now = to_tell(&told, &seen, &still);
                if now != told {
                    handle.post(Input::Message(clients::encode(&now)));
                    told = now;
                }
            }
        })
        .map(drop)
}

/// The addresses of the pools that this head serves, and the thread in whose network they are; 0 for this one's.
fn served(
    config: &Config,
    snapshot: &Mutex<Snapshot>,
    networks: &[Arc<AtomicU32>],
) -> Vec<(IpAddr, u32)> {
    let pools = lock(snapshot).pools.clone();
    let parts = config.pools.iter().zip(&pools).zip(networks);
    parts
        .filter(|((_, state), _)| state.state == PoolState::Serving)
        .flat_map(|((pool, _), network)| {
            let thread = network.load(Ordering::Relaxed);
            pool.addresses
                .iter()
                .map(move |address| (address.ip, thread))
        })
        .collect()
}

fn connected(addresses: &[(IpAddr, u32)]) -> Vec<Connection> {
    let mut all = Vec::new();
    for (address, thread) in addresses {
        let found = match thread {
            0 => net::connections(*address),
            thread => net::connections_of(*thread, *address),
        };
        match found {
            Ok(connections) => all.extend(connections),
            Err(error) => warn!("{error}"),
        }
    }
    all
}

/// What the peer should know: who is connected to what this head serves, and who was when it let the rest go.
/// Those are the clients that wait for the peer to take over, and it must not forget them before it did.
fn to_tell(told: &[Connection], seen: &[Connection], served: &[IpAddr]) -> Vec<Connection> {
    let here = |connection: &&Connection| served.contains(&connection.local.ip());
    let gone = told.iter().filter(|connection| !here(connection));
    // Those of now first: a message that is full leaves out its end.
    let mut parts = [
        seen.iter().filter(here).copied().collect::<Vec<_>>(),
        gone.copied().collect(),
    ];
    for part in &mut parts {
        part.sort_by_key(|connection| (connection.local, connection.remote));
    }
    parts.concat()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    const TANK: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 10));
    const FAST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 11));

    fn connection(service: IpAddr, port: u16) -> Connection {
        Connection {
            local: SocketAddr::new(service, 3260),
            remote: SocketAddr::from(([10, 77, 0, 100], port)),
        }
    }

    #[test]
    fn clients_of_a_pool_that_was_let_go_are_still_told_to_who_takes_it() {
        let (one, two) = (connection(TANK, 1), connection(TANK, 2));
        let other = connection(FAST, 3);
        let told = to_tell(&[], &[two, other, one], &[TANK, FAST]);
        assert_eq!(told, [one, two, other]);
        // The release of one pool ends its connections; the other one goes on.
        assert_eq!(to_tell(&told, &[other], &[FAST]), [other, one, two]);
        assert_eq!(to_tell(&told, &[], &[]), told);
    }

    #[test]
    fn a_client_that_leaves_a_pool_that_is_served_is_not_told_any_more() {
        let (one, two) = (connection(TANK, 1), connection(TANK, 2));
        assert_eq!(to_tell(&[one, two], &[two], &[TANK]), [two]);
        // It came back here: what is told is who is connected now.
        assert_eq!(to_tell(&[one], &[two], &[TANK]), [two]);
    }
}

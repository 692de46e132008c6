//! Tells the peer who is connected to the pools that this head serves.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use orthrus_hb::PoolState;
use tracing::warn;

use crate::clients;
use crate::config::Config;
use crate::net::{self, Connection};
use crate::operator::lock;
use crate::reactor::{Handle, Input};
use crate::status::Snapshot;

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
    handle: Handle,
) -> std::io::Result<()> {
    let (config, snapshot) = (config.clone(), snapshot.clone());
    thread::Builder::new()
        .name("clients".to_owned())
        .spawn(move || {
            let mut told = Vec::new();
            loop {
                thread::sleep(INTERVAL);
                let now = connected(&config, &snapshot);
                // A standby has nobody connected and must not overwrite anything: it says nothing.
                if now != told {
                    handle.post(Input::Message(clients::encode(&now)));
                    told = now;
                }
            }
        })
        .map(drop)
}

fn connected(config: &Config, snapshot: &Mutex<Snapshot>) -> Vec<Connection> {
    let pools = lock(snapshot).pools.clone();
    let serving = config
        .pools
        .iter()
        .zip(&pools)
        .filter(|(_, state)| state.state == PoolState::Serving)
        .map(|(pool, _)| pool);
    let mut all = Vec::new();
    for address in serving.flat_map(|pool| &pool.addresses) {
        match net::connections(address.ip) {
            Ok(connections) => all.extend(connections),
            Err(error) => warn!("{error}"),
        }
    }
    all.sort_by_key(|connection| (connection.local, connection.remote));
    all
}

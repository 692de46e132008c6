//! Reserves NVMe namespaces by the firmware's own code, as one head or the other of a cluster: for tests only, in a virtual machine
//! in which each head has block devices of its own for the same namespaces.
//!
//!     reservations look HEAD DISK...                  keys and holder, a line each, the arbiter first
//!     reservations claim HEAD EPOCH AUTHORITY DISK... what had to be done for it
//!     reservations release HEAD EPOCH DISK...         the step
//!     reservations watch HEAD EPOCH DISK...           until it is lost: what was found
//!     reservations register HEAD KEY DISK             any key for this device's host, in place of whatever it has; 0 takes it off
//!     reservations reserve HEAD KEY DISK              under any key
//!     reservations write HEAD DISK                    whether the device may write

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use orthrus_hb::{Authority, ClusterId, Epoch, HeadId, Key};
use orthrus_init::disk;
use orthrus_init::fence::{COMMAND_LIFETIME, ClaimRequest, Fence, Identity, Survey};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The cluster of both heads.
const CLUSTER: &str = "lab";

/// How long a loss is waited for.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [what, head, rest @ ..] = &words[..] else {
        return Err("see the head of the source".into());
    };
    let head = match *head {
        "a" => HeadId::First,
        "b" => HeadId::Second,
        other => return Err(format!("{other} is no head").into()),
    };
    match (*what, rest) {
        ("look", disks) => look(&fence(head, disks)?.survey()),
        ("claim", [epoch, authority, disks @ ..]) => {
            let request = request(head, epoch, authority)?;
            let claimed = fence(head, disks)?.claim(&request)?;
            for note in &claimed.notes {
                println!("{note}");
            }
            println!("claimed, persistent: {}", claimed.persistent);
            Ok(())
        }
        ("release", [epoch, disks @ ..]) => {
            println!("{:?}", fence(head, disks)?.release(key(head, epoch)?)?);
            Ok(())
        }
        ("watch", [epoch, disks @ ..]) => watch(&fence(head, disks)?, key(head, epoch)?),
        ("register", [number, disk]) => {
            let number = number_of(number)?;
            let fence = fence(head, &[disk])?;
            println!("{}", fence.members()[0].path.register(None, number));
            Ok(())
        }
        ("reserve", [number, disk]) => {
            let fence = fence(head, &[disk])?;
            println!("{}", fence.members()[0].path.reserve(number_of(number)?));
            Ok(())
        }
        ("write", [disk]) => {
            match fence(head, &[disk])?.members()[0].path.prove_write() {
                Ok(()) => println!("good"),
                Err(refused) => println!("{refused}"),
            }
            Ok(())
        }
        _ => Err("see the head of the source".into()),
    }
}

fn fence(head: HeadId, names: &[&str]) -> Outcome<Fence> {
    let seen: Vec<disk::Disk> = disk::scan().into_iter().filter_map(Result::ok).collect();
    let mut disks = Vec::new();
    for name in names {
        let disk = seen.iter().find(|disk| disk.name == *name);
        disks.push(disk.ok_or_else(|| format!("no disk {name}"))?.clone());
    }
    let identity = Identity::new(ClusterId::from_name(CLUSTER), head);
    Ok(Fence::open(&disks, identity)?)
}

fn key(head: HeadId, epoch: &str) -> Outcome<Key> {
    let cluster = ClusterId::from_name(CLUSTER);
    let epoch = Epoch(epoch.parse()?);
    Ok(Key {
        cluster,
        head,
        epoch,
    })
}

/// `a1` is head A's key of epoch 1; else a number.
fn number_of(text: &str) -> Outcome<u64> {
    Ok(match text.split_at_checked(1) {
        Some(("a", epoch)) => key(HeadId::First, epoch)?.to_bits(),
        Some(("b", epoch)) => key(HeadId::Second, epoch)?.to_bits(),
        _ => text.parse()?,
    })
}

/// The other way round.
fn name_of(number: u64) -> String {
    match Key::from_bits(number, ClusterId::from_name(CLUSTER)) {
        Some(key) if key.head == HeadId::First => format!("a{}", key.epoch),
        Some(key) => format!("b{}", key.epoch),
        None => number.to_string(),
    }
}

fn request(head: HeadId, epoch: &str, authority: &str) -> Outcome<ClaimRequest> {
    let key = key(head, epoch)?;
    let authority = match authority {
        "free" => Authority::Free,
        "gone" => Authority::PeerLetGo,
        "dead" => Authority::PeerDead,
        other => return Err(format!("{other} is no authority").into()),
    };
    Ok(ClaimRequest {
        cluster: key.cluster,
        head,
        epoch: key.epoch,
        authority,
        covers: Epoch(key.epoch.0.saturating_sub(1)),
        command_lifetime: COMMAND_LIFETIME,
        keeps: authority == Authority::PeerDead,
        up: COMMAND_LIFETIME,
    })
}

fn look(survey: &Survey) -> Outcome<()> {
    for disk in &survey.disks {
        let seen = match &disk.seen {
            Ok(seen) => seen,
            Err(error) => {
                println!("{error}");
                continue;
            }
        };
        let mut keys: Vec<String> = seen.keys.iter().map(|key| name_of(*key)).collect();
        keys.sort();
        let holder = seen.holder.map_or("nobody".to_owned(), |holder| {
            format!("{} with type {}", name_of(holder.key), holder.kind)
        });
        println!("[{}] {holder}", keys.join(" "));
    }
    if let Some(why) = survey.forgetful() {
        eprintln!("{why}");
    }
    Ok(())
}

fn watch(fence: &Fence, key: Key) -> Outcome<()> {
    let (tell, told) = mpsc::channel();
    let watch = fence.watch(
        key,
        Arc::new(move |lost| {
            let _ = tell.send(lost.why.to_string());
        }),
    );
    println!("watching");
    let why = told.recv_timeout(LIMIT)?;
    drop(watch);
    println!("{why}");
    Ok(())
}

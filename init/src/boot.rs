//! The phases of boot, in order, from the first mount to standby.
//!
//! ```text
//! mounts ─ log ─ ways out ─ settings ─ modules ─ console ─ configuration ─ watchdog ─ links
//!                                                               │             ─ disks ─ standby
//!                                                               └─ none valid: wait at the console
//! ```
//!
//! Only what nothing works without ends the boot: the base mounts and the reset. Everything else that
//! fails is said, and the head goes on with what it has: a head that boots without a watchdog or
//! with one cable is of more use, and says more, than one that does not boot.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;

use embassy_time::Duration;
use orthrus_hb::{self as hb, Head, HeadId, Incarnation, LinkId, Timing};
use rustix::rand::{GetRandomFlags, getrandom};
use tracing::{error, info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::config::{self, Config};
use crate::console::{control, terminal};
use crate::fence::OnLoss;
use crate::halt::Reset;
use crate::inbox::{self, Handle, Inputs, Message};
use crate::ledger::{Keeper, Ledger};
use crate::link::{Cable, ether::Ether, serial::Serial};
use crate::modules::{ModuleError, Modules};
use crate::multipath;
use crate::net::{Gate, Gateways, Interface, Mac, NetError};
use crate::operator::{Desk, Halt, Running};
use crate::reactor::Reactor;
use crate::signal::{self, HaltRequest};
use crate::status::{Report, Snapshot, WatchdogStatus};
use crate::sync::lock;
use crate::sys::sched;
use crate::watchdog::{self, Watchdog, WatchdogError};
use crate::worker::{self, Worker};
use crate::{clock, health, log, mounts, settings, source};

/// Time without a feed after which the hardware watchdog resets the head. The peer has taken over
/// long before; this only ends a head that hangs. Long enough for a crash dump line on the console.
const WATCHDOG_SECONDS: u32 = 10;

/// Real-time priority of the heartbeat thread: above everything of ours, below the kernel's own
/// migration and watchdog threads.
const HEARTBEAT_PRIORITY: u8 = 50;

/// The operator's console.
const CONSOLE: &str = "ttyS0";

/// Runs PID 1. Returns only when not even the first steps work.
pub fn run() -> Result<Infallible, Box<dyn std::error::Error>> {
    sched::few_arenas();
    signal::prepare()?;
    mounts::base()?;
    log::start(LevelFilter::INFO)?;
    let reset = Reset::open()?;
    reset.on_panic();
    info!(
        "Orthrus {} on Linux {}",
        env!("CARGO_PKG_VERSION"),
        kernel()
    );
    kernel_settings();
    let modules = Arc::new(load_modules()?);
    let desk = Arc::new(Desk::default());
    if let Err(error) = terminal::start(CONSOLE, desk.clone()) {
        error!(%error, "no console");
    }
    match find_configuration(&modules) {
        Ok((config, me)) => start(Arc::new(config), me, modules, reset, &desk)?,
        Err(problem) => {
            error!("no valid configuration: {problem}");
            warn!("nothing is claimed; mend orthrus.toml and reboot");
            desk.fail_with(problem);
            // Nobody could say which port is the control port: programs ask on the usual one.
            start_control(config::CONTROL_DEFAULT, &desk);
        }
    }
    let error = signal::run(|request| {
        let (desk, what) = match request {
            HaltRequest::Reboot => (desk.clone(), Halt::Reboot),
            HaltRequest::Poweroff => (desk.clone(), Halt::Poweroff),
        };
        // It waits for the pools; this thread must go on reaping.
        thread::spawn(move || desk.halt(what));
    });
    Err(error.into())
}

fn kernel() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

fn kernel_settings() {
    for failed in settings::apply_all().into_iter().filter_map(Result::err) {
        warn!("{failed}");
    }
}

/// What the hardware asks for, and what every head needs whatever its hardware.
fn load_modules() -> Result<Modules, ModuleError> {
    let modules = Modules::open()?;
    load(&modules, &["configfs", "efivarfs"]);
    let found = modules.load_for_hardware();
    info!("{} modules loaded for the hardware", found.loaded.len());
    for failed in found.failed.iter().filter(|error| !error.is_no_hardware()) {
        warn!("{failed}");
    }
    if let Err(error) = mounts::efivars() {
        warn!("{error}");
    }
    Ok(modules)
}

fn load(modules: &Modules, names: &[&str]) {
    for name in names {
        if let Err(error) = modules.load(name) {
            warn!("{error}");
        }
    }
}

/// Reads the configuration and finds this head in it; the error is for the operator.
fn find_configuration(modules: &Modules) -> Result<(Config, HeadId), String> {
    let file = source::find(modules).map_err(|error| error.to_string())?;
    info!("configuration: {}", file.place);
    let config =
        Config::parse(&file.text).map_err(|error| format!("{error} (from {})", file.place))?;
    let macs: Vec<Mac> = match Interface::all() {
        Ok(ports) => ports.iter().map(|port| port.mac).collect(),
        Err(error) => {
            warn!("{error}");
            Vec::new()
        }
    };
    let (uuid, serial) = (smbios("product_uuid"), smbios("product_serial"));
    let me = config
        .whoami(&macs, uuid.as_deref(), serial.as_deref())
        .map_err(|error| format!("{}: {error}", file.place))?;
    info!(
        "this is head {} of cluster {}",
        config.head(me).name,
        config.cluster
    );
    Ok((config, me))
}

fn smbios(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/sys/class/dmi/id/{name}")).ok()
}

fn start_control(line: &str, desk: &Arc<Desk>) {
    if let Err(error) = control::start(line, desk.clone()) {
        warn!(%error, "no control port");
    }
}

/// Links, workers, heartbeat: from here on the head is a standby.
fn start(
    config: Arc<Config>,
    me: HeadId,
    modules: Arc<Modules>,
    reset: Reset,
    desk: &Arc<Desk>,
) -> Result<(), Box<dyn std::error::Error>> {
    // Volumes for every pool, the target for those that export by it.
    if !config.pools.is_empty() {
        // The disk driver by name: behind a controller that takes long to find its disks, none has
        // asked for it yet.
        load(
            &modules,
            &["sd_mod", "dm_mod", "ext4", "inet_diag", "tcp_diag"],
        );
    }
    if config.pools.iter().any(|pool| !pool.targets.is_empty()) {
        load(
            &modules,
            &["target_core_mod", "target_core_iblock", "iscsi_target_mod"],
        );
    }
    if config.pools.iter().any(|pool| pool.nfs.is_some()) {
        load(&modules, &["nfsd", "ipvlan"]);
    }
    if config.pools.iter().any(|pool| pool.nvme.is_some()) {
        load(&modules, &["nvmet", "nvmet_tcp"]);
    }
    let data = &config.head(me).data;
    if data.bond.is_some() {
        load(&modules, &["bonding"]);
    }
    if data.vlan.is_some() {
        load(&modules, &["8021q"]);
    }
    if let Err(error) = mounts::CONFIGFS.apply() {
        warn!("{error}");
    }
    if let Err(error) = multipath::watcher::start() {
        error!(%error, "nobody asks the paths of disks that have several");
    }
    let port = open_data_port(&config, me);
    let cables = open_cables(&config, me);
    let (handle, inputs) = inbox::inputs()?;
    let snapshot = Arc::new(Mutex::new(Snapshot::default()));
    let mailbox = Arc::new(Mutex::new(Message::new()));
    let incarnation = incarnation()?;
    let ledgers = make_ledgers(&config, me, incarnation, &handle);
    let watchdog = arm_watchdog(&modules);
    let trusted = watchdog
        .as_ref()
        .filter(|dog| dog.kind() != watchdog::Kind::Software);
    let hardware = trusted.map(Watchdog::timeout_seconds);
    let (mut jobs, mut reports, mut watches) = (Vec::new(), Vec::new(), Vec::new());
    let (mut orders, mut networks) = (Vec::new(), Vec::new());
    for (index, ledger) in ledgers.iter().enumerate() {
        let (sender, receiver) = sync_channel(2);
        let on_loss = reset_on_loss(&config.pools[index].name, &reset);
        let worker = Worker::new(
            config.clone(),
            index,
            me,
            handle.clone(),
            mailbox.clone(),
            on_loss,
            ledger.clone(),
        )
        .with_watchdog(hardware)
        .with_modules(modules.clone())
        .with_snapshot(snapshot.clone());
        reports.push(worker.report());
        watches.push(worker.watch());
        orders.push(worker.orders());
        networks.push(worker.network());
        spawn(format!("pool {}", config.pools[index].name), move || {
            worker.run(&receiver)
        })?;
        jobs.push(sender);
    }
    let gates = gates(&config, &port, &reports);
    let gateways = gateways(&config, me)?;
    let sources = health::Sources {
        gateways,
        config: config.clone(),
        me,
        watches: watches.clone(),
        reports: reports.clone(),
        ledgers: ledgers.clone(),
    };
    health::start(sources, handle.clone())?;
    desk.run_with(Running {
        config: config.clone(),
        me,
        handle: handle.clone(),
        snapshot: snapshot.clone(),
        reports,
        orders,
        ledgers: ledgers.clone(),
        watchdog: watchdog.as_ref().map(|dog| WatchdogStatus {
            identity: dog.identity().to_owned(),
            timeout_s: dog.timeout_seconds(),
            is_software: dog.kind() == watchdog::Kind::Software,
        }),
    });
    start_control(&config.heartbeat.control, desk);
    worker::tell_clients(&config, &snapshot, networks, handle)?;
    let names = config.pools.iter().map(|pool| pool.name.clone()).collect();
    let head = Head::new(core_config(&config, me), incarnation, clock::now());
    let reactor = Reactor {
        head,
        cables,
        workers: jobs,
        watches,
        ledgers,
        recorded: [0; hb::MAX_POOLS],
        gates,
        unseen: [false; hb::MAX_POOLS],
        watchdog,
        reset,
        snapshot,
        mailbox,
        names,
        lost: heapless::String::new(),
    };
    start_heartbeat(reactor, inputs)?;
    info!(
        "{} KiB of module files are given back",
        modules.free_files() >> 10
    );
    info!("standby");
    Ok(())
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name).spawn(run).map(drop)
}

fn make_ledgers(
    config: &Config,
    me: HeadId,
    incarnation: Incarnation,
    handle: &Handle,
) -> Vec<Arc<Ledger>> {
    let keeper = Keeper {
        me,
        incarnation,
        cluster: config.cluster_id,
        secret: config.secret.clone(),
    };
    let ledger = |pool: &config::PoolConfig| {
        let handle = handle.clone();
        let wake = Arc::new(move || handle.wake());
        Arc::new(Ledger::new(&pool.name, keeper.clone(), wake))
    };
    config.pools.iter().map(ledger).collect()
}

fn reset_on_loss(pool: &str, reset: &Reset) -> OnLoss {
    let (pool, reset) = (pool.to_owned(), reset.clone());
    Arc::new(move |lost| reset.reset_now(&format!("lost the reservations of {pool}: {lost}")))
}

/// The port for the service addresses is switched on now, so that its link is there when a takeover
/// needs it.
fn open_data_port(config: &Config, me: HeadId) -> Result<Interface, NetError> {
    let opened = config.head(me).data.open();
    if let Err(error) = &opened {
        error!(%error, "the port for service addresses cannot be used");
    }
    opened
}

/// A gate before each pool's service addresses, closed; the error is for the operator. They stand from now on: what a
/// head that does not hold the pool would answer is held back as well.
fn gates(
    config: &Config,
    port: &Result<Interface, NetError>,
    reports: &[Arc<Mutex<Report>>],
) -> Vec<Option<Gate>> {
    let gate = |pool: &config::PoolConfig| {
        let addresses: Vec<IpAddr> = pool.addresses.iter().map(|address| address.ip).collect();
        Gate::place(&addresses, port.as_ref().map_err(Clone::clone)?)
    };
    let gates = config.pools.iter().zip(reports).map(|(pool, report)| {
        gate(pool)
            .inspect_err(|error| {
                warn!(pool = pool.name, %error, "no gate before its addresses");
                lock(report).ungated = Some(error.to_string());
            })
            .ok()
    });
    gates.collect()
}

/// Asks for the gateways of all pools that want it, each once.
fn gateways(config: &Config, me: HeadId) -> std::io::Result<Arc<Gateways>> {
    let pools = config.pools.iter().filter(|pool| pool.gateway_watch);
    let mut all: Vec<IpAddr> = pools.flat_map(|pool| pool.gateways.clone()).collect();
    all.sort_unstable();
    all.dedup();
    Gateways::watch(config.head(me).data.clone(), all)
}

fn open_cables(config: &Config, me: HeadId) -> [Option<Box<dyn Cable>>; LinkId::ALL.len()] {
    let serial = Serial::open(&config.heartbeat.serial)
        .inspect_err(|error| error!(%error, "no heartbeat on serial"))
        .ok();
    let port = Interface::by_mac(config.head(me).heartbeat).and_then(|port| {
        port.up()?;
        Ok(port)
    });
    let ether = match port {
        Ok(port) => Ether::open(&port)
            .inspect_err(|error| error!(%error, port = port.name, "no heartbeat on Ethernet"))
            .ok(),
        Err(error) => {
            error!(%error, "no heartbeat on Ethernet");
            None
        }
    };
    let mut cables: [Option<Box<dyn Cable>>; LinkId::ALL.len()] = [None, None];
    cables[LinkId::Serial.index()] = serial.map(|cable| Box::new(cable) as Box<dyn Cable>);
    cables[LinkId::Ether.index()] = ether.map(|cable| Box::new(cable) as Box<dyn Cable>);
    cables
}

fn arm_watchdog(modules: &Modules) -> Option<Watchdog> {
    let mut armed = Watchdog::arm(WATCHDOG_SECONDS);
    if let Err(WatchdogError::None { .. }) = armed {
        load(modules, &["softdog"]);
        armed = Watchdog::arm(WATCHDOG_SECONDS);
    }
    match armed {
        Ok(watchdog) => {
            info!(
                "watchdog {}, {} s",
                watchdog.identity(),
                watchdog.timeout_seconds()
            );
            Some(watchdog)
        }
        Err(error) => {
            warn!(%error, "no watchdog: a hung head will not be reset");
            None
        }
    }
}

fn core_config(config: &Config, me: HeadId) -> hb::Config {
    let mut pools = heapless::Vec::new();
    for pool in &config.pools {
        // The configuration's limit is the core's.
        let _ = pools.push(hb::PoolConfig { home: pool.home });
    }
    let dead = Duration::from_millis(u64::from(config.heartbeat.dead_ms));
    hb::Config {
        cluster: config.cluster_id,
        me,
        secret: *config.secret.expose(),
        digest: config.digest,
        timing: Timing::of(dead),
        pools,
    }
}

fn incarnation() -> rustix::io::Result<Incarnation> {
    let mut random = [0; 8];
    // Blocks until the kernel's generator is seeded, which it is long before this on any machine
    // with a CPU of this decade; a short read cannot happen for so few bytes.
    getrandom(&mut random, GetRandomFlags::empty())?;
    Ok(Incarnation(random))
}

fn start_heartbeat(reactor: Reactor, inputs: Inputs) -> std::io::Result<()> {
    spawn("heartbeat".to_owned(), move || {
        sched::touch_stack();
        if let Err(error) = sched::lock_memory() {
            warn!(%error, "memory is not locked");
        }
        if let Err(error) = sched::set_realtime(HEARTBEAT_PRIORITY) {
            warn!(%error, "the heartbeat has no real-time priority");
        }
        reactor.run(&inputs)
    })
}

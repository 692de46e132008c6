//! The supervisor: the one process that holds a running lab, as PID 1 of its own namespaces. QEMU,
//! tgtd and all that `exec` starts are its children; when it ends, however it ends, the kernel ends
//! them all. Shells and tests ask it over a unix socket ([`crate::request`]).

mod power;
mod serve;
mod status;
mod wires;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use orthrus_image::{Tools, Workspace};

use crate::agent_link::AgentLink;
use crate::cable::path::ShelfPath;
use crate::cable::witness::Witness;
use crate::cable::{Cut, Gates, ether, serial};
use crate::clock::Clock;
use crate::console::Console;
use crate::control::ControlPort;
use crate::io::Run;
use crate::names::{Head, Machine, ShelfKind};
use crate::namespace;
use crate::shelf::{self, tgt::Tgt};
use crate::spec::{Boot, Spec};
use crate::state::StateDir;
use crate::vm::{Vm, wiring};

/// First argument of a program that is to be a supervisor; see [`enter_if_asked`].
const WORD: &str = "__lab-supervisor";
/// First argument of one that is to say whether it could be.
const PROBE_WORD: &str = "__lab-probe";

/// To be called first in `main` of every program that starts labs: it is run again inside the new
/// namespaces, and must then be nothing but the supervisor.
pub fn enter_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    let word = arguments.next().unwrap_or_default();
    let dir = arguments.next().unwrap_or_default();
    if word == PROBE_WORD {
        namespace::look_around(Path::new(&dir));
        std::process::exit(0);
    }
    if word != WORD {
        return;
    }
    if let Err(e) = run(Path::new(&dir)) {
        eprintln!("supervisor: {e:#}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// The command that starts a supervisor for the lab whose `spec.json` is in a state directory. The
/// lab ends when the command's standard input does, unless it is told to detach.
pub fn command(dir: &Path) -> anyhow::Result<Command> {
    command_with(WORD, dir)
}

/// Tries in the same way whether one could run, with that state directory.
///
/// # Errors
/// What is missing.
pub fn probe(dir: &Path) -> anyhow::Result<()> {
    namespace::probe(command_with(PROBE_WORD, dir)?)
}

fn command_with(word: &str, dir: &Path) -> anyhow::Result<Command> {
    let mut command = namespace::enter(&std::env::current_exe()?);
    command.arg(word).arg(dir);
    Ok(command)
}

/// A running lab.
pub(crate) struct Supervisor {
    spec: Spec,
    tools: Tools,
    vms: [Mutex<Vm>; 5],
    controls: [Mutex<ControlPort>; 2],
    consoles: [Arc<Console>; 5],
    serial: Arc<Gates>,
    ether: Arc<Gates>,
    paths: Vec<Arc<ShelfPath>>,
    witness: Arc<Witness>,
    tgt: Mutex<Option<Tgt>>,
    cuts: Mutex<Vec<Cut>>,
    client: Arc<AgentLink>,
    shelf: Arc<AgentLink>,
    neighbour: Arc<AgentLink>,
    logged_in: AtomicBool,
    luns: Mutex<BTreeMap<String, Vec<u64>>>,
    io: Mutex<Option<Writer>>,
    clock: Clock,
    detached: AtomicBool,
}

/// The checked writer: its record, and how to stop it.
pub(crate) struct Writer {
    run: Arc<Mutex<Run>>,
    target: writer::Target,
    stop: Box<dyn Fn() + Send>,
}

fn run(dir: &Path) -> anyhow::Result<()> {
    std::env::set_current_dir(dir)?;
    let state = StateDir::at(dir);
    let _lock: File = state.lock()?;
    let spec: Spec =
        serde_json::from_slice(&std::fs::read(state.file("spec.json"))?).context("spec.json")?;
    let tools = Tools::ensure(&Workspace::here()?)?;
    let supervisor = Arc::new(Supervisor::build(spec, tools)?);
    supervisor.watch_parent();
    supervisor.switch_on()?;
    let making = state.file("lab.sock.making");
    let listener = UnixListener::bind("lab.sock.making").context("binding the lab's socket")?;
    std::fs::rename(making, state.file("lab.sock"))?;
    for stream in listener.incoming().flatten() {
        let supervisor = Arc::clone(&supervisor);
        thread::spawn(move || supervisor.serve(stream));
    }
    Ok(())
}

impl Supervisor {
    fn build(spec: Spec, tools: Tools) -> anyhow::Result<Self> {
        namespace::furnish(&tools)?;
        let dir = spec.dir.clone();
        let (serial, ether) = (Arc::<Gates>::default(), Arc::<Gates>::default());
        let uefi = matches!(spec.firmware, Boot::Uefi { .. });
        serial::start(Path::new(""), &serial, uefi);
        ether::start(Path::new(""), &ether)?;
        let (mut paths, witness) = (Vec::new(), Arc::<Witness>::default());
        if spec.shelf != ShelfKind::Plain {
            for (path, head) in (0..spec.paths).flat_map(|path| Head::BOTH.map(|head| (path, head)))
            {
                let listen = shelf::portal_of(head, path);
                let target = shelf::target_address(spec.shelf, path);
                paths.push(ShelfPath::start(
                    head, &witness, listen, target, spec.shelf,
                )?);
            }
        }
        if spec.neighbour {
            // It is no head, and what it writes to disks of its own is not judged: a witness whom nobody asks. It has one,
            // so that its path costs what a head's does.
            let (listen, target) = (
                shelf::NEIGHBOURS_PORTAL,
                shelf::target_address(spec.shelf, 0),
            );
            ShelfPath::start(Head::A, &Arc::default(), listen, target, spec.shelf)?;
        }
        let vm = |machine, arguments| Mutex::new(Vm::new(machine, &dir, &tools, arguments));
        Ok(Self {
            vms: [
                vm(Machine::A, wiring::head(&spec, Head::A)),
                vm(Machine::B, wiring::head(&spec, Head::B)),
                vm(Machine::Client, wiring::client(&spec)),
                vm(Machine::Shelf, wiring::lio_shelf(&spec)),
                vm(Machine::Neighbour, wiring::neighbour(&spec)),
            ],
            controls: Head::BOTH
                .map(|head| Mutex::new(ControlPort::new(format!("{head}.control").into()))),
            consoles: [
                Machine::A,
                Machine::B,
                Machine::Client,
                Machine::Shelf,
                Machine::Neighbour,
            ]
            .map(Console::start),
            client: AgentLink::start("client.agent".into()),
            shelf: AgentLink::start("shelf.agent".into()),
            neighbour: AgentLink::start("neighbour.agent".into()),
            serial,
            ether,
            paths,
            witness,
            tgt: Mutex::default(),
            cuts: Mutex::default(),
            logged_in: AtomicBool::new(false),
            luns: Mutex::default(),
            io: Mutex::default(),
            clock: Clock::start(),
            detached: AtomicBool::new(false),
            spec,
            tools,
        })
    }

    /// Ends the lab when whoever started it does: its end of our standard input closes with it.
    fn watch_parent(self: &Arc<Self>) {
        let this = Arc::clone(self);
        thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            while this.detached.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_secs(3600));
            }
            eprintln!("supervisor: whoever started this lab has ended");
            std::process::exit(0);
        });
    }

    fn vm(&self, machine: Machine) -> MutexGuard<'_, Vm> {
        lock(&self.vms[machine as usize])
    }

    fn control(&self, head: Head) -> MutexGuard<'_, ControlPort> {
        lock(&self.controls[head.index()])
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

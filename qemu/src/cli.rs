//! The command line: words in, a verb of [`Lab`] called, its answer printed.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::cable::{Cable, Cut, Mode};
use crate::clock::unix_ms;
use crate::names::{Head, Machine, ShelfKind};
use crate::request::{IoOptions, Request};
use crate::spec::{Disks, LEDGER, Options, Ready};
use crate::{Lab, bench, demo, report, terminal, torture};

/// Two heads, a shelf, cables and a client, with faults on demand. Without a verb: boots them, writes
/// from the client, kills the owner, shows the takeover and cleans up.
#[derive(Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version)]
struct Cli {
    /// The lab's name.
    #[arg(long, global = true, default_value = "lab")]
    name: String,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Build, boot, and stay until `down` or Ctrl-C.
    Up(Up),
    /// What runs, who serves, where everything is.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Attach to a machine's console; Ctrl-] leaves.
    Console {
        /// a, b, client or shelf.
        machine: Machine,
    },
    /// Print a machine's console log.
    Log {
        /// a, b, client or shelf.
        machine: Machine,
    },
    /// Run one console command on a head; output and exit status are the command's.
    Tell {
        /// a or b.
        head: Head,
        /// Such as 'status --json'.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a command in the client.
    Client {
        /// Program and arguments.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Run a command in the neighbour of a lab that was started with one.
    Neighbour {
        /// Program and arguments.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Run a host command inside the client network.
    Exec {
        /// Program and arguments.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// The checked writer in the client.
    #[command(subcommand)]
    Io(Io),
    /// Kill machines, at once.
    Crash {
        /// a, b, client or shelf.
        #[arg(required = true)]
        machines: Vec<Machine>,
    },
    /// Start machines that are off.
    Boot {
        /// a, b, client or shelf.
        #[arg(required = true)]
        machines: Vec<Machine>,
    },
    /// Press a machine's reset button.
    Reset {
        /// a, b, client or shelf.
        machine: Machine,
    },
    /// Stop a machine as it is (SIGSTOP: its clock goes on).
    Pause {
        /// a, b, client or shelf.
        machine: Machine,
        /// Stop its clock as well (QMP stop).
        #[arg(long)]
        frozen: bool,
    },
    /// Let a paused machine go on.
    Resume {
        /// a, b, client or shelf.
        machine: Machine,
    },
    /// Stop a head's heartbeat thread for ever.
    Hang {
        /// a or b.
        head: Head,
    },
    /// Take a disk of the shelf away from a head, until that is started again.
    Unplug {
        /// a or b.
        head: Head,
        /// Its place, from 0.
        disk: usize,
    },
    /// Take one of a head's paths to the shelf away, or put it back (`up --paths 2`).
    Path {
        /// a or b.
        head: Head,
        /// Which, from 0.
        path: usize,
        /// off or on.
        #[arg(value_parser = ["on", "off"])]
        power: String,
    },
    /// Cut a cable: serial, ether, shelf-a, shelf-b, data-a, data-b.
    Cut {
        /// Which.
        cable: Cable,
        /// Nothing passes and nobody is told (the default).
        #[arg(long, conflicts_with = "carrier")]
        silent: bool,
        /// Both ends see that there is no cable.
        #[arg(long)]
        carrier: bool,
        /// Only what travels towards this head.
        #[arg(long)]
        to: Option<Head>,
    },
    /// Join a cable again.
    Join {
        /// Which.
        cable: Cable,
        /// Only the direction towards this head.
        #[arg(long)]
        to: Option<Head>,
    },
    /// The shelf's power.
    Shelf {
        /// off or on.
        #[arg(value_parser = ["on", "off"])]
        power: String,
    },
    /// Wait for a condition, such as 'a serves tank', 'b standby', 'client io'.
    Wait {
        /// The condition.
        condition: String,
        /// Seconds.
        #[arg(long, default_value_t = 120)]
        timeout: u64,
    },
    /// End the lab and everything in it.
    Down,
    /// Break things under checked I/O, one row of the matrix after the other; all rows without names.
    Matrix {
        /// Which rows.
        rows: Vec<String>,
        #[command(flatten)]
        bench: TortureBench,
    },
    /// Break things at random under checked I/O, check after each round, and print a table.
    Torture {
        /// How many rounds.
        #[arg(long, default_value_t = 30)]
        rounds: u64,
        /// Which ones: the same seed breaks the same things. By the clock if absent.
        #[arg(long)]
        seed: Option<u64>,
        /// The number of the first round.
        #[arg(long, default_value_t = 0)]
        first: u64,
        #[command(flatten)]
        bench: TortureBench,
    },
    /// Measure the budgets of DESIGN section 9.
    Bench {
        /// What holds the disks.
        #[arg(long, default_value = "tgt")]
        shelf: ShelfKind,
    },
}

/// The lab that is broken.
#[derive(Args)]
struct TortureBench {
    /// tgt or lio.
    #[arg(long, default_value = "lio")]
    shelf: ShelfKind,
    /// Silence that counts as death, in milliseconds. More than the product's default: what the host itself
    /// stalls is not what is looked for.
    #[arg(long, default_value_t = 2500)]
    dead_ms: u32,
    /// Disks without a ledger.
    #[arg(long)]
    no_ledger: bool,
}

impl TortureBench {
    fn options(&self, name: &str) -> Options {
        Options {
            name: name.into(),
            shelf: self.shelf,
            dead_ms: self.dead_ms,
            ledger: LEDGER && !self.no_ledger,
            ..Options::default()
        }
    }
}

#[derive(Args)]
struct Up {
    /// Return when ready instead of staying.
    #[arg(long)]
    detach: bool,
    /// tgt, lio or plain.
    #[arg(long, default_value = "tgt")]
    shelf: ShelfKind,
    /// How many paths each head has to each disk: 1 or 2.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    paths: u8,
    /// Raw images to serve to both heads instead of fresh ones with a volume group.
    #[arg(long, num_args = 1..)]
    disk: Vec<PathBuf>,
    /// Serve copies of them.
    #[arg(long, requires = "disk")]
    copy: bool,
    /// Make disks with a ledger.
    #[arg(long, conflicts_with_all = ["disk", "no_ledger"])]
    ledger: bool,
    /// Make disks without a ledger: one link less between the heads.
    #[arg(long, conflicts_with = "disk")]
    no_ledger: bool,
    /// A configuration, instead of one in which every volume group is a pool.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Start a plain Linux server beside the heads, with a path to the same disks.
    #[arg(long)]
    neighbour: bool,
    /// Boot the flashable disk by UEFI.
    #[arg(long)]
    uefi: bool,
    /// A directory with orthrus.vmlinuz and orthrus.initrd to boot instead of this checkout's.
    #[arg(long, conflicts_with = "uefi")]
    firmware: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Io {
    /// Start it.
    Start {
        /// Writes in flight.
        #[arg(long, default_value_t = IoOptions::default().depth)]
        depth: u64,
        /// Pause of each of them after a write, in milliseconds.
        #[arg(long, default_value_t = IoOptions::default().pace_ms)]
        pace_ms: u64,
        /// The pool; the first if absent.
        #[arg(long)]
        pool: Option<String>,
        /// The LUN; the lowest if absent.
        #[arg(long)]
        lun: Option<u64>,
        /// A file on this share, and no LUN.
        #[arg(long, conflicts_with = "lun")]
        share: Option<String>,
    },
    /// Stop it, read everything acknowledged back, and report.
    Stop,
    /// How it is doing.
    Report {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command line; the exit status of a command that was run somewhere is ours.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Err(e) => {
            eprintln!("lab: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<i32> {
    let name = cli.name.as_str();
    let Some(verb) = cli.verb else {
        return demo::run(name).map(|()| 0);
    };
    match verb {
        Verb::Up(up) => return stay(name, up),
        Verb::Bench { shelf } => return bench::run(name, shelf).map(|()| 0),
        Verb::Matrix { rows, bench } => {
            let good = torture::run_matrix(&bench.options(name), &rows)?;
            return Ok(i32::from(!good));
        }
        Verb::Torture {
            rounds,
            seed,
            first,
            bench,
        } => {
            let seed = seed.unwrap_or_else(unix_ms);
            let good = torture::run(&bench.options(name), seed, first, rounds)?;
            return Ok(i32::from(!good));
        }
        Verb::Log { machine } => {
            let path = crate::state::StateDir::of(name)?.file(&format!("{machine}.console.log"));
            let log = fs::read(&path).with_context(|| format!("no log {}", path.display()))?;
            std::io::Write::write_all(&mut std::io::stdout(), &log)?;
            return Ok(0);
        }
        _ => {}
    }
    let lab = Lab::attach(name)?;
    match verb {
        Verb::Up(_)
        | Verb::Bench { .. }
        | Verb::Matrix { .. }
        | Verb::Torture { .. }
        | Verb::Log { .. } => {}
        Verb::Status { json } => {
            let status = lab.status()?;
            if json {
                print(serde_json::to_string_pretty(&status)? + "\n")?;
            } else {
                print(report::status(&status))?;
            }
        }
        Verb::Console { machine } => return terminal::attach(&lab, machine),
        Verb::Tell { head, command } => {
            let answer = lab.tell(head, &command.join(" "))?;
            print(answer.text)?;
            return Ok(i32::from(answer.code));
        }
        Verb::Client { command } => return pass(&lab, &Request::Client { argv: command }),
        Verb::Neighbour { command } => {
            return pass(&lab, &Request::Neighbour { argv: command });
        }
        Verb::Exec { command } => {
            let cwd = std::env::current_dir()?;
            return pass(&lab, &Request::Exec { argv: command, cwd });
        }
        Verb::Io(io) => return run_io(&lab, io),
        Verb::Crash { machines } => lab.crash_all(&machines)?,
        Verb::Boot { machines } => lab.boot_all(&machines)?,
        Verb::Reset { machine } => lab.reset(machine)?,
        Verb::Pause {
            machine,
            frozen: true,
        } => lab.freeze(machine)?,
        Verb::Pause {
            machine,
            frozen: false,
        } => lab.pause(machine)?,
        Verb::Resume { machine } => lab.resume(machine)?,
        Verb::Hang { head } => lab.hang(head)?,
        Verb::Unplug { head, disk } => lab.unplug(head, disk)?,
        Verb::Path { head, path, power } => match power == "on" {
            true => lab.plug_path(head, path)?,
            false => lab.pull_path(head, path)?,
        },
        Verb::Cut {
            cable, carrier, to, ..
        } => {
            let mode = if carrier { Mode::Carrier } else { Mode::Silent };
            lab.cut(Cut { cable, mode, to })?;
        }
        Verb::Join { cable, to } => lab.join_towards(cable, to)?,
        Verb::Shelf { power } => lab.shelf(power == "on")?,
        Verb::Wait { condition, timeout } => {
            let took = lab.wait_for(&condition, Duration::from_secs(timeout))?;
            print(format!("{condition}: after {:.1} s\n", took.as_secs_f64()))?;
        }
        Verb::Down => lab.down()?,
    }
    Ok(0)
}

fn stay(name: &str, up: Up) -> anyhow::Result<i32> {
    let disks = match (up.disk.is_empty(), up.copy) {
        (true, _) => Disks::Made,
        (false, true) => Disks::Copies(up.disk),
        (false, false) => Disks::InPlace(up.disk),
    };
    let config = up.config.map(|path| {
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    });
    let config = config.transpose()?;
    // A configuration of the user's own may be a bad one on purpose, and disks without reservations
    // are not served yet: then there is nothing to wait for.
    let ready = if config.is_some() || up.shelf == ShelfKind::Plain {
        Ready::Answering
    } else {
        Ready::Served
    };
    let firmware = up
        .firmware
        .map(|dir| (dir.join("orthrus.vmlinuz"), dir.join("orthrus.initrd")));
    let options = Options {
        name: name.into(),
        shelf: up.shelf,
        paths: up.paths.into(),
        firmware,
        disks,
        ledger: (LEDGER || up.ledger) && !up.no_ledger,
        config,
        neighbour: up.neighbour,
        uefi: up.uefi,
        ready,
        ..Options::default()
    };
    let lab = Lab::up(&options)?;
    print(report::status(&lab.status()?))?;
    if up.detach {
        lab.detach()?;
    } else {
        print("Ctrl-C, or `cargo lab down` in another shell, ends it.\n")?;
        lab.wait_end()?;
    }
    Ok(0)
}

fn run_io(lab: &Lab, io: Io) -> anyhow::Result<i32> {
    match io {
        Io::Start {
            depth,
            pace_ms,
            pool,
            lun,
            share,
        } => {
            let started = lab.io_start(&IoOptions {
                depth,
                pace_ms,
                pool,
                lun,
                share,
                ..IoOptions::default()
            })?;
            let (target, journal) = (started.target, started.journal);
            print(format!(
                "writing to {target}; acknowledgments in {journal}\n"
            ))?;
        }
        Io::Stop => {
            let report = lab.io_stop()?;
            print(format!("{report}\n"))?;
            let verified = lab.verify_all()?;
            print(format!(
                "verified        {verified} blocks through the client and on the raw disks\n"
            ))?;
            return Ok(i32::from(report.errors > 0));
        }
        Io::Report { json: true } => {
            print(serde_json::to_string_pretty(&lab.io_report()?)? + "\n")?;
        }
        Io::Report { json: false } => print(format!("{}\n", lab.io_report()?))?,
    }
    Ok(0)
}

/// Prints; that nobody reads on (`| head`) is no failure.
fn print(text: impl AsRef<str>) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let outcome = out
        .write_all(text.as_ref().as_bytes())
        .and_then(|()| out.flush());
    match outcome {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

fn pass(lab: &Lab, request: &Request) -> anyhow::Result<i32> {
    lab.stream(
        request,
        std::io::stdin(),
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    )
}

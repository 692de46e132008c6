//! The lab's guest agent: `/init` of its client, its LIO shelf and its disk maker; the same binary
//! also is the checked writer and its verifier inside the client.

use clap::Parser;
use orthrus_qemu::guest::{agent, boot, device, verify, writer};

#[derive(Parser)]
enum Guest {
    /// Serve the lab's commands.
    Agent,
    /// Write tagged blocks until standard input ends.
    Write(writer::WriterArgs),
    /// Read back acknowledged blocks.
    Verify(verify::VerifyArgs),
    /// Print the device node of a LUN.
    Device {
        /// The target's name.
        iqn: String,
        /// The LUN.
        lun: u64,
    },
    /// Print the LUNs of a target that are there, one a line.
    Luns {
        /// The target's name.
        iqn: String,
    },
}

fn main() -> anyhow::Result<()> {
    if std::process::id() == 1 {
        boot::run();
    }
    match Guest::parse() {
        Guest::Agent => agent::run(),
        Guest::Write(args) => writer::run(&args),
        Guest::Verify(args) => verify::run(&args),
        Guest::Device { iqn, lun } => match device::find(&iqn, lun) {
            Some(path) => {
                println!("{path}");
                Ok(())
            }
            None => anyhow::bail!("no LUN {lun} of {iqn} is there"),
        },
        Guest::Luns { iqn } => {
            device::luns(&iqn).iter().for_each(|lun| println!("{lun}"));
            Ok(())
        }
    }
}

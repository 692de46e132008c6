//! The agent: brings up the guest's network and runs commands for the lab.

use std::fs::{self, File, OpenOptions};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::exec::{Runner, send};
use super::{Exec, PORT};
use crate::frame::{Frame, Kind};

/// How often an unconnected port is looked at again: reading it gives an end of file at once.
const UNCONNECTED_PAUSE: Duration = Duration::from_millis(100);

/// Serves the lab until the machine ends.
pub fn run() -> anyhow::Result<()> {
    network();
    let port = port()?;
    let mut reader = port.try_clone()?;
    let sink: super::exec::Sink = Arc::new(Mutex::new(port));
    let runner = Runner::new(Arc::clone(&sink));
    loop {
        match Frame::read(&mut reader) {
            Ok(Some(frame)) => answer(&runner, &sink, frame),
            Ok(None) | Err(_) => thread::sleep(UNCONNECTED_PAUSE),
        }
    }
}

fn answer(runner: &Runner, sink: &super::exec::Sink, frame: Frame) {
    match frame.kind {
        Kind::Hello => {
            send(sink, Frame::new(frame.channel, Kind::Hello, []));
        }
        Kind::Open => match serde_json::from_slice::<Exec>(&frame.payload) {
            Ok(Exec { argv }) if !argv.is_empty() => {
                let mut command = Command::new(&argv[0]);
                command.args(&argv[1..]);
                runner.start(frame.channel, command);
            }
            _ => {
                send(sink, Frame::new(frame.channel, Kind::Failure, "no command"));
            }
        },
        _ => runner.deliver(frame),
    }
}

fn port() -> anyhow::Result<File> {
    for _ in 0..100 {
        for entry in fs::read_dir("/sys/class/virtio-ports")
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim() == PORT {
                let path = format!("/dev/{}", entry.file_name().to_string_lossy());
                return OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&path)
                    .context(path);
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(anyhow!("no virtio serial port {PORT}"))
}

/// Brings up loopback and the first other interface with the address on the kernel's command line.
fn network() {
    let Some(address) = super::boot::option("lab.address") else {
        return;
    };
    let interface = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .find(|name| name.starts_with('e'));
    let Some(interface) = interface else {
        eprintln!("guest: no network interface");
        return;
    };
    let steps: [&[&str]; 3] = [
        &["link", "set", "lo", "up"],
        &["address", "add", &address, "dev", &interface],
        &["link", "set", &interface, "up"],
    ];
    for step in steps {
        match Command::new("ip").args(step).status() {
            Ok(status) if status.success() => {}
            other => eprintln!("guest: ip {}: {other:?}", step.join(" ")),
        }
    }
}

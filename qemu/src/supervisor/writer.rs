//! The client's part: logging in, the checked writer, and the two ways to read back.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{Supervisor, Writer, lock};
use crate::agent_link::GuestCommand;
use crate::client;
use crate::clock::unix_ms;
use crate::disks::scan;
use crate::frame::Kind;
use crate::guest::SELF;
use crate::io::{IoReport, Run};
use crate::request::{IoOptions, Verified};

const LOGIN_LIMIT: Duration = Duration::from_secs(120);
/// Writes in flight may have to sit out a takeover before the writer can end.
const STOP_LIMIT: Duration = Duration::from_secs(180);
const VERIFY_LIMIT: Duration = Duration::from_secs(300);

/// What the writer writes to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A LUN.
    Lun { iqn: String, lun: u64 },
    /// A file on a share.
    File { address: String, share: String },
    /// A device node of the client.
    Device { path: String },
}

impl Supervisor {
    /// Logs the client in to every target; harmless when it is.
    pub(super) fn login(&self) -> anyhow::Result<()> {
        self.wait_client()?;
        for pool in &self.spec.pools {
            let Some(iqn) = &pool.iqn else { continue };
            self.client
                .script(&client::login_script(&pool.address, iqn), LOGIN_LIMIT)
                .with_context(|| format!("logging in to {iqn} at {}", pool.address))?;
            let until = Instant::now() + LOGIN_LIMIT;
            let luns = loop {
                let said = self
                    .client
                    .run(&[SELF, "luns", iqn], &[], LOGIN_LIMIT)?
                    .stdout;
                let luns: Vec<u64> = said.lines().filter_map(|line| line.parse().ok()).collect();
                if !luns.is_empty() {
                    break luns;
                }
                if Instant::now() > until {
                    bail!("logged in to {iqn}, but no LUN came up");
                }
                thread::sleep(Duration::from_millis(200));
            };
            lock(&self.luns).insert(pool.name.clone(), luns);
        }
        self.logged_in.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn io_start(&self, options: &IoOptions) -> anyhow::Result<IoReport> {
        if let Some(writer) = lock(&self.io).as_ref()
            && lock(&writer.run).report().running
        {
            bail!("the checked writer runs already");
        }
        self.login()?;
        let (name, target) = self.choose(options)?;
        let device = self.path(&target)?;
        let run_id = unix_ms();
        let journal = self.spec.dir.join(format!("io-{run_id}.journal"));
        let run = Arc::new(Mutex::new(Run::begin(run_id, name, &journal)?));
        let words = [
            (SELF, "write".into()),
            ("--device", device),
            ("--run", run_id.to_string()),
            ("--depth", options.depth.to_string()),
            ("--pace-ms", options.pace_ms.to_string()),
            ("--blocks", options.blocks.to_string()),
        ];
        let mut argv: Vec<String> = words
            .into_iter()
            .flat_map(|(word, value)| [word.to_owned(), value])
            .collect();
        if matches!(target, Target::File { .. }) {
            argv.push("--create".to_owned());
        }
        let command = self.client.open(&argv)?;
        let send = command.sender();
        let record = Arc::clone(&run);
        thread::spawn(move || record_lines(&command, &record));
        let stop = Box::new(move || drop(send(Kind::StdinEnd, &[])));
        let report = lock(&run).report();
        *lock(&self.io) = Some(Writer { run, target, stop });
        Ok(report)
    }

    /// What is written to, in the client: the device node of a LUN, or a file on a share, which is mounted.
    fn path(&self, target: &Target) -> anyhow::Result<String> {
        match target {
            Target::Lun { iqn, lun } => {
                let argv = [SELF, "device", iqn, &lun.to_string()];
                let found = self.client.run(&argv, &[], LOGIN_LIMIT)?;
                if found.status != 0 {
                    bail!("{}", found.stderr.trim());
                }
                Ok(found.stdout.trim().to_owned())
            }
            Target::Device { path } => Ok(path.clone()),
            Target::File { address, share } => {
                let (script, place) = client::mount_script(address, share);
                self.client
                    .script(&script, LOGIN_LIMIT)
                    .with_context(|| format!("mounting /{share} of {address}"))?;
                Ok(format!("{place}/checked"))
            }
        }
    }

    fn choose(&self, options: &IoOptions) -> anyhow::Result<(String, Target)> {
        if let Some(path) = &options.device {
            let path = path.clone();
            return Ok((path.clone(), Target::Device { path }));
        }
        if let Some(share) = &options.share {
            let mut pools = self.spec.pools.iter();
            let pool = pools.find(|pool| pool.shares.contains(share));
            let pool = pool.with_context(|| format!("no pool shares {share}"))?;
            let target = Target::File {
                address: pool.address.clone(),
                share: share.clone(),
            };
            return Ok((format!("{} share {share}", pool.name), target));
        }
        let wanted = options.pool.as_deref();
        let pool = self
            .spec
            .pools
            .iter()
            .find(|pool| wanted.is_none_or(|name| name == pool.name) && pool.iqn.is_some());
        let pool = pool.with_context(|| {
            format!(
                "no pool {} with an iSCSI target",
                wanted.unwrap_or_default()
            )
        })?;
        let luns = lock(&self.luns)
            .get(&pool.name)
            .cloned()
            .unwrap_or_default();
        let lun = options
            .lun
            .or_else(|| luns.first().copied())
            .context("the target has no LUN")?;
        let iqn = pool.iqn.clone().unwrap_or_default();
        Ok((format!("{} LUN {lun}", pool.name), Target::Lun { iqn, lun }))
    }

    pub(super) fn io_stop(&self) -> anyhow::Result<IoReport> {
        let run = {
            let io = lock(&self.io);
            let writer = io
                .as_ref()
                .context("the checked writer was never started")?;
            (writer.stop)();
            Arc::clone(&writer.run)
        };
        let until = Instant::now() + STOP_LIMIT;
        loop {
            let report = lock(&run).report();
            if !report.running {
                return Ok(report);
            }
            if Instant::now() > until {
                bail!(
                    "the writer does not end: writes are still in flight after {} s",
                    STOP_LIMIT.as_secs()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn io_report(&self) -> anyhow::Result<IoReport> {
        let io = lock(&self.io);
        let writer = io
            .as_ref()
            .context("the checked writer was never started")?;
        Ok(lock(&writer.run).report())
    }

    /// Reads every acknowledged block through the initiator, or the share; of a client that was started again as well.
    pub(super) fn verify(&self) -> anyhow::Result<Verified> {
        self.login()?;
        let Promise {
            target,
            run,
            newest,
        } = self.promised()?;
        let device = self.path(&target)?;
        let input: String = newest
            .iter()
            .map(|(block, seq)| format!("{block} {seq}\n"))
            .collect();
        let argv = [
            SELF,
            "verify",
            "--device",
            &device,
            "--run",
            &run.to_string(),
        ];
        let output = self.client.run(&argv, input.as_bytes(), VERIFY_LIMIT)?;
        let last = output.stdout.lines().last().unwrap_or_default();
        let blocks = last
            .strip_prefix("verified ")
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        let (0, Some(blocks)) = (output.status, blocks) else {
            bail!("verifying: {}", output.stderr.trim())
        };
        let lost = output
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix("lost "))
            .map(|line| format!("block {line}"));
        Ok(Verified {
            blocks,
            lost: lost.collect(),
        })
    }

    /// Finds every acknowledged block on the raw images.
    pub(super) fn verify_raw(&self) -> anyhow::Result<Verified> {
        let Promise { run, newest, .. } = self.promised()?;
        let found = scan::tags(&self.spec.disks, run)?;
        Ok(scan::compare(run, &newest, &found))
    }

    fn promised(&self) -> anyhow::Result<Promise> {
        let io = lock(&self.io);
        let writer = io
            .as_ref()
            .context("the checked writer was never started")?;
        let mut run = lock(&writer.run);
        Ok(Promise {
            target: writer.target.clone(),
            run: run.report().run,
            newest: run.newest().clone(),
        })
    }
}

/// What was acknowledged, and where it must be found.
struct Promise {
    target: Target,
    run: u64,
    newest: BTreeMap<u64, u64>,
}

/// Takes the writer's lines until it ends or its client does.
fn record_lines(command: &GuestCommand, run: &Mutex<Run>) {
    let mut unfinished = String::new();
    while let Some(frame) = command.next() {
        match frame.kind {
            Kind::Stdout => {
                unfinished.push_str(&frame.text());
                let now = unix_ms();
                while let Some(end) = unfinished.find('\n') {
                    let line: String = unfinished.drain(..=end).collect();
                    lock(run).line(line.trim_end(), now);
                }
            }
            Kind::Stderr => eprint!("checked writer: {}", frame.text()),
            _ => break,
        }
    }
    lock(run).end();
}

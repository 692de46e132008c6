//! A client is let in at a console while the pool is served, stays let in through a crash, and is shut out with its session.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::names::{Machine, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, check, start_writing, until, wait_for_writes};

/// An initiator that the configuration does not know.
pub(crate) const NAME: &str = "iqn.2026-01.org.example:late";
const LOGIN: [&str; 2] = ["late", "late-comers-key"];

pub fn come_and_go(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let owner = lab.owner(None)?;
        let pool = lab.status()?.pools[0].pool.clone();
        let iqn = pool.iqn.context("no target")?;
        let client = Client {
            lab,
            interface: "late",
            name: NAME,
            iqn: &iqn,
            address: &pool.address,
        };
        let (name, [user, password]) = (&pool.name, LOGIN);
        start_writing(lab)?;
        wait_for_writes(lab, 50)?;
        client.prepare()?;
        client.proves()?;
        ensure!(!client.logs_in()?, "it is let in without a word");
        let said = lab.tell_ok(
            owner,
            &format!("client add {name} {NAME} --user {user} --password {password}"),
        )?;
        ensure!(said.contains(NAME) && !said.contains(password), "{said}");
        ensure!(client.logs_in()?, "it is not let in");
        let again = lab.tell(owner, &format!("client add {name} {NAME}"))?;
        ensure!(again.text.contains("is let in already"), "{}", again.text);
        let elsewhere = lab.tell(owner.peer(), &format!("client remove {name} {NAME} --yes"))?;
        ensure!(
            elsewhere.text.contains("does not serve"),
            "{}",
            elsewhere.text
        );

        // Right after the word was answered: it is the pool's, not the head's.
        lab.crash(owner)?;
        lab.wait_for(&format!("{} serves", owner.peer()), LIMIT)?;
        client.reads(0).context("after a crash")?;
        let pools = lab.tell_ok(owner.peer(), "pools")?;
        ensure!(
            pools.contains(&format!("let in at a console: {NAME} (CHAP)")),
            "{pools}"
        );
        lab.boot_all(&[Machine::from(owner)])?;
        lab.wait_for(&format!("{owner} standby"), LIMIT)?;

        lab.tell_ok(owner.peer(), &format!("client remove {name} {NAME} --yes"))?;
        until(|| Ok(!client.is_logged_in()?), "its session does not end")?;
        client.log_out()?;
        ensure!(!client.logs_in()?, "it is let in though it was shut out");
        let report = lab.io_stop()?;
        check(
            lab,
            "a crash with one more client",
            &report,
            report.began_unix_ms,
        )
    })
}

/// The machine of the client, with one more name.
pub(crate) struct Client<'a> {
    pub lab: &'a Lab,
    /// What open-iscsi calls the name.
    pub interface: &'a str,
    pub name: &'a str,
    pub iqn: &'a str,
    pub address: &'a str,
}

impl Client<'_> {
    /// Whether a script succeeds.
    fn run(&self, script: &str) -> Result<bool> {
        let output = self.lab.client(&["sh", "-c", script])?;
        println!("{}{}", output.stdout, output.stderr);
        Ok(output.status == 0)
    }

    fn node(&self) -> String {
        let (interface, iqn, address) = (self.interface, self.iqn, self.address);
        format!("iscsiadm -m node -I {interface} -T {iqn} -p {address}:3260")
    }

    pub fn prepare(&self) -> Result<()> {
        let (interface, name) = (self.interface, self.name);
        let done = self.run(&format!(
            "set -e; iscsiadm -m iface -I {interface} -o new; \
             iscsiadm -m iface -I {interface} -o update -n iface.initiatorname -v {name}; \
             iscsiadm -m node -I {interface} -o new -T {} -p {}:3260,1",
            self.iqn, self.address
        ))?;
        ensure!(done, "the client's records could not be made");
        Ok(())
    }

    /// From now on it logs in with a password.
    fn proves(&self) -> Result<()> {
        let (node, [user, password]) = (self.node(), LOGIN);
        let done = self.run(&format!(
            "set -e; for pair in authmethod=CHAP username={user} password={password}; do \
               {node} -o update -n node.session.auth.${{pair%=*}} -v ${{pair#*=}}; \
             done"
        ))?;
        ensure!(done, "the client's password could not be set");
        Ok(())
    }

    pub fn logs_in(&self) -> Result<bool> {
        self.run(&format!("{} --login", self.node()))
    }

    /// Its session is the last one.
    fn session(&self) -> String {
        format!(
            "session=$(grep -l '^{}$' /sys/class/iscsi_session/session*/ifacename | tail -n 1); session=${{session%/*}}; \
             [ -n \"$session\" ] || exit 1; ",
            self.interface
        )
    }

    /// The numbers of the LUNs that it sees.
    pub fn luns(&self) -> Result<String> {
        let script = self.session()
            + "for lun in $session/device/target*/*:*:*:*; do [ -d $lun/block ] && echo ${lun##*:}; done | sort -n";
        let output = self.lab.client(&["sh", "-c", &script])?;
        let luns: Vec<&str> = output.stdout.split_whitespace().collect();
        Ok(luns.join(" "))
    }

    pub fn is_logged_in(&self) -> Result<bool> {
        self.run(&(self.session() + "[ $(cat $session/state) = LOGGED_IN ]"))
    }

    pub fn reads(&self, lun: u64) -> Result<()> {
        let script = self.session()
            + &format!(
                "until device=$(ls -d $session/device/target*/*:{lun}/block/* 2>/dev/null); do sleep 0.1; done; \
                 dd if=/dev/${{device##*/}} of=/dev/null bs=4k count=1 iflag=direct"
            );
        ensure!(self.run(&script)?, "it cannot read LUN {lun}");
        Ok(())
    }

    /// What a LUN says of itself: who made it, its serial number, its names, its limits and what it can.
    pub fn identity(&self, lun: u64) -> Result<String> {
        let script = self.session()
            + &format!(
                "until device=$(ls -d $session/device/target*/*:{lun}/block/* 2>/dev/null); do sleep 0.1; done; \
                 device=/dev/${{device##*/}}; sg_inq $device && \
                 for page in sn di bl lbpv; do sg_vpd --page=$page $device || exit; done; \
                 cat /sys/block/${{device##*/}}/queue/logical_block_size /sys/block/${{device##*/}}/queue/write_cache"
            );
        let output = self.lab.client(&["sh", "-c", &script])?;
        ensure!(
            output.status == 0,
            "LUN {lun}: {}{}",
            output.stdout,
            output.stderr
        );
        Ok(output.stdout)
    }

    /// Its session is gone; its records stay.
    pub fn log_out(&self) -> Result<()> {
        let done = self.run(&format!("{} --logout", self.node()))?;
        ensure!(done, "its session cannot be ended");
        Ok(())
    }
}

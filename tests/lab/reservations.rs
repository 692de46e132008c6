//! A client's own persistent reservation moves with the pool: through a crash right after it was changed, a handover, and a
//! loss of both heads.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::config::{RIVAL_CHAP, RIVAL_IQN};
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, boot_and_hand_over, hand_over, pool_field};

/// The holder's key, and the one that is preempted.
const HOLDER: &str = "0xabc123";
const RIVAL: &str = "0xdef456";

pub fn move_with_the_pool(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let second = first.peer();
        let pool = lab.status()?.pools[0].pool.clone();
        let iqn = pool.iqn.context("no target")?;
        let client = Client {
            lab,
            iqn: &iqn,
            address: &pool.address,
        };
        client.second_session()?;
        client.persist(
            "$one",
            &format!("--out --register --param-sark={HOLDER} --param-aptpl"),
        )?;
        client.persist(
            "$two",
            &format!("--out --register --param-sark={RIVAL} --param-aptpl"),
        )?;
        // Write exclusive, registrants only.
        client.persist(
            "$one",
            &format!("--out --reserve --param-rk={HOLDER} --prout-type=5"),
        )?;
        client.holds(&[HOLDER, RIVAL])?;

        client.persist(
            "$one",
            &format!("--out --preempt --param-rk={HOLDER} --param-sark={RIVAL} --prout-type=5"),
        )?;
        // Whatever a head would do later, it does not do it.
        lab.crash(first)?;
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        client.holds(&[HOLDER]).context("after a crash")?;
        client.refuses_the_rival().context("after a crash")?;
        safe(lab, second)?;

        boot_and_hand_over(lab, first, &pool.name)?;
        client.holds(&[HOLDER]).context("after a handover")?;

        lab.crash_all(&Head::BOTH.map(Machine::from))?;
        lab.boot_all(&Head::BOTH.map(Machine::from))?;
        lab.wait_for("any serves", LIMIT)?;
        client
            .holds(&[HOLDER])
            .context("after both heads were off")?;
        client
            .refuses_the_rival()
            .context("after both heads were off")?;

        client.persist("$one", &format!("--out --clear --param-rk={HOLDER}"))?;
        // What is gone stays gone.
        let owner = lab.owner(None)?;
        lab.wait_for(&format!("{} standby", owner.peer()), LIMIT)?;
        hand_over(lab, owner, &pool.name)?;
        lab.wait_for(&format!("{} serves", owner.peer()), LIMIT)?;
        client.holds(&[]).context("after it was cleared")?;
        client.one_session()
    })
}

/// Nothing of it is said to be lost.
fn safe(lab: &Lab, owner: Head) -> Result<()> {
    let lost = pool_field(lab, owner, "lost_reservations")?;
    ensure!(lost.as_array().is_some_and(Vec::is_empty), "{lost}");
    Ok(())
}

/// A client with two sessions, each a nexus of its own.
struct Client<'a> {
    lab: &'a Lab,
    iqn: &'a str,
    address: &'a str,
}

impl Client<'_> {
    fn said(&self, script: &str) -> Result<String> {
        let find = format!(
            "set -e; \
             one=; two=; \
             for session in $(ls -d /sys/class/iscsi_session/session* | sort -V); do \
               [ $(cat $session/targetname) = {} ] || continue; \
               until device=$(ls -d $session/device/target*/*:0/block/* 2>/dev/null); do sleep 0.1; done; \
               device=/dev/${{device##*/}}; \
               if [ -z $one ]; then one=$device; else two=$device; fi; \
             done; ",
            self.iqn
        );
        let output = self.lab.client(&["sh", "-c", &(find + script)])?;
        ensure!(
            output.status == 0,
            "{script}: {} {}",
            output.stdout,
            output.stderr
        );
        Ok(output.stdout)
    }

    /// Another initiator's, which must prove who it is, and gets a proof: sessions of one name are one to the kernel's target, where a reservation is concerned, if the first
    /// half of their identifiers agrees, as those of open-iscsi do.
    fn second_session(&self) -> Result<()> {
        let (iqn, address) = (self.iqn, self.address);
        let [(user, password), (target, proof)] = RIVAL_CHAP;
        let script = format!(
            "iscsiadm -m iface -I rival -o new; \
             iscsiadm -m iface -I rival -o update -n iface.initiatorname -v {RIVAL_IQN}; \
             iscsiadm -m node -I rival -o new -T {iqn} -p {address}:3260,1; \
             set_to() {{ iscsiadm -m node -I rival -T {iqn} -p {address}:3260 -o update -n node.session.auth.$1 -v $2; }}; \
             log_in() {{ iscsiadm -m node -I rival -T {iqn} -p {address}:3260 --login; }}; \
             if log_in; then echo it was let in without a proof; exit 1; fi; \
             set_to authmethod CHAP; set_to username {user}; \
             set_to password not-this-one; \
             if log_in; then echo it was let in with a wrong password; exit 1; fi; \
             set_to password {password}; set_to username_in {target}; set_to password_in not-this-one; \
             if log_in; then echo it believed a target without a proof; exit 1; fi; \
             set_to password_in {proof}; log_in"
        );
        self.said(&script).map(drop)
    }

    fn one_session(&self) -> Result<()> {
        let (iqn, address) = (self.iqn, self.address);
        let script = format!(
            "iscsiadm -m node -I rival -T {iqn} -p {address}:3260 --logout; \
             iscsiadm -m node -I rival -o delete -T {iqn} -p {address}:3260"
        );
        self.said(&script).map(drop)
    }

    /// One command; a unit attention that tells of a takeover is not its answer.
    fn persist(&self, device: &str, words: &str) -> Result<String> {
        let script = format!(
            "for try in 1 2 3 4 5; do \
               said=$(sg_persist {words} {device} 2>&1) && {{ echo \"$said\"; exit 0; }}; \
               case \"$said\" in *nit*ttention*) ;; *) break ;; esac; \
             done; echo \"$said\"; exit 1"
        );
        self.said(&script)
    }

    /// That these are the registrants, and the first of them has the reservation.
    fn holds(&self, keys: &[&str]) -> Result<()> {
        let registered = self.persist("$one", "--in --read-keys")?;
        for key in [HOLDER, RIVAL] {
            ensure!(
                registered.contains(key) == keys.contains(&key),
                "registered should be {keys:?}: {registered}"
            );
        }
        let reserved = self.persist("$one", "--in --read-reservation")?;
        match keys.first() {
            Some(key) => ensure!(reserved.contains(key), "{reserved}"),
            None => ensure!(reserved.contains("NO reservation"), "{reserved}"),
        }
        Ok(())
    }

    /// That who was preempted cannot write. It reads, and writes that back.
    fn refuses_the_rival(&self) -> Result<()> {
        let script = "dd if=$two of=/tmp/block bs=4k count=1 iflag=direct status=none; \
             if dd if=/tmp/block of=$two bs=4k count=1 oflag=direct status=none 2>/tmp/said; then \
               echo it wrote; exit 1; \
             fi; cat /tmp/said";
        self.said(script).map(drop)
    }
}

//! A share and its clients' locks: made on the console, kept through a crash, a handover, and a loss of both heads.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::request::IoOptions;
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    CheckedFile, LIMIT, bare_disks, check, console_end, disks_seen, hand_over, make_tank,
    resume_and_verify, said, until, wait_console, wait_for_writes, with_bare_disks,
};

use crate::delegation::HeldOpen;

/// The client's address.
const CLIENT: &str = "10.77.0.100";

const DISKS: usize = 3;
const POOL: &str = "
[[pool]]
name = \"tank\"
home = \"a\"
address = \"10.77.0.10/24\"
[[pool.nfs.share]]
volume = \"home\"
clients = \"10.77.0.98\"
squash = \"none\"
[[pool.nfs.share]]
name = \"large\"
volume = \"big\"
clients = [\"10.77.0.100\", { network = \"10.77.0.98\", access = \"ro\" }]
squash = \"none\"
[[pool.nfs.share]]
name = \"other\"
volume = \"other\"
clients = \"10.77.0.99\"
[[pool.nfs.share]]
volume = \"plain\"
clients = \"10.77.0.100\"
[[pool.nfs.share]]
volume = \"fixed\"
clients = \"10.77.0.100\"
access = \"ro\"
squash = \"none\"
";

/// Through a crash and a handover, with a rival that is at it all the time.
pub fn locks_move(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("shares", DISKS, 384 << 20)?;
    with_bare_disks(bench, shelf, disks, POOL, |lab| {
        let (home, sum) = begin(lab)?;
        home.is_kept(lab).context("before anything")?;
        root_is_there(lab).context("before anything")?;
        is_refused(lab)?;
        let mut open = HeldOpen::begin(lab, &home)?;
        open.is_written(lab, "two")?;

        let file = CheckedFile::start(lab, "/mnt/large")?;
        let rival = home.tries_on(lab)?;
        start_writing_on(lab, "home")?;
        let (struck, from) = (unix_ms(), console_end(lab, Head::B)?);
        lab.crash(Head::A)?;
        file.is_at_it(lab)?;
        // A rival that is there at once, in the grace period, gets nothing either.
        lab.wait_for("b serves", LIMIT)?;
        home.is_kept(lab).context("right after a crash")?;
        new_file(lab, "crash of the owner", struck)?;
        root_is_there(lab).context("after a crash")?;
        resume_and_verify(lab, "NFS, crash of the owner", struck)?;
        ensure!(
            said(lab, SUM)? == sum,
            "a file on xfs is another one after a crash"
        );
        reclaimed(lab, Head::B, "tank")?;
        // Not because its time was over.
        wait_console(lab, Head::B, from, "came back, 0 did not")?;
        open.is_written(lab, "three")?;
        is_refused(lab).context("after a crash")?;
        file.is_whole(lab)?;

        lab.boot_all(&[Machine::from(Head::A)])?;
        lab.wait_for("a standby", LIMIT)?;
        let file = CheckedFile::start(lab, "/mnt/large")?;
        start_writing_on(lab, "home")?;
        let struck = unix_ms();
        hand_over(lab, Head::B, "tank")?;
        file.is_at_it(lab)?;
        lab.wait_for("a serves", LIMIT)?;
        new_file(lab, "handover", struck)?;
        root_is_there(lab).context("after a handover")?;
        resume_and_verify(lab, "NFS, handover", struck)?;
        reclaimed(lab, Head::A, "tank")?;
        home.is_kept(lab).context("after a handover")?;
        rival.got_nothing(lab)?;
        file.is_whole(lab)
    })
}

/// Through an owner that hangs and the loss of both heads, until the client lets them go and is shut out itself. One of the
/// shares is checked whole at each import.
pub fn locks_outlive_both_heads(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("shares", DISKS, 384 << 20)?;
    let plain = "volume = \"plain\"\n";
    let pool = POOL.replace(plain, &format!("{plain}check = \"always\"\n"));
    with_bare_disks(bench, shelf, disks, &pool, |lab| {
        let (home, sum) = begin(lab)?;
        // Its kernel goes on to serve: what it would answer once it is fenced must not leave it.
        start_writing_on(lab, "home")?;
        let struck = unix_ms();
        lab.hang(Head::A)?;
        lab.wait_for("b serves", LIMIT)?;
        resume_and_verify(lab, "NFS, owner hung", struck)?;
        home.is_kept(lab).context("after the owner hung")?;
        lab.wait_for("a standby", LIMIT)?;

        lab.crash_all(&Head::BOTH.map(Machine::from))?;
        lab.boot_all(&Head::BOTH.map(Machine::from))?;
        lab.wait_for("any serves", LIMIT)?;
        let owner = lab.owner(None)?;
        reclaimed(lab, owner, "tank")?;
        home.is_kept(lab).context("after both heads were off")?;

        ensure!(
            said(lab, SUM)? == sum,
            "a file on xfs is another one in the end"
        );
        grows(lab, owner, "home", "home", 96)?;
        grows(lab, owner, "large", "big", 352)?;
        // Nor does a change take a share away that is checked at each import.
        is_refused(lab).context("after volumes grew")?;
        said(lab, RELEASE)?;
        rights_differ(lab, owner)?;
        // The lock is free as soon as the client says so, and not before.
        let begun = Instant::now();
        while home.rival(lab)? != 0 || home.rival_of_bytes(lab, HELD)? != 0 {
            ensure!(begun.elapsed() < LIMIT, "the lock stays where it was");
        }
        said(lab, "cat /mnt/home/lock")?;
        lab.tell_ok(owner, &format!("client remove tank/home {CLIENT} --yes"))?;
        until(
            || Ok(lab.client(&["ls", "-l", "/mnt/home"])?.status != 0),
            "it is served though it was shut out",
        )
    })
}

/// The pool and its shares are there; the client has locks on one of them, and on another a file with this sum.
fn begin(lab: &Lab) -> Result<(Mounted, String)> {
    make(lab)?;
    let home = Mounted::new(10, "home");
    said(lab, &home.hold())?;
    let sum = said(lab, FILL)?;
    Ok((home, sum))
}

/// The pool and a share, from bare disks, by the console alone.
fn make(lab: &Lab) -> Result<()> {
    make_tank(lab, DISKS)?;
    // The configuration has others for it: this one is the pool's, through all that follows.
    lab.tell_ok(Head::A, &format!("client add tank/home {CLIENT}"))?;
    let withheld = lab.tell_ok(Head::A, "pools")?;
    ensure!(
        withheld.contains("`volume create tank/home SIZE --fs ext4`"),
        "{withheld}"
    );
    for (command, why) in [
        ("volume create tank/home 64M", "say --fs ext4"),
        ("volume create tank/data 64M --fs ext4", "does not share it"),
        ("volume create tank/home 64M --fs ntfs", "ext4"),
    ] {
        let answer = lab.tell(Head::A, command)?;
        ensure!(
            answer.code != 0 && answer.text.contains(why),
            "{command:?} was answered with {}: {}",
            answer.code,
            answer.text
        );
    }
    lab.tell_ok(
        Head::A,
        "volume create tank/home 64M --raid raid1 --fs ext4",
    )?;
    for volume in ["other", "plain", "fixed"] {
        lab.tell_ok(
            Head::A,
            &format!("volume create tank/{volume} 16M --fs ext4"),
        )?;
    }
    lab.tell_ok(Head::A, "volume create tank/big 320M --fs xfs")?;
    let refused = lab.tell(Head::A, "volume remove tank/home --yes")?;
    ensure!(
        refused.code == 1 && refused.text.contains("shares it"),
        "{}",
        refused.text
    );
    lab.wait_for("client up", LIMIT)?;
    lab.wait_for("b standby", LIMIT)?;
    // What is another client's is not to be seen.
    let seen = said(lab, MOUNT_ROOT)?;
    ensure!(
        seen == "fixed\nhome\nlarge\nplain",
        "the client sees {seen:?} at the root"
    );
    Ok(())
}

/// What a share does not let its client do: one that squashes root, as they do unless told otherwise, and one that is read only.
fn is_refused(lab: &Lab) -> Result<()> {
    for (share, why) in [
        ("plain", "Permission denied"),
        ("fixed", "Read-only file system"),
    ] {
        let script = format!(
            "mkdir -p /mnt/{share}; mountpoint -q /mnt/{share} || \
             mount -t nfs -o vers=4.1,hard,proto=tcp 10.77.0.10:/{share} /mnt/{share} || exit 2; \
             touch /mnt/{share}/file 2>&1 && exit 3; ls /mnt/{share}"
        );
        let said = said(lab, &script)?;
        ensure!(
            said.contains(why) && said.contains("lost+found"),
            "{share}: {said}"
        );
    }
    Ok(())
}

/// One client may write where another one may only read, and what a client may do changes under a file that it has open.
fn rights_differ(lab: &Lab, owner: Head) -> Result<()> {
    said(lab, "echo more > /mnt/large/rights")?;
    let large = Mounted::new(10, "large");
    // It stands within quotes.
    let refused = "cat /mnt/rival/rights >/dev/null && ! touch /mnt/rival/rights 2>/run/why && grep -q Read-only /run/why";
    ensure!(
        large.as_rival(lab, refused)? == 0,
        "a client that may only read is not told so"
    );
    said(
        lab,
        &format!(
            "echo '{WRITE_ON}' > /run/write-on; setsid perl /run/write-on /mnt/home/rights /run/written \
             >/dev/null 2>&1 </dev/null &"
        ),
    )?;
    for (access, outcome) in [
        ("rw", "written"),
        ("ro", "Read-only file system"),
        ("rw", "written"),
    ] {
        // As it is let in since the beginning.
        if lab.client(&["test", "-e", "/run/written"])?.status == 0 {
            let order = format!("client add tank/home {CLIENT} --access {access}");
            lab.tell_ok(owner, &order)?;
        }
        until(
            || Ok(said(lab, "cat /run/written || true")? == outcome),
            &format!("a write to an open file does not come to {outcome:?}"),
        )?;
    }
    said(lab, "pkill -f '[/]run/write-on' || true")?;
    Ok(())
}

/// Writes to one open file all the time, and says what came of it last.
const WRITE_ON: &str = r#"use Fcntl;
sysopen(my $file, $ARGV[0], O_WRONLY|O_CREAT|O_SYNC) || exit 9;
while (1) {
  my $said = syswrite($file, "x") ? "written" : "$!";
  open(my $now, ">", "$ARGV[1].new") && print($now $said) && close($now) && rename("$ARGV[1].new", $ARGV[1]);
  select(undef, undef, undef, 0.1);
}"#;

/// The root of all shares, which stays mounted through all that follows.
const MOUNT_ROOT: &str =
    "mkdir -p /mnt/root && mount -t nfs -o vers=4.2,hard 10.77.0.10:/ /mnt/root && ls /mnt/root";

/// What is below the root is the same as before, on whichever head: the client has handles of all of it.
fn root_is_there(lab: &Lab) -> Result<()> {
    let seen = said(lab, "cd /mnt/root && ls && ls home/lock large/file")?;
    let wanted = "fixed\nhome\nlarge\nplain\nhome/lock\nlarge/file";
    ensure!(seen == wanted, "below the root there is {seen:?}");
    Ok(())
}

/// A file that was not there before can be made: who had files open waits less, as they are given back first.
fn new_file(lab: &Lab, what: &str, struck: u64) -> Result<()> {
    said(lab, "touch /mnt/home/new && rm /mnt/home/new")?;
    let seconds = unix_ms().saturating_sub(struck) as f64 / 1000.0;
    println!("    NFS, {what}: a new file is made within {seconds:.2} s");
    Ok(())
}

/// A file on the other file system, and its sum.
const FILL: &str = "mkdir -p /mnt/large && mount -t nfs -o vers=4.2,hard,proto=tcp 10.77.0.10:/large /mnt/large && \
    dd if=/dev/urandom of=/mnt/large/file bs=64k count=32 conv=fsync status=none && sha256sum < /mnt/large/file";
const SUM: &str = "echo 3 > /proc/sys/vm/drop_caches; sha256sum < /mnt/large/file";
const RELEASE: &str = "pid=$(awk '/FLOCK/ { print $5; exit }' /proc/locks) && kill $pid && pkill -f '[/]run/lock-bytes'";

/// Locks a hundred bytes of a file from one on, which are its first two words. With a third it makes that file, and holds them.
const LOCK_BYTES: &str = r#"use Fcntl;
open(my $file, "+<", $ARGV[0]) || exit 9;
fcntl($file, F_SETLK, pack("s s x4 q q i x4", F_WRLCK, 0, $ARGV[1], 100, 0)) || exit 1;
if ($ARGV[2]) { open(my $held, ">", $ARGV[2]); sleep; }"#;
/// The first of the bytes that are held.
const HELD: u32 = 1000;

/// Two pools with shares: each moves alone, and what its clients have moves with it and with nothing else.
pub fn pools_move_one_by_one(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("pools", 4, 256 << 20)?;
    with_bare_disks(bench, shelf, disks, POOLS, |lab| {
        for (head, pool, volume) in [(Head::A, "one", "first"), (Head::B, "two", "second")] {
            let ids = disks_seen(lab, head, 4)?;
            let (ones, twos) = ids.split_at(2);
            let disks = if head == Head::A { ones } else { twos }.join(" ");
            for command in [
                format!("pool create {pool} {disks} --yes"),
                format!("volume create {pool}/{volume} 64M --fs ext4"),
            ] {
                lab.tell_ok(head, &command)?;
            }
        }
        lab.wait_for("client up", LIMIT)?;
        let (one, two) = (Mounted::new(11, "first"), Mounted::new(12, "second"));
        for share in [&one, &two] {
            said(lab, &share.hold())?;
        }
        start_writing_on(lab, "first")?;
        let epoch = epoch_of(lab, Head::A, "one")?;

        // Both on one head: the one that stays notices nothing.
        let struck = unix_ms();
        hand_over(lab, Head::B, "two")?;
        lab.wait_for("a serves two", LIMIT)?;
        reclaimed(lab, Head::A, "one")?;
        ensure!(
            epoch_of(lab, Head::A, "one")? == epoch,
            "pool one moved as well"
        );
        for share in [&one, &two] {
            share.is_kept(lab).context("on one head")?;
        }
        // There may be no gap at all to wait for the end of.
        wait_for_writes(lab, 100)?;
        let report = lab.io_stop()?;
        check(lab, "NFS, another pool moved", &report, struck)?;

        start_writing_on(lab, "first")?;
        let struck = unix_ms();
        lab.crash(Head::A)?;
        lab.wait_for("b serves one", LIMIT)?;
        lab.wait_for("b serves two", LIMIT)?;
        for share in [&one, &two] {
            share
                .is_kept(lab)
                .context("after a crash of the head of both")?;
        }
        resume_and_verify(lab, "NFS, crash of the owner of two pools", struck)?;
        for pool in ["one", "two"] {
            reclaimed(lab, Head::B, pool)?;
        }
        Ok(())
    })
}

const POOLS: &str = "
[[pool]]
name = \"one\"
home = \"a\"
address = \"10.77.0.11/24\"
[[pool.nfs.share]]
volume = \"first\"
clients = \"10.77.0.0/24\"
squash = \"none\"
[[pool]]
name = \"two\"
home = \"b\"
address = \"10.77.0.12/24\"
[[pool.nfs.share]]
volume = \"second\"
clients = \"10.77.0.0/24\"
squash = \"none\"
";

fn epoch_of(lab: &Lab, head: Head, pool: &str) -> Result<u64> {
    let epoch = pool_of(lab, head, pool)?["epoch"].as_u64();
    epoch.context("no epoch")
}

fn pool_of(lab: &Lab, head: Head, name: &str) -> Result<serde_json::Value> {
    let status = lab.tell_json(head, "status")?;
    let pools = status["pools"].as_array().context("no pools")?;
    let pool = pools.iter().find(|pool| pool["name"] == name);
    pool.cloned().with_context(|| format!("no pool {name}"))
}

/// A share as the client has it: its address ends with a number, and a file on it is locked.
pub struct Mounted {
    address: String,
    share: &'static str,
}

impl Mounted {
    fn new(host: u8, share: &'static str) -> Mounted {
        let address = format!("10.77.0.{host}");
        Mounted { address, share }
    }

    /// Mounts it and takes two locks until it is told to go: `flock`, which on NFS is a lock at the server, and `fcntl` of some
    /// bytes of another file.
    fn hold(&self) -> String {
        let Mounted { address, share } = self;
        format!(
            "mkdir -p /mnt/{share} && mount -t nfs -o vers=4.2,hard,proto=tcp {address}:/{share} /mnt/{share} && \
             touch /mnt/{share}/lock /mnt/{share}/bytes && before=$(grep -c FLOCK /proc/locks); \
             setsid sh -c 'exec flock -x -F /mnt/{share}/lock sleep 100000' >/dev/null 2>&1 </dev/null & \
             until [ $(grep -c FLOCK /proc/locks) -gt ${{before:-0}} ]; do sleep 0.1; done; \
             echo '{LOCK_BYTES}' > /run/lock-bytes; \
             setsid perl /run/lock-bytes /mnt/{share}/bytes {HELD} /run/held-{share} >/dev/null 2>&1 </dev/null & \
             until [ -e /run/held-{share} ]; do sleep 0.1; done"
        )
    }

    /// Another client's attempt at the lock of a whole file, 0 if it got it.
    fn rival(&self, lab: &Lab) -> Result<i32> {
        self.as_rival(lab, "flock -x -n /mnt/rival/lock true")
    }

    /// Another client's attempt at bytes from one on.
    fn rival_of_bytes(&self, lab: &Lab, from: u32) -> Result<i32> {
        self.as_rival(
            lab,
            &format!("perl /run/lock-bytes /mnt/rival/bytes {from}"),
        )
    }

    /// What becomes of a command of another client, which has the share at `/mnt/rival`: 0 or 1. It has an address and a
    /// name of its own, and is thus another owner to the server.
    pub fn as_rival(&self, lab: &Lab, command: &str) -> Result<i32> {
        let Mounted { address, share } = self;
        let script = format!(
            "{RIVAL}ip netns exec rival unshare --uts sh -c 'hostname rival; mkdir -p /mnt/rival; \
             mount -t nfs -o vers=4.2,hard,proto=tcp {address}:/{share} /mnt/rival || exit 9; \
             {command}; said=$?; umount /mnt/rival || exit 8; exit $said'"
        );
        let output = lab.client(&["sh", "-c", &script])?;
        ensure!(
            matches!(output.status, 0 | 1),
            "the rival ended with {}: {}",
            output.status,
            output.stderr
        );
        Ok(output.status)
    }

    /// Where the first client has it.
    pub fn mount_point(&self) -> String {
        format!("/mnt/{}", self.share)
    }

    /// A file on it, as the first client names it.
    pub fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.mount_point())
    }

    /// The same client, at it all the time.
    fn tries_on(&self, lab: &Lab) -> Result<Trying> {
        let Mounted { address, share } = self;
        said(
            lab,
            &format!(
                "{RIVAL}rm -f /run/tried /run/got; mkdir -p /mnt/tries; ip netns exec rival unshare --uts sh -c 'hostname rival; \
                 mount -t nfs -o vers=4.2,hard,proto=tcp {address}:/{share} /mnt/tries && \
                 exec setsid sh -c \"while sleep 0.1; do flock -x -n /mnt/tries/lock true && touch /run/got; echo >>/run/tried; done\" \
                 >/dev/null 2>&1 </dev/null &'"
            ),
        )?;
        let trying = Trying;
        trying.goes_on(lab)?;
        Ok(trying)
    }

    fn is_kept(&self, lab: &Lab) -> Result<()> {
        ensure!(
            self.rival(lab)? == 1,
            "{}: a rival got the lock",
            self.share
        );
        ensure!(
            self.rival_of_bytes(lab, HELD + 50)? == 1,
            "{}: a rival got bytes that are locked",
            self.share
        );
        ensure!(
            self.rival_of_bytes(lab, HELD + 100)? == 0,
            "{}: a rival did not get bytes that nobody has locked",
            self.share
        );
        Ok(())
    }
}

/// A client that tries to get a lock, again and again.
struct Trying;

impl Trying {
    /// It tries ten times more.
    fn goes_on(&self, lab: &Lab) -> Result<()> {
        let tried = || -> Result<u64> { Ok(said(lab, "cat /run/tried | wc -l")?.parse()?) };
        let before = tried().unwrap_or(0);
        until(
            || Ok(tried().unwrap_or(0) >= before + 10),
            "the rival does not try any more",
        )
    }

    /// It is still at it, and never got the lock.
    fn got_nothing(self, lab: &Lab) -> Result<()> {
        self.goes_on(lab)?;
        let got = lab.client(&["test", "-e", "/run/got"])?.status == 0;
        ensure!(!got, "a rival that tried all the time got the lock once");
        // Its mount goes with it.
        said(lab, "pkill -f '[/]mnt/tries/lock'")?;
        Ok(())
    }
}

/// A network of another client's on the first one's card.
const RIVAL: &str = "set -e; \
    if ! ip netns list | grep -q rival; then \
      ip netns add rival; \
      ip link add link $(ip -o route get 10.77.0.10 | sed 's/.* dev \\([^ ]*\\).*/\\1/') name rival0 type macvlan mode bridge; \
      ip link set rival0 netns rival; \
      ip -n rival address add 10.77.0.98/24 dev rival0; \
      ip -n rival link set rival0 up; ip -n rival link set lo up; \
    fi; ";

/// Waits until everybody has their state again, and the grace period is over: a head asks its server every few seconds.
fn reclaimed(lab: &Lab, owner: Head, pool: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let clients = &pool_of(lab, owner, pool)?["share_clients"];
        ensure!(clients["problem"].is_null(), "{clients}");
        if clients["awaited"] == 0 && clients["known"].as_u64() >= Some(1) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < LIMIT,
            "{pool}: clients are still awaited: {clients}"
        );
    }
}

/// A volume grows under its share.
fn grows(lab: &Lab, owner: Head, share: &str, volume: &str, mib: u64) -> Result<()> {
    let blocks = &format!("stat -f -c '%b %S' /mnt/{share} | awk '{{ print $1 * $2 }}'");
    let before: u64 = said(lab, blocks)?.parse()?;
    lab.tell_ok(owner, &format!("volume grow tank/{volume} {mib}M"))?;
    // Clients look again when what they know is some seconds old.
    let begun = Instant::now();
    loop {
        let now: u64 = said(lab, blocks)?.parse()?;
        if now > before + (16 << 20) {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "{before} bytes, then {now}");
    }
}

fn start_writing_on(lab: &Lab, share: &str) -> Result<()> {
    lab.io_start(&IoOptions {
        share: Some(share.to_owned()),
        blocks: 1024,
        ..IoOptions::default()
    })?;
    lab.wait_for("client io", LIMIT)?;
    wait_for_writes(lab, 100)
}

//! A volume as a namespace of NVMe over TCP, connected by the kernel's own initiator: it goes on through a handover and a crash,
//! is the same device on both heads, grows, and is for the hosts of the list alone.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::request::IoOptions;
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, bare_disks, hand_over, make_tank, resume_and_verify, said, until, wait_for_writes,
    with_bare_disks,
};

const POOL: &str = "
[[pool]]
name = \"tank\"
home = \"a\"
address = \"10.77.0.10/24\"
[pool.nvme]
nqn = \"nqn.2026-01.org.orthrus:tank\"
hosts = [\"nqn.2014-08.org.nvmexpress:uuid:6a1f0c1e-0000-4000-8000-000000000003\"]
[[pool.nvme.namespace]]
nsid = 1
volume = \"data\"
";

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:6a1f0c1e-0000-4000-8000-000000000001";

/// Connects by what README says, as the host whose name ends with this number; says what the kernel said.
pub(crate) fn connect(host: u8) -> String {
    let id = format!("6a1f0c1e-0000-4000-8000-00000000000{host}");
    format!(
        "modprobe nvme_tcp && exec 3<>/dev/nvme-fabrics && \
         printf 'nqn=nqn.2026-01.org.orthrus:tank,transport=tcp,traddr=10.77.0.10,trsvcid=4420,\
         hostnqn=nqn.2014-08.org.nvmexpress:uuid:{id},hostid={id},\
         ctrl_loss_tmo=-1,reconnect_delay=1,keep_alive_tmo=5' >&3"
    )
}

pub fn moves(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("nvme", 3, 256 << 20)?;
    with_bare_disks(bench, shelf, disks, POOL, |lab| {
        make_tank(lab, 3)?;
        let withheld = lab.tell_ok(Head::A, "status")?;
        ensure!(
            withheld.contains("`volume create tank/data SIZE`"),
            "{withheld}"
        );
        let made = lab.tell_ok(Head::A, "volume create tank/data 64M")?;
        ensure!(made.contains("namespace 1"), "{made}");
        lab.wait_for("b standby", LIMIT)?;
        lab.wait_for("client up", LIMIT)?;

        let stranger = lab.client(&["sh", "-c", &connect(2)])?;
        ensure!(
            stranger.status != 0,
            "a host that is not on the list was let in"
        );
        // By the console: it is the pool's from then on, through all that follows.
        let early = lab.client(&["sh", "-c", &connect(1)])?;
        ensure!(early.status != 0, "it was let in without a word");
        lab.tell_ok(Head::A, &format!("client add tank {HOST}"))?;
        said(lab, &connect(1))?;
        wait_said(lab, "test -b /dev/nvme0n1 && echo there", "there")?;
        let before = device(lab)?;

        start_writing(lab)?;
        let struck = unix_ms();
        hand_over(lab, Head::A, "tank")?;
        lab.wait_for("b serves", LIMIT)?;
        resume_and_verify(lab, "NVMe, handover", struck)?;
        ensure!(device(lab)? == before, "another device on the other head");
        lab.wait_for("a standby", LIMIT)?;

        start_writing(lab)?;
        let struck = unix_ms();
        lab.crash(Head::B)?;
        lab.wait_for("a serves", LIMIT)?;
        resume_and_verify(lab, "NVMe, crash of the owner", struck)?;
        ensure!(device(lab)? == before, "another device after a crash");

        for (command, why) in [
            ("volume rename tank/data other", "namespace 1"),
            ("volume remove tank/data --yes", "namespace 1"),
        ] {
            let answer = lab.tell(Head::A, command)?;
            ensure!(
                answer.code != 0 && answer.text.contains(why),
                "{command}: {}",
                answer.text
            );
        }
        lab.tell_ok(Head::A, "volume grow tank/data 96M")?;
        let size = (96 << 11).to_string();
        wait_said(lab, "cat /sys/block/nvme0n1/size", &size).context("it grew")?;
        lab.tell_ok(Head::A, &format!("client remove tank {HOST} --yes"))?;
        let live = "grep -q live /sys/class/nvme/nvme*/state && echo live || echo gone";
        wait_said(lab, live, "gone").context("it was shut out")?;
        let late = lab.client(&["sh", "-c", &connect(1)])?;
        ensure!(late.status != 0, "it was let in though it was shut out");
        Ok(())
    })
}

/// Waits for what the client's kernel does in its own time: the scan for namespaces behind a connect and behind a notice.
fn wait_said(lab: &Lab, script: &str, wanted: &str) -> Result<()> {
    let holds = || Ok(lab.client(&["sh", "-c", script])?.stdout.trim() == wanted);
    until(
        holds,
        &format!("the client's {script:?} never said {wanted:?}"),
    )
}

/// What the client knows the device by.
fn device(lab: &Lab) -> Result<String> {
    let known = said(
        lab,
        "cd /sys/block/nvme0n1 && cat uuid nguid nsid wwid && cd /sys/class/nvme-subsystem/nvme-subsys0 && cat subsysnqn serial model firmware_rev",
    )?;
    Ok(known)
}

fn start_writing(lab: &Lab) -> Result<()> {
    lab.io_start(&IoOptions {
        device: Some("/dev/nvme0n1".to_owned()),
        ..IoOptions::default()
    })?;
    lab.wait_for("client io", LIMIT)?;
    wait_for_writes(lab, 100)
}

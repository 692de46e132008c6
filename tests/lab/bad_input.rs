//! Bad input: each gets a clear message at the console, and nothing on the disks changes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use orthrus_image::{Tools, Workspace};
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::spec::{Disks, LEDGER, Options, Ready};
use orthrus_qemu::{Lab, config, shelf};
use orthrus_tests::steps::{LIMIT, wait_console};
use orthrus_tests::{Bench, DEAD_MS, lab_options};

/// A key that no head of any cluster registers: its head number is 0x66.
const STRANGERS_KEY: &str = "0x1234566600000001";

/// Runs `test` in a lab of its own.
fn in_own_lab(
    bench: &Bench,
    options: Options,
    test: impl FnOnce(&Lab) -> Result<()>,
) -> Result<()> {
    bench.alone(
        &Options {
            ready: Ready::Answering,
            ..options
        },
        test,
    )
}

pub fn configuration(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let secret = config::secret()?;
    // Two heads, then a pool whose home does not exist.
    let text = config::generate(&[], &secret, DEAD_MS)
        + "\n[[pool]]\nname = \"tank\"\nhome = \"c\"\naddress = \"10.77.0.10/24\"\n";
    let line = text
        .lines()
        .position(|line| line.starts_with("home = \"c\""))
        .context("no line")?
        + 1;
    let options = Options {
        shelf,
        config: Some(text),
        heads: vec![Head::A],
        ..lab_options()
    };
    in_own_lab(bench, options, |lab| {
        let before = lab.digest(None)?;
        let status = lab.tell_ok(Head::A, "status")?;
        for words in [
            "no valid configuration",
            &format!("line {line}"),
            "home",
            "a or b",
        ] {
            ensure!(
                status.contains(words),
                "status does not say {words:?}:\n{status}"
            );
        }
        ensure!(
            !status.contains(&secret[..16]),
            "the secret is shown:\n{status}"
        );
        wait_console(lab, Head::A, 0, "no valid configuration")?;
        let answer = lab.tell(Head::A, "takeover tank --yes")?;
        ensure!(
            answer.code != 0,
            "a head without a configuration took a command"
        );
        ensure!(lab.digest(None)? == before, "something was written");
        Ok(())
    })
}

pub fn unknown_disk(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let mut disks = made_disks()?;
    let stranger = scratch("unknown.raw")?;
    // Neither empty nor anything that is known.
    let noise: Vec<u8> = (0..8u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(&stranger, noise)?;
    disks.push(stranger);
    let heads = vec![Head::A];
    let options = Options {
        shelf,
        disks: Disks::Copies(disks),
        heads,
        ..lab_options()
    };
    in_own_lab(bench, options, |lab| {
        let copies = lab.status()?.shelf.disks;
        let unknown = copies.last().context("no disks")?;
        let before = fs::read(unknown)?;
        lab.wait_for("a serves tank", LIMIT)?;
        let disks = lab.tell_json(Head::A, "disks --json")?;
        let seen = disks["disks"].as_array().map_or(0, Vec::len);
        ensure!(
            seen == copies.len(),
            "{seen} of {} disks are seen: {disks:#}",
            copies.len()
        );
        let pools = lab.tell_json(Head::A, "pools --json")?;
        let members = pools["pools"][0]["disks"].as_array().map_or(0, Vec::len);
        ensure!(members == copies.len() - 1, "{members} members: {pools:#}");
        ensure!(
            fs::read(unknown)? == before,
            "the unknown disk was written to"
        );
        Ok(())
    })
}

pub fn missing_disk(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let mut disks = made_disks()?;
    disks.pop();
    let heads = vec![Head::A];
    let options = Options {
        shelf,
        disks: Disks::Copies(disks),
        heads,
        ..lab_options()
    };
    in_own_lab(bench, options, |lab| {
        let before = lab.digest(None)?;
        lab.wait_for("a faulted tank", LIMIT)?;
        let pools = lab.tell_ok(Head::A, "pools")?;
        ensure!(
            pools.contains("missing") && pools.contains("tank"),
            "{pools}"
        );
        ensure!(lab.digest(None)? == before, "something was written");
        Ok(())
    })
}

pub fn stranger(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let options = Options {
        shelf,
        heads: Vec::new(),
        ..lab_options()
    };
    in_own_lab(bench, options, |lab| {
        let reservations = |arguments: &[&str]| -> Result<String> {
            let url = format!(
                "iscsi://{}/{}/2",
                shelf::target_address(shelf, 0),
                shelf::IQN
            );
            let tools = Tools::ensure(&Workspace::here()?)?;
            let command = tools.command("iscsi-pr")?;
            let mut argv = vec![command.get_program().to_string_lossy().into_owned()];
            argv.extend(
                command
                    .get_args()
                    .map(|word| word.to_string_lossy().into_owned()),
            );
            argv.extend(["-i".into(), "iqn.2026-01.org.example:stranger".into()]);
            argv.extend(arguments.iter().map(|word| (*word).to_owned()));
            argv.push(url);
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let output = lab.exec(&argv)?;
            let text = output.stdout;
            ensure!(output.status == 0, "{argv:?}: {text}{}", output.stderr);
            Ok(text)
        };
        reservations(&["-G", "-S", STRANGERS_KEY])?;
        reservations(&["-R", "-S", STRANGERS_KEY, "-T", "5"])?;
        let (keys, holder) = (reservations(&["-k"])?, reservations(&["-r"])?);
        ensure!(
            keys.contains("1234566600000001"),
            "the stranger is not registered: {keys}"
        );
        let before = lab.digest(None)?;
        lab.boot(Head::A)?;
        lab.wait_for("a faulted tank", LIMIT)?;
        let pools = lab.tell_ok(Head::A, "pools")?;
        ensure!(
            pools.contains("0x1234566600000001") && pools.contains("stranger"),
            "{pools}"
        );
        // Not even when told to: only keys of the cluster are ever removed.
        lab.tell(Head::A, "takeover tank --yes")?;
        lab.wait_for("a faulted tank", LIMIT)?;
        ensure!(
            reservations(&["-k"])? == keys && reservations(&["-r"])? == holder,
            "a key changed"
        );
        ensure!(lab.digest(None)? == before, "something was written");
        Ok(())
    })
}

fn made_disks() -> Result<Vec<PathBuf>> {
    orthrus_qemu::artifacts::made_disks(LEDGER)
}

fn scratch(name: &str) -> Result<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("disks");
    fs::create_dir_all(&dir)?;
    Ok(dir.join(name))
}

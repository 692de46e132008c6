//! What the firmware is made of, looked at from outside: nothing in it but what is allowed, and the
//! same bytes each time. Builds the firmware, so on a cold cache it takes minutes.

#![allow(clippy::unwrap_used)] // a failure in what helps a test is a failure of the test

mod read;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use orthrus_image::{
    Firmware, Tools, Workspace,
    firmware::{self, Variant},
    helpers,
};
use read::Entry;

/// `ELFMAG`, elf.h.
const ELF: &[u8] = b"\x7fELF";
/// `PT_INTERP`, elf.h: the program asks for a dynamic linker.
const PT_INTERP: u32 = 3;

struct Built {
    workspace: Workspace,
    tools: Tools,
    firmware: Firmware,
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let workspace = Workspace::here().unwrap();
        let tools = Tools::ensure(&workspace).unwrap();
        let firmware = firmware::build(&workspace, &tools).unwrap();
        Built {
            workspace,
            tools,
            firmware,
        }
    })
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    output.stdout
}

fn initramfs() -> Vec<Entry> {
    let built = built();
    let unpacked = output(
        built
            .tools
            .command("zstd")
            .unwrap()
            .arg("-dc")
            .arg(&built.firmware.initrd),
    );
    read::cpio(&unpacked)
}

#[test]
fn initramfs_holds_init_modules_firmware_and_helpers_and_nothing_else() {
    let directories = [
        ".",
        "lib",
        "lib/modules",
        "lib/firmware",
        "helpers",
        "helpers/lib",
    ];
    let mut programs = BTreeSet::new();
    for Entry { name, mode, data } in initramfs() {
        let within = |dir: &str| name.starts_with(dir);
        let allowed = match mode & 0o170_000 {
            0o040_000 => {
                directories.contains(&name.as_str())
                    || within("lib/modules/")
                    || within("lib/firmware/")
            }
            0o100_000 if name == "init" => true,
            0o100_000 if within("helpers/lib/") => data.starts_with(ELF),
            0o100_000 if within("helpers/") => {
                programs.insert(name.trim_start_matches("helpers/").to_owned());
                data.starts_with(ELF)
            }
            0o100_000 if within("lib/firmware/") => true,
            // A module is no program: an xz stream, or an ELF file that cannot be executed.
            0o100_000 if within("lib/modules/") => {
                let index = name
                    .rsplit('/')
                    .next()
                    .is_some_and(|file| file.starts_with("modules."));
                mode & 0o111 == 0 && (index || name.ends_with(".ko.xz") || name.ends_with(".ko"))
            }
            _ => false, // links, devices, sockets
        };
        assert!(
            allowed,
            "{name}, mode {mode:o}, {} bytes: does not belong into an initramfs",
            data.len()
        );
        let script = data.starts_with(b"#!");
        assert!(!script, "{name} is a script");
        let library = within("helpers/lib/") && !name.ends_with(helpers::LINKER);
        assert!(!library || mode & 0o111 == 0, "{name} can be run");
    }
    let allowed: BTreeSet<String> = helpers::HELPERS.iter().map(ToString::to_string).collect();
    assert_eq!(programs, allowed);
}

#[test]
fn init_needs_no_dynamic_linker() {
    let entries = initramfs();
    let init = entries.iter().find(|entry| entry.name == "init").unwrap();
    assert_eq!(init.mode, 0o100_755);
    assert!(!read::program_headers(&init.data).contains(&PT_INTERP));
}

#[test]
fn module_index_speaks_of_exactly_the_modules_that_are_there() {
    let entries = initramfs();
    let index = entries
        .iter()
        .find(|entry| entry.name.ends_with("/modules.dep"))
        .unwrap();
    let place = index.name.trim_end_matches("modules.dep");
    let text = String::from_utf8(index.data.clone()).unwrap();
    let named: BTreeSet<_> = text
        .split_whitespace()
        .map(|path| path.trim_end_matches(':'))
        .collect();
    let there: BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| entry.name.strip_prefix(place))
        .filter(|name| name.contains(".ko"))
        .collect();
    assert_eq!(named, there);
    assert!(
        there
            .iter()
            .any(|name| name.ends_with("/iscsi_target_mod.ko.xz"))
    );
}

#[test]
fn disk_boots_the_uki_and_holds_a_configuration() {
    let Built {
        tools, firmware, ..
    } = built();
    // The ESP starts at the first MiB, where systemd-repart puts a first partition.
    let image = format!("{}@@1M", firmware.disk.display());
    let file = |path: &str| output(tools.command("mtype").unwrap().args(["-i", &image, path]));
    assert!(
        file("::/EFI/BOOT/BOOTX64.EFI") == fs::read(&firmware.uki).unwrap(),
        "the boot file is not the UKI"
    );
    let example = String::from_utf8(file("::/orthrus.toml")).unwrap();
    assert!(example.contains("[[head]]"), "{example}");
    // GPT entries begin at the third sector of 512 bytes; the name is UTF-16 at byte 56 of an entry.
    let disk = fs::read(&firmware.disk).unwrap();
    let label: Vec<u8> = "orthrus-esp"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(disk[1024 + 56..][..label.len()], label);
}

#[test]
fn two_builds_give_the_same_bytes() {
    let Built {
        workspace,
        tools,
        firmware,
    } = built();
    let name = "again";
    let directory = workspace.images().join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap(); // else its stamps say that it need not be built
    }
    let again = firmware::build_variant(workspace, tools, Variant { name, source: None }).unwrap();
    let same = |one: &Path, other: &Path| fs::read(one).unwrap() == fs::read(other).unwrap();
    for ((name, one, _), (_, other, _)) in firmware.artefacts().into_iter().zip(again.artefacts()) {
        assert!(
            same(one, other),
            "{name}: {} and {} differ",
            one.display(),
            other.display()
        );
    }
    fs::remove_dir_all(&directory).unwrap();
}

//! A tree like sysfs, and what is found in it.

use tempfile::TempDir;

use super::*;

/// A tree like sysfs.
pub(super) struct Sysfs(TempDir);

impl Sysfs {
    pub(super) fn new() -> Sysfs {
        Sysfs(TempDir::new().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn file(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(super) fn disk(&self, name: &str, serial: u8) {
        self.file(&format!("{name}/size"), b"2048\n");
        self.file(&format!("{name}/dev"), b"8:16\n");
        self.file(&format!("{name}/queue/logical_block_size"), b"512\n");
        self.file(&format!("{name}/device/vendor"), b"ACME    \n");
        self.file(
            &format!("{name}/device/vpd_pg83"),
            &[0, 0x83, 0, 12, 1, 3, 0, 8, 0x50, 0, 0, 0, 0, 0, 0, serial],
        );
    }
}

/// A disk by `sda` and `sdb`, whose cache is on.
pub(super) fn by_two_paths(sysfs: &Sysfs) -> Disk {
    for (name, sequence) in [("sda", "4000001"), ("sdb", "4000002")] {
        sysfs.disk(name, 1);
        sysfs.file(&format!("{name}/diskseq"), sequence.as_bytes());
        sysfs.file(&switch_of(name), b"write back\n");
    }
    let disk = scan_in(sysfs.path()).remove(0).unwrap();
    assert_eq!(disk.paths.len(), 2);
    disk
}

pub(super) fn switch_of(name: &str) -> String {
    format!("{name}/device/scsi_disk/0:0:0:0/cache_type")
}

#[test]
fn whole_disks_only_and_not_the_boot_disk() {
    let sysfs = Sysfs::new();
    let names = [
        "sdaa", "sdb", "loop0", "dm-0", "md127", "md_0a", "sr0", "sda", "sdc", "sdd",
    ];
    for (name, serial) in names.into_iter().zip(1..) {
        sysfs.disk(name, serial);
    }
    for (disk, name) in [
        ("sda", "orthrus-esp"),
        ("sdd", "EFI system"),
        ("vda", "root"),
    ] {
        let partition = format!("{disk}/{disk}1");
        sysfs.file(&format!("{partition}/partition"), b"1\n");
        let uevent = format!("DEVTYPE=partition\nPARTN=1\nPARTNAME={name}\n");
        sysfs.file(&format!("{partition}/uevent"), uevent.as_bytes());
    }
    // One that nothing tells from others is not of a shelf.
    sysfs.file("vda/size", b"2048\n");
    sysfs.file("vda/dev", b"253:0\n");
    sysfs.file("vda/queue/logical_block_size", b"512\n");
    sysfs.file("sdc/size", b"0\n");
    let found: Vec<String> = scan_in(sysfs.path())
        .into_iter()
        .map(|disk| disk.unwrap().name)
        .collect();
    assert_eq!(found, ["sdb", "sdd", "sdaa"]);
}

#[test]
fn an_array_is_known_by_its_identity_and_is_not_among_the_disks() {
    let sysfs = Sysfs::new();
    sysfs.file("md_0a/size", b"2048\n");
    sysfs.file("md_0a/dev", b"9:127\n");
    sysfs.file("md_0a/queue/logical_block_size", b"512\n");
    sysfs.file("md_0a/md/uuid", b"00112233-4455-6677-8899-aabbccddeeff\n");
    let found = describe(&sysfs.path().join("md_0a"), "md_0a").unwrap();
    let id = crate::array::ArrayId([
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff,
    ]);
    assert_eq!(found.id, DiskId(format!("md.{id}")));
    assert!(scan_in(sysfs.path()).is_empty());
    sysfs.file("md_0a/md/uuid", b"00112233\n");
    assert!(describe(&sysfs.path().join("md_0a"), "md_0a").is_err());
}

#[test]
fn a_disk_without_identity_is_an_error_that_names_it() {
    let sysfs = Sysfs::new();
    sysfs.file("vda/size", b"2048\n");
    sysfs.file("vda/dev", b"253:0\n");
    sysfs.file("vda/queue/logical_block_size", b"512\n");
    let found = scan_in(sysfs.path());
    assert!(matches!(&found[..], [Err(DiskError::NoIdentity { disk })] if disk == "vda"));
    sysfs.file("vda/serial", b"shelf-1");
    let found = scan_in(sysfs.path()).remove(0).unwrap();
    assert_eq!(found.id, DiskId("serial...shelf-1".into()));
    assert_eq!(found.bytes, 1024 * 1024);
}

#[test]
fn a_disk_under_the_name_of_another_one_is_not_that_one() {
    let sysfs = Sysfs::new();
    sysfs.disk("sda", 1);
    let disk = scan_in(sysfs.path()).remove(0).unwrap();
    assert_eq!(refresh_in(sysfs.path(), &disk).unwrap(), disk);
    sysfs.disk("sda", 2);
    let another = refresh_in(sysfs.path(), &disk);
    assert!(
        matches!(&another, Err(DiskError::Another { was, .. }) if *was == disk.id),
        "{another:?}"
    );
    // Of several paths those count that are there still.
    let both = by_two_paths(&sysfs);
    sysfs.disk("sda", 2);
    assert_eq!(refresh_in(sysfs.path(), &both).unwrap().id, both.id);
    sysfs.disk("sdb", 2);
    assert!(refresh_in(sysfs.path(), &both).is_err());
}

//! Loading against a kernel that only writes down what it is given.

use std::{collections::BTreeMap, sync::Arc};

use tempfile::TempDir;

use super::*;

#[derive(Default)]
struct Fake {
    inserted: Arc<Mutex<Vec<String>>>,
    answers: BTreeMap<&'static str, i32>,
    /// A device that appears when this module comes.
    appears: Option<(&'static str, PathBuf)>,
}

impl Kernel for Fake {
    fn insert(&mut self, file: &Path) -> io::Result<()> {
        let name = file
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace(".ko.xz", "");
        if let Some((module, device)) = &self.appears
            && *module == name
        {
            fs::create_dir_all(device).unwrap();
            fs::write(device.join("modalias"), "scsi:t-0x00\n").unwrap();
        }
        if let Some(errno) = self.answers.get(name.as_str()) {
            return Err(io::Error::from_raw_os_error(*errno));
        }
        self.inserted.lock().unwrap().push(name);
        Ok(())
    }
}

/// A directory that goes away with its test.
struct Dir(TempDir);

impl Dir {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }
}

fn fixture() -> Dir {
    let dir = Dir(TempDir::new().unwrap());
    dir.write(
        "modules.dep",
        "k/virtio_scsi.ko.xz: k/virtio.ko.xz k/scsi_mod.ko.xz k/scsi_common.ko.xz\n\
         k/virtio.ko.xz:\n\
         k/scsi_mod.ko.xz: k/scsi_common.ko.xz\n\
         k/scsi_common.ko.xz:\n\
         k/sd_mod.ko.xz: k/scsi_mod.ko.xz k/scsi_common.ko.xz\n\
         k/crc32c_generic.ko.xz:\n\
         k/crc32c-intel.ko.xz:\n\
         k/raid456.ko.xz: k/virtio.ko.xz\n\
         k/ring_a.ko.xz:\n\
         k/ring_b.ko.xz:\n",
    );
    dir.write(
        "modules.builtin",
        "kernel/drivers/base/regmap/regmap-i2c.ko\n",
    );
    dir.write(
        "modules.alias",
        "alias virtio:d00000008v* virtio_scsi\n\
         alias scsi:t-0x00* sd_mod\n\
         alias crypto-crc32c crc32c_intel\n\
         alias crypto-crc32c crc32c_generic\n",
    );
    dir.write(
        "modules.softdep",
        "softdep raid456 pre: crypto-crc32c post: sd_mod\n\
         softdep ring_a pre: ring_b\n\
         softdep ring_b pre: ring_a\n",
    );
    dir
}

fn open(dir: &Dir, fake: Fake) -> (Modules, Arc<Mutex<Vec<String>>>) {
    let inserted = Arc::clone(&fake.inserted);
    (
        Modules::open_with(dir.0.path(), Box::new(fake)).unwrap(),
        inserted,
    )
}

#[test]
fn needs_are_loaded_first_and_nothing_twice() {
    let dir = fixture();
    let (modules, inserted) = open(&dir, Fake::default());
    assert_eq!(modules.load("virtio-scsi").unwrap(), Step::Changed);
    assert_eq!(
        *inserted.lock().unwrap(),
        [
            "crc32c_generic",
            "scsi_common",
            "scsi_mod",
            "virtio",
            "virtio_scsi"
        ]
    );
    assert_eq!(modules.load("virtio_scsi").unwrap(), Step::Already);
    assert_eq!(modules.load("sd_mod").unwrap(), Step::Changed);
    assert_eq!(inserted.lock().unwrap().len(), 6);
}

#[test]
fn soft_dependencies_come_around_their_module_and_may_fail() {
    let dir = fixture();
    let answers = BTreeMap::from([("crc32c-intel", libc::ENODEV)]);
    let (modules, inserted) = open(
        &dir,
        Fake {
            answers,
            ..Fake::default()
        },
    );
    assert_eq!(modules.load("raid456").unwrap(), Step::Changed);
    assert_eq!(
        *inserted.lock().unwrap(),
        [
            "crc32c_generic",
            "virtio",
            "raid456",
            "scsi_common",
            "scsi_mod",
            "sd_mod"
        ]
    );
    assert_eq!(modules.load("crypto-crc32c").unwrap(), Step::Already);
    assert_eq!(modules.load("ring_a").unwrap(), Step::Changed);
}

#[test]
fn module_that_is_there_already_or_built_in_is_already() {
    let dir = fixture();
    let answers = BTreeMap::from([("virtio", libc::EEXIST)]);
    let (modules, _) = open(
        &dir,
        Fake {
            answers,
            ..Fake::default()
        },
    );
    assert_eq!(modules.load("virtio").unwrap(), Step::Already);
    assert_eq!(modules.load("regmap_i2c").unwrap(), Step::Already);
}

#[test]
fn failures_name_module_file_and_errno() {
    let dir = fixture();
    let answers = BTreeMap::from([("scsi_common", libc::ENOEXEC)]);
    let (modules, _) = open(
        &dir,
        Fake {
            answers,
            ..Fake::default()
        },
    );
    let error = modules.load("sd_mod").unwrap_err().to_string();
    assert!(
        error.contains("module scsi_common") && error.contains("Exec format"),
        "{error}"
    );
    let error = modules.load("zfs").unwrap_err().to_string();
    assert!(error.contains("module zfs"), "{error}");
}

#[test]
fn kernel_without_modules_at_all_has_an_empty_index() {
    let modules = Modules::open_with(Path::new("/nonexistent"), Box::new(Fake::default())).unwrap();
    assert!(modules.load("virtio").is_err());
    assert!(
        modules
            .load_for_devices(Path::new("/nonexistent"))
            .loaded
            .is_empty()
    );
}

#[test]
fn devices_that_appear_behind_a_new_driver_get_theirs() {
    let dir = fixture();
    let devices = dir.0.path().join("devices");
    let hba = devices.join("pci0000:00/virtio1");
    fs::create_dir_all(&hba).unwrap();
    fs::write(hba.join("modalias"), "virtio:d00000008v00001AF4\n").unwrap();
    std::os::unix::fs::symlink("..", hba.join("subsystem")).unwrap();
    let appears = Some(("virtio_scsi", hba.join("host0/target0:0:0/0:0:0:0")));
    let (modules, _) = open(
        &dir,
        Fake {
            appears,
            ..Fake::default()
        },
    );
    let found = modules.load_for_devices(&devices);
    assert_eq!(found.loaded.last().unwrap(), "sd_mod");
    assert!(found.failed.is_empty());
    assert!(modules.load_for_devices(&devices).loaded.is_empty());
}

#[test]
fn files_that_nothing_asks_for_again_are_given_back_and_the_others_stay() {
    let dir = fixture();
    dir.write(
        "modules.alias",
        "alias pci:v00008086d* ring_a\nalias virtio:d00000008v* virtio_scsi\n",
    );
    fs::create_dir(dir.0.path().join("k")).unwrap();
    let there = || {
        let files = fs::read_dir(dir.0.path().join("k")).unwrap();
        let mut names: Vec<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    for name in [
        "scsi_mod",
        "scsi_common",
        "sd_mod",
        "ring_a",
        "raid456",
        "virtio",
    ] {
        dir.write(&format!("k/{name}.ko.xz"), "1234567890");
    }
    let (modules, _) = open(&dir, Fake::default());
    modules.load("scsi_mod").unwrap();
    assert_eq!(modules.free_files(), 30);
    assert_eq!(there(), ["raid456.ko.xz", "sd_mod.ko.xz", "virtio.ko.xz"]);

    assert_eq!(modules.load("sd_mod").unwrap(), Step::Changed);
    assert_eq!(modules.load("scsi_mod").unwrap(), Step::Already);
    assert_eq!(there(), ["raid456.ko.xz", "virtio.ko.xz"]);
}

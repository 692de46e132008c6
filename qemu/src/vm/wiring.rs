//! What is plugged into each machine, as QEMU arguments. Sockets are named relative to the lab's
//! state directory, which is QEMU's working directory. See `cable` for what is at their other ends.

use std::net::SocketAddr;
use std::path::Path;

use crate::guest::PORT;
use crate::names::{Head, Machine, ShelfKind};
use crate::namespace::{CLIENT_ADDRESS, NEIGHBOUR_ADDRESS, SHELF_ADDRESS};
use crate::shelf;
use crate::spec::{Boot, Spec};

/// Memory of a head: what the smallest controller is expected to have.
pub const HEAD_MEMORY_MIB: u32 = 512;
/// Memory of the client.
pub const CLIENT_MEMORY_MIB: u32 = 768;
/// Memory of the LIO shelf.
pub const SHELF_MEMORY_MIB: u32 = 384;

/// The netdev of a head's data port.
pub const DATA: &str = "data";
/// The netdev of a head's heartbeat port.
pub const HEARTBEAT: &str = "heartbeat";

/// The netdev of a second card on the clients' network, for a configuration that makes a bond of the two.
pub const SPARE: &str = "spare";

/// MAC address of a head's network card: 1 heartbeat, 2 data, 3 the spare one.
pub fn mac(head: Head, port: u8) -> String {
    format!("52:54:00:0a:{:02x}:{port:02x}", head.index() + 1)
}

/// A file in one of QEMU's lists of options, in which a comma that is none between two of them is written twice.
pub fn value(file: &Path) -> String {
    file.display().to_string().replace(',', ",,")
}

/// A head.
pub fn head(spec: &Spec, head: Head) -> Vec<String> {
    let mut line = Line::machine(spec, head.into(), HEAD_MEMORY_MIB);
    // The third port on an interrupt of its own: two ISA devices on one line lose edges in QEMU.
    for (port, name, iobase, irq) in [(1, "serial", "0x2f8", 3), (2, "control", "0x3e8", 7)] {
        line.add(
            "-chardev",
            format!("socket,id={name},path={head}.{name},server=on,wait=off"),
        );
        line.add(
            "-device",
            format!("isa-serial,chardev={name},index={port},iobase={iobase},irq={irq}"),
        );
    }
    line.add(
        "-netdev",
        format!(
            "dgram,id={HEARTBEAT},local.type=unix,local.path={head}.ether,\
             remote.type=unix,remote.path={head}.ether.lab"
        ),
    );
    line.add(
        "-device",
        format!("virtio-net-pci,netdev={HEARTBEAT},mac={}", mac(head, 1)),
    );
    line.add(
        "-netdev",
        format!("tap,id={DATA},ifname=data-{head},script=no,downscript=no"),
    );
    line.add(
        "-device",
        format!("virtio-net-pci,netdev={DATA},mac={}", mac(head, 2)),
    );
    line.add(
        "-netdev",
        format!("tap,id={SPARE},ifname=spare-{head},script=no,downscript=no"),
    );
    line.add(
        "-device",
        format!("virtio-net-pci,netdev={SPARE},mac={}", mac(head, 3)),
    );
    line.add("-device", "i6300esb");
    line.add("-watchdog-action", "reset");
    match &spec.firmware {
        Boot::Direct {
            kernel,
            initrd,
            cmdline,
        } => {
            line.kernel(
                &kernel.display().to_string(),
                &initrd.display().to_string(),
                cmdline,
            );
        }
        Boot::Uefi { code, vars, disks } => {
            let (vars, disk) = (value(&vars[head.index()]), value(&disks[head.index()]));
            line.add(
                "-drive",
                format!(
                    "if=pflash,unit=0,format=raw,readonly=on,file={}",
                    value(code)
                ),
            );
            line.add("-drive", format!("if=pflash,unit=1,format=raw,file={vars}"));
            line.add(
                "-blockdev",
                format!("driver=raw,node-name=boot,file.driver=file,file.filename={disk}"),
            );
            line.add(
                "-device",
                "virtio-blk-pci,drive=boot,serial=boot,bootindex=0",
            );
        }
    }
    shared_disks(&mut line, spec, head);
    line.words
}

fn shared_disks(line: &mut Line, spec: &Spec, head: Head) {
    if spec.disks.is_empty() {
        return;
    }
    if spec.shelf == ShelfKind::Plain {
        for (index, disk) in spec.disks.iter().enumerate() {
            line.add(
                "-blockdev",
                format!(
                    "driver=raw,node-name=d{index},cache.direct=on,cache.no-flush=on,file.driver=file,\
                     file.locking=off,file.cache.direct=on,file.cache.no-flush=on,file.filename={}",
                    value(disk)
                ),
            );
            line.add(
                "-device",
                format!(
                    "virtio-blk-pci,drive=d{index},serial=shelf-{index},share-rw=on,{}",
                    cache(spec)
                ),
            );
        }
        return;
    }
    for path in 0..spec.paths {
        line.add("-device", format!("virtio-scsi-pci,id=scsi{path}"));
        let portal = shelf::portal_of(head, path);
        let initiator = |lun| shelf::initiator(head, lun, path);
        path_to_shelf(line, spec, path, portal, initiator);
    }
}

/// What of a disk's path is plugged in: `device_add` takes it as well as the command line.
pub fn path_device(disk: usize, path: usize) -> Vec<(&'static str, String)> {
    vec![
        ("driver", "scsi-block".to_owned()),
        ("drive", format!("d{disk}.{path}")),
        ("bus", format!("scsi{path}.0")),
        ("scsi-id", disk.to_string()),
        ("id", path_id(disk, path)),
    ]
}

/// What QEMU calls it.
pub fn path_id(disk: usize, path: usize) -> String {
    format!("disk{disk}.{path}")
}

fn path_to_shelf(
    line: &mut Line,
    spec: &Spec,
    path: usize,
    portal: SocketAddr,
    initiator: impl Fn(usize) -> String,
) {
    let target = shelf::IQN;
    for index in 0..spec.disks.len() {
        let lun = index + 1;
        let initiator = initiator(lun);
        line.add(
            "-blockdev",
            format!(
                "driver=iscsi,node-name=d{index}.{path},transport=tcp,portal={portal},target={target},lun={lun},\
                 initiator-name={initiator},header-digest=none,cache.direct=on"
            ),
        );
        let device = path_device(index, path);
        let words = device.iter().map(|(name, value)| match *name {
            "driver" => value.clone(),
            name => format!("{name}={value}"),
        });
        line.add("-device", words.collect::<Vec<_>>().join(","));
    }
}

/// Whether a disk of the shelf says that it has a volatile cache; the kernel's target passes that on.
///
/// Without one QEMU flushes after each write. What is written is in the host's memory then, and no fault of the lab's takes it
/// from there, a killed shelf least of all: the host's own flush is left out, which costs a disk's time for each write.
fn cache(spec: &Spec) -> &'static str {
    match spec.disk_caches {
        true => "write-cache=on",
        false => "write-cache=off",
    }
}

/// The client.
pub fn client(spec: &Spec) -> Vec<String> {
    let mut line = Line::agent(
        spec,
        Machine::Client,
        CLIENT_MEMORY_MIB,
        "client",
        Some(CLIENT_ADDRESS),
    );
    line.add(
        "-netdev",
        "tap,id=data,ifname=client,script=no,downscript=no",
    );
    line.add(
        "-device",
        "virtio-net-pci,netdev=data,mac=52:54:00:0a:64:02",
    );
    line.words
}

/// A plain Linux server with a head's memory, processor, cards and disks.
pub fn neighbour(spec: &Spec) -> Vec<String> {
    let mut line = Line::agent(
        spec,
        Machine::Neighbour,
        HEAD_MEMORY_MIB,
        "neighbour",
        Some(NEIGHBOUR_ADDRESS),
    );
    line.add(
        "-netdev",
        "tap,id=data,ifname=neighbour,script=no,downscript=no",
    );
    line.add(
        "-device",
        "virtio-net-pci,netdev=data,mac=52:54:00:0a:63:02",
    );
    line.add("-device", "virtio-scsi-pci,id=scsi0");
    path_to_shelf(
        &mut line,
        spec,
        0,
        shelf::NEIGHBOURS_PORTAL,
        shelf::neighbours_initiator,
    );
    line.words
}

/// The LIO shelf.
pub fn lio_shelf(spec: &Spec) -> Vec<String> {
    let mut line = Line::agent(
        spec,
        Machine::Shelf,
        SHELF_MEMORY_MIB,
        "shelf",
        Some(SHELF_ADDRESS),
    );
    line.add(
        "-netdev",
        "tap,id=data,ifname=shelf-vm,script=no,downscript=no",
    );
    line.add(
        "-device",
        "virtio-net-pci,netdev=data,mac=52:54:00:0a:65:02",
    );
    for (index, disk) in spec.disks.iter().enumerate() {
        line.add(
            "-blockdev",
            format!(
                "driver=raw,node-name=d{index},cache.no-flush=on,file.driver=file,file.cache.no-flush=on,\
                 file.filename={}",
                value(disk)
            ),
        );
        line.add(
            "-device",
            format!(
                "virtio-blk-pci,drive=d{index},serial=shelf-{index},{}",
                cache(spec)
            ),
        );
    }
    line.words
}

/// A QEMU command line in the making.
pub struct Line {
    words: Vec<String>,
}

impl Line {
    fn machine(spec: &Spec, machine: Machine, memory_mib: u32) -> Self {
        let mut line = Self { words: Vec::new() };
        let smm = if matches!(spec.firmware, Boot::Uefi { .. }) {
            ",smm=on"
        } else {
            ""
        };
        line.add("-name", format!("orthrus-{}-{machine}", spec.name));
        line.words
            .extend(["-nodefaults", "-no-user-config", "-display", "none"].map(str::to_owned));
        line.add("-machine", format!("q35{smm}"));
        line.words.extend(spec.accel.arguments().map(str::to_owned));
        line.add("-m", memory_mib.to_string());
        line.add("-qmp", format!("unix:{machine}.qmp,server=on,wait=off"));
        line.add(
            "-chardev",
            format!(
                "socket,id=console,path={machine}.console,server=on,wait=off,\
                 logfile={machine}.console.log,logappend=on"
            ),
        );
        line.add("-device", "isa-serial,chardev=console,index=0");
        line.add("-device", "virtio-rng-pci");
        line
    }

    /// A machine with the lab's agent in it.
    fn agent(
        spec: &Spec,
        machine: Machine,
        memory_mib: u32,
        role: &str,
        address: Option<&str>,
    ) -> Self {
        let mut line = Self::machine(spec, machine, memory_mib);
        let mut cmdline = format!("console=ttyS0 quiet loglevel=4 panic=-1 lab.role={role}");
        if let Some(address) = address {
            cmdline.push_str(&format!(" lab.address={address}"));
        }
        let image = &spec.client;
        line.kernel(
            &image.kernel.display().to_string(),
            &image.initrd.display().to_string(),
            &cmdline,
        );
        line.add(
            "-blockdev",
            format!(
                "driver=raw,node-name=root,read-only=on,file.driver=file,file.read-only=on,\
                 file.locking=off,file.filename={}",
                value(&image.root)
            ),
        );
        line.add("-device", "virtio-blk-pci,drive=root,serial=root");
        line.add("-device", "virtio-serial-pci");
        line.add(
            "-chardev",
            format!("socket,id=agent,path={machine}.agent,server=on,wait=off"),
        );
        line.add(
            "-device",
            format!("virtserialport,chardev=agent,name={PORT}"),
        );
        line
    }

    fn kernel(&mut self, kernel: &str, initrd: &str, cmdline: &str) {
        self.add("-kernel", kernel);
        self.add("-initrd", initrd);
        self.add("-append", cmdline);
    }

    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.words.push(option.into());
        self.words.push(value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::accel::Accel;
    use crate::spec::GuestImage;

    /// The files of a checkout with a comma in its path.
    fn spec(shelf: ShelfKind) -> Spec {
        let file = |name: &str| PathBuf::from("/home/a,b").join(name);
        let each = |kind: &str| ["a", "b"].map(|head| file(&format!("{head}.{kind}")));
        Spec {
            name: "lab".into(),
            dir: file("lab"),
            shelf,
            disks: vec![file("disk0.raw")],
            disk_caches: false,
            paths: 1,
            neighbour: true,
            accel: Accel::Tcg,
            firmware: Boot::Uefi {
                code: file("code.fd"),
                vars: each("vars"),
                disks: each("raw"),
            },
            heads: Head::BOTH.to_vec(),
            config: String::new(),
            pools: Vec::new(),
            client: GuestImage {
                kernel: file("vmlinuz"),
                initrd: file("initrd"),
                root: file("root.raw"),
            },
        }
    }

    #[test]
    fn a_comma_in_the_path_of_a_checkout_ends_no_option() {
        let (lio, plain) = (spec(ShelfKind::Lio), spec(ShelfKind::Plain));
        let lines = [
            head(&plain, Head::A),
            client(&lio),
            neighbour(&lio),
            lio_shelf(&lio),
        ];
        let mut seen = 0;
        for pair in lines.iter().flat_map(|line| line.windows(2)) {
            let [option, value] = pair else { continue };
            // Words of their own, which are no lists.
            let is_list = !["-kernel", "-initrd"].contains(&option.as_str());
            if is_list && value.contains("/home/a") {
                assert!(value.contains("/home/a,,b/"), "{option} {value}");
                seen += 1;
            }
        }
        assert_eq!(
            seen,
            4 + 3 + 1,
            "a head's, a root each, and a disk of the shelf"
        );
    }
}

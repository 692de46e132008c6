//! A shelf of the kernel's own target in a small machine: full reservations, with PREEMPT AND ABORT
//! and persistence. Set up through configfs by one script, run by the agent.

use crate::names::Head;

use super::{IQN, initiator};

/// The script that builds the target over the machine's virtio disks with serial numbers `shelf-N`.
pub fn script(disks: usize) -> String {
    let mut script = format!(
        "set -e\n\
         cd /sys/kernel/config\n\
         mkdir -p /var/target/pr /var/target/alua target/iscsi\n\
         node() {{ for d in /sys/block/vd*; do\n\
           [ \"$(cat $d/serial)\" = \"$1\" ] && {{ echo /dev/${{d##*/}}; return; }}; done; return 1; }}\n\
         tpg=target/iscsi/{IQN}/tpgt_1\n\
         mkdir -p $tpg\n\
         echo 0 > $tpg/attrib/authentication\n\
         mkdir -p $tpg/np/0.0.0.0:3260\n"
    );
    for index in 0..disks {
        let lun = index + 1;
        script.push_str(&format!(
            "store=target/core/iblock_{index}/disk{index}\n\
             mkdir -p $store\n\
             echo udev_path=$(node shelf-{index}) > $store/control\n\
             echo 1 > $store/enable\n\
             echo {:032x} > $store/wwn/vpd_unit_serial\n\
             mkdir -p $tpg/lun/lun_{lun}\n\
             ln -s $PWD/$store $tpg/lun/lun_{lun}/store\n",
            serial(index)
        ));
        for head in Head::BOTH {
            let acl = format!("$tpg/acls/{}/lun_{lun}", initiator(head, lun));
            script.push_str(&format!(
                "mkdir -p {acl}\nln -s $PWD/$tpg/lun/lun_{lun} {acl}/lun\n"
            ));
        }
    }
    script.push_str("echo 1 > $tpg/enable\n");
    script
}

/// A unit serial number. LIO makes the disk's NAA name of its first 25 hex digits only, so what tells
/// the disks apart comes first.
fn serial(index: usize) -> u128 {
    0x1ab << 116 | (index as u128) << 108
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_head_gets_each_lun() {
        let script = script(4);
        for head in Head::BOTH {
            for lun in 1..=4 {
                assert!(script.contains(&format!("acls/{}/lun_{lun}/lun", initiator(head, lun))));
            }
        }
    }
}

//! A shelf of the kernel's own target in a small machine: full reservations, with PREEMPT AND ABORT
//! and persistence. Set up through configfs by one script, run by the agent.
//!
//! Its console says what the target complains of, and after ten seconds where a thread of it hangs.

use crate::names::Head;

use super::{IQN, initiator, neighbours_initiator, target_port};

/// The script that builds the target over the machine's virtio disks with serial numbers `shelf-N`: a portal group for
/// each path, with the same disks in it. The neighbour, where there is one, has the first path.
pub fn script(disks: usize, paths: usize, neighbour: bool) -> String {
    let mut script = String::from(
        "set -e\n\
         echo 7 > /proc/sys/kernel/printk\n\
         [ ! -e /proc/sys/kernel/hung_task_timeout_secs ] || echo 10 > /proc/sys/kernel/hung_task_timeout_secs\n\
         cd /sys/kernel/config\n\
         mkdir -p /var/target/pr /var/target/alua target/iscsi\n\
         node() { for d in /sys/block/vd*; do\n\
           [ \"$(cat $d/serial)\" = \"$1\" ] && { echo /dev/${d##*/}; return; }; done; return 1; }\n",
    );
    for index in 0..disks {
        script.push_str(&format!(
            "store=target/core/iblock_{index}/disk{index}\n\
             mkdir -p $store\n\
             echo udev_path=$(node shelf-{index}) > $store/control\n\
             echo 1 > $store/enable\n\
             echo {:032x} > $store/wwn/vpd_unit_serial\n",
            serial(index)
        ));
    }
    for path in 0..paths {
        script.push_str(&portal_group(disks, path, neighbour && path == 0));
    }
    script
}

fn portal_group(disks: usize, path: usize, neighbour: bool) -> String {
    let mut script = format!(
        "tpg=target/iscsi/{IQN}/tpgt_{}\n\
         mkdir -p $tpg\n\
         echo 0 > $tpg/attrib/authentication\n\
         mkdir -p $tpg/np/0.0.0.0:{}\n",
        path + 1,
        target_port(path)
    );
    for index in 0..disks {
        let lun = index + 1;
        script.push_str(&format!(
            "mkdir -p $tpg/lun/lun_{lun}\n\
             ln -s $PWD/target/core/iblock_{index}/disk{index} $tpg/lun/lun_{lun}/store\n"
        ));
        let heads = Head::BOTH.map(|head| initiator(head, lun, path));
        let neighbour = neighbour.then(|| neighbours_initiator(lun));
        for name in heads.into_iter().chain(neighbour) {
            let acl = format!("$tpg/acls/{name}/lun_{lun}");
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
    fn each_head_gets_each_lun_by_each_path() {
        let script = script(4, 2, false);
        for head in Head::BOTH {
            for (lun, path) in (1..=4).flat_map(|lun| [(lun, 0), (lun, 1)]) {
                let acl = format!("acls/{}/lun_{lun}/lun", initiator(head, lun, path));
                assert!(script.contains(&acl), "{acl}");
            }
        }
        assert!(script.contains("tpgt_2\n") && script.contains("np/0.0.0.0:3261"));
    }

    #[test]
    fn a_neighbour_gets_each_lun_by_the_first_path_where_it_is_asked_for() {
        let (with, without) = (script(2, 2, true), script(2, 2, false));
        for lun in [1, 2] {
            let acl = format!("acls/{}/lun_{lun}/lun", neighbours_initiator(lun));
            assert_eq!(with.matches(&acl).count(), 1, "{acl}");
        }
        assert!(!without.contains("neighbour"));
    }
}

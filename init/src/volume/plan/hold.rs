//! Which devices are held back while snapshots come to a volume that is in use, or leave it. Pure.
//!
//! A volume that gets its first snapshot comes to stand on a layer of its own, which takes over its table; with the last one that goes
//! it gets the table back. Meanwhile both devices have it. Two of MD must not run on the same images, and a snapshot is to begin
//! between two writes, and with file systems at rest: so nothing comes through from before the layer is made until the
//! snapshot is there, as `lvcreate -s` and `lvremove` have it. An origin into which the last one was merged leaves its layer in the
//! same way.

use super::line::{Backing, Target};
use super::{Device, Plan};

/// What is held back from some device of a plan on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// From before this device is brought in line, by its index.
    pub from: usize,
    /// The origin.
    pub origin: String,
    /// The layer below it, which nothing will stand on any more.
    pub layer: Option<String>,
}

impl Plan {
    /// What is held back while the kernel gets from `before` to this plan.
    pub fn holds(&self, before: &Plan) -> Vec<Hold> {
        let mut holds = Vec::new();
        for (index, device) in self.devices.iter().enumerate() {
            let Some(known) = before.find(&device.uuid) else {
                continue;
            };
            let (was, is) = (layer_of(known), layer_of(device));
            let hold = match (was, is) {
                (None, None) => continue,
                (was, Some(layer)) => {
                    let fresh = |one: &Device| before.find(&one.uuid).is_none();
                    let mut snapshots = self.devices.iter().filter(|one| is_on(one, layer));
                    if was.is_some() && !snapshots.any(fresh) {
                        continue;
                    }
                    Hold {
                        from: layer.min(index),
                        origin: device.uuid.clone(),
                        layer: None,
                    }
                }
                (Some(layer), None) => Hold {
                    from: index,
                    origin: device.uuid.clone(),
                    layer: before.devices.get(layer).map(|layer| layer.uuid.clone()),
                },
            };
            holds.push(hold);
        }
        holds
    }

    fn find(&self, uuid: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.uuid == uuid)
    }
}

/// The layer that an origin stands on, by its index in the origin's plan.
fn layer_of(device: &Device) -> Option<usize> {
    device.lines.iter().find_map(|line| match line.target {
        Target::Origin(origin) | Target::Merge { origin, .. } => match origin {
            Backing::Device(layer) => Some(layer),
            Backing::Disk(_) => None,
        },
        _ => None,
    })
}

fn is_on(device: &Device, layer: usize) -> bool {
    device.lines.iter().any(|line| {
        matches!(line.target, Target::Snapshot { origin, .. } if origin == Backing::Device(layer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Choice;
    use crate::volume::tests::made::{HIDDEN, Made};

    /// A mirror, one more volume, and so many snapshots of the former.
    fn plan(snapshots: usize) -> Plan {
        plan_with(snapshots, None)
    }

    /// The same while one of them is merged into its origin.
    fn plan_with(snapshots: usize, merging: Option<usize>) -> Plan {
        let mut made = Made::on(3).raid("vol", "raid1", &[0, 1]).simple("other", 2);
        for number in 0..snapshots {
            let store = format!("snap{number}");
            let key = match merging == Some(number) {
                true => "merging_store",
                false => "cow_store",
            };
            let tie = format!(
                "type = \"snapshot\"\nchunk_size = 8\norigin = \"vol\"\n{key} = \"{store}\""
            );
            made = made.linear(&store, HIDDEN, 2, 2).volume(
                &format!("snapshot{number}"),
                crate::volume::tests::made::VISIBLE,
                4,
                &tie,
            );
        }
        Plan::new(&made.group(), &Choice::serving()).unwrap()
    }

    fn named(plan: &Plan, name: &str) -> (usize, String) {
        let mut devices = plan.devices.iter().enumerate();
        let (index, device) = devices.find(|(_, device)| device.name == name).unwrap();
        (index, device.uuid.clone())
    }

    #[test]
    fn an_origin_is_held_from_before_its_layer_is_made_until_it_stands_on_it() {
        let (none, one, two) = (plan(0), plan(1), plan(2));
        let origin = named(&one, "tank-vol").1;
        for (before, after) in [(&none, &one), (&none, &two), (&one, &two)] {
            let (from, _) = named(after, "tank-vol-real");
            let held = Hold {
                from,
                origin: origin.clone(),
                layer: None,
            };
            assert_eq!(after.holds(before), [held]);
            let (snapshot, _) = named(after, "tank-snap0");
            assert!(from < snapshot && snapshot < named(after, "tank-vol").0);
        }
    }

    #[test]
    fn the_layer_of_an_origin_without_snapshots_is_held_too() {
        let (none, one) = (plan(0), plan(1));
        let (from, origin) = named(&none, "tank-vol");
        let layer = Some(named(&one, "tank-vol-real").1);
        let held = Hold {
            from,
            origin,
            layer,
        };
        assert_eq!(none.holds(&one), [held]);
    }

    #[test]
    fn the_layer_of_an_origin_whose_last_snapshot_was_merged_is_held_too() {
        let (none, merging) = (plan(0), plan_with(1, Some(0)));
        let (from, origin) = named(&none, "tank-vol");
        let layer = Some(named(&merging, "tank-vol-real").1);
        let held = Hold {
            from,
            origin,
            layer,
        };
        assert_eq!(none.holds(&merging), [held]);
    }

    #[test]
    fn nothing_is_held_without_need() {
        let (none, one, two) = (plan(0), plan(1), plan(2));
        let merging = plan_with(2, Some(1));
        for (before, after) in [
            (&none, &none),
            (&one, &one),
            (&two, &one),
            (&merging, &two),
            (&one, &merging),
            (&Plan::default(), &two),
        ] {
            assert_eq!(after.holds(before), []);
        }
    }
}

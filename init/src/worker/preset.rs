//! How new volumes of a pool lie when an order does not say it: what its status says of that, and the answer to such an order.

use super::Worker;
use crate::status::DefaultRaid;
use crate::sync::lock;
use crate::volume::VolumeGroup;
use crate::volume::edit::{Layout, VolumeOrder, default_layout};

impl Worker {
    /// What is known of it from the group as it is on the disks, for both heads; nothing where there is no group.
    pub(super) fn report_default(&self, group: Option<&VolumeGroup>) {
        lock(&self.report).default_raid = group.and_then(of_group);
    }

    /// What is said of an order that was done and did not say how its volume lies; nothing where the pool has nothing for that.
    pub(super) fn said_of_default(&self, order: &VolumeOrder) -> String {
        let (VolumeOrder::Create { layout: None, .. }
        | VolumeOrder::CreatePool { layout: None, .. }) = order
        else {
            return String::new();
        };
        match self.group().map(layout_of) {
            Ok(Ok(layout @ Layout::Raid(..))) => format!("; {layout}, the pool's default"),
            _ => String::new(),
        }
    }
}

fn layout_of(group: &VolumeGroup) -> Result<Layout, String> {
    let tags = group.tags.iter().map(String::as_str);
    default_layout(tags).map_err(|error| error.to_string())
}

fn of_group(group: &VolumeGroup) -> Option<DefaultRaid> {
    match layout_of(group) {
        Ok(Layout::Raid(level, images)) => Some(DefaultRaid::Known {
            level: level.name(),
            images,
        }),
        Ok(_) => None,
        Err(unclear) => Some(DefaultRaid::Unclear { unclear }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::owner_of;
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::volume::tests::made::Made;

    /// An owner of a group with these tags.
    fn owner(tags: &[&str]) -> Worker {
        let made = Made::on(2).simple("vol0", 0);
        let (mut worker, _) = owner_of(&Shelf::new(2), "", Some(&made));
        let group = &mut worker.claim.as_mut().unwrap().group;
        group.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        worker
    }

    fn create(layout: Option<Layout>) -> VolumeOrder {
        VolumeOrder::Create {
            name: "vol1".to_owned(),
            bytes: 1,
            layout,
            filesystem: None,
        }
    }

    #[test]
    fn an_answer_says_the_level_that_nobody_said() {
        let worker = owner(&["mine", "orthrus.epoch=7", "orthrus.raid=raid6:5"]);
        let said = "; raid6 on 5 disks, the pool's default";
        assert_eq!(worker.said_of_default(&create(None)), said);
        let pool = VolumeOrder::CreatePool {
            name: "tp".to_owned(),
            bytes: 1,
            layout: None,
        };
        assert_eq!(worker.said_of_default(&pool), said);
        assert_eq!(worker.said_of_default(&create(Some(Layout::Linear))), "");
        let plain = owner(&["mine"]);
        assert_eq!(plain.said_of_default(&create(None)), "");
    }

    #[test]
    fn the_report_has_it_and_says_when_it_is_not_understood() {
        let json = |tags: &[&str]| {
            let worker = owner(tags);
            worker.report_default(worker.group().ok());
            let report = lock(&worker.report);
            serde_json::to_value(&*report).unwrap()["default_raid"].clone()
        };
        assert_eq!(json(&["mine"]), serde_json::Value::Null);
        assert_eq!(
            json(&["orthrus.raid=raid10:4"]),
            serde_json::json!({ "level": "raid10", "images": 4 })
        );
        for tags in [
            &["orthrus.raid=raid7:9"][..],
            &["orthrus.raid=raid1:2", "orthrus.raid=raid6:5"],
        ] {
            let said = json(tags)["unclear"].as_str().unwrap().to_owned();
            assert!(tags.iter().all(|tag| said.contains(tag)), "{said}");
        }
        // It goes with the group.
        let worker = owner(&["orthrus.raid=raid10:4"]);
        worker.report_default(worker.group().ok());
        worker.report_default(None);
        assert!(lock(&worker.report).default_raid.is_none());
    }
}

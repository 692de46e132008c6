//! Names that lvm2 takes for a volume and that its text has for a member.

use super::super::super::text::Value;
use super::super::tree::text;
use super::*;

/// A group in which somebody made a volume that is called `pv0`, on `pv1`, beside one that is on `pv0`. It may be a part of a
/// snapshot, which the text hides.
fn confusing(is_hidden: bool) -> Metadata {
    let mut metadata = group(2);
    for (name, size) in [("data", 31), ("other", 4)] {
        metadata = edited(metadata, |edit| edit.create(name, size, Layout::Linear)).unwrap();
    }
    let volumes = tree::section_mut(&mut metadata.body, "logical_volumes").unwrap();
    let mut other = volumes.shift_remove("other").unwrap();
    if let Value::Section(volume) = &mut other {
        tree::set_word(volume, "status", "VISIBLE", !is_hidden);
    }
    volumes.insert("pv0".to_owned(), other);
    metadata
}

fn home(metadata: &Metadata, volume: &str) -> Value {
    let mut volumes = metadata.volumes();
    let (_, volume) = volumes.find(|(name, _)| *name == volume).unwrap();
    let segment = tree::segments(volume).next().unwrap();
    tree::list(segment, "stripes")[0].clone()
}

#[test]
fn a_volume_with_the_name_of_a_member_gets_another_one_and_the_member_keeps_its_own() {
    let before = confusing(false);
    assert_eq!(home(&before, "data"), text("pv0"));
    let after = edited(before, |edit| edit.rename("pv0", "other")).unwrap();
    assert_eq!(home(&after, "data"), text("pv0"));
    assert_eq!(home(&after, "other"), text("pv1"));
    check(&after);
}

#[test]
fn what_lies_on_a_member_is_no_user_of_the_volume_with_its_name() {
    let after = edited(confusing(false), |edit| edit.remove("pv0")).unwrap();
    let left: Vec<&str> = after.volumes().map(|(name, _)| name).collect();
    assert_eq!(left, ["data"]);
    let after = edited(confusing(true), |edit| edit.remove("data")).unwrap();
    let left: Vec<&str> = after.volumes().map(|(name, _)| name).collect();
    assert_eq!(left, ["pv0"], "a part of nothing that was removed");
}

#[test]
fn history_of_what_is_gone_goes_with_it_and_other_history_stays() {
    let gone = |body: &mut Section, descendant: &str| {
        let one = tree::section([
            ("id", text("history")),
            ("origin", text("-older")),
            (
                "descendants",
                Value::List(vec![text(descendant), text("-other")]),
            ),
        ]);
        let history = tree::section([("old", Value::Section(one))]);
        body.insert(
            "historical_logical_volumes".to_owned(),
            Value::Section(history),
        );
    };
    let mut before = group(2);
    for name in ["one", "two"] {
        before = edited(before, |edit| edit.create(name, 4, Layout::Linear)).unwrap();
    }
    gone(&mut before.body, "one");
    let has = |metadata: &Metadata| metadata.body.contains_key("historical_logical_volumes");
    let kept = edited(before.clone(), |edit| edit.remove("two")).unwrap();
    assert!(has(&kept));
    for after in [
        edited(before.clone(), |edit| edit.remove("one")),
        edited(before, |edit| edit.rename("one", "three")),
    ] {
        assert!(!has(&after.unwrap()));
    }
}

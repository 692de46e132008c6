//! What the owner writes into a group at its claim: whose it is, under which epoch, and whether it uses parity that lacks an image.
//!
//! The system ID makes lvm2 on any other host leave the group alone. The epoch is a tag, since lvm2 keeps tags whatever else it changes, shows
//! them, and refuses entries that it does not know. So it outlives keys and ledger: a shelf that lost both does
//! not begin again at one (invariant I5). It has the characters that tags may have (`validate_tag` in lvm2's
//! `lib/misc/lvm-string.c`: letters, digits, `. _ - + / = ! : & #`), and is the only tag that begins like this.
//!
//! lvm2 also writes `WRITE_LOCKED` for `WRITE` into a group with a system ID, for versions from before 2015 that do not
//! know of system IDs. That is left to its own next change; both words are read as the same.

use orthrus_hb::Epoch;

use super::super::text::Value;
use super::super::uuid::Uuid;
use super::{Author, Medium, Metadata, Store, WriteError, Written};

/// What the tag begins with.
pub const EPOCH_TAG: &str = "orthrus.epoch=";

/// Says that a group is none any more: who has its disks may make a new one of them, and nobody serves it.
pub const DESTROYED_TAG: &str = "orthrus.destroyed";

/// Volumes of RAID with parity that lack an image are in use: unless their owner lets go of them in order, data of that image may be
/// computed from parity that does not fit. Their bitmap does not say: with an image gone its bits stay set.
pub const PARITY_TAG: &str = "orthrus.parity_in_use";

/// What the tag begins with that says of a LUN, by its serial number, that clients of it had registered for persistent reservations which
/// are to outlive a takeover. Who cannot read them must not serve it as if there were none.
pub const RESERVED_TAG: &str = "orthrus.reserved=";

/// Whose a group is.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The cluster's.
    pub system_id: String,
    /// The claim's.
    pub epoch: Epoch,
    /// See [`PARITY_TAG`].
    pub parity_in_use: bool,
    /// Who claimed.
    pub author: Author,
}

/// What was written.
#[derive(Debug)]
pub struct Stamped {
    /// The group as it is now, but for its sequence number.
    pub metadata: Metadata,
    /// On which disks.
    pub written: Written,
}

impl Stamp {
    /// Writes it onto the members of a group; `None` when it is on all of them already.
    ///
    /// # Errors
    /// It is not.
    pub fn put<M: Medium>(
        &self,
        disks: Vec<(String, std::io::Result<M>)>,
        group: &Uuid,
    ) -> Result<Option<Stamped>, WriteError> {
        let store = Store::open(disks, group)?;
        let metadata = match self.on(store.newest()) {
            Some(changed) => changed,
            None if store.is_even() => return Ok(None),
            None => store.newest().clone(),
        };
        let written = store.skip_number().write(&metadata, &self.author)?;
        Ok(Some(Stamped { metadata, written }))
    }

    /// The group with it; `None` when it has it already.
    fn on(&self, metadata: &Metadata) -> Option<Metadata> {
        let mut tagged = metadata.clone();
        tag(&mut tagged, PARITY_TAG, self.parity_in_use);
        let stamped = stamp(&tagged, &self.system_id, self.epoch);
        stamped.or_else(|| (tagged != *metadata).then_some(tagged))
    }
}

/// The greatest epoch among a group's tags. One that is no number counts for none: nobody of ours wrote it.
pub fn epoch<'a>(tags: impl IntoIterator<Item = &'a str>) -> Epoch {
    let epochs = tags.into_iter().filter_map(|tag| {
        let number = tag.strip_prefix(EPOCH_TAG)?;
        number.parse().ok()
    });
    epochs.max().map_or(Epoch::NONE, Epoch)
}

/// The group with this system ID and this epoch; `None` when it has both already.
///
/// A system ID that it has stays: a foreign one is refused long before.
pub fn stamp(metadata: &Metadata, system_id: &str, epoch: Epoch) -> Option<Metadata> {
    let mut stamped = metadata.clone();
    let tag = format!("{EPOCH_TAG}{}", epoch.0);
    let mut tags: Vec<Value> = metadata
        .tags()
        .filter(|tag| !tag.starts_with(EPOCH_TAG))
        .map(|tag| Value::Text(tag.to_owned()))
        .collect();
    tags.push(Value::Text(tag));
    put(&mut stamped, "tags", Value::List(tags), "flags");
    if metadata.text("system_id").is_none_or(str::is_empty) {
        put(
            &mut stamped,
            "system_id",
            Value::Text(system_id.to_owned()),
            "tags",
        );
    }
    (stamped != *metadata).then_some(stamped)
}

/// Gives a group a tag, or takes it off.
pub(in crate::volume) fn tag(metadata: &mut Metadata, tag: &str, is_set: bool) {
    if metadata.tags().any(|one| one == tag) == is_set {
        return;
    }
    let others = metadata.tags().filter(|one| *one != tag).map(str::to_owned);
    let tags = others
        .chain(is_set.then(|| tag.to_owned()))
        .map(Value::Text);
    let tags = Value::List(tags.collect());
    put(metadata, "tags", tags, "flags");
}

/// Sets an entry, and puts a new one behind another one: where lvm2 has it.
pub(in crate::volume) fn put(metadata: &mut Metadata, key: &str, value: Value, before: &str) {
    let body = &mut metadata.body;
    if let Some(known) = body.get_mut(key) {
        *known = value;
        return;
    }
    let place = body
        .get_index_of(before)
        .map_or(body.len(), |place| place + 1);
    body.shift_insert(place, key.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(entries: &str) -> Metadata {
        let id = "NoBody-Has0-This-Volu-meGr-oup0-Active";
        let text =
            format!("tank {{\nid = \"{id}\"\nseqno = 3\nflags = []\n{entries}max_lv = 0\n}}\n");
        Metadata::parse(&text).unwrap()
    }

    #[test]
    fn a_group_gets_its_owner_and_its_epoch_beside_what_it_has() {
        let stamped = stamp(&group("tags = [\"mine\"]\n"), "orthrus-lab", Epoch(7)).unwrap();
        assert_eq!(
            super::super::super::text::format(&stamped.body),
            "id = \"NoBody-Has0-This-Volu-meGr-oup0-Active\"\nseqno = 3\nflags = []\n\
             tags = [\"mine\", \"orthrus.epoch=7\"]\nsystem_id = \"orthrus-lab\"\nmax_lv = 0\n"
        );
        assert_eq!(epoch(stamped.tags()), Epoch(7));
        assert_eq!(stamp(&stamped, "orthrus-lab", Epoch(7)), None);
        let later = stamp(&stamped, "orthrus-lab", Epoch(8)).unwrap();
        assert_eq!(
            later.tags().collect::<Vec<_>>(),
            ["mine", "orthrus.epoch=8"]
        );
    }

    #[test]
    fn a_group_says_whether_parity_that_lacks_an_image_is_in_use() {
        let mut stamp = Stamp {
            system_id: "orthrus-lab".to_owned(),
            epoch: Epoch(7),
            parity_in_use: true,
            author: Author {
                host: "a".to_owned(),
                time: 0,
                description: String::new(),
            },
        };
        let stamped = stamp.on(&group("tags = [\"mine\"]\n")).unwrap();
        let tags = |metadata: &Metadata| metadata.tags().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(tags(&stamped), ["mine", PARITY_TAG, "orthrus.epoch=7"]);
        assert_eq!(stamp.on(&stamped), None);
        stamp.parity_in_use = false;
        let whole = stamp.on(&stamped).unwrap();
        assert_eq!(tags(&whole), ["mine", "orthrus.epoch=7"]);
        assert_eq!(stamp.on(&whole), None);
    }

    #[test]
    fn an_empty_system_id_is_none_and_another_one_stays() {
        let stamped = stamp(&group("system_id = \"\"\n"), "orthrus-lab", Epoch(1)).unwrap();
        assert_eq!(stamped.text("system_id"), Some("orthrus-lab"));
        let stamped = stamp(&group("system_id = \"else\"\n"), "orthrus-lab", Epoch(1)).unwrap();
        assert_eq!(stamped.text("system_id"), Some("else"));
    }

    #[test]
    fn the_greatest_epoch_counts_and_what_is_no_number_does_not() {
        assert_eq!(epoch([]), Epoch::NONE);
        let tags = [
            "orthrus.epoch=3",
            "orthrus.epoch=x",
            "orthrus.epoch=99999999999",
            "orthrus.epoch=12",
            "epoch=99",
        ];
        assert_eq!(epoch(tags), Epoch(12));
    }

    #[test]
    fn the_tag_has_only_characters_that_lvm2_allows() {
        let tag = format!("{EPOCH_TAG}{}", u32::MAX);
        assert!(
            tag.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-+/=!:&#".contains(&byte))
        );
    }
}

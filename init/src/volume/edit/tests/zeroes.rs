//! What must read as zeroes before it is used, and that nothing else is zeroed.

use super::*;

#[test]
fn metadata_of_raid_begin_as_zeroes_and_every_new_volume_has_a_fresh_start() {
    let made = change(group(6), |edit| {
        edit.create("v", 4, Layout::Raid(Raid::Raid5, 3))
    })
    .unwrap();
    let extent = 8192 * 512;
    let start = 2048 * 512;
    let stretches: Vec<(u64, u64)> = made
        .zeroes
        .iter()
        .map(|zero| (zero.start, zero.bytes))
        .collect();
    let image = [(start, extent), (start + extent, 256 << 10)];
    assert_eq!(stretches, [image, image, image].concat());
    let pvs: BTreeSet<Uuid> = made.zeroes.iter().map(|zero| zero.pv).collect();
    assert_eq!(pvs.len(), 3);
}

/// The first extent of a stretch, and its bytes, on the member whose data begin at 1 MiB, with extents of 32 KiB.
fn place(zero: &Stretch) -> (u64, u64) {
    ((zero.start - (1 << 20)) / (32 << 10), zero.bytes)
}

#[test]
fn what_is_zeroed_for_a_new_pool_ends_where_its_pieces_do() {
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    // a, a hole of one extent, b, one of two, c, and the rest: as much as the spare, and all but one of the metadata.
    let disk = NewMember {
        sectors: 2048 + 64 * (6 + 64 + 63),
        ..member(0)
    };
    let made = edited(new_group("tank", id, 64).unwrap(), |edit| {
        edit.add_member(&disk)?;
        for (name, extents) in [("a", 1), ("x", 1), ("b", 1), ("y", 2), ("c", 1)] {
            edit.create(name, extents, Layout::Linear)?;
        }
        Ok(())
    })
    .unwrap();
    let made = edited(made, |edit| {
        edit.remove("x")?;
        edit.remove("y")
    })
    .unwrap();
    let pool = change(made, |edit| {
        let size = PoolSize {
            extents: 2,
            data: Layout::Linear,
            metadata: Layout::Linear,
        };
        edit.create_pool("p", size)
    })
    .unwrap();
    check(&pool.metadata);
    let places: Vec<(u64, u64)> = pool.zeroes.iter().map(place).collect();
    let (kib, spare, meta) = (1 << 10, 6, 6 + 64);
    assert_eq!(
        places,
        [
            (spare, 256 * kib),
            (1, 32 * kib),
            (meta, 224 * kib),
            (3, 64 * kib)
        ]
    );
}

#[test]
fn an_edit_that_would_zero_what_is_not_new_comes_to_nothing() {
    let made = edited(group(1), |edit| edit.create("a", 2, Layout::Linear)).unwrap();
    let extent = 4 << 20;
    // Of b, which is new; of a; of nobody; and before all extents.
    for (start, bytes, is_right) in [
        (2 * extent, extent, true),
        (2 * extent, extent + 1, false),
        (2 * extent - 512, 1024, false),
        (extent, 512, false),
        (5 * extent, 512, false),
    ] {
        for before in [false, true] {
            let outcome = change(made.clone(), |edit| {
                edit.create("b", 1, Layout::Linear)?;
                edit.zeroes.push(Stretch {
                    pv: member(0).id,
                    start: if before { 512 } else { (1 << 20) + start },
                    bytes,
                });
                Ok(())
            });
            assert_eq!(outcome.is_ok(), is_right && !before, "{start} {bytes}");
        }
    }
}

//! The arrays, and the states that some of them get into.

/// An array to be made.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    /// Its name, here and in its superblocks.
    pub name: &'static str,
    /// Numbers of its disks; the last of all disks is smaller than the others.
    pub disks: &'static [usize],
    /// What `mdadm --create` is told.
    pub options: &'static str,
    /// All data are there without any one of its disks.
    pub is_redundant: bool,
}

const fn plain(name: &'static str, disks: &'static [usize], options: &'static str) -> Array {
    Array {
        name,
        disks,
        options,
        is_redundant: false,
    }
}

const fn redundant(name: &'static str, disks: &'static [usize], options: &'static str) -> Array {
    Array {
        is_redundant: true,
        ..plain(name, disks, options)
    }
}

const TWO: &[usize] = &[0, 1];
const THREE: &[usize] = &[0, 1, 2];
const FOUR: &[usize] = &[0, 1, 2, 3];
const FIVE: &[usize] = &[0, 1, 2, 3, 4];

/// All of them.
pub const ARRAYS: &[Array] = &[
    plain("raid0", THREE, "-l0 -c4"),
    plain("raid0-zones", &[0, 1, 6], "-l0 -c64"),
    redundant("raid1-10", TWO, "-l1 -e1.0 -b internal"),
    redundant("raid1-11", TWO, "-l1 -e1.1 -b none"),
    redundant("raid1-12", THREE, "-l1 -e1.2 -b internal"),
    redundant("raid4", THREE, "-l4 -c4 -e1.0 -b none"),
    redundant("raid5-la", THREE, "-l5 -c4 -p la -b none"),
    redundant("raid5-ra", THREE, "-l5 -c8 -p ra -b none"),
    redundant("raid5-ls", FOUR, "-l5 -c4 -p ls -b internal"),
    redundant("raid5-rs", FOUR, "-l5 -c4 -p rs -e1.1 -b none"),
    redundant("raid5-first", THREE, "-l5 -c4 -p parity-first -b none"),
    redundant("raid5-last", THREE, "-l5 -c4 -p parity-last -b none"),
    redundant("raid6-la", FIVE, "-l6 -c4 -p la -b none"),
    redundant("raid6-ra", FIVE, "-l6 -c4 -p ra -b none"),
    redundant("raid6-ls", FIVE, "-l6 -c4 -p ls -b internal"),
    redundant("raid6-rs", FIVE, "-l6 -c4 -p rs -e1.0 -b none"),
    redundant("raid6-first", FIVE, "-l6 -c4 -p parity-first -b none"),
    redundant("raid6-last", FIVE, "-l6 -c4 -p parity-last -b none"),
    redundant("raid6-zr", FIVE, "-l6 -c4 -p ddf-zero-restart -b none"),
    redundant("raid6-nr", FIVE, "-l6 -c4 -p ddf-N-restart -b none"),
    redundant("raid6-nc", FIVE, "-l6 -c4 -p ddf-N-continue -b none"),
    redundant("raid6-la6", FIVE, "-l6 -c4 -p left-asymmetric-6 -b none"),
    redundant("raid6-ra6", FIVE, "-l6 -c4 -p right-asymmetric-6 -b none"),
    redundant("raid6-ls6", FIVE, "-l6 -c4 -p left-symmetric-6 -b none"),
    redundant("raid6-rs6", FIVE, "-l6 -c4 -p right-symmetric-6 -b none"),
    redundant("raid6-first6", FIVE, "-l6 -c4 -p parity-first-6 -b none"),
    redundant("raid10-n2", FOUR, "-l10 -c4 -p n2 -b internal"),
    redundant("raid10-n2-odd", THREE, "-l10 -c4 -p n2 -b none"),
    redundant("raid10-n3", FIVE, "-l10 -c4 -p n3 -b none"),
    redundant("raid10-f2", FOUR, "-l10 -c4 -p f2 -b none"),
    redundant("raid10-f2-odd", THREE, "-l10 -c8 -p f2 -b none"),
    redundant("raid10-f3", FIVE, "-l10 -c4 -p f3 -b none"),
    redundant("raid10-o2", FOUR, "-l10 -c4 -p o2 -b none"),
    redundant("raid10-o2-odd", FIVE, "-l10 -c4 -p o2 -e1.0 -b none"),
];

/// An array of which a takeover throws members out.
#[derive(Clone, Copy, Debug)]
pub struct Thrown {
    /// The array.
    pub array: Array,
    /// Disks whose members are thrown out.
    pub which: &'static [usize],
    /// Its owner was writing when it was fenced.
    pub is_dirty: bool,
}

const fn thrown(array: Array, which: &'static [usize]) -> Thrown {
    Thrown {
        array,
        which,
        is_dirty: false,
    }
}

const fn thrown_dirty(array: Array, which: &'static [usize]) -> Thrown {
    Thrown {
        is_dirty: true,
        ..thrown(array, which)
    }
}

/// A bitmap with a bit for so little that what is filled by it is less than all.
const BY_BITMAP: [&str; 4] = [
    "-l1 -e1.2 -b internal --bitmap-chunk=64K",
    "-l5 -c4 -p ls -e1.2 -b internal --bitmap-chunk=64K",
    "-l6 -c4 -p ls -e1.2 -b internal --bitmap-chunk=64K",
    "-l10 -c4 -p n2 -e1.2 -b internal --bitmap-chunk=64K",
];

/// With the arbiter alone, and with a second one before the rest was fenced.
pub const THROWN: &[Thrown] = &[
    thrown(redundant("out-raid1", TWO, "-l1 -e1.0 -b none"), &[0]),
    thrown_dirty(redundant("out-raid1-bitmap", THREE, BY_BITMAP[0]), &[0]),
    thrown(redundant("out-raid4", THREE, "-l4 -c4 -b none"), &[0]),
    thrown(redundant("out-raid5", FOUR, "-l5 -c4 -e1.1 -b none"), &[0]),
    thrown(redundant("out-raid5-bitmap", FOUR, BY_BITMAP[1]), &[0]),
    thrown_dirty(redundant("out-raid5-dirty", FOUR, BY_BITMAP[1]), &[0]),
    thrown(redundant("out-raid6-two", FIVE, "-l6 -c4 -b none"), &[0, 3]),
    thrown(
        redundant("out-raid6-two-bitmap", FIVE, BY_BITMAP[2]),
        &[0, 3],
    ),
    thrown(
        redundant("out-raid10", FOUR, "-l10 -c4 -p f2 -b none"),
        &[0],
    ),
    thrown_dirty(redundant("out-raid10-bitmap", FOUR, BY_BITMAP[3]), &[0, 2]),
];

/// A state that an array gets into, kept for the unit tests.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Its name.
    pub name: &'static str,
    /// Numbers of the disks that are kept.
    pub disks: &'static [usize],
    /// Gets an array, `$md`, into it. The array need not be stopped.
    pub script: &'static str,
}

/// All of them.
pub const STATES: &[State] = &[
    State {
        name: "stale",
        disks: FOUR,
        script: "make raid5 '-l5 -n4 -c4 -b internal' 0 1 2 3
            fill; mdadm $md --fail $(disk 1); mdadm $md --remove $(disk 1); fill; stop",
    },
    State {
        name: "failed",
        disks: THREE,
        script: "make raid1 '-l1 -n3 -b none' 0 1 2
            fill; mdadm $md --fail $(disk 2); fill; stop",
    },
    State {
        name: "twice-stale",
        disks: FIVE,
        script: "make raid6 '-l6 -n5 -c4 -b none' 0 1 2 3 4
            fill; mdadm $md --fail $(disk 0); mdadm $md --remove $(disk 0); fill
            mdadm $md --fail $(disk 3); mdadm $md --remove $(disk 3); fill; stop",
    },
    State {
        name: "diverged",
        disks: TWO,
        script: "make raid1 '-l1 -n2 -b none' 0 1
            fill; stop
            mdadm --assemble --run $md $(disk 0); fill; stop
            mdadm --assemble --run $md $(disk 1); fill; stop",
    },
    State {
        name: "diverged-unequally",
        disks: TWO,
        script: "make raid1 '-l1 -n2 -b none' 0 1
            fill; stop
            mdadm --assemble --run $md $(disk 0); fill; stop
            for i in 1 2 3; do mdadm --assemble --run $md $(disk 1); fill; stop; done",
    },
    State {
        name: "dirty",
        disks: THREE,
        script: "make raid5 '-l5 -n3 -c4 -b none' 0 1 2
            echo 600 >/sys/block/md7/md/safe_mode_delay; fill",
    },
    State {
        name: "ppl",
        disks: THREE,
        script: "make raid5 '-l5 -n3 -c4 --consistency-policy=ppl' 0 1 2
            echo 600 >/sys/block/md7/md/safe_mode_delay; fill",
    },
    State {
        name: "journal",
        disks: FOUR,
        script: "make raid5 \"-l5 -n3 -c4 --write-journal=$(disk 3)\" 0 1 2
            fill; stop",
    },
    State {
        name: "spare",
        disks: FOUR,
        script: "make raid5 '-l5 -n3 -x1 -c4 -b none' 0 1 2 3
            fill; stop",
    },
    State {
        name: "rebuilding",
        disks: FOUR,
        script: "make raid5 '-l5 -n3 -c4 -b none' 0 1 2
            fill; mdadm $md --fail $(disk 1); mdadm $md --remove $(disk 1)
            echo 1 >/proc/sys/dev/raid/speed_limit_max; echo 1 >/proc/sys/dev/raid/speed_limit_min
            mdadm $md --add $(disk 3); fill; stop
            echo 200000 >/proc/sys/dev/raid/speed_limit_max",
    },
    State {
        name: "reshape",
        disks: FOUR,
        script: "make raid5 '-l5 -n3 -c4 -b none' 0 1 2
            fill; mdadm $md --add $(disk 3)
            echo 1 >/proc/sys/dev/raid/speed_limit_max; echo 1 >/proc/sys/dev/raid/speed_limit_min
            mdadm --grow $md -n4 --backup-file=/run/backup; sleep 2; stop
            echo 200000 >/proc/sys/dev/raid/speed_limit_max",
    },
    State {
        name: "old",
        disks: TWO,
        script: "make raid1 '-l1 -n2 -e0.90 -b none' 0 1
            fill; stop",
    },
];

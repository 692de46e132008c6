//! What is tried, each a script for the machine: what the shelf in memory shows of the claim's rules is shown here of the kernel's target.

/// A case.
pub struct Case {
    /// What must hold.
    pub name: &'static str,
    /// See the prelude in [`bed`](super::bed).
    pub script: &'static str,
}

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        name: "a_free_namespace_is_claimed_and_the_other_head_reads_it_and_cannot_write",
        script: r#"
is "$(look b)" "[] nobody"
is "$(write a) $(write b)" "good good"
# Nobody is heard, and what forgets its reservations may have lost its power: writes are waited for.
is "$(claim a 1 free | tail -n 1)" "claimed, persistent: false"
is "$(look b)" "[a1] a1 with type 5"
is "$(look a)" "[a1] a1 with type 5"
is "$(write a) $(write b) $(write c 3)" "good Invalid exchange Invalid exchange"
has "$(as b write $(disk b 1))" "reservation conflict on a write"
is "$(as a write $(disk a 1))" good
# What keeps nothing without power says so.
as b look $(disks b) >/dev/null; has "$(cat /run/said)" "(no PTPL)"
"#,
    },
    Case {
        name: "what_the_peer_holds_is_not_touched_without_authority",
        script: r#"
claim a 1 gone >/dev/null
refused b claim 2 free $(disks b)
has "$(cat /run/said)" "held by the peer, epoch 1"
is "$(look b)" "[a1] a1 with type 5"
is "$(write a) $(write b)" "good Invalid exchange"
"#,
    },
    Case {
        name: "a_dead_peer_is_preempted_and_its_writes_are_refused_and_its_watch_sees_it",
        script: r#"
claim a 1 gone >/dev/null
/run/reservations watch a 1 $(disks a) >/run/watch 2>&1 & watch=$!
for i in $(seq 100); do ! grep -q watching /run/watch || break; sleep 0.1; done
said=$(claim b 2 dead)
is "$(echo "$said" | grep -c 'and aborted its commands')" 3
has "$said" "claimed, persistent: false"
is "$(look a)" "[b2] b2 with type 5"
is "$(write a) $(write a 2) $(write a 3) $(write b)" "Invalid exchange Invalid exchange Invalid exchange good"
wait $watch
# By the notice, by the key that is gone, or by the write, whatever it looked at first.
case $(tail -n 1 /run/watch) in newer\ key*|our\ registration*|reserv*) ;; *) cat /run/watch; exit 8;; esac
"#,
    },
    Case {
        name: "a_release_leaves_nothing_and_is_done_once",
        script: r#"
claim a 1 gone >/dev/null
is "$(as a release 1 $(disks a))" Changed
is "$(look b)" "[] nobody"
is "$(as a release 1 $(disks a))" Already
is "$(write b)" good
is "$(claim b 2 gone)" "claimed, persistent: false"
"#,
    },
    Case {
        name: "the_key_of_an_earlier_boot_of_the_same_host_is_replaced",
        script: r#"
claim a 1 gone >/dev/null
is "$(claim a 2 free | grep -c 'replaced key')" 3
is "$(look b)" "[a2] a2 with type 5"
is "$(write a) $(write b)" "good Invalid exchange"
"#,
    },
    Case {
        name: "the_key_of_an_earlier_boot_under_another_identifier_is_preempted",
        script: r#"
for n in 1 2 3; do as a register a1 $(disk c $n) >/dev/null; as a reserve a1 $(disk c $n) >/dev/null; done
is "$(look b)" "[a1] a1 with type 5"
is "$(claim a 2 free | grep -c 'and aborted its commands')" 3
is "$(look b)" "[a2] a2 with type 5"
is "$(write a) $(write c)" "good Invalid exchange"
"#,
    },
    Case {
        name: "a_key_without_a_reservation_is_removed",
        script: r#"
for n in 1 2 3; do is "$(as b register b1 $(disk b $n))" success; done
is "$(look a)" "[b1] nobody"
refused a claim 2 free $(disks a)
is "$(look a)" "[b1] nobody"
is "$(claim a 2 dead | grep -c 'and aborted its commands')" 3
is "$(look b)" "[a2] a2 with type 5"
"#,
    },
    Case {
        name: "a_strangers_key_is_left_alone_and_named",
        script: r#"
as a register 5 $(disk c 2) >/dev/null
refused a claim 1 dead $(disks a)
has "$(cat /run/said)" "0x0000000000000005 is a stranger's"
is "$(look a | head -n 1)" "[] nobody"
is "$(as a look $(disk a 2))" "[5] nobody"
"#,
    },
];

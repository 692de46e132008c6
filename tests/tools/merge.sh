# Snapshots with a store are given back to their origin, a mirror: what one of the two began the other one goes on with.

put() {
  yes "$2 $2 $2" | head -c 1048576 > /run/block
  dd if=/run/block of=$(node $1) bs=1M oflag=direct status=none
}
has() {
  yes "$2 $2 $2" | head -c 1048576 > /run/block
  dd if=$(node $1) bs=1M iflag=direct status=none count=1 | cmp - /run/block || fail "$1 has other bytes than $2's"
}
target() { dmsetup table tank-$1 | cut -d' ' -f3; }
is() { [ "$(target $1)" = $2 ] || fail "$1 is $(dmsetup table tank-$1), and not $2"; }
volumes() { run lvs -a --noheadings -o lv_name tank | tr -d ' []'; }
# The kernel says that nothing is left to be copied.
over() {
  tries=0
  until dmsetup status tank-$1 | { read start length kind used metadata; [ "$kind ${used%/*}" = "snapshot-merge $metadata" ]; }; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "the merge does not end: $(dmsetup status tank-$1)"
    sleep 0.2
  done
}
gone() { for lv in "$@"; do case " $(volumes | tr '\n' ' ') " in *" $lv "*) fail "$lv is there still: $(volumes)";; esac; done; }

$tool pool tank $disks >/dev/null
check
edit create org 3 raid1x2
on
fill org
synced org
off
edit snapshot org first 2
on
put org second
off
edit snapshot org second 2
edit snapshot org third 2
on
put org later
has first org
has second second
off

# The firmware begins it, lvm2 has the kernel do it, the firmware ends it. The others are what they were.
edit merge first
on --poll n
is org snapshot-merge
is first error
is second snapshot
over org
has org org
has second second
has third second
put org later
off
edit merged first
gone first snapshot0
on
is org snapshot-origin
has org later
has second second
has third second
off

# The firmware begins it, lvm2 ends it.
edit merge second
on --poll n
is org snapshot-merge
said=$(run lvpoll --polloperation merge --interval 1 tank/org 2>&1) || fail "lvpoll: $said"
gone second
is org snapshot-origin
has org second
has third second
put org last
off
check

# lvm2 begins it, the firmware ends it: the last one, and the mirror is one again.
said=$(run lvconvert -y --merge tank/third 2>&1) || fail "lvconvert: $said"
check
on --poll n
is org snapshot-merge
over org
has org second
off
edit merged third
gone third
on
is org raid
has org second
synced org
put org alone
off
edit grow org 4
on
has org alone
off
echo all is well

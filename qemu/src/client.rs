//! What the client is told: how its initiator is set up and how it logs in.

use crate::config::CLIENT_IQN;

/// The initiator's settings. Debian's own, except for the times:
///
/// - `replacement_timeout`: how long I/O waits for a target that is away before it fails. Longer
///   than any takeover, so that a takeover is a pause; not for ever, so that a dead pool is noticed.
/// - `DefaultTime2Wait`: how long it waits before it connects again. The larger one of client and
///   target counts, so a client that insists on the default of 2 s adds them to every takeover.
/// - NOPs find a connection that died without a word (the tickle of the new owner is faster).
const ISCSID_CONF: &str = "\
iscsid.startup = /bin/true
node.startup = manual
node.leading_login = No
node.session.timeo.replacement_timeout = 180
node.conn[0].timeo.login_timeout = 5
node.conn[0].timeo.logout_timeout = 15
node.conn[0].timeo.noop_out_interval = 2
node.conn[0].timeo.noop_out_timeout = 3
node.session.err_timeo.abort_timeout = 15
node.session.err_timeo.lu_reset_timeout = 30
node.session.err_timeo.tgt_reset_timeout = 30
node.session.initial_login_retry_max = 20
node.session.cmds_max = 128
node.session.queue_depth = 32
node.session.xmit_thread_priority = -20
node.session.iscsi.DefaultTime2Wait = 0
node.session.iscsi.InitialR2T = No
node.session.iscsi.ImmediateData = Yes
node.session.iscsi.FirstBurstLength = 262144
node.session.iscsi.MaxBurstLength = 16776192
node.conn[0].iscsi.MaxRecvDataSegmentLength = 262144
node.conn[0].iscsi.HeaderDigest = None
node.session.scan = auto
node.session.nr_sessions = 1
node.session.reopen_max = 0
node.session.iscsi.FastAbort = Yes
";

/// A script that mounts a share where it is not mounted, and where. As an administrator would by what README says: the
/// client waits for a server that is away for as long as it takes.
pub fn mount_script(address: &str, share: &str) -> (String, String) {
    let place = format!("/mnt/{share}");
    let (host, protocol) = (host(address), if is_v6(address) { "tcp6" } else { "tcp" });
    let script = format!(
        "set -e\n\
         mkdir -p {place}\n\
         mountpoint -q {place} || mount -t nfs -o vers=4.2,hard,proto={protocol} {host}:/{share} {place}\n"
    );
    (script, place)
}

/// A script that logs in to a target, and does nothing when a session is there.
pub fn login_script(address: &str, iqn: &str) -> String {
    let host = host(address);
    format!(
        "set -e\n\
         for name in /sys/class/iscsi_session/*/targetname; do\n\
           [ -e \"$name\" ] && [ \"$(cat $name)\" = {iqn} ] && exit 0\n\
         done\n\
         mkdir -p /etc/iscsi /run/lock/iscsi /var/lib/iscsi\n\
         echo InitiatorName={CLIENT_IQN} > /etc/iscsi/initiatorname.iscsi\n\
         cat > /etc/iscsi/iscsid.conf <<'END'\n{ISCSID_CONF}END\n\
         if ! [ -e /run/lab-iscsid ]; then iscsid; touch /run/lab-iscsid; fi\n\
         iscsiadm -m node -o new -T {iqn} -p {host}:3260,1\n\
         iscsiadm -m node -T {iqn} -p {host}:3260 --login\n"
    )
}

fn is_v6(address: &str) -> bool {
    address.contains(':')
}

/// As it stands before a port or a path.
fn host(address: &str) -> String {
    match is_v6(address) {
        true => format!("[{address}]"),
        false => address.to_owned(),
    }
}

//! What nfsd wants to know while it serves, and what it is told: who a client is, what a file handle's identifier means,
//! what a client may do with a share. The questions come through `/proc/net/rpc/CACHE/channel`, one at a time
//! (`net/sunrpc/cache.c`, `net/sunrpc/svcauth_unix.c`, `fs/nfsd/export.c`).
//!
//! A client is known by its address alone, which is also the name of its *domain* in the kernel: what an address may do with
//! a share depends on nothing else. An answer without its last fields is a no, and kept as one.
//!
//! A plan that changes while it is served flushes what was answered, and the kernel asks again before the next operation. It looks at
//! what a client may do with each one, also of files that are open (`nfsd_permission` of `fs/nfsd/vfs.c`, which `nfs4_check_file` calls for each
//! WRITE by its stateid): whoever may only read from now on writes nothing more into any. Answers age all the same: anybody can make up handles and addresses, and each
//! that was asked for is in the kernel's memory until then.
//!
//! A share that is withheld may be offered soon, and to be told no costs its clients what they have open there. So its question has
//! no answer: the kernel tells the client to come again (`NFS4ERR_DELAY`), and a hard mount waits. But only of a client that may use
//! nothing else of the pool. For its own recovery a client of Linux asks for the next open when it has an answer for the one before, of whatever
//! share (`nfs4_do_open_reclaim` of `fs/nfs/nfs4proc.c`, 6.12, tries again without an end): one that waits for one share waits for all of
//! them, and once the grace period is over has lost its locks on all. Who has another share to go on with is told no, as by a server
//! that has it no more. A request that waits holds a thread of the server for up to five seconds, one when no other is idle
//! (`svc_handle_xprt` and `cache_wait_req` of `net/sunrpc`).

use std::net::IpAddr;
use std::path::Path;

use super::line::{Line, LineError, words};
use super::plan::{NfsPlan, Wanted};
use crate::config::{Access, Rights, Squash};

// `include/uapi/linux/nfsd/export.h`.
const READONLY: u32 = 0x1;
/// Clients may use any port: what a low one proves nobody believes any more, and behind NAT there is none.
const INSECURE_PORT: u32 = 0x2;
const ROOTSQUASH: u32 = 0x4;
const ALLSQUASH: u32 = 0x8;
const NOHIDE: u32 = 0x200;
/// A handle says which file it is, not by which path: files can be renamed while they are open.
const NOSUBTREECHECK: u32 = 0x400;
const FSID: u32 = 0x2000;
const CROSSMOUNT: u32 = 0x4000;
/// The root that clients see before they reach a share: nothing but its directories shows.
const V4ROOT: u32 = 0x1_0000;

/// Identifier of the root.
const ROOT_FSID: u32 = 0;
/// `FSID_NUM`: a number of four bytes.
const TYPE_NUMBER: &[u8] = b"1";
/// `FSID_UUID16`: a UUID; `FSID_UUID16_INUM`: the number of an inode before it.
const TYPE_UUID: &[u8] = b"6";
const TYPE_INODE_UUID: &[u8] = b"7";
/// `RPC_AUTH_UNIX`.
const AUTH_UNIX: u32 = 1;
/// How long a yes holds, in seconds. It is asked for again in time while it is in use. As mountd of nfs-utils (`DEFAULT_TTL`).
const YES_S: i64 = 30 * 60;
/// How long a no holds. Long enough that who is not let in and knocks all the time costs nothing.
const NO_S: i64 = 3 * 60;

/// A cache of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Addresses to domains.
    Address,
    /// Identifiers in file handles to paths.
    Handle,
    /// Domain and path to what may be done there.
    Export,
}

impl Cache {
    /// All, in the order in which they are flushed: what refers to a path goes before the path.
    pub const ALL: [Cache; 3] = [Cache::Handle, Cache::Export, Cache::Address];

    /// Its directory below `/proc/net/rpc`.
    pub fn name(self) -> &'static str {
        match self {
            Cache::Address => "auth.unix.ip",
            Cache::Handle => "nfsd.fh",
            Cache::Export => "nfsd.export",
        }
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// It cannot be read.
    #[error("{0}")]
    Line(#[from] LineError),
    /// It has too few words, or one of them makes no sense.
    #[error("{0:?} is no question of this cache")]
    Words(Vec<String>),
}

/// What is said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This line.
    Now(String),
    /// Nothing, until there is another plan.
    Later,
}

/// Answers a question, at this time in seconds since 1970; for other servers than nfsd the answer is no.
pub fn answer(
    cache: Cache,
    question: &[u8],
    plan: &NfsPlan,
    now: i64,
) -> Result<Answer, QuestionError> {
    let words = words(question)?;
    let answer = match (cache, &words[..]) {
        (Cache::Address, [class, address]) => who(class, address, plan, now),
        (Cache::Handle, [domain, kind, id]) => what(domain, kind, id, plan, now),
        (Cache::Export, [domain, path]) => may(domain, path, plan, now),
        _ => None,
    };
    answer.ok_or_else(|| {
        let said = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
        QuestionError::Words(words.iter().map(said).collect())
    })
}

/// `CLASS ADDRESS` ─► `CLASS ADDRESS EXPIRY [DOMAIN]`.
fn who(class: &[u8], address: &[u8], plan: &NfsPlan, now: i64) -> Option<Answer> {
    let (class, address) = (text(class)?, text(address)?);
    let line = Line::default().word(class).word(address);
    // Addresses of IPv6 come in the long form, those of IPv4 as such.
    let client = address.parse::<IpAddr>().ok()?.to_canonical();
    Some(match class == "nfsd" && plan.lets_in(client) {
        true => yes(line, now, |line| line.word(&client.to_string())),
        false => no(line, now),
    })
}

/// `DOMAIN TYPE ID` ─► `DOMAIN TYPE ID EXPIRY [PATH]`.
fn what(domain: &[u8], kind: &[u8], id: &[u8], plan: &NfsPlan, now: i64) -> Option<Answer> {
    let line = Line::default().word(text(domain)?).word(text(kind)?);
    let line = line.bytes(id);
    let client: IpAddr = text(domain)?.parse().ok()?;
    let uuid = match kind {
        TYPE_NUMBER if id == ROOT_FSID.to_ne_bytes() && plan.lets_in(client) => {
            let path = plan.root.to_str()?;
            return Some(yes(line, now, |line| line.word(path)));
        }
        TYPE_UUID => id,
        TYPE_INODE_UUID => id.get(8..)?,
        _ => return Some(no(line, now)),
    };
    Some(match plan.find(client, |share| share.uuid == uuid) {
        Wanted::Offered(share) => {
            let path = share.place.to_str()?;
            yes(line, now, |line| line.word(path))
        }
        Wanted::Awaited => Answer::Later,
        Wanted::Nothing => no(line, now),
    })
}

/// `DOMAIN PATH` ─► `DOMAIN PATH EXPIRY [FLAGS ANONUID ANONGID FSID uuid UUID secinfo 1 AUTH FLAGS]`.
fn may(domain: &[u8], path: &[u8], plan: &NfsPlan, now: i64) -> Option<Answer> {
    let (domain, path) = (text(domain)?, text(path)?);
    let line = Line::default().word(domain).word(path);
    let client: IpAddr = domain.parse().ok()?;
    let path = Path::new(path);
    if path == plan.root && plan.lets_in(client) {
        let flags =
            READONLY | INSECURE_PORT | ROOTSQUASH | NOHIDE | NOSUBTREECHECK | FSID | CROSSMOUNT;
        let rights = |line| rights(line, flags | V4ROOT, (65534, 65534), None);
        return Some(yes(line, now, rights));
    }
    Some(match plan.find(client, |share| share.place == path) {
        Wanted::Offered(share) => {
            let flags = flags(share.rights(client)?);
            let anonymous = (share.rules.anonymous_uid, share.rules.anonymous_gid);
            yes(line, now, |line| {
                rights(line, flags, anonymous, Some(&share.uuid))
            })
        }
        Wanted::Awaited => Answer::Later,
        Wanted::Nothing => no(line, now),
    })
}

fn yes(question: Line, now: i64, granted: impl FnOnce(Line) -> Line) -> Answer {
    Answer::Now(granted(question.number(now + YES_S)).end())
}

fn no(question: Line, now: i64) -> Answer {
    Answer::Now(question.number(now + NO_S).end())
}

fn flags(rights: Rights) -> u32 {
    let mut flags = INSECURE_PORT | NOHIDE | NOSUBTREECHECK;
    if rights.access == Access::ReadOnly {
        flags |= READONLY;
    }
    flags |= match rights.squash {
        Squash::Root => ROOTSQUASH,
        Squash::All => ROOTSQUASH | ALLSQUASH,
        Squash::None => 0,
    };
    flags
}

fn rights(line: Line, flags: u32, anonymous: (u32, u32), uuid: Option<&[u8; 16]>) -> Line {
    let line = line.number(flags).number(anonymous.0).number(anonymous.1);
    let mut line = line.number(ROOT_FSID);
    if let Some(uuid) = uuid {
        line = line.word("uuid").bytes(uuid);
    }
    line.word("secinfo")
        .number(1)
        .number(AUTH_UNIX)
        .number(flags)
}

fn text(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::plan::SharePlan;
    use super::*;
    use crate::config::{Network, ShareClient, ShareConfig};

    pub const IN: &str = "10.77.0.100";
    const OUT: &str = "10.78.0.100";
    /// With it a yes holds until 1700000000, a no until 1699998380.
    const NOW: i64 = 1_699_998_200;

    pub fn plan() -> NfsPlan {
        let share = |name: &str, id: u8, access, squash| SharePlan {
            name: name.to_owned(),
            volume: name.to_owned(),
            node: "/dev/dm-1".into(),
            bytes: 1 << 30,
            place: format!("/run/pool/tank/shares/{name}").into(),
            uuid: [id; 16],
            rules: ShareConfig {
                name: name.to_owned(),
                volume: name.to_owned(),
                clients: ["10.77.0.0/24", "fd00:77::/64"]
                    .map(|network| ShareClient::new(Network::parse(network).unwrap()))
                    .to_vec(),
                access,
                squash,
                check: crate::config::Check::Needed,
                anonymous_uid: 65534,
                anonymous_gid: 65533,
            },
        };
        NfsPlan {
            pool: "tank".to_owned(),
            scope: "scope".to_owned(),
            root: "/run/pool/tank/shares".into(),
            directories: Vec::new(),
            threads: 8,
            lease_s: 30,
            shares: vec![
                share("home", 1, Access::ReadWrite, Squash::Root),
                share("pub", 2, Access::ReadOnly, Squash::All),
            ],
            withheld: Vec::new(),
        }
    }

    fn said(cache: Cache, question: &str) -> String {
        match answer(cache, question.as_bytes(), &plan(), NOW).unwrap() {
            Answer::Now(line) => line,
            Answer::Later => panic!("no answer to {question}"),
        }
    }

    /// What is granted, and that it holds as long as it should.
    fn granted(answer: &str, question: &str) -> String {
        let rest = answer.strip_prefix(question).unwrap();
        let (until, granted) = rest.trim_start().split_once(' ').unwrap();
        let holds = match granted {
            "\n" => NO_S,
            _ => YES_S,
        };
        assert_eq!(until.parse::<i64>().unwrap() - NOW, holds, "{answer}");
        granted.to_owned()
    }

    #[test]
    fn a_client_is_known_by_its_address() {
        for (question, expected) in [
            (
                "nfsd 10.77.0.100\n",
                "nfsd 10.77.0.100 1700000000 10.77.0.100 \n",
            ),
            ("nfsd 10.78.0.100\n", "nfsd 10.78.0.100 1699998380 \n"),
            (
                "nfsd 0000:0000:0000:0000:0000:ffff:0a4d:0064\n",
                "nfsd 0000:0000:0000:0000:0000:ffff:0a4d:0064 1700000000 10.77.0.100 \n",
            ),
            (
                "nfsd fe80:0000:0000:0000:0000:0000:0000:0001\n",
                "nfsd fe80:0000:0000:0000:0000:0000:0000:0001 1699998380 \n",
            ),
            (
                "nfsd fd00:0077:0000:0000:0000:0000:0000:0100\n",
                "nfsd fd00:0077:0000:0000:0000:0000:0000:0100 1700000000 fd00:77::100 \n",
            ),
            ("lockd 10.77.0.100\n", "lockd 10.77.0.100 1699998380 \n"),
        ] {
            assert_eq!(said(Cache::Address, question), expected);
        }
    }

    #[test]
    fn a_handle_leads_to_a_share_that_the_client_may_use_and_to_nothing_else() {
        let of = |client: &str, kind: &str, id: &str| {
            let answer = said(Cache::Handle, &format!("{client} {kind} \\x{id}\n"));
            granted(&answer, &format!("{client} {kind} \\x{id}"))
        };
        let (one, three) = ("01".repeat(16), "03".repeat(16));
        assert_eq!(of(IN, "1", "00000000"), "/run/pool/tank/shares \n");
        for client in [IN, "fd00:77::100"] {
            assert_eq!(of(client, "6", &one), "/run/pool/tank/shares/home \n");
        }
        let with_inode = format!("{}{one}", "80".repeat(8));
        assert_eq!(of(IN, "7", &with_inode), "/run/pool/tank/shares/home \n");
        for (client, kind, id) in [
            (OUT, "6", &one),
            ("fd00:78::100", "6", &one),
            (IN, "6", &three),
            (IN, "1", &"01000000".to_owned()),
            (OUT, "1", &"00000000".to_owned()),
            (IN, "0", &one),
        ] {
            assert_eq!(of(client, kind, id), "\n");
        }
    }

    #[test]
    fn a_share_is_what_its_rules_say() {
        let of = |client: &str, path: &str| {
            let answer = said(Cache::Export, &format!("{client} {path}\n"));
            granted(&answer, &format!("{client} {path}"))
        };
        assert_eq!(
            of(IN, "/run/pool/tank/shares"),
            "91655 65534 65534 0 secinfo 1 1 91655 \n"
        );
        assert_eq!(91655, 0x16607, "read-only, the root of version 4");
        assert_eq!(
            of(IN, "/run/pool/tank/shares/home"),
            format!(
                "{} 65534 65533 0 uuid \\x{} secinfo 1 1 {} \n",
                0x606,
                "01".repeat(16),
                0x606
            )
        );
        assert!(of(IN, "/run/pool/tank/shares/pub").starts_with(&format!("{} ", 0x60f)));
        for (client, path) in [
            (OUT, "/run/pool/tank/shares"),
            (OUT, "/run/pool/tank/shares/home"),
            (IN, "/run/pool/tank/state"),
            (IN, "/"),
        ] {
            assert_eq!(of(client, path), "\n", "{client} {path}");
        }
    }

    #[test]
    fn a_server_that_has_ended_leads_nowhere() {
        let mut ended = plan();
        ended.shares.clear();
        let one = "01".repeat(16);
        for (cache, question) in [
            (Cache::Address, format!("nfsd {IN}\n")),
            (Cache::Handle, format!("{IN} 1 \\x00000000\n")),
            (Cache::Handle, format!("{IN} 6 \\x{one}\n")),
            (Cache::Export, format!("{IN} /run/pool/tank/shares\n")),
            (Cache::Export, format!("{IN} /run/pool/tank/shares/home\n")),
        ] {
            match answer(cache, question.as_bytes(), &ended, NOW).unwrap() {
                Answer::Now(line) => assert_eq!(granted(&line, question.trim_end()), "\n"),
                Answer::Later => panic!("no answer to {question}"),
            }
        }
    }

    #[test]
    fn one_share_is_read_only_for_some_of_its_clients_and_not_for_others() {
        let mut all = plan();
        let mut only_reads = ShareClient::new(Network::parse("10.77.0.100").unwrap());
        only_reads.access = Some(Access::ReadOnly);
        only_reads.squash = Some(Squash::None);
        all.shares[0].rules.clients.push(only_reads);
        let flags = |client: &str| {
            let question = format!("{client} /run/pool/tank/shares/home\n");
            match answer(Cache::Export, question.as_bytes(), &all, NOW).unwrap() {
                Answer::Now(line) => granted(&line, question.trim_end()),
                Answer::Later => panic!("no answer to {question}"),
            }
        };
        let rights = |flags: u32| {
            let id = "01".repeat(16);
            format!("{flags} 65534 65533 0 uuid \\x{id} secinfo 1 1 {flags} \n")
        };
        assert_eq!(
            flags("10.77.0.100"),
            rights(0x603),
            "both of the entry and of its flavour"
        );
        assert_eq!(flags("10.77.0.101"), rights(0x606));
        assert_eq!(flags("fd00:77::100"), rights(0x606));
        assert_eq!(flags(OUT), "\n");
    }

    #[test]
    fn a_share_that_is_withheld_lets_those_wait_that_have_no_other() {
        let mut all = plan();
        all.shares[1].rules.clients.truncate(1);
        let home = all.shares.remove(0);
        all.withheld.push(home);
        let one = "01".repeat(16);
        let inode = "80".repeat(8);
        let only_home = "fd00:77::100";
        let both = IN;
        for client in [only_home, both, OUT] {
            for (cache, question) in [
                (Cache::Handle, format!("{client} 6 \\x{one}\n")),
                (Cache::Handle, format!("{client} 7 \\x{inode}{one}\n")),
                (
                    Cache::Export,
                    format!("{client} /run/pool/tank/shares/home\n"),
                ),
            ] {
                let said = answer(cache, question.as_bytes(), &all, NOW).unwrap();
                match said {
                    Answer::Later => assert_eq!(client, only_home, "{question}"),
                    Answer::Now(line) => {
                        assert_ne!(client, only_home, "{question}");
                        assert_eq!(granted(&line, question.trim_end()), "\n", "{question}");
                    }
                }
            }
        }
        // It is let in, or it would take the server for one that never knew it.
        let who = answer(
            Cache::Address,
            format!("nfsd {only_home}\n").as_bytes(),
            &all,
            NOW,
        );
        let expected = format!("nfsd {only_home} 1700000000 {only_home} \n");
        assert_eq!(who, Ok(Answer::Now(expected)));
        // What nobody has is a no for everybody.
        let unknown = format!("{only_home} 6 \\x{}\n", "03".repeat(16));
        let said = answer(Cache::Handle, unknown.as_bytes(), &all, NOW);
        assert_ne!(said, Ok(Answer::Later));
    }

    #[test]
    fn what_is_no_question_is_said_to_be_none() {
        for (cache, question) in [
            (Cache::Address, &b"nfsd\n"[..]),
            (Cache::Address, b"nfsd nowhere\n"),
            (Cache::Address, b"nfsd \\xff\n"),
            (Cache::Handle, b"10.77.0.100 7 \\x01\n"),
            (Cache::Handle, b"everybody 6 \\x01\n"),
            (Cache::Export, b"\n"),
            (Cache::Export, b"10.77.0.100 /a"),
        ] {
            assert!(
                answer(cache, question, &plan(), NOW).is_err(),
                "{question:?}"
            );
        }
    }
}

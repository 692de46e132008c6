//! Which clients may reclaim their opens and locks after a restart of the server, on whichever head: kept on the pool.
//!
//! ```text
//! start:        those of the last service may reclaim ── unless its own grace had not ended: then those of the one before
//! in grace:     who has reclaimed is of this service, too
//! grace ends:   those of the last service are forgotten
//! ```
//!
//! A client that lost its server twice within one grace period may still reclaim: those of before stay until a grace period
//! has ended. Each change is on the medium before the kernel hears of it ([`Keep`]).
//!
//! What cannot be kept happens all the same, and is kept as soon as that can be: the kernel asks once for a client and once for the end
//! of a grace period, and goes on whatever it is told (`nfsd4_cld_create_v2` and `nfsd4_cld_grace_done` of `fs/nfsd/nfs4recover.c`, 6.12).
//! Were a record forgotten here, nobody would ever bring it again; were the end of a grace period, the next start would take those
//! that came after it for clients that had not reclaimed yet. Only a start that cannot be kept did not happen: there is no server after it.
//!
//! The file has a bound. When all clients are more than that those with the longest names are left out of it, and are there again when there
//! is room: a real client's name is short, and one that makes up long ones harms itself.

use serde::{Deserialize, Serialize};

use super::line::{hex, to_hex};
use super::tracking::{Ask, Client};

/// The file's format.
const FORMAT: u32 = 1;
/// Bytes of the file at most. It stands twice while it is replaced, in a volume of 8 MiB that has clients' reservations as well. It is room for
/// four thousand clients with names of a hundred bytes, those of Linux with some sixty of them; anybody who is let in can make up names of a
/// thousand, as many as the kernel has memory for.
const FILE_MAX: usize = 1 << 20;
/// Bytes of the file for a client, beside the digits of its name and of its principal's hash.
const CLIENT_BYTES: usize = br#"{"name":"","principal":""},"#.len();

/// Where the records are kept: replaced whole, durably, before it returns.
pub type Keep<'a> = dyn FnMut(&[u8]) -> Result<(), String> + 'a;

/// The file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// It is damaged.
    #[error("the records of NFS clients are no records: {0}")]
    Damaged(#[from] serde_json::Error),
    /// A later firmware wrote it.
    #[error("the records of NFS clients have format {0}; this firmware knows {FORMAT}")]
    Format(u32),
    /// A name in it is none.
    #[error("the records of NFS clients: client {0:?} is no hex digits")]
    Name(String),
}

/// The records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// May reclaim until the grace period ends.
    before: Vec<Client>,
    /// Have state now.
    current: Vec<Client>,
    /// A grace period has begun and not ended.
    in_grace: bool,
    /// The file has not all of it.
    is_behind: bool,
    /// Clients for which it has no room.
    left_out: usize,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    in_grace: bool,
    before: Vec<WrittenClient>,
    current: Vec<WrittenClient>,
}

#[derive(Serialize, Deserialize)]
struct WrittenClient {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    principal: String,
}

/// What became of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// What to answer, one for each.
    pub said: Vec<Said>,
    /// Whether the file has it all, or why not.
    pub kept: Result<(), String>,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is so.
    Done,
    /// Whether the client may reclaim.
    Known(bool),
    /// Who may reclaim.
    MayReclaim(Vec<Client>),
    /// Nobody may reclaim any more. Of those that might so many have, and so many have not; nobody at all where
    /// there was no grace period.
    GraceOver {
        /// Have reclaimed, or come back without anything to reclaim.
        back: usize,
        /// Have not been heard of.
        lost: usize,
    },
    /// The version.
    Version,
}

impl Records {
    /// Reads a file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Records, RecordsError> {
        let written: Written = serde_json::from_slice(bytes)?;
        if written.format != FORMAT {
            return Err(RecordsError::Format(written.format));
        }
        let clients = |list: Vec<WrittenClient>| -> Result<Vec<Client>, RecordsError> {
            list.into_iter().map(WrittenClient::read).collect()
        };
        Ok(Records {
            before: clients(written.before)?,
            current: clients(written.current)?,
            in_grace: written.in_grace,
            is_behind: false,
            left_out: 0,
        })
    }

    /// The file, and for how many clients it has no room.
    fn encode(&self) -> (Vec<u8>, usize) {
        let all = self.before.iter().chain(&self.current);
        let mut by_size: Vec<(usize, usize)> = all.map(file_bytes).zip(0..).collect();
        // Of two that are as long, who may reclaim goes first, then who came first.
        by_size.sort_unstable();
        let mut has_room = vec![false; by_size.len()];
        let mut bytes = 0;
        for (size, at) in by_size {
            bytes += size;
            has_room[at] = bytes <= FILE_MAX;
        }
        let (before, current) = has_room.split_at(self.before.len());
        let clients = |list: &[Client], has_room: &[bool]| {
            let kept = list.iter().zip(has_room).filter(|(_, has_room)| **has_room);
            kept.map(|(client, _)| WrittenClient::of(client)).collect()
        };
        let written = Written {
            format: FORMAT,
            in_grace: self.in_grace,
            before: clients(&self.before, before),
            current: clients(&self.current, current),
        };
        let left_out = has_room.iter().filter(|has_room| !**has_room).count();
        // Texts, numbers and lists of them: there is nothing in it that cannot be written.
        (serde_json::to_vec(&written).unwrap_or_default(), left_out)
    }

    /// Does what the kernel wants by these messages, in order, and keeps what came of all of them at once, with what could not be kept before.
    pub fn follow(&mut self, asks: Vec<Ask>, keep: &mut Keep<'_>) -> Followed {
        let old = self.clone();
        let is_start = asks.contains(&Ask::GraceStart);
        let said = asks.into_iter().map(|ask| self.apply(ask)).collect();
        self.is_behind |= *self != old;
        let kept = self.catch_up(keep);
        if is_start && kept.is_err() {
            *self = old;
        }
        Followed { said, kept }
    }

    /// Keeps what is not kept yet.
    pub fn catch_up(&mut self, keep: &mut Keep<'_>) -> Result<(), String> {
        if self.is_behind {
            let (bytes, left_out) = self.encode();
            keep(&bytes)?;
            (self.is_behind, self.left_out) = (false, left_out);
        }
        Ok(())
    }

    /// Keeps them as they are, though there is nothing new in it: who may reclaim must be on the medium again before a server is told, and one
    /// that could not be kept then has answered clients by the time that it is stopped, who would take it for one without their locks.
    pub fn keep_again(&mut self, keep: &mut Keep<'_>) -> Result<(), String> {
        self.is_behind = true;
        self.catch_up(keep)
    }

    /// Clients of which nothing is kept, since the file has no room for them.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether there is something that is not kept yet.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn apply(&mut self, ask: Ask) -> Said {
        match ask {
            Ask::Version => Said::Version,
            Ask::Check(client) => {
                let known = |list: &[Client]| list.iter().any(|known| known.name == client.name);
                Said::Known(known(&self.before) || known(&self.current))
            }
            Ask::Create(client) => {
                self.forget(&client);
                self.current.push(client);
                Said::Done
            }
            Ask::Remove(client) => {
                self.forget(&client);
                Said::Done
            }
            Ask::GraceStart => {
                match self.in_grace {
                    // Who reclaimed in the service that ended too early is among those of before.
                    true => self.current.clear(),
                    false => self.before = std::mem::take(&mut self.current),
                }
                // Without anybody to wait for the kernel has no grace period.
                self.in_grace = !self.before.is_empty();
                Said::MayReclaim(self.before.clone())
            }
            Ask::GraceDone => {
                let came =
                    |client: &&Client| self.current.iter().any(|now| now.name == client.name);
                let back = self.before.iter().filter(came).count();
                let lost = self.before.len() - back;
                self.before.clear();
                self.in_grace = false;
                Said::GraceOver { back, lost }
            }
        }
    }

    fn forget(&mut self, client: &Client) {
        self.current.retain(|known| known.name != client.name);
    }

    /// Clients that have state now, and that may still reclaim it.
    pub fn counts(&self) -> (usize, usize) {
        (self.current.len(), self.before.len())
    }
}

fn file_bytes(client: &Client) -> usize {
    CLIENT_BYTES + 2 * (client.name.len() + client.principal.len())
}

impl WrittenClient {
    fn of(client: &Client) -> WrittenClient {
        WrittenClient {
            name: to_hex(&client.name),
            principal: to_hex(&client.principal),
        }
    }

    fn read(self) -> Result<Client, RecordsError> {
        let read = |digits: String| hex(digits.as_bytes()).ok_or(RecordsError::Name(digits));
        Ok(Client {
            name: read(self.name)?,
            principal: read(self.principal)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tracking::tests::client;
    use super::*;

    /// A server that is started and stopped on the same file.
    #[derive(Default)]
    struct Medium(Vec<u8>);

    impl Medium {
        fn open(&self) -> Records {
            match self.0.is_empty() {
                true => Records::default(),
                false => Records::parse(&self.0).unwrap(),
            }
        }

        fn start(&mut self) -> (Records, Vec<Client>) {
            let mut records = self.open();
            match self.tell(&mut records, Ask::GraceStart) {
                Said::MayReclaim(clients) => (records, clients),
                other => panic!("{other:?}"),
            }
        }

        fn tell(&mut self, records: &mut Records, ask: Ask) -> Said {
            let mut followed = records.follow(vec![ask], &mut |bytes| {
                self.0 = bytes.to_vec();
                Ok(())
            });
            assert_eq!(followed.kept, Ok(()));
            assert_eq!(self.open(), *records, "what is said is what is kept");
            followed.said.pop().unwrap()
        }

        /// The same while nothing can be written.
        fn tell_in_vain(records: &mut Records, ask: Ask) -> Said {
            let mut followed = records.follow(vec![ask], &mut |_| Err("no space".to_owned()));
            assert_eq!(followed.kept, Err("no space".to_owned()));
            followed.said.pop().unwrap()
        }
    }

    #[test]
    fn clients_of_the_last_service_may_reclaim_until_its_grace_period_ends() {
        let mut medium = Medium::default();
        let (mut records, nobody) = medium.start();
        assert_eq!(nobody, []);
        medium.tell(&mut records, Ask::Create(client("one")));
        medium.tell(&mut records, Ask::Create(client("two")));
        medium.tell(&mut records, Ask::Create(client("two")));
        medium.tell(&mut records, Ask::Remove(client("one")));
        let (mut records, old) = medium.start();
        assert_eq!(old, [client("two")]);
        let over = medium.tell(&mut records, Ask::GraceDone);
        assert_eq!(over, Said::GraceOver { back: 0, lost: 1 });
        // It did not come back in time.
        let (_, old) = medium.start();
        assert_eq!(old, []);
    }

    #[test]
    fn a_second_loss_within_the_grace_period_takes_nobodys_locks() {
        let mut medium = Medium::default();
        let (mut records, _) = medium.start();
        medium.tell(&mut records, Ask::Create(client("one")));
        medium.tell(&mut records, Ask::Create(client("two")));
        // Of two clients one has reclaimed when the next head dies, too.
        let (mut records, old) = medium.start();
        assert_eq!(old.len(), 2);
        medium.tell(&mut records, Ask::Create(client("one")));
        let (mut records, mut old) = medium.start();
        old.sort();
        assert_eq!(old, [client("one"), client("two")]);
        medium.tell(&mut records, Ask::Create(client("two")));
        medium.tell(&mut records, Ask::Create(client("one")));
        // One that is new is none that came back.
        medium.tell(&mut records, Ask::Create(client("three")));
        let over = medium.tell(&mut records, Ask::GraceDone);
        assert_eq!(over, Said::GraceOver { back: 2, lost: 0 });
        let (_, old) = medium.start();
        assert_eq!(old, [client("two"), client("one"), client("three")]);
    }

    #[test]
    fn without_anybody_to_wait_for_there_is_no_grace_period_and_who_comes_then_may_reclaim() {
        let mut medium = Medium::default();
        let (mut records, _) = medium.start();
        // The kernel ends at once what it did not begin.
        let over = medium.tell(&mut records, Ask::GraceDone);
        assert_eq!(over, Said::GraceOver { back: 0, lost: 0 });
        medium.tell(&mut records, Ask::Create(client("one")));
        let (_, old) = medium.start();
        assert_eq!(old, [client("one")]);
    }

    #[test]
    fn a_record_that_could_not_be_kept_is_kept_with_the_next_message_that_can_be() {
        let mut medium = Medium::default();
        let (mut records, _) = medium.start();
        Medium::tell_in_vain(&mut records, Ask::Create(client("one")));
        assert!(records.is_behind());
        // The kernel does not bring it again; a question that changes nothing is enough.
        let known = medium.tell(&mut records, Ask::Check(client("one")));
        assert_eq!(known, Said::Known(true));
        assert!(!records.is_behind());
        let (_, old) = medium.start();
        assert_eq!(old, [client("one")]);
    }

    #[test]
    fn the_end_of_a_grace_period_that_could_not_be_kept_takes_no_locks_of_those_after_it() {
        let mut medium = Medium::default();
        let (mut records, _) = medium.start();
        medium.tell(&mut records, Ask::Create(client("old")));
        let (mut records, _) = medium.start();
        let over = Medium::tell_in_vain(&mut records, Ask::GraceDone);
        assert_eq!(over, Said::GraceOver { back: 0, lost: 1 });
        medium.tell(&mut records, Ask::Create(client("new")));
        // What the old one had was free, and the new one may have it.
        let (_, old) = medium.start();
        assert_eq!(old, [client("new")]);
    }

    #[test]
    fn a_start_that_cannot_be_kept_did_not_happen() {
        let mut medium = Medium::default();
        let (mut records, _) = medium.start();
        medium.tell(&mut records, Ask::Create(client("one")));
        Medium::tell_in_vain(&mut records, Ask::GraceStart);
        assert_eq!(records, medium.open());
        assert!(!records.is_behind());
    }

    #[test]
    fn messages_that_came_together_are_kept_by_one_write() {
        let mut records = Records::default();
        let names: Vec<String> = (0..64).map(|n| format!("client {n}")).collect();
        let asks = names.iter().map(|name| Ask::Create(client(name)));
        let mut writes = 0;
        let followed = records.follow(asks.collect(), &mut |_| {
            writes += 1;
            Ok(())
        });
        assert_eq!(followed.said, vec![Said::Done; 64]);
        assert_eq!((records.counts(), writes), ((64, 0), 1));
    }

    #[test]
    fn names_that_somebody_makes_up_leave_room_on_the_volume_and_in_the_file_for_everybody_else() {
        let mut records = Records::default();
        let mut file = Vec::new();
        let mut follow = |records: &mut Records, asks: Vec<Ask>| {
            let followed = records.follow(asks, &mut |bytes| {
                file = bytes.to_vec();
                Ok(())
            });
            assert_eq!(followed.kept, Ok(()));
            assert!(file.len() <= FILE_MAX + 100, "{} bytes", file.len());
            Records::parse(&file).unwrap().current
        };
        let long = |n: usize| client(&format!("{n:01024}"));
        let short = |n: usize| client(&format!("Linux NFSv4.2 host{n}.example.org"));
        let kept = follow(
            &mut records,
            (0..2000).map(|n| Ask::Create(long(n))).collect(),
        );
        assert_eq!(kept.len() + records.left_out(), 2000);
        let kept = follow(
            &mut records,
            (0..1000).map(|n| Ask::Create(short(n))).collect(),
        );
        assert!((0..1000).all(|n| kept.contains(&short(n))));
        assert!(records.left_out() > 1500);
        // Who was left out is kept as soon as there is room.
        let kept = follow(
            &mut records,
            (0..1900).map(|n| Ask::Remove(long(n))).collect(),
        );
        assert_eq!((kept.len(), records.left_out()), (1100, 0));
        assert!(kept.contains(&long(1999)));
    }

    #[test]
    fn a_file_that_is_none_is_an_error_and_not_an_empty_one() {
        for (bytes, said) in [
            (&b"{"[..], "no records"),
            (
                br#"{"format":2,"in_grace":false,"before":[],"current":[]}"#,
                "format 2",
            ),
            (
                br#"{"format":1,"in_grace":false,"before":[],"current":[{"name":"xy"}]}"#,
                "\"xy\"",
            ),
        ] {
            let error = Records::parse(bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let golden = br#"{"format":1,"in_grace":true,"before":[{"name":"6f6e65"}],"current":[]}"#;
        let records = Records::parse(golden).unwrap();
        assert_eq!(records.before, [client("one")]);
        assert_eq!(records.encode(), (golden.to_vec(), 0));
    }
}

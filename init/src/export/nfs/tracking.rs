//! Messages about clients between nfsd and who keeps its records: `include/uapi/linux/nfsd/cld.h`, packed, in the machine's
//! byte order.
//!
//! ```text
//! 0 version u8 │ 1 command u8 │ 2 status s16 │ 4 xid u32 │ 8 length of the name u16 │ 10 name, 1024 bytes
//!                                                        │ 1034 length of the principal's hash u8 │ 1035 hash, 32 bytes
//! ```
//!
//! A version 1 message ends before the hash; only the question for the version comes in one. An answer is the message
//! with a status in it.

/// Bytes of a message of version 1 and 2.
const V1_BYTES: usize = 1034;
const V2_BYTES: usize = 1067;
/// `NFS4_OPAQUE_LIMIT`.
const NAME_MAX: usize = 1024;
/// `SHA256_DIGEST_SIZE`.
const HASH_MAX: usize = 32;

const AT_STATUS: usize = 2;
const AT_NAME_LENGTH: usize = 8;
const AT_NAME: usize = 10;
const AT_HASH_LENGTH: usize = 1034;
const AT_HASH: usize = 1035;

/// `-EINPROGRESS`: one of several answers.
const IN_PROGRESS: i16 = -115;
/// `-EACCES`: no such client.
const UNKNOWN: i16 = -13;
/// `-EIO`.
const NOT_KEPT: i16 = -5;
/// The version that is spoken here.
const VERSION: u8 = 2;

/// A client as it calls itself (`co_ownerid` of RFC 8881), and the hash of its principal, empty without Kerberos.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// Its name: 1 to 1024 bytes of anything.
    pub name: Vec<u8>,
    /// The hash.
    pub principal: Vec<u8>,
}

/// What the kernel wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A client has state now: it may reclaim it after a restart.
    Create(Client),
    /// It has none any more.
    Remove(Client),
    /// Whether it may reclaim.
    Check(Client),
    /// The grace period is over.
    GraceDone,
    /// The server starts: who may reclaim?
    GraceStart,
    /// Which version is spoken here.
    Version,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Neither version's size.
    #[error("it has {0} bytes, where {V1_BYTES} or {V2_BYTES} were expected")]
    Size(usize),
    /// A command of a later kernel.
    #[error("command {0} is not known")]
    Command(u8),
    /// A name or hash longer than its field.
    #[error("a field of {0} bytes is longer than its place")]
    Field(usize),
}

/// A message as it came, for its answer.
#[derive(Clone, Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<(Message, Ask), MessageError> {
        if ![V1_BYTES, V2_BYTES].contains(&bytes.len()) {
            return Err(MessageError::Size(bytes.len()));
        }
        let ask = match bytes[1] {
            0 => Ask::Create(client(bytes)?),
            1 => Ask::Remove(client(bytes)?),
            2 => Ask::Check(client(bytes)?),
            3 => Ask::GraceDone,
            4 => Ask::GraceStart,
            5 => Ask::Version,
            other => return Err(MessageError::Command(other)),
        };
        Ok((Message(bytes.to_vec()), ask))
    }

    /// An answer for a message that is not understood, where there is one.
    pub fn refusal(bytes: &[u8]) -> Option<Vec<u8>> {
        let known = [V1_BYTES, V2_BYTES].contains(&bytes.len());
        // -EOPNOTSUPP, which the kernel takes for an older daemon.
        known.then(|| Message(bytes.to_vec()).with_status(-95))
    }

    /// It is done, and kept.
    pub fn done(self) -> Vec<u8> {
        self.with_status(0)
    }

    /// It could not be kept.
    pub fn failed(self) -> Vec<u8> {
        self.with_status(NOT_KEPT)
    }

    /// The answer to a check.
    pub fn checked(self, is_known: bool) -> Vec<u8> {
        self.with_status(if is_known { 0 } else { UNKNOWN })
    }

    /// The version that is spoken here.
    pub fn version(mut self) -> Vec<u8> {
        self.0[AT_NAME_LENGTH] = VERSION;
        self.with_status(0)
    }

    /// One client that may reclaim; [`Message::done`] comes after the last one.
    pub fn may_reclaim(&self, client: &Client) -> Result<Vec<u8>, MessageError> {
        let mut answer = self.clone().with_status(IN_PROGRESS);
        put(&mut answer, AT_NAME, &client.name, NAME_MAX)?;
        let length = client.name.len() as u16;
        answer[AT_NAME_LENGTH..AT_NAME].copy_from_slice(&length.to_ne_bytes());
        if answer.len() == V2_BYTES {
            put(&mut answer, AT_HASH, &client.principal, HASH_MAX)?;
            answer[AT_HASH_LENGTH] = client.principal.len() as u8;
        }
        Ok(answer)
    }

    fn with_status(mut self, status: i16) -> Vec<u8> {
        self.0[AT_STATUS..AT_STATUS + 2].copy_from_slice(&status.to_ne_bytes());
        self.0
    }
}

fn put(answer: &mut [u8], at: usize, bytes: &[u8], most: usize) -> Result<(), MessageError> {
    if bytes.len() > most {
        return Err(MessageError::Field(bytes.len()));
    }
    answer[at..at + bytes.len()].copy_from_slice(bytes);
    Ok(())
}

fn client(bytes: &[u8]) -> Result<Client, MessageError> {
    let length = usize::from(u16::from_ne_bytes([
        bytes[AT_NAME_LENGTH],
        bytes[AT_NAME_LENGTH + 1],
    ]));
    if length == 0 || length > NAME_MAX {
        return Err(MessageError::Field(length));
    }
    let hash = match bytes.get(AT_HASH_LENGTH) {
        Some(length) if usize::from(*length) > HASH_MAX => {
            return Err(MessageError::Field(usize::from(*length)));
        }
        Some(length) => &bytes[AT_HASH..AT_HASH + usize::from(*length)],
        None => &[],
    };
    Ok(Client {
        name: bytes[AT_NAME..AT_NAME + length].to_vec(),
        principal: hash.to_vec(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message of the kernel's.
    pub fn message(command: u8, client: Option<&Client>) -> Vec<u8> {
        let mut bytes = vec![0; V2_BYTES];
        (bytes[0], bytes[1]) = (2, command);
        bytes[4..8].copy_from_slice(&0x0102_0304_u32.to_ne_bytes());
        if let Some(client) = client {
            bytes[8..10].copy_from_slice(&(client.name.len() as u16).to_ne_bytes());
            bytes[10..10 + client.name.len()].copy_from_slice(&client.name);
            bytes[1034] = client.principal.len() as u8;
            bytes[1035..1035 + client.principal.len()].copy_from_slice(&client.principal);
        }
        bytes
    }

    pub fn client(name: &str) -> Client {
        Client {
            name: name.as_bytes().to_vec(),
            principal: Vec::new(),
        }
    }

    #[test]
    fn messages_are_what_the_kernel_sends_and_takes() {
        let mut sent = client("Linux NFSv4.2 client");
        sent.principal = vec![7; 32];
        for (command, ask) in [
            (0, Ask::Create(sent.clone())),
            (1, Ask::Remove(sent.clone())),
            (2, Ask::Check(sent.clone())),
            (3, Ask::GraceDone),
            (4, Ask::GraceStart),
        ] {
            let bytes = message(command, Some(&sent));
            let (kept, parsed) = Message::parse(&bytes).unwrap();
            assert_eq!(parsed, ask);
            // The same bytes but for the status.
            assert_eq!(kept.done(), bytes);
        }
        let (start, _) = Message::parse(&message(4, None)).unwrap();
        let mut told = start.may_reclaim(&sent).unwrap();
        assert_eq!(told[2..4], (-115i16).to_ne_bytes());
        told[2..4].fill(0);
        assert_eq!(told, message(4, Some(&sent)));
        let (check, _) = Message::parse(&message(2, Some(&sent))).unwrap();
        assert_eq!(check.checked(false)[2..4], (-13i16).to_ne_bytes());
    }

    #[test]
    fn the_version_is_asked_for_in_the_short_form() {
        let mut question = vec![0; V1_BYTES];
        (question[0], question[1]) = (1, 5);
        let (kept, ask) = Message::parse(&question).unwrap();
        assert_eq!(ask, Ask::Version);
        let answer = kept.version();
        assert_eq!((answer.len(), answer[8]), (V1_BYTES, 2));
        // A list in the short form has no room for a hash, and needs none.
        question[1] = 4;
        let (start, _) = Message::parse(&question).unwrap();
        assert_eq!(start.may_reclaim(&client("c")).unwrap().len(), V1_BYTES);
    }

    #[test]
    fn what_is_no_message_is_an_error_and_never_a_longer_name() {
        assert_eq!(Message::parse(&[0; 7]).unwrap_err(), MessageError::Size(7));
        assert!(Message::refusal(&[0; 7]).is_none());
        let unknown = message(9, None);
        assert_eq!(
            Message::parse(&unknown).unwrap_err(),
            MessageError::Command(9)
        );
        assert_eq!(
            Message::refusal(&unknown).unwrap()[2..4],
            (-95i16).to_ne_bytes()
        );
        let mut long = message(0, Some(&client("c")));
        long[8..10].copy_from_slice(&1025u16.to_ne_bytes());
        assert_eq!(
            Message::parse(&long).unwrap_err(),
            MessageError::Field(1025)
        );
        let mut hash = message(0, Some(&client("c")));
        hash[1034] = 33;
        assert_eq!(Message::parse(&hash).unwrap_err(), MessageError::Field(33));
        let (start, _) = Message::parse(&message(4, None)).unwrap();
        let refused = start.may_reclaim(&client(&"n".repeat(1025)));
        assert_eq!(refused.unwrap_err(), MessageError::Field(1025));
    }
}

//! The commands, answered by a controller in memory that does what the specification says.

use std::sync::{Arc, Mutex};

use super::super::report::tests::report;
use super::*;
use crate::fence::reservations::Holder;
use crate::sync::lock;

const CLUSTER: &str = "lab";
const A: HeadId = HeadId::First;
const B: HeadId = HeadId::Second;

/// A namespace: who is registered, and who holds it.
#[derive(Default)]
struct Shelf {
    registrants: Vec<(u64, HostId)>,
    holder: Option<(HostId, u8)>,
    /// RESCAP.
    can: u8,
    persists: bool,
}

/// One controller of it.
#[derive(Clone)]
struct Controller {
    shelf: Arc<Mutex<Shelf>>,
    host: Arc<Mutex<HostId>>,
    /// Told once.
    takes_host: bool,
    has_reservations: bool,
}

impl Controller {
    fn new(shelf: &Arc<Mutex<Shelf>>) -> Controller {
        Controller {
            shelf: shelf.clone(),
            host: Arc::default(),
            takes_host: true,
            has_reservations: true,
        }
    }

    fn admin(&self, command: Command, data: &mut [u8]) -> Status {
        match (command.opcode, command.dword_10, command.dword_11) {
            (IDENTIFY, OF_CONTROLLER, _) => {
                (data[96], data[520]) = (1, u8::from(self.has_reservations) << 5);
            }
            (IDENTIFY, OF_NAMESPACE, _) if command.namespace == 1 => {
                data[31] = lock(&self.shelf).can;
            }
            (GET_FEATURES, HOST_IDENTIFIER, OF_128_BITS) => {
                data.copy_from_slice(&*lock(&self.host))
            }
            (SET_FEATURES, HOST_IDENTIFIER, OF_128_BITS) if self.takes_host => {
                lock(&self.host).copy_from_slice(data);
            }
            _ => return INVALID_FIELD,
        }
        GOOD
    }

    fn io(&self, command: Command, data: &mut [u8]) -> Status {
        let host = *lock(&self.host);
        let mut shelf = lock(&self.shelf);
        assert_eq!(command.namespace, 1);
        if command.opcode == RESERVATION_REPORT {
            assert_eq!(command.dword_10 as usize, data.len() / 4 - 1);
            assert_eq!(command.dword_11, 1);
            let holds = |one: &HostId| shelf.holder.is_some_and(|(holder, _)| holder == *one);
            let registrants = shelf.registrants.iter();
            let registrants: Vec<_> = registrants
                .map(|(key, host)| (*key, *host, holds(host)))
                .collect();
            let kind = shelf.holder.map_or(0, |(_, kind)| kind);
            data.copy_from_slice(&report(kind, &registrants));
            data[9] = shelf.persists.into();
            return GOOD;
        }
        if host == HostId::default() {
            return Status(0x18);
        }
        let word = |at: usize| {
            data.get(at..at + 8)
                .map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
        };
        let (current, other) = (word(0), word(8));
        let action = command.dword_10 & 7;
        let ignore = command.dword_10 & IGNORE_KEY != 0;
        let kind = (command.dword_10 >> 8) as u8;
        let own = shelf.registrants.iter().position(|(_, one)| *one == host);
        let own_key = own.map(|at| shelf.registrants[at].0);
        match (command.opcode, action) {
            (REGISTER, ACTION_REGISTER) if own_key.is_none_or(|key| key == other) => {
                if command.dword_10 & PERSIST != 0 {
                    if shelf.can & 1 == 0 {
                        return INVALID_FIELD;
                    }
                    shelf.persists = true;
                }
                if own.is_none() {
                    shelf.registrants.push((other, host));
                }
            }
            (REGISTER, ACTION_REPLACE | ACTION_UNREGISTER)
                if own.is_some() && (ignore || own_key == Some(current)) =>
            {
                let at = own.unwrap();
                if action == ACTION_REPLACE {
                    shelf.registrants[at].0 = other;
                } else {
                    shelf.registrants.remove(at);
                    shelf.holder.take_if(|(holder, _)| *holder == host);
                }
            }
            (ACQUIRE, ACTION_ACQUIRE)
                if own_key == Some(current)
                    && shelf.holder.is_none_or(|holder| holder == (host, kind)) =>
            {
                shelf.holder = Some((host, kind));
            }
            (ACQUIRE, ACTION_PREEMPT | ACTION_PREEMPT_AND_ABORT)
                if own_key == Some(current)
                    && shelf.registrants.iter().any(|(key, _)| *key == other) =>
            {
                let holder = shelf.holder.map(|(holder, _)| holder);
                let victims: Vec<HostId> = shelf
                    .registrants
                    .extract_if(.., |(key, _)| *key == other)
                    .map(|(_, host)| host)
                    .collect();
                if holder.is_some_and(|holder| victims.contains(&holder)) {
                    shelf.holder = Some((host, kind));
                }
            }
            (RELEASE, 0) if own_key == Some(current) => {
                assert_eq!(data.len(), 8);
                shelf.holder.take_if(|holder| *holder == (host, kind));
            }
            _ => return CONFLICT,
        }
        GOOD
    }
}

impl Device for Controller {
    fn execute(
        &self,
        queue: Queue,
        command: Command,
        data: &mut [u8],
        _timeout: Duration,
    ) -> Result<Status, Trouble> {
        Ok(match queue {
            Queue::Admin => self.admin(command, data),
            Queue::Io => self.io(command, data),
        })
    }
}

fn shelf() -> Arc<Mutex<Shelf>> {
    Arc::new(Mutex::new(Shelf {
        can: 0b1001,
        ..Shelf::default()
    }))
}

fn head(controller: Controller, head: HeadId) -> Commands<Controller> {
    let identity = Identity::new(ClusterId::from_name(CLUSTER), head);
    Commands::new(controller, 1, identity)
}

fn key(head: HeadId, epoch: u32) -> u64 {
    Key {
        cluster: ClusterId::from_name(CLUSTER),
        head,
        epoch: Epoch(epoch),
    }
    .to_bits()
}

#[test]
fn a_controller_that_knows_no_host_is_told_the_same_after_each_reset_and_another_one_for_each_head()
{
    let shelf = shelf();
    let hosts = [A, B].map(|one| {
        let controller = Controller::new(&shelf);
        assert!(
            head(controller.clone(), one)
                .report()
                .unwrap()
                .hosts
                .is_empty()
        );
        let told = *lock(&controller.host);
        // It was reset.
        *lock(&controller.host) = HostId::default();
        head(controller.clone(), one).report().unwrap();
        assert_eq!(*lock(&controller.host), told);
        told
    });
    assert_ne!(hosts[0], hosts[1]);
    assert!(hosts.iter().all(|host| host.starts_with(b"orthrus\0")));
}

#[test]
fn an_identifier_that_is_there_stays() {
    let controller = Controller::new(&shelf());
    *lock(&controller.host) = [7; 16];
    head(controller.clone(), A).report().unwrap();
    assert_eq!(*lock(&controller.host), [7; 16]);
}

#[test]
fn a_controller_that_takes_no_identifier_is_an_error_and_not_without_reservations() {
    let mut controller = Controller::new(&shelf());
    controller.takes_host = false;
    let read = head(controller.clone(), A).report();
    assert!(matches!(read, Err(ReadError::Call { step, .. }) if step.starts_with("SET FEATURES")));
    assert!(matches!(
        head(controller, A).register(None, 5),
        Answer::Failed(_)
    ));
}

#[test]
fn without_the_commands_or_the_type_there_are_no_reservations() {
    let mut controller = Controller::new(&shelf());
    controller.has_reservations = false;
    assert_eq!(head(controller, A).report(), Err(ReadError::Unsupported));
    let shelf = shelf();
    lock(&shelf).can = 1;
    let controller = Controller::new(&shelf);
    assert_eq!(
        head(controller.clone(), A).report(),
        Err(ReadError::Unsupported)
    );
    // And nothing was told it.
    assert_eq!(*lock(&controller.host), HostId::default());
}

#[test]
fn a_head_registers_reserves_and_replaces_its_own_key_whatever_it_was() {
    let shelf = shelf();
    let a = head(Controller::new(&shelf), A);
    assert_eq!(a.register(None, key(A, 1)), Answer::Good);
    assert_eq!(a.register(None, key(A, 1)), Answer::Good);
    assert_eq!(a.acquire(ACTION_ACQUIRE, [key(A, 1), 0]), Answer::Good);
    assert_eq!(a.register(None, key(A, 2)), Answer::Good);
    let read = a.report().unwrap();
    assert_eq!(read.seen.keys, [key(A, 2)]);
    let kind = WRITE_EXCLUSIVE_REGISTRANTS_ONLY;
    let holder = Holder {
        key: key(A, 2),
        kind,
    };
    assert_eq!(read.seen.holder, Some(holder));
    assert!(read.persists);
    assert_eq!(a.register(Some(key(A, 1)), 0), Answer::Conflict);
    assert_eq!(a.register(Some(key(A, 2)), 0), Answer::Good);
    assert!(a.report().unwrap().seen.keys.is_empty());
}

#[test]
fn a_namespace_that_keeps_nothing_is_not_asked_to() {
    let shelf = shelf();
    lock(&shelf).can = 1 << 3;
    let a = head(Controller::new(&shelf), A);
    assert_eq!(a.register(None, key(A, 1)), Answer::Good);
    assert!(!a.report().unwrap().persists);
}

#[test]
fn a_rival_is_preempted_and_its_reservation_taken_over() {
    let shelf = shelf();
    let (a, b) = (
        head(Controller::new(&shelf), A),
        head(Controller::new(&shelf), B),
    );
    a.register(None, key(A, 1));
    a.acquire(ACTION_ACQUIRE, [key(A, 1), 0]);
    assert_eq!(b.report().unwrap().seen.keys, [key(A, 1)]);
    assert_eq!(b.acquire(ACTION_ACQUIRE, [key(B, 2), 0]), Answer::Conflict);
    b.register(None, key(B, 2));
    assert_eq!(b.acquire(ACTION_ACQUIRE, [key(B, 2), 0]), Answer::Conflict);
    let keys = [key(B, 2), key(A, 1)];
    assert_eq!(b.acquire(ACTION_PREEMPT_AND_ABORT, keys), Answer::Good);
    let read = a.report().unwrap();
    assert_eq!(read.seen.keys, [key(B, 2)]);
    assert_eq!(read.seen.holder.unwrap().key, key(B, 2));
}

#[test]
fn two_heads_that_a_controller_takes_for_one_host_get_no_further_than_a_survey() {
    let shelf = shelf();
    let (one, other) = (Controller::new(&shelf), Controller::new(&shelf));
    for controller in [&one, &other] {
        *lock(&controller.host) = [7; 16];
    }
    let (a, b) = (head(one, A), head(other, B));
    a.register(None, key(A, 1));
    assert!(a.report().is_ok());
    assert_eq!(b.report(), Err(ReadError::SharedIdentifier));
    // A stranger's, too.
    lock(&shelf).registrants[0].0 = 5;
    assert_eq!(a.report(), Err(ReadError::SharedIdentifier));
}

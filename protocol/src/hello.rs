//! The fixed 16 bytes that open every connection inside its TLS, laid out by hand, so that a mismatch
//! of versions yields a sentence rather than garbage.
//!
//! ```text
//! worker → manager   "CGRD"  version_min u16  version_max u16  kind u8   7 × 0
//! manager → worker   "CGRD"  version_min u16  version_max u16  chosen u16 (0: none)  6 × 0
//! ```
//!
//! Integers are little-endian. A later version may give the zeros a meaning.

use crate::message::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};

/// Bytes of a hello, either way.
pub const HELLO_BYTES: usize = 16;

const MAGIC: [u8; 4] = *b"CGRD";

/// The first byte of every hello; TLS begins with another.
pub const FIRST_BYTE: u8 = MAGIC[0];

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionKind {
    Control,
    Bulk,
    /// Of a machine that has no certificate yet.
    Enrolment,
}

/// Why two ends cannot talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    #[error("the other end does not speak CampusGrid")]
    NotCampusGrid,
    #[error(
        "worker speaks protocol {worker_min} to {worker_max}, manager {manager_min} to {manager_max}: \
         update the {}", if worker_max < manager_min { "worker" } else { "manager" }
    )]
    Version { worker_min: u16, worker_max: u16, manager_min: u16, manager_max: u16 },
    #[error("kind of connection {kind} is unknown")]
    Kind { kind: u8 },
}

/// The hello that a worker sends. A manager speaks with older workers, not a worker with older
/// managers: the one machine of the two that an operator has at hand is brought up to date first.
pub fn from_worker(kind: ConnectionKind) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes[6..8].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes[8] = match kind {
        ConnectionKind::Control => 1,
        ConnectionKind::Bulk => 2,
        ConnectionKind::Enrolment => 3,
    };
    bytes
}

/// Reads a worker's hello and chooses the newest version that both ends speak.
///
/// # Errors
///
/// All of [`HelloError`].
pub fn on_manager(bytes: &[u8; HELLO_BYTES]) -> Result<(u16, ConnectionKind), HelloError> {
    if bytes[..4] != MAGIC {
        return Err(HelloError::NotCampusGrid);
    }
    let (worker_min, worker_max) = versions(bytes);
    let chosen = worker_max.min(PROTOCOL_VERSION);
    if chosen < worker_min.max(PROTOCOL_VERSION_MIN) {
        return Err(HelloError::Version {
            worker_min,
            worker_max,
            manager_min: PROTOCOL_VERSION_MIN,
            manager_max: PROTOCOL_VERSION,
        });
    }
    match bytes[8] {
        1 => Ok((chosen, ConnectionKind::Control)),
        2 => Ok((chosen, ConnectionKind::Bulk)),
        3 => Ok((chosen, ConnectionKind::Enrolment)),
        kind => Err(HelloError::Kind { kind }),
    }
}

/// The manager's answer to a hello; 0 for `chosen` turns it down.
pub fn from_manager(chosen: u16) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..6].copy_from_slice(&PROTOCOL_VERSION_MIN.to_le_bytes());
    bytes[6..8].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes[8..10].copy_from_slice(&chosen.to_le_bytes());
    bytes
}

/// Reads the manager's answer: the version to speak, which is one that this build knows.
///
/// # Errors
///
/// `NotCampusGrid` and `Version`.
pub fn on_worker(bytes: &[u8; HELLO_BYTES]) -> Result<u16, HelloError> {
    if bytes[..4] != MAGIC {
        return Err(HelloError::NotCampusGrid);
    }
    let chosen = u16::from_le_bytes([bytes[8], bytes[9]]);
    if chosen != PROTOCOL_VERSION {
        let (manager_min, manager_max) = versions(bytes);
        return Err(HelloError::Version {
            worker_min: PROTOCOL_VERSION,
            worker_max: PROTOCOL_VERSION,
            manager_min,
            manager_max,
        });
    }
    Ok(chosen)
}

fn versions(bytes: &[u8; HELLO_BYTES]) -> (u16, u16) {
    (u16::from_le_bytes([bytes[4], bytes[5]]), u16::from_le_bytes([bytes[6], bytes[7]]))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::{ConnectionKind, HELLO_BYTES, from_manager, from_worker, on_manager, on_worker};
    use crate::message::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};

    fn bytes(start: &[u8]) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..start.len()].copy_from_slice(start);
        bytes
    }

    fn check(hello: &[u8], manager: &Expect) {
        let answer = on_manager(&bytes(hello));
        let words = answer
            .map(|(version, kind)| format!("{version} {kind:?}"))
            .unwrap_or_else(|error| error.to_string());
        manager.assert_eq(&words);
    }

    #[test]
    fn the_layout_stays() {
        assert_eq!(from_worker(ConnectionKind::Control), bytes(b"CGRD\x05\0\x05\0\x01"));
        assert_eq!(from_worker(ConnectionKind::Bulk), bytes(b"CGRD\x05\0\x05\0\x02"));
        assert_eq!(from_worker(ConnectionKind::Enrolment), bytes(b"CGRD\x05\0\x05\0\x03"));
        assert_eq!(from_manager(0x0102), bytes(b"CGRD\x04\0\x05\0\x02\x01"));
    }

    #[test]
    fn the_newest_version_that_both_speak_is_chosen() {
        check(b"CGRD\x05\0\x05\0\x01", &expect!["5 Control"]);
        check(b"CGRD\x05\0\x05\0\x03", &expect!["5 Enrolment"]);
        check(b"CGRD\x04\0\x04\0\x03", &expect!["4 Enrolment"]);
        check(b"CGRD\x04\0\x04\0\x01", &expect!["4 Control"]);
        check(b"CGRD\x04\0\x04\0\x02", &expect!["4 Bulk"]);
        check(b"CGRD\x03\0\x09\0\x01", &expect!["5 Control"]);
        check(b"CGRD\0\0\xff\xff\x01", &expect!["5 Control"]);
    }

    #[test]
    fn what_the_zeros_say_is_left_to_later_versions() {
        check(b"CGRD\x04\0\x04\0\x01\xff\xff\xff\xff\xff\xff\xff", &expect!["4 Control"]);
    }

    #[test]
    fn a_mismatch_yields_a_sentence_that_says_what_to_do() {
        check(
            b"CGRD\x06\0\x07\0\x01",
            &expect!["worker speaks protocol 6 to 7, manager 4 to 5: update the manager"],
        );
        check(
            b"CGRD\x03\0\x03\0\x01",
            &expect!["worker speaks protocol 3 to 3, manager 4 to 5: update the worker"],
        );
        check(
            b"CGRD\0\0\0\0\x01",
            &expect!["worker speaks protocol 0 to 0, manager 4 to 5: update the worker"],
        );
        check(
            b"CGRD\x07\0\x03\0\x01",
            &expect!["worker speaks protocol 7 to 3, manager 4 to 5: update the worker"],
        );
    }

    #[test]
    fn garbage_is_told_apart() {
        check(b"", &expect!["the other end does not speak CampusGrid"]);
        check(b"GET / HTTP/1.1\r\n", &expect!["the other end does not speak CampusGrid"]);
        check(b"\x16\x03\x01\x02\0\x01", &expect!["the other end does not speak CampusGrid"]);
        check(b"cgrd\x03\0\x03\0\x01", &expect!["the other end does not speak CampusGrid"]);
        check(b"CGRD\x04\0\x04\0\0", &expect!["kind of connection 0 is unknown"]);
        check(b"CGRD\x05\0\x05\0\x04", &expect!["kind of connection 4 is unknown"]);
    }

    #[test]
    fn a_worker_takes_only_an_answer_that_it_can_speak() {
        assert_eq!(on_worker(&from_manager(PROTOCOL_VERSION)), Ok(PROTOCOL_VERSION));
        let older = "worker speaks protocol 5 to 5, manager 3 to 4: update the manager";
        let newer = "worker speaks protocol 5 to 5, manager 6 to 7: update the worker";
        for (answer, words) in [
            (bytes(b"CGRD\x03\0\x04\0\0\0"), older),
            (bytes(b"CGRD\x03\0\x04\0\x04\0"), older),
            (bytes(b"CGRD\x06\0\x07\0\0\0"), newer),
            (bytes(b"CGRD\x06\0\x07\0\x07\0"), newer),
            (bytes(b"HTTP/1.1 400 Bad"), "the other end does not speak CampusGrid"),
        ] {
            assert_eq!(on_worker(&answer).unwrap_err().to_string(), words);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<[u8; HELLO_BYTES]>(), tail in any::<[u8; 12]>()) {
            let mut ours = *b"CGRD............";
            ours[4..].copy_from_slice(&tail);
            for bytes in [bytes, ours] {
                if let Ok((version, _)) = on_manager(&bytes) {
                    prop_assert!((PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION).contains(&version));
                }
                if let Ok(version) = on_worker(&bytes) {
                    prop_assert_eq!(version, PROTOCOL_VERSION);
                }
            }
        }
    }
}

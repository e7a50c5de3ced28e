//! What comes before a machine has said who it is: TLS, or something else.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::{Trust, wrong_fingerprint};
use campusgrid_protocol::hello::{self, ConnectionKind, HELLO_BYTES};

use crate::grid::Grid;
use crate::grid::fake::{FakeWorker, introduction};
use crate::grid::line::{Line, tcp};

/// All that the manager says to these bytes.
fn said(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = tcp(port);
    stream.write_all(bytes).unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        // What was sent may not have been read.
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    said
}

/// The beginning of TLS, as far as version 1.2 at most (RFC 5246), with one cipher suite of its time.
fn client_hello_of_tls12() -> Vec<u8> {
    let signature_algorithms = [0, 13, 0, 4, 0, 2, 4, 3];
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let extensions = [&signature_algorithms[..], &groups].concat();
    let length = u8::try_from(extensions.len()).unwrap();
    // Version 1.2, random, no session, one suite (ECDHE-ECDSA, AES-128-GCM), no compression.
    let suite = [0, 0, 2, 0xc0, 0x2b, 1, 0, 0, length];
    let body = [&[3, 3][..], &[7; 32], &suite, &extensions].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[test]
fn another_fingerprint_ends_the_handshake_before_anything_is_sent() {
    let grid = Grid::start("fingerprint");
    let right = grid.fingerprint(&grid.register("bob"));
    let expected = Fingerprint([7; 32]);
    let error = Line::dial(grid.port, Trust::Pinned(expected), None).err().unwrap();
    let wrong = wrong_fingerprint(&error).unwrap();
    assert_eq!((wrong.expected, wrong.seen), (expected, right));
    let line = Line::dial(grid.port, Trust::Pinned(right), None).unwrap();
    assert_eq!(line.fingerprint(), right);
}

#[test]
fn a_manager_keeps_its_fingerprint() {
    let mut grid = Grid::start("same");
    let first = Line::dial(grid.port, Trust::FirstUse, None).unwrap().fingerprint();
    grid.kill_manager();
    grid.start_manager();
    assert!(Line::dial(grid.port, Trust::Pinned(first), None).is_ok());
}

#[test]
fn a_hello_without_tls_is_answered_in_words_of_its_time() {
    let grid = Grid::start("clear");
    for kind in [1, 2] {
        let mut old = [0; HELLO_BYTES];
        old[..9].copy_from_slice(b"CGRD\x02\0\x02\0\0");
        old[8] = kind;
        // Which that worker reads as "worker speaks protocol 2 to 2, manager 4 to 5".
        assert_eq!(said(grid.port, &old), b"CGRD\x04\0\x05\0\0\0\0\0\0\0\0\0");
    }
    let hello = hello::from_worker(ConnectionKind::Control);
    assert_eq!(said(grid.port, &hello), hello::from_manager(0));
}

#[test]
fn what_is_not_tls_is_not_answered() {
    let grid = Grid::start("not-tls");
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[0], &[255; 64]] {
        assert_eq!(said(grid.port, bytes), b"");
    }
    assert_eq!(said(grid.port, b"CGRXnonsense....."), b"");
}

#[test]
fn tls_before_1_3_is_refused_and_garbage_is_not_understood() {
    let grid = Grid::start("tls12");
    let said_12 = said(grid.port, &client_hello_of_tls12());
    assert_eq!(said_12, [21, 3, 3, 0, 2, 2, 70], "an alert: protocol_version");
    // A record of a handshake that is none.
    let garbage = [&[22, 3, 1, 0, 32][..], &[0xee; 32]].concat();
    let said = said(grid.port, &garbage);
    assert!(said.is_empty() || said[0] == 21, "at most an alert: {said:?}");
    assert!(Line::dial(grid.port, Trust::FirstUse, None).is_ok());
}

/// Beginnings of TLS that never go on.
#[test]
fn who_dawdles_is_put_out_and_keeps_nobody_waiting() {
    let grid = Grid::start("dawdle");
    let bob = grid.register("bob");
    let hello = client_hello_of_tls12();
    let dawdle = |bytes: &[u8]| -> TcpStream {
        let mut stream = tcp(grid.port);
        stream.write_all(bytes).unwrap();
        stream
    };
    let slow: Vec<TcpStream> = (0..60).map(|number| dawdle(&hello[..number % 20])).collect();
    // There are a few places left at this address, and they are enough.
    FakeWorker::join_for(&grid, &bob, introduction(1));
    // Now there are none; but each is freed in ten seconds.
    let others: Vec<TcpStream> = (0..4).map(|_| dawdle(&hello[..7])).collect();
    FakeWorker::join_for(&grid, &bob, introduction(2));
    drop(others);
    for mut stream in slow {
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said));
        assert_eq!(said, b"");
    }
}

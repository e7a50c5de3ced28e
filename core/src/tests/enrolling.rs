//! Machines that come for the first time: by a token, or by a code that somebody enters.

use campusgrid_protocol::id::{UserId, VoucherId, WorkerId};
use expect_test::expect;

use crate::effect::{Refusal, Reply};
use crate::input::{Enrolment, EnrolmentProof, Request, VoucherWish, WorkerEvent};
use crate::tests::world::{ADA, BOB, EVE, World, enrolment, join, worker};
use crate::voucher::{Purpose, Shown};

const SECRET: [u8; 32] = [9; 32];

fn approve(world: &mut World, user: UserId, code: &str) {
    world.ask(Request::ApproveWorker { user, code: code.to_owned() });
}

fn coded(number: u8, code: &str) -> Enrolment {
    let proof = EnrolmentProof::Code { code: code.to_owned(), claimed_owner: None };
    Enrolment { proof, ..enrolment(number, None) }
}

fn shows(number: u8, token: u64, secret_hash: [u8; 32]) -> Enrolment {
    let shown = Shown { id: VoucherId(token), secret_hash };
    Enrolment { proof: EnrolmentProof::Token(shown), ..enrolment(number, None) }
}

/// A token of this many uses that lasts a minute.
fn token(world: &mut World, owner: UserId, uses: u32) -> Reply {
    let (purpose, until) = (Purpose::Join { owner }, world.now.plus_ms(60_000));
    let wish = VoucherWish { by: owner, purpose, secret_hash: SECRET, uses, until };
    world.ask(Request::MakeVoucher(wish))
}

#[test]
fn a_machine_is_its_owners_once_they_have_entered_its_code() {
    let mut world = World::new();
    world.enrol(1, &enrolment(1, Some("Bob")));
    world.note("the wrong code, the wrong person, nobody");
    approve(&mut world, BOB, "CODE-2");
    approve(&mut world, BOB, "");
    approve(&mut world, EVE, "CODE-1");
    approve(&mut world, UserId(99), "CODE-1");
    world.note("the right one, once");
    approve(&mut world, BOB, "CODE-1");
    approve(&mut world, BOB, "CODE-1");
    world.note("and joins under the certificate that it got");
    world.hear(1, WorkerEvent::Gone);
    world.join(2, join(1, &worker(1, 1), Vec::new()));
    expect![[r#"
        # the wrong code, the wrong person, nobody
        refused: no machine of yours shows this code right now
        refused: no machine of yours shows this code right now
        refused: no machine of yours shows this code right now
        refused: there is no such thing, or it is not yours
        # the right one, once
        worker-1 "laptop-1" belongs to bob
        enrolled as worker-1 of bob
        worker-1 approved
        refused: no machine of yours shows this code right now
        # and joins under the certificate that it got
        to session 2: welcome, worker-1 of bob
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_code_ends_with_its_connection() {
    let mut world = World::new();
    world.enrol(1, &enrolment(1, None));
    world.hear(1, WorkerEvent::Gone);
    approve(&mut world, EVE, "CODE-1");
    world.note("and with a newer one of the same machine, not with an older");
    world.enrol(3, &coded(1, "OLD"));
    world.enrol(4, &coded(1, "FRESH"));
    world.enrol(2, &coded(1, "LATE"));
    for code in ["OLD", "LATE", "FRESH"] {
        approve(&mut world, EVE, code);
    }
    expect![[r#"
        refused: this machine no longer waits here: its connection is over, or it has a newer one
        refused: no machine of yours shows this code right now
        # and with a newer one of the same machine, not with an older
        refused: this machine no longer waits here: its connection is over, or it has a newer one
        refused: this machine no longer waits here: its connection is over, or it has a newer one
        refused: no machine of yours shows this code right now
        refused: no machine of yours shows this code right now
        worker-1 "laptop-1" belongs to eve
        enrolled as worker-1 of eve
        worker-1 approved
    "#]]
    .assert_eq(&world.log);
}

/// To let in the wrong one of the two would give a stranger's machine other people's jobs.
#[test]
fn a_code_that_two_machines_show_is_nobodys() {
    let mut world = World::new();
    world.enrol(1, &coded(1, "SAME"));
    world.enrol(2, &coded(2, "SAME"));
    approve(&mut world, EVE, "SAME");
    assert!(world.grid.workers.is_empty());
    world.hear(2, WorkerEvent::Gone);
    approve(&mut world, EVE, "SAME");
    assert_eq!(world.grid.workers[&WorkerId(1)].name, "laptop-1");
}

#[test]
fn whoever_waits_is_shown_with_where_from() {
    let mut world = World::new();
    world.enrol(1, &enrolment(1, Some("bob")));
    let newcomers = world.grid.snapshot().newcomers;
    let [newcomer] = &newcomers[..] else { panic!("{newcomers:?}") };
    assert_eq!((&*newcomer.name, &*newcomer.address), ("laptop-1", "10.0.0.1"));
    assert_eq!(newcomer.claimed_owner.as_deref(), Some("bob"));
}

#[test]
fn only_so_many_machines_wait_and_fewer_of_one_address() {
    let mut world = World::new();
    let of = |number: u64, address: String| {
        let mut key_hash = [0; 32];
        key_hash[..8].copy_from_slice(&number.to_le_bytes());
        Enrolment { key_hash, address, ..coded(0, &number.to_string()) }
    };
    for number in 1..=32 {
        assert!(world.enrol(number, &of(number, "here".to_owned())).is_none());
    }
    let reply = world.enrol(33, &of(33, "here".to_owned()));
    assert!(matches!(reply, Some(Reply::Refused(Refusal::TooManyNewcomers))));
    for number in 33..=1000 {
        assert!(world.enrol(number, &of(number, number.to_string())).is_none());
    }
    let reply = world.enrol(1001, &of(1001, "there".to_owned()));
    assert!(matches!(reply, Some(Reply::Refused(Refusal::TooManyNewcomers))));
    world.hear(1, WorkerEvent::Gone);
    assert!(world.enrol(1001, &of(1001, "there".to_owned())).is_none());
}

#[test]
fn a_token_lets_in_as_many_machines_as_it_has_uses() {
    let mut world = World::new();
    token(&mut world, BOB, 2);
    world.note("another number, another secret");
    world.enrol(1, &shows(1, 2, SECRET));
    world.enrol(1, &shows(1, 1, [8; 32]));
    world.note("two machines, and a third");
    for number in 1..4 {
        world.enrol(number.into(), &shows(number, 1, SECRET));
    }
    expect![[r#"
        voucher 1: Join { owner: UserId(2) }, 2 uses
        voucher 1 made
        # another number, another secret
        refused: this token or invitation was used up, has ended or was revoked, or never was
        refused: this token or invitation was used up, has ended or was revoked, or never was
        # two machines, and a third
        worker-1 "laptop-1" belongs to bob
        voucher 1 has 1 uses left
        enrolled as worker-1 of bob
        worker-2 "laptop-2" belongs to bob
        voucher 1 is over
        enrolled as worker-2 of bob
        refused: this token or invitation was used up, has ended or was revoked, or never was
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_token_ends_with_its_time_or_when_it_is_revoked() {
    let mut world = World::new();
    token(&mut world, BOB, 5);
    token(&mut world, BOB, 5);
    world.ask(Request::RevokeVoucher { user: EVE, voucher: VoucherId(1) });
    world.ask(Request::RevokeVoucher { user: BOB, voucher: VoucherId(1) });
    world.enrol(1, &shows(1, 1, SECRET));
    world.note("after a restart the other is good");
    world.restart();
    world.wait_s(59);
    world.enrol(1, &shows(1, 2, SECRET));
    assert_eq!(world.grid.next_deadline(), Some(world.now.plus_ms(1000)));
    world.now = world.now.plus_ms(1000);
    world.enrol(2, &shows(2, 2, SECRET));
    world.wait_s(0);
    token(&mut world, BOB, 5);
    expect![[r#"
        voucher 1: Join { owner: UserId(2) }, 5 uses
        voucher 1 made
        voucher 2: Join { owner: UserId(2) }, 5 uses
        voucher 2 made
        refused: there is no such thing, or it is not yours
        voucher 1 is over
        done
        refused: this token or invitation was used up, has ended or was revoked, or never was
        # after a restart the other is good
        worker-1 "laptop-1" belongs to bob
        voucher 2 has 4 uses left
        enrolled as worker-1 of bob
        refused: this token or invitation was used up, has ended or was revoked, or never was
        voucher 2 is over
        voucher 3: Join { owner: UserId(2) }, 5 uses
        voucher 3 made
    "#]]
    .assert_eq(&world.log);
}

/// Whoever has the machine has its token, and can make another key.
#[test]
fn a_token_ends_with_the_removal_of_a_machine_that_came_by_it() {
    let mut world = World::new();
    token(&mut world, BOB, 5);
    token(&mut world, BOB, 1);
    token(&mut world, BOB, 5);
    for (number, voucher) in [(1, 1), (2, 2), (3, 3)] {
        world.enrol(number.into(), &shows(number, voucher, SECRET));
    }
    world.log.clear();
    world.ask(Request::RemoveWorker { user: BOB, worker: WorkerId(1) });
    world.enrol(4, &shows(4, 1, SECRET));
    world.note("that of another is over already, and others are as good as before");
    world.ask(Request::RemoveWorker { user: BOB, worker: WorkerId(2) });
    world.enrol(5, &shows(5, 3, SECRET));
    expect![[r#"
        voucher 1 is over
        worker-1 is removed
        done
        refused: this token or invitation was used up, has ended or was revoked, or never was
        # that of another is over already, and others are as good as before
        worker-2 is removed
        done
        worker-4 "laptop-5" belongs to bob
        voucher 3 has 3 uses left
        enrolled as worker-4 of bob
    "#]]
    .assert_eq(&world.log);
}

/// Its answer may have been lost as well, and its owner has done what they should.
#[test]
fn a_machine_that_was_approved_may_ask_again() {
    let mut world = World::new();
    world.let_in(1, BOB);
    world.log.clear();
    world.enrol(5, &coded(1, "OTHER"));
    world.note("but not once it was removed, or later");
    world.ask(Request::RemoveWorker { user: BOB, worker: WorkerId(1) });
    assert!(world.enrol(6, &coded(1, "OTHER")).is_none());
    world.let_in(2, BOB);
    world.wait_s(600);
    assert!(world.enrol(7, &coded(2, "OTHER")).is_none());
    expect![[r#"
        enrolled as worker-1 of bob
        # but not once it was removed, or later
        worker-1 is removed
        done
        worker-2 "laptop-2" belongs to bob
        enrolled as worker-2 of bob
        worker-2 approved
    "#]]
    .assert_eq(&world.log);
}

/// The answer may have been lost with its connection, and the token was good for one machine: this.
#[test]
fn a_machine_may_show_the_token_again_that_has_let_it_in() {
    let mut world = World::new();
    token(&mut world, BOB, 1);
    world.enrol(1, &shows(1, 1, SECRET));
    world.log.clear();
    world.enrol(2, &shows(1, 1, SECRET));
    world.note("another machine, another secret");
    world.enrol(3, &shows(2, 1, SECRET));
    world.enrol(4, &shows(1, 1, [8; 32]));
    world.note("ten minutes later");
    world.wait_s(600);
    world.enrol(5, &shows(1, 1, SECRET));
    expect![[r#"
        enrolled as worker-1 of bob
        # another machine, another secret
        refused: this token or invitation was used up, has ended or was revoked, or never was
        refused: this token or invitation was used up, has ended or was revoked, or never was
        # ten minutes later
        refused: this token or invitation was used up, has ended or was revoked, or never was
    "#]]
    .assert_eq(&world.log);
}

/// It could not have joined without its answer.
#[test]
fn a_machine_that_has_joined_needs_a_new_word_to_enrol() {
    let mut world = World::new();
    token(&mut world, BOB, 1);
    world.enrol(1, &shows(1, 1, SECRET));
    world.let_in(2, BOB);
    for number in [1, 2] {
        world.join(number.into(), join(number, &worker(1, 1), Vec::new()));
    }
    world.log.clear();
    world.enrol(3, &shows(1, 1, SECRET));
    assert!(world.enrol(4, &coded(2, "OTHER")).is_none());
    expect![[r#"
        refused: this token or invitation was used up, has ended or was revoked, or never was
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn no_answer_is_repeated_of_a_token_that_was_revoked_or_to_a_machine_that_was_removed() {
    let mut world = World::new();
    token(&mut world, BOB, 9);
    for number in [1, 2] {
        world.enrol(number.into(), &shows(number, 1, SECRET));
    }
    world.log.clear();
    world.ask(Request::RemoveWorker { user: BOB, worker: WorkerId(1) });
    world.note("as a new machine, by a further use");
    world.enrol(3, &shows(1, 1, SECRET));
    world.ask(Request::RevokeVoucher { user: BOB, voucher: VoucherId(1) });
    for number in [1, 2] {
        world.enrol(4, &shows(number, 1, SECRET));
    }
    expect![[r#"
        voucher 1 is over
        worker-1 is removed
        done
        # as a new machine, by a further use
        refused: this token or invitation was used up, has ended or was revoked, or never was
        refused: there is no such thing, or it is not yours
        refused: this token or invitation was used up, has ended or was revoked, or never was
        enrolled as worker-2 of bob
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_that_comes_anew_keeps_its_number_with_its_owner_only() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.note("its certificate is over, and its name is another");
    token(&mut world, BOB, 1);
    world.enrol(5, &Enrolment { name: "desk".to_owned(), ..shows(1, 1, SECRET) });
    world.wait_s(600);
    world.enrol(6, &enrolment(1, None));
    approve(&mut world, BOB, "CODE-1");
    world.wait_s(600);
    world.note("somebody else's it becomes only once it was removed");
    token(&mut world, EVE, 1);
    world.enrol(7, &shows(1, 2, SECRET));
    world.enrol(8, &enrolment(1, None));
    approve(&mut world, EVE, "CODE-1");
    world.ask(Request::RemoveWorker { user: BOB, worker: WorkerId(1) });
    approve(&mut world, EVE, "CODE-1");
    expect![[r##"
        # its certificate is over, and its name is another
        voucher 1: Join { owner: UserId(2) }, 1 uses
        voucher 1 made
        worker-1 is called "desk"
        voucher 1 is over
        enrolled as worker-1 of bob
        worker-1 is called "laptop-1"
        enrolled as worker-1 of bob
        worker-1 approved
        # somebody else's it becomes only once it was removed
        voucher 2: Join { owner: UserId(3) }, 1 uses
        voucher 2 made
        refused: this machine is another user's already: have it removed on the dashboard, or run campusgrid-worker forget; the token is still good
        refused: no machine of yours shows this code right now
        worker-1 is removed
        done
        session 1 ends for good: this worker was removed on the dashboard
        worker-2 "laptop-1" belongs to eve
        enrolled as worker-2 of eve
        worker-2 approved
    "##]]
    .assert_eq(&world.log);
}

#[test]
fn tokens_are_made_for_oneself_and_by_operators_for_all() {
    let mut world = World::new();
    let until = world.now.plus_ms(u64::MAX);
    let mut make = |by, purpose| {
        let wish = VoucherWish { by, purpose, secret_hash: SECRET, uses: 0, until };
        world.ask(Request::MakeVoucher(wish))
    };
    make(ADA, Purpose::Join { owner: BOB });
    make(ADA, Purpose::Invitation { by: ADA });
    make(crate::user::LOCAL, Purpose::Join { owner: BOB });
    make(crate::user::LOCAL, Purpose::Join { owner: UserId(99) });
    make(crate::user::LOCAL, Purpose::Invitation { by: crate::user::LOCAL });
    make(UserId(99), Purpose::Join { owner: UserId(99) });
    for _ in 1..100 {
        make(BOB, Purpose::Join { owner: BOB });
    }
    let last = make(BOB, Purpose::Join { owner: BOB });
    assert!(matches!(last, Reply::Refused(Refusal::TooMany { max: 100 })));
    let first = &world.grid.vouchers[&VoucherId(1)];
    assert_eq!((first.uses_left, first.until), (1, world.now.plus_ms(30 * 86_400_000)));
    let log = world.log.lines().take(7).map(|line| format!("{line}\n")).collect::<String>();
    expect![[r#"
        refused: only an operator may do this
        refused: only an operator may do this
        voucher 1: Join { owner: UserId(2) }, 1 uses
        voucher 1 made
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
    "#]]
    .assert_eq(&log);
}

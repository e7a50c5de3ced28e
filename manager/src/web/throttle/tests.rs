//! Who is held up by whom, and who never is.

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{LoginId, UserId};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{AccountName, Attempt, Device, KNOWN_PER_ACCOUNT_MAX, Throttle};
use crate::web::network::Network;

/// One that tries: who, from where, and whether with a device's cookie.
fn attempt(account: &str, address: &str, device: Option<u8>) -> Attempt {
    Attempt {
        account: AccountName::of(account),
        network: Network::of(address.parse().unwrap()),
        device: device.map(Device),
    }
}

fn fail(throttle: &mut Throttle, now_ms: u64, attempt: Attempt) -> bool {
    throttle.begin(Timestamp(now_ms), attempt).is_ok()
}

fn succeed(throttle: &mut Throttle, now_ms: u64, attempt: Attempt) -> bool {
    let counted = throttle.begin(Timestamp(now_ms), attempt);
    counted.map(|counted| throttle.succeeded(Timestamp(now_ms), counted)).is_ok()
}

/// Runs a story, a line each: `SECONDS WHO ADDRESS [device N] TIMES fail|succeed`, and tells how many
/// of the tries were let through.
fn check(story: &str, expected: &Expect) {
    let mut throttle = Throttle::new();
    let mut told = String::new();
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let [seconds, account, address, device, times, outcome] = words[..] else {
            panic!("{line}")
        };
        let attempt = attempt(account, address, device.parse().ok());
        let now_ms = seconds.parse::<u64>().unwrap() * 1000;
        let times: u32 = times.parse().unwrap();
        let passed = (0..times)
            .filter(|_| match outcome {
                "fail" => fail(&mut throttle, now_ms, attempt),
                "succeed" => succeed(&mut throttle, now_ms, attempt),
                other => panic!("{other}"),
            })
            .count();
        told.push_str(&format!("{line}: {passed}\n"));
    }
    expected.assert_eq(&told);
}

#[test]
fn guessing_at_one_account_from_one_address_gets_slow() {
    check(
        "0 ada 192.0.2.1 - 50 fail
         59 ada 192.0.2.1 - 50 fail
         60 ada 192.0.2.1 - 50 fail
         60 ADA 192.0.2.1 - 1 fail
         600 ada 192.0.2.1 - 50 fail
         100000 ada 192.0.2.1 - 50 fail",
        &expect![[r#"
            0 ada 192.0.2.1 - 50 fail: 10
            59 ada 192.0.2.1 - 50 fail: 0
            60 ada 192.0.2.1 - 50 fail: 1
            60 ADA 192.0.2.1 - 1 fail: 0
            600 ada 192.0.2.1 - 50 fail: 9
            100000 ada 192.0.2.1 - 50 fail: 10
        "#]],
    );
}

#[test]
fn one_password_for_many_accounts_gets_slow_too() {
    let mut throttle = Throttle::new();
    let names = (0..1000).map(|number| format!("user-{number}"));
    let passed = names.filter(|name| fail(&mut throttle, 0, attempt(name, "192.0.2.1", None)));
    assert_eq!(passed.count(), 60);
}

#[test]
fn a_flood_from_one_address_holds_up_nobody_elsewhere() {
    check(
        "0 ada 192.0.2.1 - 5000 fail
         0 ada 198.51.100.7 - 1 succeed
         0 grace 198.51.100.7 - 1 succeed
         0 ada 198.51.100.8 - 10 fail",
        &expect![[r#"
            0 ada 192.0.2.1 - 5000 fail: 10
            0 ada 198.51.100.7 - 1 succeed: 1
            0 grace 198.51.100.7 - 1 succeed: 1
            0 ada 198.51.100.8 - 10 fail: 10
        "#]],
    );
}

#[test]
fn all_addresses_of_an_ipv6_customer_are_one() {
    check(
        "0 ada 2001:db8::1 - 5 fail
         0 ada 2001:db8::2 - 50 fail
         0 ada 2001:db8:0:0:ffff::3 - 50 fail
         0 ada 2001:db8:0:1::1 - 50 fail
         0 ada ::ffff:192.0.2.1 - 50 fail
         0 ada 192.0.2.1 - 50 fail",
        &expect![[r#"
            0 ada 2001:db8::1 - 5 fail: 5
            0 ada 2001:db8::2 - 50 fail: 5
            0 ada 2001:db8:0:0:ffff::3 - 50 fail: 0
            0 ada 2001:db8:0:1::1 - 50 fail: 10
            0 ada ::ffff:192.0.2.1 - 50 fail: 10
            0 ada 192.0.2.1 - 50 fail: 0
        "#]],
    );
}

#[test]
fn a_device_is_hindered_by_its_own_mistakes_only() {
    check(
        "0 ada 192.0.2.1 - 5000 fail
         0 ada 192.0.2.1 7 1 succeed
         0 ada 192.0.2.1 7 50 fail
         0 ada 192.0.2.1 8 1 succeed
         0 ada 192.0.2.1 - 1 fail",
        &expect![[r#"
            0 ada 192.0.2.1 - 5000 fail: 10
            0 ada 192.0.2.1 7 1 succeed: 1
            0 ada 192.0.2.1 7 50 fail: 20
            0 ada 192.0.2.1 8 1 succeed: 1
            0 ada 192.0.2.1 - 1 fail: 0
        "#]],
    );
}

#[test]
fn many_addresses_together_hold_up_strangers_but_not_who_was_there_before() {
    let mut throttle = Throttle::new();
    assert!(succeed(&mut throttle, 0, attempt("ada", "198.51.100.7", None)));
    let addresses = (0..50).map(|number| format!("192.0.2.{number}"));
    let passed: usize = addresses
        .map(|address| {
            (0..20).filter(|_| fail(&mut throttle, 0, attempt("ada", &address, None))).count()
        })
        .sum();
    assert_eq!(passed, 100, "all strangers together have the account's allowance");
    assert!(!fail(&mut throttle, 0, attempt("ada", "203.0.113.9", None)), "a stranger waits");
    assert!(succeed(&mut throttle, 0, attempt("ada", "198.51.100.7", None)), "known from before");
    assert!(succeed(&mut throttle, 0, attempt("ada", "203.0.113.9", Some(1))), "with its cookie");
    assert!(succeed(&mut throttle, 0, attempt("grace", "203.0.113.9", None)), "another account");
}

#[test]
fn a_class_behind_one_address_can_register_and_no_address_makes_thousands_of_accounts() {
    let mut throttle = Throttle::new();
    let network = Network::of("192.0.2.1".parse().unwrap());
    let mut registered = |now_ms: u64| throttle.register(Timestamp(now_ms), network).is_ok();
    let class = (0..40).filter(|student| registered(student * 1000)).count();
    assert_eq!(class, 40);
    let minutes = 0..24 * 60;
    let rest_of_day = minutes.filter(|minute| registered(60_000 + minute * 60_000)).count();
    assert!(rest_of_day <= 20 + 288, "{rest_of_day}");
}

#[test]
fn whoever_has_one_account_does_not_keep_the_processors_busy_with_it() {
    check(
        "0 mallory 192.0.2.1 - 500 succeed
         0 mallory 192.0.2.1 1 500 succeed
         0 mallory 198.51.100.7 2 500 succeed
         20 mallory 192.0.2.1 3 500 succeed
         20 ada 192.0.2.1 - 1 succeed",
        &expect![[r#"
            0 mallory 192.0.2.1 - 500 succeed: 60
            0 mallory 192.0.2.1 1 500 succeed: 0
            0 mallory 198.51.100.7 2 500 succeed: 0
            20 mallory 192.0.2.1 3 500 succeed: 10
            20 ada 192.0.2.1 - 1 succeed: 1
        "#]],
    );
}

#[test]
fn what_a_user_submits_is_bounded_and_what_is_refused_is_not_counted() {
    let mut throttle = Throttle::new();
    let (ada, grace) = (UserId(1), UserId(2));
    let mut taken = |now_ms: u64, user: UserId, bytes: u64| {
        (0..1000).filter(|_| throttle.submit(Timestamp(now_ms), user, bytes).is_ok()).count()
    };
    assert_eq!(taken(0, ada, 512 << 10), 127, "64 MiB, with what each takes beside its text");
    assert_eq!(taken(0, grace, 30_000), 1000);
    assert_eq!(taken(60_000, ada, 512 << 10), 29, "250 KiB a second");
    let mut throttle = Throttle::new();
    for _ in 0..1000 {
        throttle.submit(Timestamp(0), ada, 512 << 10).unwrap();
        throttle.not_submitted(Timestamp(0), ada, 512 << 10);
    }
}

#[test]
fn a_lecture_hall_behind_one_address_can_log_in_at_once() {
    let mut throttle = Throttle::new();
    let names = (0..500).map(|number| format!("student-{number}"));
    let in_time = names.filter(|name| succeed(&mut throttle, 0, attempt(name, "192.0.2.1", None)));
    assert_eq!(in_time.count(), 500);
}

#[test]
fn own_successes_buy_no_guesses_at_others() {
    let mut throttle = Throttle::new();
    let passed = (0..500)
        .filter(|_| {
            succeed(&mut throttle, 0, attempt("mallory", "192.0.2.1", None));
            fail(&mut throttle, 0, attempt("ada", "192.0.2.1", None))
        })
        .count();
    assert_eq!(passed, 10);
}

#[test]
fn a_try_that_was_not_looked_at_does_not_count() {
    let mut throttle = Throttle::new();
    let attempt = attempt("ada", "192.0.2.1", None);
    for _ in 0..500 {
        let counted = throttle.begin(Timestamp(5), attempt).unwrap();
        throttle.give_back(Timestamp(5), counted);
    }
}

#[test]
fn registering_and_showing_the_present_password_have_limits_of_their_own() {
    let mut throttle = Throttle::new();
    let network = Network::of("192.0.2.1".parse().unwrap());
    let ada = AccountName::of("ada");
    let times = |may: &mut dyn FnMut() -> bool| (0..500).filter(|_| may()).count();
    assert_eq!(times(&mut || throttle.register(Timestamp(0), network).is_ok()), 60);
    let login = LoginId(3);
    assert_eq!(times(&mut || throttle.show_password(Timestamp(0), login, ada).is_ok()), 10);
    assert!(throttle.show_password(Timestamp(0), LoginId(4), ada).is_ok());
    assert_eq!(throttle.show_password(Timestamp(0), login, ada).unwrap_err().wait_ms, 60_000);
    let mut right = || {
        let shown = throttle.show_password(Timestamp(0), LoginId(5), ada);
        shown.map(|()| throttle.password_shown(Timestamp(0), LoginId(5), ada)).is_ok()
    };
    assert_eq!(times(&mut right), 60, "right ones have the allowance of right ones");
}

#[test]
fn an_account_is_known_from_the_latest_networks_only() {
    let mut throttle = Throttle::new();
    let from = |number: usize| attempt("ada", &format!("192.0.2.{number}"), None);
    for number in 0..=KNOWN_PER_ACCOUNT_MAX {
        assert!(succeed(&mut throttle, number as u64, from(number)));
    }
    let known = |number| {
        let Attempt { account, network, .. } = from(number);
        throttle.known.contains(account, network)
    };
    assert!(!known(0) && known(1) && known(KNOWN_PER_ACCOUNT_MAX));
}

/// What one network does: at a moment, for one of a few accounts, maybe rightly.
fn flood() -> impl Strategy<Value = Vec<(u64, u8, bool)>> {
    prop::collection::vec((0_u64..3000, 0_u8..6, prop::bool::weighted(0.1)), 0..600)
}

proptest! {
    #[test]
    fn whatever_one_network_does_others_are_let_through(flood in flood()) {
        let mut throttle = Throttle::new();
        let mut now = 0;
        for (later, account, right) in flood {
            now += later;
            let attempt = attempt(&format!("user-{account}"), "192.0.2.1", None);
            // Only the password of an account of one's own is known there.
            if right && account == 0 {
                succeed(&mut throttle, now, attempt);
            } else {
                fail(&mut throttle, now, attempt);
            }
            let other = format!("user-{}", account.max(1));
            for (address, device) in [("198.51.100.7", None), ("192.0.2.1", Some(1))] {
                let counted = throttle.begin(Timestamp(now), self::attempt(&other, address, device));
                prop_assert!(counted.is_ok(), "from {address}, device {device:?}, at {now}");
                throttle.give_back(Timestamp(now), counted.unwrap());
            }
        }
    }

    #[test]
    fn one_network_never_gets_more_guesses_than_the_policy_says(
        tries in prop::collection::vec((0_u64..3000, 0_u8..20), 0..600),
    ) {
        let mut throttle = Throttle::new();
        let (mut now, mut passed) = (0, 0);
        for (later, account) in tries {
            now += later;
            let attempt = attempt(&format!("user-{account}"), "192.0.2.1", None);
            passed += u64::from(fail(&mut throttle, now, attempt));
            prop_assert!(passed <= 60 + now / 5000);
        }
    }
}

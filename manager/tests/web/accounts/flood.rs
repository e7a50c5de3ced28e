//! Floods of wrong passwords: whom they hold up, and whom not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use campusgrid_manager::web::PasswordCosts;

use super::{Browser, behind_proxy, log_in};
use crate::site::{PASSWORD, Site};

const WRONG: &str = "wrong horse battery";

#[test]
fn guessing_from_one_address_is_held_up_there_and_nowhere_else() {
    let site = behind_proxy();
    site.register("ada");
    for _ in 0..10 {
        assert_eq!(log_in(&site, "192.0.2.1", "ada", WRONG).status, 401);
    }
    let refused = log_in(&site, "192.0.2.1", "ada", PASSWORD);
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert!(refused.body.contains("try again in"), "{}", refused.body);
    assert_eq!(log_in(&site, "192.0.2.2", "ada", PASSWORD).status, 200);
    // An account that does not exist is held up just so.
    for _ in 0..10 {
        assert_eq!(log_in(&site, "192.0.2.1", "nobody", WRONG).status, 401);
    }
    assert_eq!(log_in(&site, "192.0.2.1", "nobody", WRONG).status, 429);
    // All addresses of one IPv6 customer are one.
    for number in 0..10 {
        let address = format!("2001:db8:0:1::{number}");
        assert_eq!(log_in(&site, &address, "ada", WRONG).status, 401);
    }
    assert_eq!(log_in(&site, "2001:db8:0:1:ffff::1", "ada", PASSWORD).status, 429);
    assert_eq!(log_in(&site, "2001:db8:0:2::1", "ada", PASSWORD).status, 200);
}

#[test]
fn who_is_no_proxy_is_not_believed() {
    let site = Site::start();
    site.register("ada");
    for number in 0..10 {
        assert_eq!(log_in(&site, &format!("192.0.2.{number}"), "ada", WRONG).status, 401);
    }
    assert_eq!(log_in(&site, "192.0.2.99", "ada", WRONG).status, 429);
}

#[test]
fn a_browser_that_was_here_before_is_not_held_up_by_its_neighbours() {
    let site = behind_proxy();
    site.register("ada");
    let home = Browser::from(&site, "192.0.2.1");
    assert_eq!(home.log_in("ada", PASSWORD).status, 303);
    home.forget("cg_session");
    while log_in(&site, "192.0.2.1", "ada", WRONG).status != 429 {}
    let stranger = Browser::from(&site, "192.0.2.1");
    let refused = stranger.log_in("ada", PASSWORD);
    assert_eq!(refused.status, 429);
    assert!(
        refused.body.contains("too many attempts") && !refused.header("retry-after").is_empty()
    );
    assert_eq!(home.log_in("ada", PASSWORD).status, 303);
    // The cookie is for its account, and only as it was signed.
    site.register("grace");
    while log_in(&site, "192.0.2.1", "grace", WRONG).status != 429 {}
    assert_eq!(home.log_in("grace", PASSWORD).status, 429);
    let device = home.cookies.borrow()["cg_device"].clone();
    home.cookies.borrow_mut().insert("cg_device".to_owned(), device.replacen("1.", "2.", 1));
    assert_eq!(home.log_in("grace", PASSWORD).status, 429);
}

#[test]
fn registering_has_a_limit_for_each_address() {
    let site = behind_proxy();
    let register = |address: &str, number: u32| {
        let headers = format!("Content-Type: application/json\r\nX-Forwarded-For: {address}\r\n");
        let body = format!(r#"{{"name":"user-{number}","password":"{PASSWORD}"}}"#);
        site.ask("POST /api/v1/register", &headers, &body)
    };
    for number in 0..60 {
        assert_eq!(register("192.0.2.1", number).status, 201);
    }
    assert_eq!(register("192.0.2.1", 60).code(), "too_many_attempts");
    assert_eq!(register("192.0.2.2", 60).status, 201);
}

#[test]
fn whoever_has_one_account_cannot_log_in_without_end_whatever_cookies_they_have() {
    let site = behind_proxy();
    site.register("mallory");
    site.register("ada");
    let log_in_anew = || Browser::from(&site, "192.0.2.1").log_in("mallory", PASSWORD);
    let mut times = 0;
    let refused = loop {
        let answer = log_in_anew();
        if answer.status != 303 {
            break answer;
        }
        times += 1;
    };
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(times >= 60, "{times}");
    assert_eq!(log_in(&site, "192.0.2.1", "ada", PASSWORD).status, 200);
}

#[test]
fn who_registers_behind_a_proxy_is_no_operator_and_is_told_how_to_become_one() {
    let proxy = behind_proxy();
    let public = Site::start_with(|config| {
        config.web.public_url = Some("https://grid.example".parse().unwrap());
    });
    for site in [proxy, public] {
        let page = site.page("/register", "").body;
        assert!(page.contains("campusgrid-manager role NAME operator"), "{page}");
        // As the proxy passes on what does not say where it comes from.
        let token = site.register("mallory");
        assert_eq!(site.get("/api/v1/me", &token).value()["operator"], false);
    }
    let site = Site::start();
    assert!(!site.page("/register", "").body.contains("campusgrid-manager role"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn while_one_address_floods_another_logs_in_within_a_second() {
    let site = Site::start_with(|config| {
        config.web.proxies = "127.0.0.1".parse().unwrap();
        // Dear enough that the flood fills the queue before the places where passwords are hashed.
        config.web.passwords = PasswordCosts { memory_kib: 4096, passes: 4, lanes: 1 };
    });
    site.register("ada");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..40 {
            let (site, stop) = (&site, &stop);
            scope.spawn(move || {
                // Each with a name of its own, so that only the address holds them up.
                while !stop.load(Ordering::Relaxed) {
                    log_in(site, "192.0.2.1", &format!("user-{number}"), WRONG);
                }
            });
        }
        while log_in(&site, "192.0.2.1", "someone", WRONG).status == 401 {}
        let mut slowest = Duration::ZERO;
        for number in 0..20 {
            let began = Instant::now();
            let answer = log_in(&site, &format!("198.51.100.{number}"), "ada", PASSWORD);
            assert_eq!(answer.status, 200, "{}", answer.body);
            slowest = slowest.max(began.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    });
}

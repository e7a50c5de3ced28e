//! Passwords: changing them, and the hashes that they leave.

use campusgrid_manager::store::read::Reader;
use campusgrid_manager::web::{PasswordCosts, hash_now};
use campusgrid_protocol::id::UserId;
use serde_json::{Value, json};

use super::{Browser, fresh_login, log_in};
use crate::site::{PASSWORD, Site, wait};

const NEW: &str = "another horse battery";

fn change(present: &str, new: &str) -> Value {
    json!({"present": present, "new": new})
}

#[test]
fn a_new_password_takes_the_present_one_and_closes_all_other_logins() {
    let site = Site::start();
    let (here, elsewhere) = (site.register("ada"), fresh_login(&site, "ada"));
    let post = |body: Value| site.json("POST /api/v1/password", &here, &body);
    let refused = post(change("wrong horse battery", NEW));
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_fields"));
    assert_eq!(refused.value()["error"]["fields"][0]["field"], "present");
    for (new, words) in [("short", "8 to 256"), (PASSWORD, "the present one")] {
        let refused = post(change(PASSWORD, new));
        assert_eq!(refused.status, 422);
        assert!(refused.body.contains(words), "{}", refused.body);
    }
    assert_eq!(site.get("/api/v1/me", &elsewhere).status, 200, "nothing has changed yet");
    assert_eq!(post(change(PASSWORD, NEW)).status, 204);
    assert_eq!(site.get("/api/v1/me", &here).status, 200, "this one stays");
    assert_eq!(site.get("/api/v1/me", &elsewhere).status, 401);
    assert_eq!(log_in(&site, "-", "ada", PASSWORD).status, 401);
    assert_eq!(log_in(&site, "-", "ada", NEW).status, 200);
}

#[test]
fn the_page_changes_it_and_says_what_is_wrong() {
    let site = Site::start();
    site.register("ada");
    let browser = Browser::new(&site);
    browser.log_in("ada", PASSWORD);
    let wrong =
        browser.send("/account", "/account/password", "present=x&new=another+horse+battery");
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("id=\"present-error\""), "{}", wrong.body);
    let fields = format!("present={}&new=another+horse+battery", PASSWORD.replace(' ', "+"));
    let changed = browser.send("/account", "/account/password", &fields);
    assert_eq!(changed.header("location"), "/account?done=password", "{}", changed.body);
    assert!(browser.open("/account?done=password").body.contains("Your password is changed"));
}

#[test]
fn a_stolen_login_is_no_way_to_try_passwords() {
    let site = Site::start();
    let (stolen, own) = (site.register("ada"), fresh_login(&site, "ada"));
    let post = |token: &str, body: Value| site.json("POST /api/v1/password", token, &body);
    for _ in 0..10 {
        assert_eq!(post(&stolen, change("wrong horse battery", NEW)).status, 422);
    }
    let refused = post(&stolen, change(PASSWORD, NEW));
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(post(&own, change(PASSWORD, NEW)).status, 204, "another login of the same user");
}

#[test]
fn a_login_brings_an_old_hash_to_the_costs_of_today_and_closes_nothing() {
    let site = Site::start();
    let token = site.register("ada");
    let costs = PasswordCosts { memory_kib: 128, passes: 3, lanes: 1 };
    let old = hash_now(costs, PASSWORD).unwrap();
    wait(site.engine.change_password(UserId(1), old.clone(), None)).unwrap();
    assert_eq!(site.get("/api/v1/me", &token).status, 401);
    let stored = || {
        let reader = Reader::open(&site.directory.join("campusgrid.sqlite")).unwrap();
        reader.password_of(UserId(1)).unwrap().unwrap()
    };
    assert_eq!(log_in(&site, "-", "ada", "wrong horse battery").status, 401);
    assert_eq!(stored(), old);
    let first = fresh_login(&site, "ada");
    let anew = stored();
    assert!(anew.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{anew}");
    fresh_login(&site, "ada");
    assert_eq!(stored(), anew, "it is made anew once");
    assert_eq!(site.get("/api/v1/me", &first).status, 200);
}

#[test]
fn unknown_users_and_wrong_passwords_get_the_same_words() {
    let site = Site::start();
    site.register("ada");
    let known = log_in(&site, "-", "ada", "wrong horse battery");
    let unknown = log_in(&site, "-", "nobody", "wrong horse battery");
    let long = log_in(&site, "-", "ada", &"x".repeat(5000));
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    assert_eq!((known.status, &known.body), (long.status, &long.body));
    assert_eq!((known.status, known.code().as_str()), (401, "wrong_password"));
}

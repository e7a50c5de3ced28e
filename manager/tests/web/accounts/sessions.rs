//! Logins: the forms that open them, the list of them, and closing them.

use serde_json::json;

use super::{Browser, fresh_login, rows};
use crate::site::{FORM, JSON, PASSWORD, Site, bearer};

#[test]
fn a_browser_registers_logs_out_and_logs_in() {
    let site = Site::start();
    let browser = Browser::new(&site);
    let fields = format!("name=ada&password={}&email=", PASSWORD.replace(' ', "+"));
    let entered = browser.send("/register", "/register", &fields);
    assert_eq!((entered.status, entered.header("location")), (303, "/"), "{}", entered.body);
    assert_eq!(browser.open("/account").status, 200);
    let out = browser.send("/account", "/logout", "");
    assert_eq!((out.status, out.header("location")), (303, "/login"));
    assert_eq!(browser.open("/account").status, 303);
    let wrong = browser.log_in("ada", "wrong horse battery");
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("no user has this name and password"));
    assert!(wrong.body.contains("value=\"ada\""), "the name that was typed is kept");
    let fields = format!("name=ada&password={}&next=/jobs", PASSWORD.replace(' ', "+"));
    let entered = browser.send("/login", "/login", &fields);
    assert_eq!((entered.status, entered.header("location")), (303, "/jobs"), "{}", entered.body);
}

#[test]
fn nobody_is_logged_in_by_another_sites_form() {
    let site = Site::start();
    site.register("mallory");
    let password = PASSWORD.replace(' ', "+");
    let fields = format!("name=mallory&password={password}");
    let victim = Browser::new(&site);
    // A form token from the attacker's own browser does not fit the victim's cookie, or none.
    let attackers = Browser::new(&site).open("/login").field("form_token").to_owned();
    assert_eq!(victim.post("/login", &fields).status, 403);
    assert_eq!(victim.post("/login", &format!("form_token={attackers}&{fields}")).status, 403);
    victim.open("/login");
    assert_eq!(victim.post("/login", &format!("form_token={attackers}&{fields}")).status, 403);
    let registration = format!("form_token={attackers}&name=x&password={password}");
    assert_eq!(victim.post("/register", &registration).status, 403);
    let own = victim.open("/register").field("form_token").to_owned();
    let foreign = format!("{FORM}Origin: http://evil.example\r\n");
    let body = format!("form_token={own}&{fields}");
    assert_eq!(victim.ask("POST /login", &foreign, &body).status, 403);
    assert!(!victim.cookies.borrow().contains_key("cg_session"));
    assert_eq!(victim.post("/login", &body).status, 303, "its own form from its own page");
}

#[test]
fn a_user_sees_where_they_are_logged_in_and_closes_what_they_like() {
    let site = Site::start();
    let (here, grace) = (site.register("ada"), site.register("grace"));
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    let body = json!({"name": "ada", "password": PASSWORD}).to_string();
    let headers = format!("{JSON}User-Agent: {firefox}\r\n");
    let answer = site.ask("POST /api/v1/login", &headers, &body);
    let elsewhere = answer.value()["token"].as_str().unwrap().to_owned();

    let sessions = rows(&site.get("/api/v1/sessions", &here));
    assert_eq!(sessions.len(), 2);
    let of = |current: bool| {
        sessions.iter().find(|session| session["current"] == current).unwrap().clone()
    };
    assert_eq!(of(false)["from"], "127.0.0.1, Firefox on Linux");
    assert_eq!(of(true)["from"], "127.0.0.1, a program");
    assert!(of(true)["used_at_ms"].as_u64() >= of(true)["opened_at_ms"].as_u64());
    let page = site.page("/account", &here).body;
    assert!(page.contains("127.0.0.1, Firefox on Linux"), "{page}");

    let other = of(false)["session"].as_u64().unwrap();
    let close = format!("DELETE /api/v1/sessions/{other}");
    assert_eq!(site.json(&close, &grace, &json!({})).status, 404, "not hers");
    assert_eq!(site.get("/api/v1/me", &elsewhere).status, 200);
    assert_eq!(site.json(&close, &here, &json!({})).status, 204);
    assert_eq!(site.get("/api/v1/me", &elsewhere).code(), "unauthenticated");
    assert_eq!(site.json(&close, &here, &json!({})).status, 404, "it is closed already");

    let third = fresh_login(&site, "ada");
    assert_eq!(site.json("DELETE /api/v1/sessions", &here, &json!({})).status, 204);
    for token in [&here, &third] {
        assert_eq!(site.get("/api/v1/me", token).status, 401, "logged out everywhere");
    }
    assert_eq!(site.get("/api/v1/me", &grace).status, 200);
}

#[test]
fn the_page_closes_one_login_or_all() {
    let site = Site::start();
    let (here, elsewhere) = (site.register("ada"), fresh_login(&site, "ada"));
    let sessions = rows(&site.get("/api/v1/sessions", &here));
    let other = sessions.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/account/sessions/{}/close", other["session"]);
    let answer = site.post_form(&path, &here, "");
    assert_eq!((answer.status, answer.header("location")), (303, "/account?done=session"));
    assert_eq!(site.get("/api/v1/me", &elsewhere).status, 401);
    let third = fresh_login(&site, "ada");
    let answer = site.post_form("/account/sessions/close", &here, "");
    assert_eq!((answer.status, answer.header("location")), (303, "/login"));
    for token in [&here, &third] {
        assert_eq!(site.get("/api/v1/me", token).status, 401);
    }
}

#[test]
fn last_uses_are_kept_when_the_manager_stops() {
    let mut site = Site::start();
    let token = site.register("ada");
    let opened = rows(&site.get("/api/v1/sessions", &token))[0]["opened_at_ms"].as_u64().unwrap();
    // Until the clock has gone on; each look is a use.
    while rows(&site.get("/api/v1/sessions", &token))[0]["used_at_ms"].as_u64().unwrap() <= opened {
    }
    site.shutdown.cancel();
    site.server.take().unwrap().join().unwrap();
    let database = site.directory.join("campusgrid.sqlite");
    let reader = campusgrid_manager::store::read::Reader::open(&database).unwrap();
    let user = campusgrid_protocol::id::UserId(1);
    let now = campusgrid_core::time::Timestamp(opened);
    let logins = reader.logins_of(user, now, None).unwrap();
    assert!(logins[0].used_at.0 > opened, "{logins:?}");
}

#[test]
fn a_token_in_a_header_is_not_mixed_with_a_cookie() {
    let site = Site::start();
    let token = site.register("ada");
    let headers = format!("{}Cookie: cg_session={token}\r\n", bearer("cgp_0"));
    assert_eq!(site.ask("GET /api/v1/me", &headers, "").status, 401);
}

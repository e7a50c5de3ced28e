//! API tokens: what they are good for, and for how long.

use campusgrid_manager::web::access::Access;
use campusgrid_manager::web::routes::listed;
use serde_json::{Value, json};

use super::{Browser, rows};
use crate::site::{Answer, PASSWORD, Site};

fn make(site: &Site, token: &str, scopes: &[&str]) -> Answer {
    let body = json!({
        "name": "<b>cluster</b>", "scopes": scopes, "days": 366, "password": PASSWORD,
    });
    site.json("POST /api/v1/tokens", token, &body)
}

fn made(site: &Site, token: &str, scopes: &[&str]) -> (String, u64) {
    let answer = make(site, token, scopes);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let value = answer.value();
    (value["token"].as_str().unwrap().to_owned(), value["id"].as_u64().unwrap())
}

#[test]
fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    let site = Site::start();
    let (ada, grace) = (site.register("ada"), site.register("grace"));
    let (token, id) = made(&site, &ada, &["read", "submit"]);
    assert!(token.starts_with("cgp_") && token.len() == 4 + 64, "{token}");
    let list = site.get("/api/v1/tokens", &ada);
    assert!(!list.body.contains(&token[4..]));
    let row = &rows(&list)[0];
    assert_eq!((&row["id"], &row["scopes"]), (&json!(id), &json!(["read", "submit"])));
    assert_eq!(row["used_at_ms"], Value::Null);
    let made_at = row["made_at_ms"].as_u64().unwrap();
    let days = (row["until_ms"].as_u64().unwrap() + 60_000 - made_at) / (24 * 3600 * 1000);
    assert_eq!(days, 366);
    assert_eq!(site.get("/api/v1/me", &token).value()["user"], "ada");
    let row = &rows(&site.get("/api/v1/tokens", &ada))[0];
    assert!(row["used_at_ms"].as_u64().unwrap() >= made_at, "{row}");
    assert_eq!(rows(&site.get("/api/v1/tokens", &grace)), Vec::<Value>::new());
    let revoke = format!("DELETE /api/v1/tokens/{id}");
    assert_eq!(site.json(&revoke, &grace, &json!({})).status, 404);
    assert_eq!(site.get("/api/v1/me", &token).status, 200);
    assert_eq!(site.json(&revoke, &ada, &json!({})).status, 204);
    // A program is told what it lacks, and that is no login.
    for bad in [token.as_str(), "cgp_mistyped"] {
        let refused = site.get("/api/v1/me", bad);
        assert_eq!((refused.status, refused.code().as_str()), (401, "unauthenticated"));
        assert!(refused.body.contains("this API token is not good, or no longer"), "{bad}");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
    assert!(site.get("/api/v1/me", "mistyped").body.contains("log in first"));
}

#[test]
fn every_route_takes_a_token_of_its_scope_and_no_other() {
    let site = Site::start();
    let ada = site.register("ada"); // An operator, so that only scopes stand in the way.
    let scopes = [
        (Access::Read, "read"),
        (Access::Submit, "submit"),
        (Access::Own, "own"),
        (Access::Operate, "operate"),
    ];
    let tokens = scopes.map(|(access, scope)| (access, made(&site, &ada, &[scope]).0));
    for route in listed().iter().filter(|route| route.path.starts_with("/api/")) {
        if route.access == Access::Anyone || route.path == "/api/v1/events" {
            continue; // A stream that is let in does not end.
        }
        let path = route.path.replace("{id}", "9999").replace("{index}", "0");
        let path = path.replace("{*path}", "x");
        for (access, token) in &tokens {
            let answer = site.json(&format!("{} {path}", route.method), token, &json!({}));
            let is_refused = answer.status == 403 && answer.code() == "insufficient_scope";
            let what = format!("{} {} with {access:?}", route.method, route.path);
            assert_eq!(is_refused, *access != route.access, "{what}: {}", answer.body);
        }
    }
    assert_eq!(site.get("/api/v1/me", &ada).status, 200, "nothing above has ended the login");
}

#[test]
fn an_operators_token_without_that_scope_is_a_members() {
    let site = Site::start();
    let (ada, grace) = (site.register("ada"), site.register("grace"));
    let job = site.submit(&grace);
    let (reads, _) = made(&site, &ada, &["read", "submit", "own"]);
    let (operates, _) = made(&site, &ada, &["read", "submit", "operate"]);
    let path = format!("/api/v1/jobs/{job}");
    assert_eq!(site.get(&path, &ada).status, 200);
    assert_eq!(site.get(&path, &operates).status, 200);
    assert_eq!(site.get(&path, &reads).status, 404);
    assert_eq!(site.get("/api/v1/me", &reads).value()["operator"], false);
    let cancel = format!("POST {path}/cancel");
    assert_eq!(site.json(&cancel, &reads, &json!({})).status, 404);
    // A member gets none with that scope, or it would gain it with a later role.
    let refused = make(&site, &grace, &["read", "operate"]);
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_fields"));
    assert_eq!(refused.value()["error"]["fields"][0]["field"], "scopes");
    assert_eq!(make(&site, &reads, &["operate"]).code(), "insufficient_scope");
    assert_eq!(site.get("/api/v1/users", &operates).status, 200);
    let role = json!({"role": "operator"});
    let answer = site.json("PATCH /api/v1/users/2", &operates, &role);
    assert_eq!(answer.code(), "insufficient_scope", "roles are given in person");
}

#[test]
fn a_user_has_fifty_at_most_and_bodies_are_checked() {
    let site = Site::start();
    let ada = site.register("ada");
    let body = json!({"name": "", "scopes": [], "days": 400, "password": PASSWORD});
    let refused = site.json("POST /api/v1/tokens", &ada, &body);
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_fields"));
    assert_eq!(refused.value()["error"]["fields"].as_array().unwrap().len(), 3);
    for _ in 0..50 {
        made(&site, &ada, &["read"]);
    }
    assert_eq!(make(&site, &ada, &["read"]).code(), "too_many");
}

#[test]
fn a_login_alone_makes_none_and_is_no_way_to_try_passwords() {
    let site = Site::start();
    let ada = site.register("ada");
    let body = json!({"name": "x", "scopes": ["read"], "days": 9, "password": "wrong horse"});
    for _ in 0..10 {
        let refused = site.json("POST /api/v1/tokens", &ada, &body);
        assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_fields"));
        assert_eq!(refused.value()["error"]["fields"][0]["field"], "password");
    }
    let refused = make(&site, &ada, &["read"]);
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
    let none = json!({"name": "x", "scopes": ["read"], "days": 9});
    assert_eq!(site.json("POST /api/v1/tokens", &ada, &none).code(), "invalid_body");
    assert_eq!(rows(&site.get("/api/v1/tokens", &ada)), Vec::<Value>::new());
}

#[test]
fn a_new_password_ends_all_tokens_of_its_user() {
    let site = Site::start();
    let (ada, grace) = (site.register("ada"), site.register("grace"));
    let tokens = [made(&site, &ada, &["read"]).0, made(&site, &ada, &["submit"]).0];
    let (other, _) = made(&site, &grace, &["read"]);
    let status = |token: &str| site.get("/api/v1/me", token).status;
    assert_eq!(tokens.each_ref().map(|token| status(token)), [200, 403]);
    let change = json!({"present": PASSWORD, "new": "another horse battery"});
    assert_eq!(site.json("POST /api/v1/password", &ada, &change).status, 204);
    assert_eq!(tokens.each_ref().map(|token| status(token)), [401, 401]);
    assert_eq!(rows(&site.get("/api/v1/tokens", &ada)), Vec::<Value>::new());
    assert_eq!((status(&ada), status(&other)), (200, 200));
}

#[test]
fn the_page_makes_and_revokes_them() {
    let site = Site::start();
    site.register("ada");
    site.register("grace");
    let browser = Browser::new(&site);
    browser.log_in("grace", PASSWORD);
    let page = browser.open("/account").body;
    assert!(page.contains("name=\"scope.read\" checked") && !page.contains("scope.operate"));
    let wrong = browser.send("/account", "/account/tokens", "name=%3Cb%3E&days=0");
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("id=\"days-error\"") && wrong.body.contains("id=\"scopes-error\""));
    assert!(wrong.body.contains("value=\"&#60;b&#62;\""), "what was typed is kept, escaped");
    let fields = "name=%3Cb%3E&days=9&scope.read=on&scope.own=on";
    let wrong = browser.send("/account", "/account/tokens", &format!("{fields}&password=x"));
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("id=\"token-password-error\""), "{}", wrong.body);
    let fields = format!("{fields}&password={}", PASSWORD.replace(' ', "+"));
    let page = browser.send("/account", "/account/tokens", &fields).body;
    let token = page.split("value=\"cgp_").nth(1).unwrap().split('"').next().unwrap();
    let token = format!("cgp_{token}");
    assert!(page.contains("&#60;b&#62;") && !page.contains("<b>"), "{page}");
    assert!(page.contains("read, own"));
    assert_eq!(site.get("/api/v1/me", &token).value()["user"], "grace");
    assert!(!browser.open("/account").body.contains(&token), "it is shown once");
    let answer = browser.send("/account", "/account/tokens/1/revoke", "");
    assert_eq!(answer.header("location"), "/account?done=token");
    assert_eq!(site.get("/api/v1/me", &token).status, 401);
}

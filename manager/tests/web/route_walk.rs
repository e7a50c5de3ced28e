//! Every route of the table, as a stranger, as another site, and without what forms must carry.

use campusgrid_manager::web::access::Access;
use campusgrid_manager::web::routes::{Listed, listed};
use serde_json::json;

use crate::accounts;
use crate::hostile;
use crate::site::{Answer, FORM, JSON, PASSWORD, Site, bearer, cookie};

/// What belongs to one user, by the beginnings of the addresses that name it, the longest first.
struct Things(Vec<(&'static str, u64)>);

impl Things {
    /// Makes one of everything that an address can name: all the owner's, but an invitation, which
    /// only an operator can make.
    fn of(site: &Site, owner: &str, operator: &str) -> Self {
        let job = site.submit(owner);
        hostile::end_with_output(site, owner, job);
        let voucher = site.json("POST /api/v1/workers/tokens", owner, &json!({"uses": 2}));
        let voucher = voucher.value()["id"].as_u64().unwrap();
        let worker = site.join_worker(owner, "laptop");
        let mut things = vec![
            ("/api/v1/workers/tokens/", voucher),
            ("/workers/tokens/", voucher),
            ("/market/jobs/", job),
            ("/api/v1/jobs/", job),
            ("/jobs/", job),
            ("/api/v1/workers/", worker),
            ("/workers/", worker),
        ];
        things.extend(accounts::things_of(site, owner, operator));
        Self(things)
    }

    /// The address of the thing that a route names.
    fn address(&self, path: &str) -> String {
        let found = self.0.iter().find(|(beginning, _)| path.starts_with(beginning));
        let Some((_, id)) = found else { panic!("say whose thing {path} names") };
        let path = path.replacen("{id}", &id.to_string(), 1);
        let path = path.replace("{index}", "0").replace("{*path}", hostile::OUTPUT_PATH);
        let path = path.replace("{worker}", "1");
        assert!(!path.contains('{'), "{path} names more than is known");
        path
    }
}

fn is_api(route: &Listed) -> bool {
    route.path.starts_with("/api/")
}

fn is_unsafe(route: &Listed) -> bool {
    route.method != "GET"
}

fn names_a_thing(route: &Listed) -> bool {
    route.path.contains('{') && route.access != Access::Anyone
}

/// Asks as a browser or a program would, with what shows who asks.
fn send(site: &Site, route: &Listed, path: &str, headers: &str, form: &str) -> Answer {
    let line = format!("{} {path}", route.method);
    match (is_unsafe(route), is_api(route)) {
        (false, _) => site.ask(&line, headers, ""),
        (true, true) => {
            let piece = "Upload-Offset: 0\r\nUpload-Length: 2\r\n";
            site.ask(&line, &format!("{headers}{JSON}{piece}"), body(route))
        }
        (true, false) => {
            site.ask(&line, &format!("{headers}{FORM}"), &format!("{form}&role=member"))
        }
    }
}

/// What passes for a request, so that it is not turned down for its form.
fn body(route: &Listed) -> &'static str {
    match route.path {
        "/api/v1/users/{id}" => r#"{"role":"member"}"#,
        "/api/v1/jobs/{id}/launch" => r#"{"kind":"shell","source":"true"}"#,
        "/api/v1/jobs/{id}/bids" | "/api/v1/jobs/{id}/accept" => r#"{"worker":1,"price_micros":1}"#,
        "/api/v1/workers/{id}/by-hand" => r#"{"wish":"pause"}"#,
        "/api/v1/jobs/{id}/files" => {
            r#"{"path":"a","size_bytes":0,"blake3":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"}"#
        }
        _ => "{}",
    }
}

/// Whether only operators may use it, which may be said by the engine.
fn is_operators(route: &Listed) -> bool {
    route.access == Access::Operate
        || ["/users/", "/api/v1/users/"].iter().any(|of| route.path.starts_with(of))
}

/// Whether everybody may look at what it names: machines, as lists of them do.
fn is_public(route: &Listed) -> bool {
    let public = ["/api/v1/workers/{id}", "/workers/{id}"];
    !is_unsafe(route) && public.contains(&route.path)
}

fn own_origin(site: &Site) -> String {
    format!("Origin: http://{}\r\n", site.address)
}

/// A path that leads to the route, whether what it names is there or not.
fn some_path(route: &Listed) -> String {
    let path = route.path.replacen("{id}", "1", 1).replace("{index}", "0");
    let path = path.replace("{*path}", "x").replace("{version}", "x").replace("{name}", "x");
    path.replace("{worker}", "1")
}

#[test]
fn the_table_is_all_there_is() {
    let routes = listed();
    assert!(routes.len() > 50, "{}", routes.len());
    let mut named: Vec<String> =
        routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    named.sort();
    named.dedup();
    assert_eq!(named.len(), routes.len(), "a route is listed twice");
    let open: Vec<&str> = routes
        .iter()
        .filter(|route| route.access == Access::Anyone)
        .map(|route| route.path)
        .collect();
    // Whoever adds one here says that everybody in the world may use it.
    let expected = [
        "/health",
        "/metrics",
        "/jobs/count",
        "/openapi.json",
        "/docs",
        "/static/{version}/{name}",
        "/api/v1/register",
        "/api/v1/login",
        "/api/v1/verify",
        "/register",
        "/register",
        "/login",
        "/login",
        "/verify",
        "/verify",
    ];
    assert_eq!(open, expected);
}

#[test]
fn nobody_gets_in_without_a_login() {
    let site = Site::start();
    let origin = own_origin(&site);
    for route in listed().iter().filter(|route| route.access != Access::Anyone) {
        let what = format!("{} {}", route.method, route.path);
        for credential in [String::new(), bearer(&"0".repeat(64)), cookie(&"0".repeat(64))] {
            let headers = format!("{origin}{credential}");
            let answer = send(&site, route, &some_path(route), &headers, "form_token=0");
            if is_api(route) {
                // A cookie that is none has no form token either.
                let is_refused = [401, 403].contains(&answer.status);
                assert!(is_refused, "{what} {credential}: {}", answer.status);
            } else {
                let target = answer.header("location");
                assert!(answer.status == 303 && target.starts_with("/login"), "{what}: {target}");
            }
        }
    }
}

#[test]
fn what_belongs_to_others_is_not_there() {
    let site = Site::start();
    let operator = site.register("ada"); // Who sees everything.
    let (owner, stranger) = (site.register("grace"), site.register("edsger"));
    let things = Things::of(&site, &owner, &operator);
    let form_token = site.page("/submit", &stranger).field("form_token").to_owned();
    let origin = own_origin(&site);
    let mut walked = 0;
    for route in listed().iter().filter(|route| names_a_thing(route) && !is_public(route)) {
        let path = things.address(route.path);
        let what = format!("{} {path}", route.method);
        let by_cookie = format!("{origin}{}X-Form-Token: {form_token}\r\n", cookie(&stranger));
        for headers in [bearer(&stranger), by_cookie] {
            if !is_api(route) && is_unsafe(route) && !headers.starts_with("Origin") {
                continue; // Forms of pages come from browsers only.
            }
            let form = format!("form_token={form_token}");
            let answer = send(&site, route, &path, &headers, &form);
            let expected: &[u16] = if is_operators(route) { &[403, 404] } else { &[404] };
            assert!(expected.contains(&answer.status), "{what}: {} {}", answer.status, answer.body);
            for secret in [hostile::SECRET, "laptop"] {
                assert!(!answer.body.contains(secret), "{what} tells {secret}");
            }
        }
        // No upload is under way there, also for its owner, and the job is not on the market.
        let is_there =
            !["/uploads/", "/bids", "/market/"].iter().any(|part| route.path.contains(part));
        if !is_unsafe(route) && is_there {
            let answer = send(&site, route, &path, &bearer(&owner), "");
            assert_eq!(answer.status, 200, "{what} as its owner: {}", answer.body);
        }
        walked += 1;
    }
    assert!(walked >= 14, "{walked}");
    let job = things.address("/jobs/{id}").replace("/jobs/", "");
    for path in
        [format!("/api/v1/events?job={job}"), format!("/api/v1/jobs/{job}/logs?follow=true")]
    {
        assert_eq!(site.get(&path, &stranger).status, 404, "{path}");
    }
    // Nothing of it was changed on the way.
    let workers = site.get("/api/v1/workers", &owner).value();
    assert_eq!(workers.as_array().unwrap().len(), 1);
    let tokens = site.get("/api/v1/workers/tokens", &owner).value();
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 1);
}

#[test]
fn an_api_token_does_only_what_it_is_for() {
    let site = Site::start();
    let ada = site.register("ada");
    let token = |scopes: &[&str]| {
        let body = json!({"name": "script", "scopes": scopes, "days": 1, "password": PASSWORD});
        let made = site.json("POST /api/v1/tokens", &ada, &body);
        made.value()["token"].as_str().unwrap().to_owned()
    };
    let all = ["read", "submit", "own", "operate"];
    let without =
        |scope: &str| token(&all.into_iter().filter(|other| *other != scope).collect::<Vec<_>>());
    let [no_read, no_submit, no_own, no_operate] = all.map(without);
    let every = token(&all);
    for route in listed() {
        let wrong = match route.access {
            Access::Anyone => continue,
            Access::Read => &no_read,
            Access::Submit => &no_submit,
            Access::Own => &no_own,
            Access::Operate => &no_operate,
            Access::Person => &every,
        };
        let answer = send(&site, &route, &some_path(&route), &bearer(wrong), "");
        let what = format!("{} {}", route.method, route.path);
        assert_eq!(answer.status, 403, "{what}: {}", answer.body);
        if is_api(&route) {
            assert_eq!(answer.code(), "insufficient_scope", "{what}");
        }
    }
    assert_eq!(site.get("/api/v1/me", &every).status, 200);
}

#[test]
fn members_do_nothing_that_is_for_operators() {
    let site = Site::start();
    site.register("ada");
    let member = site.register("grace");
    let form_token = site.page("/submit", &member).field("form_token").to_owned();
    let by_cookie =
        format!("{}{}X-Form-Token: {form_token}\r\n", own_origin(&site), cookie(&member));
    for route in listed().iter().filter(|route| is_operators(route)) {
        let form = format!("form_token={form_token}");
        let answer = send(&site, route, &some_path(route), &by_cookie, &form);
        let what = format!("{} {}", route.method, route.path);
        assert!([403, 404].contains(&answer.status), "{what}: {}", answer.status);
    }
}

#[test]
fn nothing_changes_for_another_site() {
    let site = Site::start();
    let token = site.register("ada");
    let things = Things::of(&site, &token, &token);
    let form_token = site.page("/submit", &token).field("form_token").to_owned();
    for route in listed().iter().filter(|route| is_unsafe(route)) {
        let path =
            if names_a_thing(route) { things.address(route.path) } else { route.path.to_owned() };
        for foreign in [
            "Origin: http://evil.example\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
        ] {
            let headers = format!("{foreign}{}X-Form-Token: {form_token}\r\n", cookie(&token));
            let form = format!("form_token={form_token}");
            let answer = send(&site, route, &path, &headers, &form);
            let what = format!("{} {path} {foreign}", route.method);
            assert_eq!(answer.status, 403, "{what}: {}", answer.body);
            assert!(answer.body.contains("another site"), "{what}: {}", answer.body);
        }
    }
    assert_eq!(site.get("/api/v1/me", &token).status, 200, "the login is still open");
}

#[test]
fn nothing_changes_without_the_token_of_a_form() {
    let site = Site::start();
    let (token, other) = (site.register("ada"), site.register("grace"));
    let things = Things::of(&site, &token, &token);
    let of_other = site.page("/submit", &other).field("form_token").to_owned();
    let guarded = |route: &&Listed| is_unsafe(route) && route.access != Access::Anyone;
    for route in listed().iter().filter(guarded) {
        let path =
            if names_a_thing(route) { things.address(route.path) } else { route.path.to_owned() };
        for sent in ["", "0", &"0".repeat(64), &of_other] {
            let headers =
                format!("{}{}X-Form-Token: {sent}\r\n", own_origin(&site), cookie(&token));
            let answer = send(&site, route, &path, &headers, &format!("form_token={sent}"));
            let what = format!("{} {path} with {sent:?}", route.method);
            assert_eq!(answer.status, 403, "{what}: {}", answer.body);
            assert!(answer.body.contains("another login"), "{what}: {}", answer.body);
        }
        let none = format!("{}{}", own_origin(&site), cookie(&token));
        let answer = send(&site, route, &path, &none, "");
        assert_eq!(answer.status, 403, "{} {path} without any", route.method);
    }
    assert_eq!(site.get("/api/v1/me", &token).status, 200, "the login is still open");
}

//! Accounts over real HTTP: registering, logging in and out, passwords, tokens, roles, invitations, and
//! floods of wrong passwords.

mod flood;
mod invitations;
mod passwords;
mod sessions;
mod tokens;
mod users;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::site::{Answer, FORM, JSON, PASSWORD, Site};

/// What of these users' accounts an address can name, for the walk over all routes: the owner's, but
/// for the invitation, which only an operator can make, and the user, who is the operator.
pub(crate) fn things_of(site: &Site, owner: &str, operator: &str) -> Vec<(&'static str, u64)> {
    let id = |answer: Answer| {
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.value()["id"].as_u64().unwrap()
    };
    let new = json!({"name": "script", "scopes": ["read"], "days": 1, "password": PASSWORD});
    let token = id(site.json("POST /api/v1/tokens", owner, &new));
    let invitation = id(site.json("POST /api/v1/invitations", operator, &json!({})));
    let session = site.get("/api/v1/sessions", owner).value()[0]["session"].as_u64().unwrap();
    let users = site.get("/api/v1/users?limit=1", operator).value();
    let user = users["items"][0]["id"].as_u64().unwrap();
    vec![
        ("/api/v1/sessions/", session),
        ("/account/sessions/", session),
        ("/api/v1/tokens/", token),
        ("/account/tokens/", token),
        ("/api/v1/invitations/", invitation),
        ("/users/invitations/", invitation),
        ("/api/v1/users/", user),
        ("/users/", user),
    ]
}

/// Logs in by the API from this address (a proxy says so), yields the answer.
fn log_in(site: &Site, address: &str, name: &str, password: &str) -> Answer {
    let headers = format!("{JSON}X-Forwarded-For: {address}\r\n");
    let body = json!({"name": name, "password": password});
    site.ask("POST /api/v1/login", &headers, &body.to_string())
}

/// The token of a fresh login from the manager's own machine.
fn fresh_login(site: &Site, name: &str) -> String {
    let body = json!({"name": name, "password": PASSWORD});
    let answer = site.ask("POST /api/v1/login", JSON, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.value()["token"].as_str().unwrap().to_owned()
}

/// A manager that believes the proxy that this machine is.
fn behind_proxy() -> Site {
    Site::start_with(|config| config.web.proxies = "127.0.0.1".parse().unwrap())
}

/// Whoever keeps cookies and fills in forms.
struct Browser<'a> {
    site: &'a Site,
    cookies: RefCell<BTreeMap<String, String>>,
    /// More headers, a line each.
    headers: String,
}

impl<'a> Browser<'a> {
    fn new(site: &'a Site) -> Self {
        Self { site, cookies: RefCell::default(), headers: String::new() }
    }

    /// One whose requests come through the proxy, from this address.
    fn from(site: &'a Site, address: &str) -> Self {
        let headers = format!("X-Forwarded-For: {address}\r\n");
        Self { headers, ..Self::new(site) }
    }

    fn ask(&self, line: &str, headers: &str, body: &str) -> Answer {
        let cookies: Vec<String> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = format!("Cookie: {}\r\n", cookies.join("; "));
        let answer = self.site.ask(line, &format!("{cookies}{}{headers}", self.headers), body);
        for (_, text) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, about) = text.split_once(';').unwrap();
            assert!(about.contains("HttpOnly; SameSite=Lax; Path=/"), "{text}");
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    fn open(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", "")
    }

    /// Sends a form that stands on a page.
    fn send(&self, page: &str, path: &str, fields: &str) -> Answer {
        let page = self.open(page);
        assert_eq!(page.status, 200, "{}", page.body);
        self.post(path, &format!("form_token={}&{fields}", page.field("form_token")))
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        let origin = format!("Origin: http://{}\r\n", self.site.address);
        self.ask(&format!("POST {path}"), &format!("{FORM}{origin}"), body)
    }

    fn log_in(&self, name: &str, password: &str) -> Answer {
        let fields = format!("name={name}&password={}", password.replace(' ', "+"));
        self.send("/login", "/login", &fields)
    }

    fn forget(&self, cookie: &str) {
        self.cookies.borrow_mut().remove(cookie);
    }
}

/// The rows of an answer.
fn rows(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.value().as_array().unwrap().clone()
}

/// Whoever has a domain has as many addresses as they like.
#[test]
fn credits_for_an_address_are_for_some_domains_where_the_operator_says_so() {
    let site = Site::start_with(|config| {
        config.web.verified_domains = "campus.edu, lab.edu".parse().unwrap();
    });
    let register = |name: &str, email: Option<&str>| {
        let body = json!({"name": name, "email": email, "password": PASSWORD});
        site.ask("POST /api/v1/register", JSON, &body.to_string())
    };
    let refused = register("eve", Some("eve@evil.example"));
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_fields"));
    let field = &refused.value()["error"]["fields"][0];
    assert_eq!(field["field"], "email");
    assert!(field["message"].as_str().unwrap().contains("@campus.edu or @lab.edu"), "{field}");
    assert_eq!(register("ada", Some("ada@Campus.edu")).status, 201);
    assert_eq!(register("grace", None).status, 201);
}

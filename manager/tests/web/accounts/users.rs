//! Users and their roles, as operators see and give them.

use serde_json::{Value, json};

use super::Browser;
use crate::site::{JSON, PASSWORD, Site};

#[test]
fn operators_list_users_and_give_roles_and_members_do_neither() {
    let site = Site::start();
    let (ada, grace) = (site.register("ada"), site.register("grace"));
    let edsger = json!({"name": "edsger", "password": PASSWORD, "email": "e@example.org"});
    assert_eq!(site.ask("POST /api/v1/register", JSON, &edsger.to_string()).status, 201);
    let users = site.get("/api/v1/users", &ada).value();
    let told: Vec<(&Value, &Value, &Value)> = users["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (&user["name"], &user["role"], &user["email"]))
        .collect();
    let (member, operator) = (json!("member"), json!("operator"));
    assert_eq!(
        told,
        [
            (&json!("ada"), &operator, &Value::Null),
            (&json!("grace"), &member, &Value::Null),
            (&json!("edsger"), &member, &json!("e@example.org")),
        ]
    );
    let page = site.get("/api/v1/users?limit=1&after=1", &ada).value();
    assert_eq!((&page["items"][0]["name"], &page["next"]), (&json!("grace"), &json!(2)));

    assert_eq!(site.get("/api/v1/users", &grace).code(), "not_an_operator");
    assert_eq!(site.page("/users", &grace).status, 403);
    let give = |token: &str, user: u64, role: &str| {
        let path = format!("PATCH /api/v1/users/{user}");
        site.json(&path, token, &json!({"role": role}))
    };
    assert_eq!(give(&grace, 2, "operator").code(), "not_an_operator");
    assert_eq!(give(&ada, 1, "member").code(), "last_operator");
    assert_eq!(give(&ada, 99, "operator").status, 404);
    assert_eq!(give(&ada, 2, "root").code(), "invalid_body");
    assert_eq!(give(&ada, 2, "operator").status, 204);
    assert_eq!(site.get("/api/v1/users", &grace).status, 200, "at once, in the same login");
    assert_eq!(give(&grace, 1, "member").status, 204);
    assert_eq!(site.get("/api/v1/users", &ada).status, 403);
}

#[test]
fn nobody_registers_as_an_operator() {
    let site = Site::start();
    site.register("ada");
    let body = json!({"name": "eve", "password": PASSWORD, "role": "operator"}).to_string();
    assert_eq!(site.ask("POST /api/v1/register", JSON, &body).code(), "invalid_body");
    let eve = site.register("eve");
    assert_eq!(site.get("/api/v1/me", &eve).value()["operator"], false);
}

#[test]
fn the_page_gives_roles_and_shows_what_people_typed_as_text() {
    let site = Site::start();
    let ada = site.register("ada");
    let body = json!({"name": "eve", "password": PASSWORD, "email": "<b>@<script>x"});
    assert_eq!(site.ask("POST /api/v1/register", JSON, &body.to_string()).status, 201);
    let page = site.page("/users", &ada).body;
    assert!(page.contains("&#60;b&#62;@&#60;script&#62;x") && !page.contains("<b>"), "{page}");
    let browser = Browser::new(&site);
    browser.log_in("ada", PASSWORD);
    let answer = browser.send("/users", "/users/2/role", "role=operator");
    assert_eq!(answer.header("location"), "/users?done=role", "{}", answer.body);
    assert!(browser.open("/users").body.contains("id=\"demote-2\""));
    let answer = browser.send("/users", "/users/2/role", "role=%3Cb%3E");
    assert_eq!(answer.status, 422);
    browser.send("/users", "/users/2/role", "role=member");
    let last = browser.send("/users", "/users/1/role", "role=member");
    assert_eq!(last.status, 409);
    assert!(last.body.contains("the last operator stays one"), "{}", last.body);
}

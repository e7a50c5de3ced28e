//! Who may register: everybody, whoever is invited, or nobody.

use campusgrid_core::policy::Admission;
use serde_json::{Value, json};

use super::{Browser, rows};
use crate::site::{Answer, FORM, JSON, PASSWORD, Site, wait};

fn start(admission: Admission) -> Site {
    Site::start_with(|config| config.policy.admission = admission)
}

/// From elsewhere, as a proxy tells.
fn register(site: &Site, name: &str, invitation: Option<&str>) -> Answer {
    let headers = format!("{JSON}X-Forwarded-For: 192.0.2.1\r\n");
    let body = json!({"name": name, "password": PASSWORD, "invitation": invitation});
    site.ask("POST /api/v1/register", &headers, &body.to_string())
}

fn invite(site: &Site, token: &str, uses: u32) -> Value {
    let body = json!({"uses": uses, "hours": 2});
    let answer = site.json("POST /api/v1/invitations", token, &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.value()
}

#[test]
fn an_invitation_lets_in_as_many_as_it_says() {
    let site = start(Admission::Invitation);
    assert_eq!(register(&site, "eve", None).code(), "invitation_needed");
    let ada = site.register("ada"); // The first from the manager's own machine needs none.
    let made = invite(&site, &ada, 2);
    let text = made["invitation"].as_str().unwrap();
    assert!(text.starts_with("cgi."), "{text}");
    assert_eq!(made["path"], format!("/register?invitation={text}"));
    assert_eq!(register(&site, "grace", Some(text)).status, 201);
    assert_eq!(register(&site, "Grace", Some(text)).code(), "name_taken", "which uses nothing up");
    let listed = rows(&site.get("/api/v1/invitations", &ada));
    assert_eq!((&listed[0]["by"], &listed[0]["uses_left"]), (&json!("ada"), &json!(1)));
    assert_eq!(register(&site, "edsger", Some(text)).status, 201);
    assert_eq!(register(&site, "eve", Some(text)).code(), "voucher_unknown");
    let almost = format!("{}0", &text[..text.len() - 1]);
    for wrong in [almost.as_str(), "cgi.1.x", "", " ", "cg1.0.1.0"] {
        let code = register(&site, "eve", Some(wrong)).code();
        assert!(
            ["voucher_unknown", "invitation_needed"].contains(&code.as_str()),
            "{wrong}: {code}"
        );
    }
    // Neither a token to join by is an invitation, nor the other way round.
    let join = site.json("POST /api/v1/workers/tokens", &ada, &json!({"uses": 2})).value();
    let (id, token) = (join["id"].as_u64().unwrap(), join["token"].as_str().unwrap());
    let forged = format!("cgi.{id}.{}", token.rsplit('.').next().unwrap());
    assert_eq!(register(&site, "eve", Some(&forged)).code(), "voucher_unknown");
    let revoke = format!("DELETE /api/v1/invitations/{id}");
    assert_eq!(site.json(&revoke, &ada, &json!({})).status, 404);
}

#[test]
fn an_invitation_that_is_revoked_lets_nobody_in() {
    let site = start(Admission::Invitation);
    let ada = site.register("ada");
    let made = invite(&site, &ada, 5);
    let text = made["invitation"].as_str().unwrap();
    let answer = register(&site, "grace", Some(text));
    let grace = answer.value()["token"].as_str().unwrap().to_owned();
    assert_eq!(site.get("/api/v1/invitations", &grace).code(), "not_an_operator");
    let revoke = format!("DELETE /api/v1/invitations/{}", made["id"]);
    assert_eq!(site.json(&revoke, &grace, &json!({})).status, 403);
    assert_eq!(site.json(&revoke, &ada, &json!({})).status, 204);
    assert_eq!(register(&site, "eve", Some(text)).code(), "voucher_unknown");
    assert_eq!(rows(&site.get("/api/v1/invitations", &ada)), Vec::<Value>::new());
    for body in [json!({"uses": 0}), json!({"hours": 721}), json!({"uses": 10_001})] {
        let answer = site.json("POST /api/v1/invitations", &ada, &body);
        assert_eq!(answer.code(), "invalid_fields", "{body}");
    }
}

#[test]
fn closed_is_closed_but_for_the_first_on_the_managers_own_machine() {
    let site = start(Admission::Closed);
    assert_eq!(register(&site, "eve", None).code(), "registration_closed");
    let form = site.ask("GET /register", "", "").body;
    assert!(form.contains("id=\"password\""), "the first finds no form");
    let ada = site.register("ada");
    assert_eq!(site.get("/api/v1/me", &ada).value()["operator"], true);
    let body = json!({"name": "eve", "password": PASSWORD}).to_string();
    assert_eq!(site.ask("POST /api/v1/register", JSON, &body).code(), "registration_closed");
    // Nobody could use it.
    let body = json!({"uses": 1, "hours": 2});
    let refused = site.json("POST /api/v1/invitations", &ada, &body);
    assert_eq!((refused.status, refused.code().as_str()), (403, "registration_closed"));
    let mut snapshots = site.engine.snapshots();
    wait(snapshots.wait_for(|snapshot| snapshot.users == 1)).unwrap();
    let page = site.ask("GET /register", "", "").body;
    assert!(page.contains("Registration is closed") && !page.contains("id=\"password\""), "{page}");
}

#[test]
fn a_link_leads_to_the_page_that_registers() {
    let site = start(Admission::Invitation);
    site.register("ada");
    let operator = Browser::new(&site);
    operator.log_in("ada", PASSWORD);
    let wrong = operator.send("/users", "/users/invitations", "uses=many&hours=0");
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("id=\"uses-error\"") && wrong.body.contains("id=\"hours-error\""));
    let page = operator.send("/users", "/users/invitations", "uses=1&hours=48").body;
    let link = page.split("id=\"new-link\"").nth(1).unwrap();
    let link = link.split("value=\"").nth(1).unwrap().split('"').next().unwrap();
    let path = link.strip_prefix(&format!("http://{}", site.address)).unwrap();

    let newcomer = Browser::from(&site, "192.0.2.1");
    let form = newcomer.open(path);
    let invitation = form.field("invitation");
    assert!(invitation.starts_with("cgi."), "{}", form.body);
    let password = PASSWORD.replace(' ', "+");
    let body = |invitation: &str| {
        let token = form.field("form_token");
        format!("form_token={token}&name=grace&password={password}&invitation={invitation}")
    };
    let refused = newcomer.post("/register", &body(""));
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("registration is by invitation"), "{}", refused.body);
    assert_eq!(newcomer.post("/register", &body(invitation)).status, 303);
    let hidden = site.ask("GET /register?invitation=%22%3E%3Cb%3E", FORM, "").body;
    assert!(!hidden.contains("<b>"), "{hidden}");
}

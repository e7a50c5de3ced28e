//! Machines as their owners have them: rules, prices, what they have earned; and what others see.

use serde_json::{Value, json};

use crate::site::{Site, bearer};

/// What a rule or a price that is wrong is told by.
fn fields(answer: &Value) -> Vec<&str> {
    let fields = answer["error"]["fields"].as_array().unwrap();
    fields.iter().map(|field| field["field"].as_str().unwrap()).collect()
}

#[test]
fn rules_are_replaced_as_a_whole_and_checked() {
    let site = Site::start();
    site.register("operator");
    let owner = site.register("grace");
    let worker = site.join_worker(&owner, "laptop");
    let path = format!("/api/v1/workers/{worker}/rules");
    let first = site.get(&path, &owner).value();
    assert_eq!(first["when"]["power"], "mains");
    let put = |body: &Value| site.json(&format!("PUT {path}"), &owner, body);
    let rules = json!({"when": {"idle_minutes": 10, "zone": "Europe/Berlin", "power": {"above": 50}},
        "limits": {"cores": 2, "whose": {"of": ["ada"]}, "kinds": ["c"]}});
    let answer = put(&rules);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let kept = site.get(&path, &owner).value();
    assert_eq!(kept, answer.value());
    assert_eq!((&kept["limits"]["cores"], &kept["when"]["grace_s"]), (&json!(2), &json!(60)));
    assert_eq!(put(&json!({})).status, 200);
    assert_eq!(site.get(&path, &owner).value(), first, "what is left out is as at first");

    let wrong =
        put(&json!({"when": {"zone": "Mars/Base", "temperature_c": 5}, "limits": {"cores": 0}}));
    assert_eq!((wrong.status, wrong.code().as_str()), (422, "invalid_fields"));
    assert_eq!(fields(&wrong.value()), ["when.temperature_c", "limits.cores", "when.zone"]);
    let unknown = put(&json!({"when": {"idle": 3}}));
    assert_eq!((unknown.status, unknown.code().as_str()), (422, "invalid_body"));
}

#[test]
fn a_machine_is_paused_for_a_time_by_hand() {
    let site = Site::start();
    site.register("operator");
    let owner = site.register("grace");
    let worker = site.join_worker(&owner, "laptop");
    let path = format!("/api/v1/workers/{worker}/by-hand");
    let post = |body: &Value| site.json(&format!("POST {path}"), &owner, body);
    let paused = post(&json!({"wish": "pause", "for_s": 3600})).value();
    assert_eq!(paused["by_hand"]["wish"], "pause");
    let until_ms = paused["by_hand"]["until_ms"].as_u64().unwrap();
    let shared = post(&json!({"wish": "share", "until_ms": until_ms + 1})).value();
    assert_eq!(shared["by_hand"], json!({"wish": "share", "until_ms": until_ms + 1}));
    for wrong in [
        json!({"wish": "pause", "for_s": 0}),
        json!({"wish": "pause", "until_ms": 1}),
        json!({"wish": "pause", "for_s": 1, "until_ms": until_ms}),
    ] {
        assert_eq!(post(&wrong).code(), "invalid_fields", "{wrong}");
    }
    let rules = format!("/api/v1/workers/{worker}/rules");
    assert_eq!(site.get(&rules, &owner).value()["by_hand"]["wish"], "share");
    let gone = site.ask(&format!("DELETE {path}"), &bearer(&owner), "");
    assert_eq!((gone.status, &gone.value()["by_hand"]), (200, &Value::Null));
}

#[test]
fn an_ask_is_the_formula_until_its_owner_says_otherwise() {
    let site = Site::start();
    site.register("operator");
    let (owner, other) = (site.register("grace"), site.register("edsger"));
    let worker = site.join_worker(&owner, "laptop");
    let path = format!("/api/v1/workers/{worker}/ask");
    assert_eq!(
        site.get(&path, &other).value(),
        json!({"prices": null, "automatic": false}),
        "a price is for everybody to see"
    );
    let ask = json!({"prices": {"base_micros": 7, "core_minute_micros": 3}, "automatic": true});
    assert_eq!(site.json(&format!("PUT {path}"), &owner, &ask).status, 200);
    let kept = site.get(&path, &other).value();
    assert_eq!((&kept["prices"]["base_micros"], &kept["automatic"]), (&json!(7), &json!(true)));
    assert_eq!(kept["prices"]["minimum_micros"], 0);
    let wrong = json!({"prices": {"minute_micros": -1}});
    let wrong = site.json(&format!("PUT {path}"), &owner, &wrong);
    assert_eq!(fields(&wrong.value()), ["prices.minute_micros"]);
    assert_eq!(site.json(&format!("PUT {path}"), &other, &json!({})).status, 404);
}

#[test]
fn others_see_a_machine_and_nothing_of_its_owners_life() {
    let site = Site::start();
    let operator = site.register("operator");
    let (owner, other) = (site.register("grace"), site.register("edsger"));
    let worker = site.join_worker(&owner, "laptop");
    let path = format!("/api/v1/workers/{worker}");
    let own = site.get(&path, &owner).value();
    assert_eq!((&own["name"], &own["own"]), (&json!("laptop"), &json!(true)));
    assert_eq!(own["rules"]["when"]["enabled"], true);
    assert_eq!((&own["earned_micros"], &own["record"]["lost"]), (&json!(0), &json!(0)));
    let seen = site.get(&path, &other).value();
    for private in ["rules", "limits", "earned_micros"] {
        assert_eq!(seen[private], Value::Null, "{private}");
    }
    assert_eq!((&seen["why"], &seen["score_permille"]), (&json!(""), &own["score_permille"]));
    let by_operator = site.get(&path, &operator).value();
    assert_eq!(by_operator["rules"], own["rules"]);
    let earnings = format!("{path}/earnings");
    assert_eq!(site.get(&earnings, &other).status, 404);
    let none = site.get(&earnings, &owner).value();
    assert_eq!((&none["ever_micros"], &none["paid"]["items"]), (&json!(0), &json!([])));
    let all = site.get("/api/v1/earnings", &other).value();
    assert_eq!(all["machines"], json!([]));
    assert_eq!(site.get("/api/v1/workers/999", &owner).status, 404);
}

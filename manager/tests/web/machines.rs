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
    let (owner, _) = (site.register("grace"), site.register("ada"));
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
fn a_patch_of_rules_keeps_what_it_does_not_name() {
    let site = Site::start();
    site.register("operator");
    let owner = site.register("grace");
    let worker = site.join_worker(&owner, "laptop");
    let path = format!("/api/v1/workers/{worker}/rules");
    let patch = |body: &Value| site.json(&format!("PATCH {path}"), &owner, body);
    let rules = json!({"when": {"idle_minutes": 10, "programs": ["zoom"]},
        "limits": {"cores": 2, "whose": "mine"}, "by_hand": {"wish": "pause", "until_ms": null}});
    assert_eq!(site.json(&format!("PUT {path}"), &owner, &rules).status, 200);
    let mut expected = site.get(&path, &owner).value();
    let until_ms = 4_000_000_000_000_u64;
    let changed = patch(&json!({"when": {"until_ms": until_ms, "power": {"above": 40}}}));
    assert_eq!(changed.status, 200, "{}", changed.body);
    expected["when"]["until_ms"] = json!(until_ms);
    expected["when"]["power"] = json!({"above": 40});
    assert_eq!((changed.value(), site.get(&path, &owner).value()), (expected.clone(), expected));

    let changed =
        patch(&json!({"when": {"until_ms": null, "programs": []}, "limits": null})).value();
    assert_eq!(changed["when"]["until_ms"], Value::Null);
    assert_eq!(
        (&changed["when"]["programs"], &changed["limits"]["cores"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(
        (&changed["when"]["idle_minutes"], &changed["by_hand"]["wish"]),
        (&json!(10), &json!("pause"))
    );

    let wrong = patch(&json!({"when": {"zone": "Mars/Base"}, "limits": {"cores": 0}}));
    assert_eq!(fields(&wrong.value()), ["limits.cores", "when.zone"]);
    for unknown in [
        json!({"when": {"idle": 3}}),
        json!({"when": 3}),
        json!({"when": {"power": {"above": "x"}}}),
    ] {
        let answer = patch(&unknown);
        assert_eq!((answer.status, answer.code().as_str()), (422, "invalid_body"), "{unknown}");
    }
    assert_eq!(site.get(&path, &owner).value(), changed, "what is wrong changes nothing");
}

#[test]
fn rules_name_users_that_there_are() {
    let site = Site::start();
    site.register("operator");
    let (owner, _) = (site.register("grace"), site.register("ada"));
    let worker = site.join_worker(&owner, "laptop");
    let path = format!("/api/v1/workers/{worker}/rules");
    for how in ["PUT", "PATCH"] {
        let body = json!({"limits": {"whose": {"of": ["ADA", "nobodyatall"]}}});
        let wrong = site.json(&format!("{how} {path}"), &owner, &body);
        assert_eq!((wrong.status, wrong.code().as_str()), (422, "invalid_fields"), "{how}");
        let error = &wrong.value()["error"]["fields"][0];
        assert_eq!(
            error,
            &json!({"field": "limits.whose.of", "message": "there is no user nobodyatall"})
        );
        let body = json!({"limits": {"whose": {"of": ["ADA"]}}});
        assert_eq!(site.json(&format!("{how} {path}"), &owner, &body).status, 200, "in any case");
    }
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
    let formula = json!({"prices": null, "automatic": false});
    assert_eq!(site.get(&path, &owner).value(), formula);
    assert_eq!(site.get(&path, &other).status, 404, "with it they may bid under seal");
    let ask = json!({"prices": {"base_micros": 7, "core_minute_micros": 3}, "automatic": true});
    assert_eq!(site.json(&format!("PUT {path}"), &owner, &ask).status, 200);
    let kept = site.get(&path, &owner).value();
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
    assert_eq!(own["ask"], json!({"prices": null, "automatic": false}));
    for private in ["rules", "limits", "ask", "since_ms", "earned_micros"] {
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

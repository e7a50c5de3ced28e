//! The API's description and the page that shows it, as everybody can have them.

use serde_json::Value;

use crate::site::Site;

#[test]
fn the_api_describes_itself_to_everybody() {
    let site = Site::start();
    let answer = site.ask("GET /openapi.json", "", "");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.value();
    assert_eq!(document["openapi"], "3.1.0");
    let submit = &document["paths"]["/api/v1/jobs"]["post"];
    assert_eq!(submit["operationId"], "post_jobs");
    let body = "/requestBody/content/application~1json/schema/$ref";
    assert_eq!(submit.pointer(body), Some(&Value::from("#/components/schemas/Submit")));
    for status in ["201", "401", "402", "403", "409", "413", "415", "422", "429", "503", "507"] {
        assert!(submit["responses"][status].is_object(), "{status}");
    }
    let cores = &document["components"]["schemas"]["Submit"]["properties"]["cores"];
    assert_eq!((&cores["minimum"], &cores["maximum"]), (&1.into(), &1024.into()));
    let known = format!("If-None-Match: {}\r\n", answer.header("etag"));
    assert_eq!(site.ask("GET /openapi.json", &known, "").status, 304);
}

#[test]
fn the_page_that_shows_it_loads_nothing_from_elsewhere() {
    let site = Site::start();
    let page = site.ask("GET /docs", "", "");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe") && !page.body.contains("://"), "{policy}");
    let addresses = page.body.split(['"', '\'']).filter(|part| part.starts_with("/static/"));
    let mut loaded = 0;
    for address in addresses {
        assert_eq!(site.ask(&format!("GET {address}"), "", "").status, 200, "{address}");
        loaded += 1;
    }
    assert_eq!(loaded, 5);
}

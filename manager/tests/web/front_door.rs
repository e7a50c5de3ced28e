//! The dashboard and the API as programs and browsers find them.

use std::io::{Read, Write};
use std::thread;

use serde_json::{Value, json};

use crate::site::{Answer, Site, bearer};

#[test]
fn every_answer_carries_the_headers_of_a_careful_site() {
    let site = Site::start();
    for path in ["/login", "/health", "/api/v1/me", "/nothing", "/api/v1/nothing"] {
        let answer = site.ask(&format!("GET {path}"), "", "");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'self'; frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    let page = site.ask("GET /login", "", "");
    let style = page.body.split("href=\"").find(|part| part.contains("/app.css\"")).unwrap();
    let style = style.split('"').next().unwrap();
    let answer = site.ask(&format!("GET {style}"), "", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/css; charset=utf-8");
    assert!(answer.header("cache-control").contains("immutable"));
}

#[test]
fn errors_are_json_for_programs_and_pages_for_people() {
    let site = Site::start();
    let answer = site.ask("GET /api/v1/nothing", "", "");
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    let answer = site.ask("PUT /api/v1/jobs", "", "");
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    let answer = site.ask("GET /nothing", "", "");
    assert_eq!((answer.status, answer.header("content-type")), (404, "text/html; charset=utf-8"));
    let answer = site.ask("GET /jobs/7?task=2", "", "");
    assert_eq!((answer.status, answer.header("location")), (303, "/login?next=/jobs/7%3Ftask%3D2"));
    let fragment = site.ask("GET /jobs/7", "HX-Request: true\r\n", "");
    assert_eq!((fragment.status, fragment.header("hx-redirect")), (200, "/login"));
    let (token, _) = (site.register("ada"), site.register("grace"));
    for path in ["/nothing", "/jobs/7"] {
        let answer = site.get(path, &token);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("Log out") && answer.body.contains("operator"), "{path}");
        assert!(!answer.body.contains("Register"), "{path}");
    }
}

#[test]
fn bodies_that_are_wrong_say_what_is_wrong() {
    let site = Site::start();
    let token = site.register("ada");
    let long = "x".repeat((1 << 20) + 1);
    for (body, status, code, words) in [
        (r#"{"kind":"shell","source":"true","shell":1}"#, 422, "invalid_body", "unknown field"),
        (r#"{"kind":"cobol","source":"true"}"#, 422, "invalid_body", "unknown variant"),
        (r#"{"kind":"shell","source":"true","cores":-1}"#, 422, "invalid_body", "integer `-1`"),
        (r#"{"kind":"shell","source":"true","cores":"2"}"#, 422, "invalid_body", "whole number"),
        (r#"{"kind":"shell""#, 422, "invalid_body", "ends in the middle of an object"),
        (r#"["shell","name","true",[],1,1,512,64,0,0,60]"#, 422, "invalid_body", "an object"),
        ("3", 422, "invalid_body", "an object"),
        (r#"{"kind":"shell","source":"true","cores":0}"#, 422, "invalid_fields", "cores must be"),
        (r#"{"kind":"c","source":"x","requirements":["numpy"]}"#, 422, "invalid_fields", "Python"),
        (
            r#"{"kind":"python","source":"1","requirements":["-r"]}"#,
            422,
            "invalid_fields",
            "option",
        ),
        (r#"{"kind":"shell","source":"true","tasks":100}"#, 402, "insufficient_credits", "short"),
        (&long, 413, "too_large", "1024 KiB"),
    ] {
        let headers =
            format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        let answer = site.ask("POST /api/v1/jobs", &headers, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.body);
        assert!(answer.body.contains(words), "{}", answer.body);
        for inside in ["u32", "struct", "target type"] {
            assert!(!answer.body.contains(inside), "{}", answer.body);
        }
    }
    let headers = format!("Authorization: Bearer {token}\r\n");
    let answer = site.ask("POST /api/v1/jobs", &headers, "{}");
    assert_eq!((answer.status, answer.code().as_str()), (415, "not_json"));
    assert_eq!(site.get("/api/v1/credits", &token).value()["balance_micros"], 100_000_000);
}

#[test]
fn the_same_key_is_the_same_job() {
    let site = Site::start();
    let token = site.register("ada");
    let body = json!({"kind": "shell", "source": "true"}).to_string();
    let submit = |key: &str| {
        let headers = format!(
            "Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Idempotency-Key: {key}\r\n"
        );
        site.ask("POST /api/v1/jobs", &headers, &body)
    };
    let first = submit("a").value()["job"].as_u64().unwrap();
    assert_eq!(submit("a").value()["job"].as_u64().unwrap(), first);
    assert_ne!(submit("b").value()["job"].as_u64().unwrap(), first);
    assert_eq!(submit(&"k".repeat(129)).status, 422);
}

#[test]
fn a_login_lasts_until_it_is_closed() {
    let site = Site::start();
    let first = site.register("ada");
    let body = json!({"name": "Ada", "password": "correct horse battery"}).to_string();
    let answer = site.ask("POST /api/v1/login", "Content-Type: application/json\r\n", &body);
    let second = answer.value()["token"].as_str().unwrap().to_owned();
    assert_eq!(site.get("/api/v1/me", &second).value()["user"], "ada");
    assert_eq!(site.json("POST /api/v1/logout", &second, &json!({})).status, 204);
    assert_eq!(site.get("/api/v1/me", &second).code(), "unauthenticated");
    assert_eq!(site.get("/api/v1/me", &first).status, 200);
    for body in [
        json!({"name": "ada", "password": "wrong horse battery"}),
        json!({"name": "nobody", "password": "correct horse battery"}),
        json!({"name": "ada", "password": "x".repeat(5000)}),
    ] {
        let answer =
            site.ask("POST /api/v1/login", "Content-Type: application/json\r\n", &body.to_string());
        assert_eq!((answer.status, answer.code().as_str()), (401, "wrong_password"));
    }
}

#[test]
fn nobody_sees_what_others_do_but_the_operator() {
    let site = Site::start();
    let operator = site.register("ada"); // The first, from the manager's own machine.
    let (grace, edsger) = (site.register("grace"), site.register("edsger"));
    let job = site.submit(&grace);
    let paths = [
        format!("/api/v1/jobs/{job}"),
        format!("/api/v1/jobs/{job}/tasks"),
        format!("/api/v1/jobs/{job}/outputs"),
        format!("/api/v1/jobs/{job}/logs"),
        format!("/jobs/{job}"),
    ];
    for path in &paths {
        assert_eq!(site.get(path, &grace).status, 200, "{path}");
        assert_eq!(site.get(path, &edsger).status, 404, "{path}");
        assert_eq!(site.get(path, &operator).status, 200, "{path}");
    }
    let jobs = |token: &str| {
        let page = site.get("/api/v1/jobs?everyone=true", token).value();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!([jobs(&grace), jobs(&edsger), jobs(&operator)], [1, 0, 1]);
    let cancel = format!("POST /api/v1/jobs/{job}/cancel");
    assert_eq!(site.json(&cancel, &edsger, &json!({})).status, 404);
    assert_eq!(site.json(&cancel, &grace, &json!({})).status, 204);
    assert_eq!(site.json(&cancel, &grace, &json!({})).code(), "has_ended");
}

#[test]
fn forms_work_with_their_own_token_from_their_own_page_only() {
    let site = Site::start();
    let origin = format!("Origin: http://{}\r\n", site.address);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let page = site.ask("GET /register", "", "");
    let pair = page.set_cookie("cg_form").split(';').next().unwrap();
    let body = format!(
        "form_token={}&name=ada&password=correct+horse+battery&email=",
        page.field("form_token")
    );
    let register = |headers: &str, body: &str| {
        site.ask("POST /register", &format!("{form}Cookie: {pair}\r\n{headers}"), body)
    };
    assert_eq!(register("Origin: http://evil.example\r\n", &body).status, 403);
    assert_eq!(register(&origin, body.split_once('&').unwrap().1).status, 403);
    let answer = register(&origin, &body);
    assert_eq!((answer.status, answer.header("location")), (303, "/"));
    let cookie = answer.set_cookie("cg_session");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400"), "{cookie}");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());

    let page = site.ask("GET /submit", &cookie, "");
    assert_eq!(page.status, 200);
    let token = page.field("form_token");
    let fields = "kind=shell&source=echo+1%0D%0Aecho+2&tasks=1&cores=1&ram_mib=512&disk_mib=64\
                  &gpus=0&gpu_memory_mib=0&time_limit_s=60&name=%3Cb%3E&requirements=numpy";
    let post = |headers: &str, body: &str| {
        site.ask("POST /submit", &format!("{form}{cookie}{headers}"), body)
    };
    let signed = format!("form_token={token}&key=k&{fields}");
    assert_eq!(post(&origin, fields).status, 403, "without its token");
    assert_eq!(post("Sec-Fetch-Site: cross-site\r\n", &signed).status, 403, "from elsewhere");
    let made = post(&origin, &signed);
    assert_eq!((made.status, made.header("location")), (303, "/jobs/1"), "{}", made.body);
    assert_eq!(post(&origin, &signed).header("location"), "/jobs/1", "sent twice");

    let shown = site.ask("GET /jobs/1", &cookie, "");
    assert!(shown.body.contains("<h1>&#60;b&#62; "), "{}", shown.body);
    assert!(shown.body.contains("echo 1\necho 2"));

    let wrong = post(&origin, &signed.replace("cores=1", "cores=many").replace("key=k", "key=l"));
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("must be a whole number"));
    assert!(wrong.body.contains("value=\"many\""), "what was typed is kept");

    let quote = site.ask("POST /submit/quote", &format!("{form}{cookie}{origin}"), &signed);
    assert!(quote.body.contains("<strong>8.5</strong>"), "{}", quote.body);
    assert!(quote.body.contains("No worker is online"), "{}", quote.body);

    let out = format!("form_token={token}");
    let answer = site.ask("POST /logout", &format!("{form}{cookie}{origin}"), &out);
    assert_eq!(answer.set_cookie("cg_session").split(';').next().unwrap(), "cg_session=");
    assert_eq!(site.ask("GET /submit", &cookie, "").status, 303);
}

#[test]
fn a_script_says_itself_what_it_needs() {
    let site = Site::start();
    let token = site.register("ada");
    let source = "# /// script\n# requires-python = \">=3.9\"\n# dependencies = [\"six\"]\n# ///\n";
    let submit = |changes: Value| {
        let mut body = json!({"kind": "python", "source": source});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        site.json("POST /api/v1/jobs", &token, &body)
    };
    let packages = |answer: &Answer| {
        assert_eq!(answer.status, 201, "{}", answer.body);
        let job = answer.value()["job"].as_u64().unwrap();
        site.get(&format!("/api/v1/jobs/{job}"), &token).value()["packages"].clone()
    };
    let of_header = json!({"names": {"requirements": ["six"], "requires_python": ">=3.9"}});
    assert_eq!(packages(&submit(json!({}))), of_header);
    assert_eq!(packages(&submit(json!({"requirements": ["# nothing"]}))), of_header);
    let of_field = json!({"names": {"requirements": ["numpy"], "requires_python": null}});
    assert_eq!(packages(&submit(json!({"requirements": ["numpy # fast"]}))), of_field);
    let lock = json!({"uv_lock": {"text": "version = 1"}});
    assert_eq!(packages(&submit(json!({"uv_lock": "version = 1"}))), lock);

    let both = format!("{source}\n{source}");
    let wrong = submit(json!({"source": both, "cores": 0}));
    assert_eq!((wrong.status, wrong.code().as_str()), (422, "invalid_fields"));
    let fields = wrong.value()["error"]["fields"].clone();
    assert_eq!(fields[0]["field"], "cores");
    assert_eq!(fields[1]["field"], "source");
    assert!(fields[1]["message"].as_str().unwrap().ends_with("in line 6"), "{fields}");
    let shell = submit(json!({"kind": "shell", "source": both}));
    assert_eq!(shell.status, 201, "only Python has such headers: {}", shell.body);
}

#[test]
fn a_job_says_what_it_asked_for_and_escapes_it() {
    let site = Site::start();
    let token = site.register("ada");
    let hash = "0".repeat(64);
    let image = format!("docker.io/library/gcc@sha256:{hash}");
    let body = json!({
        "kind": "c", "source": "int main(void) { return 0; }", "flags": ["-O3", "-DNAME=\"x\""],
        "labels": ["R"], "image": image, "isolation": "restricted", "shared_tmp": true, "tasks": 2,
    });
    let job = site.json("POST /api/v1/jobs", &token, &body).value()["job"].as_u64().unwrap();
    let detail = site.get(&format!("/api/v1/jobs/{job}"), &token).value();
    assert_eq!(detail["flags"], body["flags"]);
    assert_eq!(detail["labels"], json!(["R", format!("image:{image}")]));
    assert_eq!((&detail["image"], &detail["isolation"]), (&json!(image), &json!("restricted")));
    assert_eq!((&detail["shared_tmp"], &detail["has_lock"]), (&json!(true), &json!(false)));
    let page = site.get(&format!("/jobs/{job}"), &token).body;
    for words in ["-DNAME=&#34;x&#34;", "<code>R</code>", &image, "at least a restricted sandbox"] {
        assert!(page.contains(words), "{words}");
    }
    let python = json!({"kind": "python", "source": "1", "requirements": ["x; os_name=='<b>'"]});
    let job = site.json("POST /api/v1/jobs", &token, &python).value()["job"].as_u64().unwrap();
    let page = site.get(&format!("/jobs/{job}"), &token).body;
    assert!(page.contains("<code>x; os_name==&#39;&#60;b&#62;&#39;</code>"), "{page}");
    let lock = site.get(&format!("/api/v1/jobs/{job}/lock"), &token);
    assert_eq!((lock.status, lock.code().as_str()), (404, "not_found"), "nothing is locked yet");

    let quote = site.json("POST /api/v1/quote", &token, &body).value();
    assert_eq!(quote["labels_missing"], detail["labels"]);
}

#[test]
fn the_form_has_a_part_for_what_few_need() {
    let site = Site::start();
    let token = site.register("ada");
    let cookie = format!("Cookie: cg_session={token}\r\n");
    let more = |path: &str| {
        let page = site.ask(&format!("GET {path}"), &cookie, "");
        assert_eq!(page.status, 200, "{}", page.body);
        let rest = page.body.split("<details class=\"more\" id=\"more\" ").nth(1).unwrap();
        (rest.starts_with("open>"), page.field("form_token").to_owned())
    };
    assert!(!more("/submit").0);
    assert!(more("/submit?example=word-lengths-node").0);
    let form_token = more("/submit?example=heat-flags").1;
    let headers = format!(
        "{cookie}Origin: http://{}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        site.address
    );
    let numbers = "tasks=1&cores=1&ram_mib=64&disk_mib=64&gpus=0&gpu_memory_mib=0&time_limit_s=60";
    let fields = format!("form_token={form_token}&name=&source=x&{numbers}");
    let wrong = format!(
        "{fields}&kind=c&flags=-o+%3Cb%3E&labels=%3Cb%3E&image=gcc%3Alatest&isolation=iron\
         &feature.%3Cb%3E=on&feature.octave=on"
    );
    let answer = site.ask("POST /submit", &headers, &wrong);
    assert_eq!(answer.status, 422);
    for field in ["flags", "labels", "image", "isolation"] {
        assert!(answer.body.contains(&format!("id=\"{field}-error\"")), "{field}");
    }
    assert!(answer.body.contains("name=\"feature.octave\" checked> octave"), "{}", answer.body);
    assert!(answer.body.contains("value=\"-o &#60;b&#62;\""), "what was typed is kept, escaped");
    assert!(!answer.body.contains("<b>"));

    let good = format!("{fields}&kind=c&flags=-O3&feature.octave=on&isolation=full&shared_tmp=on");
    assert_eq!(site.ask("POST /submit", &headers, &good).header("location"), "/jobs/1");
    let detail = site.get("/api/v1/jobs/1", &token).value();
    assert_eq!(detail["labels"], json!(["octave"]));
    assert_eq!((&detail["isolation"], &detail["shared_tmp"]), (&json!("full"), &json!(true)));
    let quote = site.ask("POST /submit/quote", &headers, &good).body;
    assert!(quote.contains("No worker is online"), "{quote}");
}

#[test]
fn waiting_for_a_job_ends_with_the_job() {
    let site = Site::start();
    let token = site.register("ada");
    let job = site.submit(&token);
    let path = format!("/api/v1/jobs/{job}?wait_ms=15000");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| site.get(&path, &token).value());
        let cancel = format!("POST /api/v1/jobs/{job}/cancel");
        assert_eq!(site.json(&cancel, &token, &json!({})).status, 204);
        assert_eq!(waiting.join().unwrap()["state"], "cancelled");
    });
    let soon = site.submit(&token);
    let answer = site.get(&format!("/api/v1/jobs/{soon}?wait_ms=50"), &token).value();
    assert_eq!(answer["state"], "queued");
}

#[test]
fn a_viewer_who_comes_back_is_told_what_was_missed() {
    let site = Site::start();
    let token = site.register("ada");
    let job = site.submit(&token);
    let path = format!("/api/v1/events?job={job}&after=0");
    let mut first = site.stream(&path, &token, "").filter(|line| line.starts_with("id: "));
    let submitted = first.next().unwrap();
    drop(first);
    let cancel = format!("POST /api/v1/jobs/{job}/cancel");
    assert_eq!(site.json(&cancel, &token, &json!({})).status, 204);
    let number = |line: &str| line.trim_start_matches("id: ").parse::<u64>().unwrap();
    let last = format!("Last-Event-ID: {}\r\n", number(&submitted));
    let mut lines = site.stream(&path, &token, &last).filter(|line| !line.contains("grid"));
    let missed = lines.find(|line| line.starts_with("id: ")).unwrap();
    assert!(number(&missed) > number(&submitted), "{missed} after {submitted}");
}

#[test]
fn a_followed_log_ends_with_its_task() {
    let site = Site::start();
    let token = site.register("ada");
    let job = site.submit(&token);
    let path = format!("/api/v1/jobs/{job}/logs?follow=true");
    let lines = site.stream(&path, &token, "");
    let cancel = format!("POST /api/v1/jobs/{job}/cancel");
    assert_eq!(site.json(&cancel, &token, &json!({})).status, 204);
    let lines: Vec<String> = lines.filter(|line| line.contains(": ")).collect();
    assert_eq!(lines, ["event: end", "id: 0:0:0", "data: complete"]);
    let bad = site.get(&format!("/api/v1/jobs/{job}/logs?follow=true&from=x"), &token);
    assert_eq!((bad.status, bad.code().as_str()), (400, "invalid_query"));
    let beyond = site.get(&format!("/api/v1/jobs/{job}/logs?task=1&follow=true"), &token);
    assert_eq!(beyond.status, 404);
}

#[test]
fn a_page_hears_of_its_log_and_its_job_in_one_stream() {
    let site = Site::start();
    let token = site.register("ada");
    let job = site.submit(&token);
    let path = format!("/api/v1/jobs/{job}/logs?follow=true&after=0");
    let mut lines = site.stream(&path, &token, "").filter(|line| !line.is_empty());
    assert!(lines.any(|line| line == "event: job"), "what came before is told at once");
    let cancel = format!("POST /api/v1/jobs/{job}/cancel");
    assert_eq!(site.json(&cancel, &token, &json!({})).status, 204);
    let of_end = lines.by_ref().skip_while(|line| line != "event: end").nth(1);
    assert_eq!(of_end.unwrap(), "id: 0:0:0", "only the log's events have ids");
    // The log is complete; the page goes on to hear of the rest, here also after it came back.
    assert!(lines.any(|line| line == "event: grid"));
    let mut again = site.stream(&path, &token, "Last-Event-ID: 0:0:0\r\n");
    let mut missing = vec!["event: job", "event: end"];
    while !missing.is_empty() {
        let line = again.next().unwrap();
        missing.retain(|wanted| *wanted != line);
    }
}

#[test]
fn open_streams_end_when_the_manager_stops() {
    let mut site = Site::start();
    let token = site.register("ada");
    let job = site.submit(&token);
    let events = site.stream("/api/v1/events", &token, "");
    let logs = site.stream(&format!("/api/v1/jobs/{job}/logs?follow=true"), &token, "");
    site.shutdown.cancel();
    site.server.take().unwrap().join().unwrap();
    assert_eq!(logs.filter(|line| line.starts_with("data")).count(), 0);
    assert!(events.count() < 100);
}

#[test]
fn open_streams_end_with_the_login() {
    let site = Site::start();
    let token = site.register("ada");
    let job = site.submit(&token);
    let events = site.stream("/api/v1/events", &token, "");
    let logs = site.stream(&format!("/api/v1/jobs/{job}/logs?follow=true"), &token, "");
    assert_eq!(site.json("POST /api/v1/logout", &token, &json!({})).status, 204);
    assert!(events.count() < 1000);
    assert_eq!(logs.filter(|line| line.starts_with("data")).count(), 0);
}

#[test]
fn health_is_a_real_check() {
    let site = Site::start();
    let health = site.ask("GET /health", "", "").value();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["jobs_dir"], true);
    let token = site.register("ada");
    site.submit(&token);
    assert_eq!(site.ask("GET /jobs/count", "", "").body, r#"{"num_jobs":1}"#);
    std::fs::remove_dir_all(&site.directory).unwrap();
    // The disk is asked once a second at most.
    let health = loop {
        let health = site.ask("GET /health", "", "").value();
        if health["status"] != "ok" {
            break health;
        }
    };
    assert_eq!((&health["status"], &health["jobs_dir"]), (&json!("degraded"), &json!(false)));
}

#[test]
fn one_user_leaves_streams_to_others() {
    let site = Site::start();
    let (ada, grace) = (site.register("ada"), site.register("grace"));
    let mut open: Vec<_> = (0..32).map(|_| site.stream("/api/v1/events", &ada, "")).collect();
    let refused = site.get("/api/v1/events", &ada);
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"));
    let job = site.submit(&ada);
    let log = format!("/api/v1/jobs/{job}/logs?follow=true");
    assert_eq!(site.get(&log, &ada).status, 503, "logs are streams as well");
    let of_grace = site.stream("/api/v1/events", &grace, "");
    // A page that is closed leaves its stream to the next.
    open.pop();
    let host = site.address;
    let again = format!("GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\n{}\r\n", bearer(&ada));
    loop {
        let mut connection = site.connect();
        connection.write_all(again.as_bytes()).unwrap();
        let mut status = [0; 12];
        connection.read_exact(&mut status).unwrap();
        if &status == b"HTTP/1.1 200" {
            break;
        }
    }
    drop((open, of_grace));
}

#[test]
fn jobs_that_are_cancelled_at_once_do_not_fill_the_disk() {
    let site = Site::start();
    let (ada, grace) = (site.register("ada"), site.register("grace"));
    let source = format!("#{}", "x".repeat((512 << 10) - 1));
    let body = json!({"kind": "shell", "source": source});
    let mut times = 0;
    let refused = loop {
        let answer = site.json("POST /api/v1/jobs", &ada, &body);
        if answer.status != 201 {
            break answer;
        }
        times += 1;
        let cancel = format!("POST /api/v1/jobs/{}/cancel", answer.value()["job"]);
        assert_eq!(site.json(&cancel, &ada, &json!({})).status, 204);
    };
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
    assert!((1..=3).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert!(times >= 127, "{times}");
    site.submit(&grace);
}

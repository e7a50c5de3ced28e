//! Bodies of requests as hostile and hurried clients send them.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{
    Approve, ErrorBody, ErrorDetail, FieldError, Job, JobDetail, Login, REQUIREMENTS_MAX, Register,
    SOURCE_MAX_BYTES, Submit,
};
use crate::frame::encode;
use crate::id::{AttemptId, JobId, TaskId};
use crate::message::ToWorker;

/// A submit of `true` with these fields on top.
fn with(fields: Value) -> Value {
    let mut body = json!({"kind": "shell", "source": "true"});
    let (Value::Object(body_fields), Value::Object(fields)) = (&mut body, fields) else {
        panic!("both are objects");
    };
    body_fields.extend(fields);
    body
}

fn checked(body: Value) -> String {
    let submit: Submit = match serde_json::from_value(body) {
        Ok(submit) => submit,
        Err(error) => return format!("not a submit: {error}\n"),
    };
    match submit.check() {
        Ok((name, spec)) => format!("{name}: {spec:?}\n"),
        Err(errors) => lines(&errors),
    }
}

fn lines(errors: &[FieldError]) -> String {
    errors.iter().map(|error| format!("{}: {}\n", error.field, error.message)).collect()
}

fn check(bodies: impl IntoIterator<Item = Value>, expected: &Expect) {
    expected.assert_eq(&bodies.into_iter().map(checked).collect::<String>());
}

#[test]
fn absent_fields_have_defaults() {
    check(
        [
            json!({"kind": "shell", "source": "true"}),
            json!({"kind": "c", "source": "int main(){}", "name": "πrogram"}),
            json!({"kind": "python", "source": "1", "requirements": ["numpy==2.1", "scikit-learn"]}),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { command: "true" }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Full, tasks: 1 }
            πrogram: TaskSpec { work: C { source: "int main(){}" }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Full, tasks: 1 }
            untitled: TaskSpec { work: Python { source: "1", requirements: ["numpy==2.1", "scikit-learn"] }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Full, tasks: 1 }
        "#]],
    );
}

#[test]
fn the_limits_themselves_are_allowed() {
    check(
        [
            with(json!({"tasks": 10_000, "cores": 1024, "ram_mib": 4 << 20, "disk_mib": 4 << 20,
                "gpus": 64, "gpu_memory_mib": 4 << 20, "time_limit_s": 2_592_000})),
            with(json!({"tasks": 1, "cores": 1, "ram_mib": 16, "disk_mib": 1, "time_limit_s": 1})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { command: "true" }, needs: Needs { cpu_millis: 1024000, ram_mib: 4194304, disk_mib: 4194304, gpus: 64, gpu_memory_mib: 4194304 }, time_limit_s: 2592000, isolation: Full, tasks: 10000 }
            untitled: TaskSpec { work: Shell { command: "true" }, needs: Needs { cpu_millis: 1000, ram_mib: 16, disk_mib: 1, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 1, isolation: Full, tasks: 1 }
        "#]],
    );
}

#[test]
fn all_bad_fields_are_told_at_once() {
    check(
        [
            with(json!({"name": "", "source": " \n", "tasks": 0, "cores": 0, "ram_mib": 0,
                "disk_mib": 0, "gpu_memory_mib": 1, "time_limit_s": 0, "requirements": ["numpy"]})),
            with(json!({"name": "a\u{202e}b", "source": "a\u{0}", "tasks": 10_001, "cores": 1025,
                "ram_mib": u32::MAX, "disk_mib": u32::MAX, "gpus": 65, "gpu_memory_mib": u32::MAX,
                "time_limit_s": u32::MAX})),
        ],
        &expect![[r#"
            name: must have 1 to 64 characters, has 0
            source: must not be empty
            requirements: are for Python jobs only
            tasks: must be 1 to 10000, is 0
            cores: must be 1 to 1024, is 0
            ram_mib: must be 16 to 4194304, is 0
            disk_mib: must be 1 to 4194304, is 0
            time_limit_s: must be 1 to 2592000, is 0
            gpu_memory_mib: is for jobs that ask for GPUs
            name: must not contain control characters
            source: must not contain NUL characters
            tasks: must be 1 to 10000, is 10001
            cores: must be 1 to 1024, is 1025
            ram_mib: must be 16 to 4194304, is 4294967295
            disk_mib: must be 1 to 4194304, is 4294967295
            gpus: must be 0 to 64, is 65
            gpu_memory_mib: must be 0 to 4194304, is 4294967295
            time_limit_s: must be 1 to 2592000, is 4294967295
        "#]],
    );
}

#[test]
fn what_is_no_number_for_the_field_is_refused() {
    let numbers = [json!(-1), json!(0.5), json!(1e10), json!(u64::MAX), json!("4"), json!(null)];
    check(
        numbers.map(|number| with(json!({"cores": number}))),
        &expect![[r#"
        not a submit: invalid value: integer `-1`, expected u32
        not a submit: invalid type: floating point `0.5`, expected u32
        not a submit: invalid type: floating point `10000000000.0`, expected u32
        not a submit: invalid value: integer `18446744073709551615`, expected u32
        not a submit: invalid type: string "4", expected u32
        not a submit: invalid type: null, expected u32
    "#]],
    );
    check(
        [with(json!({"gpus": 65_536})), with(json!({"gpus": -1}))],
        &expect![[r#"
        not a submit: invalid value: integer `65536`, expected u16
        not a submit: invalid value: integer `-1`, expected u16
    "#]],
    );
}

#[test]
fn unknown_and_missing_fields_are_refused() {
    check(
        [
            with(json!({"core": 4})),
            with(json!({"isolation": "none"})),
            json!({"kind": "shell"}),
            json!({"source": "true"}),
            json!({"kind": "perl", "source": "1"}),
            json!({"kind": "Shell", "source": "true"}),
            json!([]),
        ],
        &expect![[r#"
            not a submit: unknown field `core`, expected one of `kind`, `name`, `source`, `requirements`, `tasks`, `cores`, `ram_mib`, `disk_mib`, `gpus`, `gpu_memory_mib`, `time_limit_s`
            not a submit: unknown field `isolation`, expected one of `kind`, `name`, `source`, `requirements`, `tasks`, `cores`, `ram_mib`, `disk_mib`, `gpus`, `gpu_memory_mib`, `time_limit_s`
            not a submit: missing field `source`
            not a submit: missing field `kind`
            not a submit: unknown variant `perl`, expected one of `python`, `c`, `shell`
            not a submit: unknown variant `Shell`, expected one of `python`, `c`, `shell`
            not a submit: invalid length 0, expected struct Submit with 11 elements
        "#]],
    );
    let stranger = json!({"name": "ada", "password": "correct horse", "operator": true});
    assert!(serde_json::from_value::<Register>(stranger.clone()).is_err());
    assert!(serde_json::from_value::<Login>(stranger).is_err());
    assert!(serde_json::from_value::<Approve>(json!({"code": "A", "user": 1})).is_err());
    assert!(serde_json::from_str::<Approve>(r#"{"code":"A","code":"B"}"#).is_err());
}

#[test]
fn requirements_are_names_of_packages() {
    let python = |requirements: &[&str]| json!({"kind": "python", "source": "1", "requirements": requirements});
    let long = "a".repeat(201);
    let bad = [
        "",
        "-r /etc/passwd",
        "--index-url=x",
        "./local",
        "git+https://example.org/x",
        "x @ https://example.org/x.whl",
        "a\nb",
        &long,
    ];
    check(
        bad.map(|requirement| python(&[requirement])),
        &expect![[r#"
        requirements: "" is not the name of a package
        requirements: "-r /etc/passwd" is not the name of a package
        requirements: "--index-url=x" is not the name of a package
        requirements: "./local" is not the name of a package
        requirements: "git+https://example.org/x" is not the name of a package
        requirements: "x @ https://example.org/x.whl" is not the name of a package
        requirements: each must have at most 200 bytes and no control characters
        requirements: each must have at most 200 bytes and no control characters
    "#]],
    );
    let many = vec![""; REQUIREMENTS_MAX + 1000];
    check(
        [python(&many)],
        &expect![[r#"
        requirements: must be at most 50
    "#]],
    );
    let most = vec!["numpy"; REQUIREMENTS_MAX];
    assert!(serde_json::from_value::<Submit>(python(&most)).unwrap().check().is_ok());
}

#[test]
fn the_longest_source_fits_a_message() {
    let submit = |bytes: usize| {
        let source = "a".repeat(bytes);
        let requirements = vec!["a".repeat(200); REQUIREMENTS_MAX];
        let body = json!({"kind": "python", "source": source, "requirements": requirements});
        serde_json::from_value::<Submit>(body).unwrap().check()
    };
    let (_, spec) = submit(SOURCE_MAX_BYTES).unwrap();
    let task = TaskId { job: JobId(u64::MAX), index: u32::MAX };
    let attempt = AttemptId { task, number: u32::MAX };
    encode(&ToWorker::Start { attempt, spec: Arc::new(spec) }).unwrap();
    let errors = submit(SOURCE_MAX_BYTES + 1).unwrap_err();
    assert_eq!(lines(&errors), "source: must be at most 524288 bytes\n");
}

#[test]
fn registration_is_checked() {
    let check = |name: &str, password: &str, email: Option<&str>| {
        let (name, password) = (name.to_owned(), password.to_owned());
        let register = Register { name, password, email: email.map(str::to_owned) };
        register.check().map_or_else(|errors| lines(&errors), |()| String::new())
    };
    let long = "ß".repeat(256);
    for email in [None, Some("ada@example.org"), Some("a@b"), Some("ä+x@b.c")] {
        assert_eq!(check("ada", "12345678", email), "");
        assert_eq!(check("ada", &long, email), "");
    }
    let domain = format!("a@{}", "b".repeat(253));
    for email in
        ["", "@", "a", "a@", "@b", "a@@b", "a@b@c", "@a@b", "a@b@", "a b@c", "a@b\n", &domain]
    {
        assert_eq!(check("ada", "12345678", Some(email)), "email: is not an e-mail address\n");
    }
    for password in ["", "1234567", &"x".repeat(257)] {
        assert_eq!(check("ada", password, None), "password: must have 8 to 256 characters\n");
    }
    expect![[r#"
        name: must start with a letter or a digit and contain only letters, digits, '.', '_' and '-'
        password: must have 8 to 256 characters
        email: is not an e-mail address
    "#]]
    .assert_eq(&check("a b", "", Some("")));
}

#[test]
fn a_job_and_its_detail_lie_flat() {
    let job = json!({
        "job": 1, "name": "x", "kind": "shell", "state": "queued", "owner": "ada", "tasks": 1,
        "queued": 1, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0,
        "submitted_at_ms": 1, "ended_at_ms": null,
        "held_micros": 1, "charged_micros": 0, "refunded_micros": 0
    });
    let read: Job = serde_json::from_value(job.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), job);
    let mut detail = job;
    let more = json!({
        "source": "true", "requirements": [], "time_limit_s": 1, "waiting": null, "task_list": [],
        "needs": {"cpu_millis": 1, "ram_mib": 1, "disk_mib": 1, "gpus": 0, "gpu_memory_mib": 0}
    });
    detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let read: JobDetail = serde_json::from_value(detail.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), detail);
}

#[test]
fn an_error_says_only_what_it_has_to() {
    let error = ErrorDetail {
        code: "not_found".to_owned(),
        message: "?".to_owned(),
        fields: Vec::new(),
        shortfall_micros: None,
    };
    let body = serde_json::to_string(&ErrorBody { error }).unwrap();
    assert_eq!(body, r#"{"error":{"code":"not_found","message":"?"}}"#);
}

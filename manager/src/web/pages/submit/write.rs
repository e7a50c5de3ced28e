//! A request of the API as the form shows it: what a draft is continued with.

use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest::{After, Submit, WorkKind};
use campusgrid_protocol::terms::{Notify, When};

use super::read::terms::{AFTER_EACH, AFTER_JOB, AFTER_WHEN};
use super::read::{CHECKPOINT_S, DEFAULTS};
use super::sale;
use crate::web::pages::form::{Fields, moments};

/// The fields of a form that reads as this request.
pub(super) fn write(body: &Submit) -> Fields {
    let mut fields = Fields::default();
    for (name, text) in DEFAULTS {
        fields.set(name, text);
    }
    write_program(&mut fields, body);
    write_machine(&mut fields, body);
    write_terms(&mut fields, body);
    sale::write(&mut fields, body);
    fields
}

fn write_program(fields: &mut Fields, body: &Submit) {
    let kind = match body.kind {
        WorkKind::Python => "python",
        WorkKind::C => "c",
        WorkKind::Shell => "shell",
    };
    fields.set("kind", kind);
    fields.set("source", &body.source);
    for (name, text) in [
        ("name", &body.name),
        ("entry", &body.entry),
        ("uv_lock", &body.uv_lock),
        ("array", &body.array),
        ("lines_file", &body.lines_file),
    ] {
        fields.set(name, text.as_deref().unwrap_or_default());
    }
    for (name, list, between) in [
        ("arguments", &body.arguments, "\n"),
        ("requirements", &body.requirements, "\n"),
        ("outputs", &body.outputs, "\n"),
        ("flags", &body.flags, " "),
        ("labels", &body.labels, " "),
    ] {
        fields.set(name, &list.join(between));
    }
    // The form has indices in place of a number, which come to the same.
    if body.array.is_none() && body.lines_file.is_none() && body.tasks > 1 {
        fields.set("array", &format!("0-{}", body.tasks - 1));
    }
}

fn write_machine(fields: &mut Fields, body: &Submit) {
    for (name, number) in [
        ("cores", body.cores),
        ("ram_mib", body.ram_mib),
        ("disk_mib", body.disk_mib),
        ("gpus", body.gpus.into()),
        ("gpu_memory_mib", body.gpu_memory_mib),
        ("time_limit_s", body.time_limit_s),
    ] {
        fields.set(name, &number.to_string());
    }
    fields.set("image", body.image.as_deref().unwrap_or_default());
    let isolation = match body.isolation {
        Some(Isolation::Full) => "full",
        Some(Isolation::Docker) | None => "docker",
        Some(Isolation::Restricted) => "restricted",
        Some(Isolation::None) => "none",
    };
    fields.set("isolation", isolation);
    check(fields, "shared_tmp", body.shared_tmp);
}

fn write_terms(fields: &mut Fields, body: &Submit) {
    for (name, number) in [
        ("retries", u32::from(body.retries)),
        ("backoff_s", body.backoff_s),
        ("warn_s", body.warn_s),
        ("at_once", body.at_once.unwrap_or(0)),
    ] {
        fields.set(
            name,
            &Some(number)
                .filter(|number| *number > 0)
                .map_or(String::new(), |number| number.to_string()),
        );
    }
    if body.priority != 0 {
        fields.set("priority", &body.priority.to_string());
    }
    if let Some(at_ms) = body.deadline_at_ms {
        fields.set("deadline", &moments::write(at_ms));
    }
    check(fields, "hold", body.hold);
    check(fields, "deterministic", body.deterministic);
    check(fields, "verify", body.verify);
    if body.checkpoint_s != CHECKPOINT_S {
        fields.set("checkpoint_s", &body.checkpoint_s.to_string());
    }
    for (row, After { job, when, each }) in body.after.iter().enumerate() {
        fields.set(&format!("{AFTER_JOB}{row}"), &job.to_string());
        fields.set(&format!("{AFTER_WHEN}{row}"), name_of(*when));
        check(fields, &format!("{AFTER_EACH}{row}"), *each);
    }
    let Some(Notify { start, end, failure, mail, webhook }) = &body.notify else { return };
    check(fields, "notify_start", *start);
    check(fields, "notify_end", *end);
    check(fields, "notify_failure", *failure);
    check(fields, "notify_mail", *mail);
    fields.set("webhook", webhook.as_deref().unwrap_or_default());
}

fn check(fields: &mut Fields, name: &str, is_on: bool) {
    if is_on {
        fields.set(name, "on");
    }
}

/// As the form and the API write it.
fn name_of(when: When) -> &'static str {
    match when {
        When::Started => "started",
        When::Ok => "ok",
        When::Any => "any",
        When::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rest::Submit;
    use serde_json::json;

    use super::super::read::read;
    use super::write;

    fn body(value: serde_json::Value) -> Submit {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for value in [
            json!({"kind": "python", "source": "print(1)\n", "isolation": "docker"}),
            json!({"kind": "c", "source": "x", "flags": ["-O3", "-g"], "labels": ["R", "node"],
                "isolation": "full", "shared_tmp": true, "cores": 3, "gpus": 2}),
            json!({"kind": "shell", "entry": "run.sh", "arguments": ["--n", "{index}", " a b"],
                "lines_file": "in.txt", "at_once": 4, "outputs": ["*.csv"], "retries": 3,
                "backoff_s": 60, "warn_s": 30, "deadline_at_ms": 1_800_000_000_000_u64,
                "priority": -5, "hold": true, "isolation": "restricted", "name": "n",
                "after": [{"job": 3, "when": "any"}, {"job": 4, "when": "failed", "each": true}],
                "notify": {"end": true, "mail": true, "webhook": "https://x.example/y"}}),
            json!({"kind": "c", "source": "x", "isolation": "docker", "market": "hand"}),
            json!({"kind": "c", "source": "x", "isolation": "docker", "market": "rule",
                "max_price_micros": 20_500_000, "close_after_s": 300, "checkpoint_s": 0}),
            json!({"kind": "c", "source": "x", "isolation": "docker", "deterministic": true,
                "verify": true}),
        ] {
            let body = body(value);
            let again = read(&write(&body)).unwrap();
            assert_eq!(serde_json::to_value(again).unwrap(), serde_json::to_value(body).unwrap());
        }
    }

    #[test]
    fn a_number_of_tasks_becomes_their_indices() {
        let fields = write(&body(json!({"kind": "shell", "source": "x", "tasks": 8})));
        assert_eq!(fields.text("array"), "0-7");
    }
}

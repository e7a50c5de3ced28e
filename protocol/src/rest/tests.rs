//! Bodies of requests as hostile and hurried clients send them.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::accounts::{Login, Register};
use super::submit::{Brought, Checked, again};
use super::workers::Approve;
use super::{
    ARGUMENTS_MAX, ARGUMENTS_MAX_BYTES, ErrorBody, ErrorDetail, FEATURES_MAX, FLAGS_MAX,
    FieldError, Job, JobDetail, PATTERNS_MAX, REQUIREMENTS_MAX, SOURCE_MAX_BYTES, Submit,
    TEXTS_MAX_BYTES, UV_LOCK_MAX_BYTES, WorkKind,
};
use crate::array::TASKS_MAX;
use crate::frame::encode;
use crate::id::{AttemptId, JobId, TaskId};
use crate::message::{LOCK_MAX_BYTES, ToManager, ToWorker};
use crate::samples;
use crate::task::{LABEL_4, TaskSpec};
use crate::terms::Terms;

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
    submit.check(Brought::Nothing).map_or_else(|errors| lines(&errors), |checked| words(&checked))
}

/// What is run, and whatever of the rest is not as it is without a word about it.
fn words(checked: &Checked) -> String {
    let Checked { name, spec, terms, priority, on_hold, after } = checked;
    let mut words = format!("{name}: {spec:?}\n");
    if *terms != Terms::plain(spec.tasks) {
        words += &format!("    {terms:?}\n");
    }
    if (*priority, *on_hold, after.len()) != (0, false, 0) {
        words += &format!("    priority {priority}, on hold: {on_hold}, after {after:?}\n");
    }
    words
}

pub(super) fn lines(errors: &[FieldError]) -> String {
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
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            πrogram: TaskSpec { work: C { program: Source("int main(){}"), flags: [] }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            untitled: TaskSpec { work: Python { program: Source("1"), packages: Names { requirements: ["numpy==2.1", "scikit-learn"], requires_python: None } }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
        "#]],
    );
}

#[test]
fn the_limits_themselves_are_allowed() {
    check(
        [
            with(
                json!({"tasks": 1_000_000, "cores": 1024, "ram_mib": 4 << 20, "disk_mib": 4 << 20,
                "gpus": 64, "gpu_memory_mib": 4 << 20, "time_limit_s": 2_592_000}),
            ),
            with(json!({"tasks": 1, "cores": 1, "ram_mib": 16, "disk_mib": 1, "time_limit_s": 1})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1024000, ram_mib: 4194304, disk_mib: 4194304, gpus: 64, gpu_memory_mib: 4194304 }, time_limit_s: 2592000, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1000000, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 16, disk_mib: 1, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 1, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
        "#]],
    );
}

#[test]
fn all_bad_fields_are_told_at_once() {
    check(
        [
            with(json!({"name": "", "source": " \n", "tasks": 0, "cores": 0, "ram_mib": 0,
                "disk_mib": 0, "gpu_memory_mib": 1, "time_limit_s": 0, "requirements": ["numpy"]})),
            with(
                json!({"name": "a\u{202e}b", "source": "a\u{0}", "tasks": 1_000_001, "cores": 1025,
                "ram_mib": u32::MAX, "disk_mib": u32::MAX, "gpus": 65, "gpu_memory_mib": u32::MAX,
                "time_limit_s": u32::MAX}),
            ),
        ],
        &expect![[r#"
            name: must have 1 to 64 characters, has 0
            source: must not be empty, or entry must name a file
            requirements: are for Python jobs only
            tasks: must be 1 to 1000000, is 0
            cores: must be 1 to 1024, is 0
            ram_mib: must be 16 to 4194304, is 0
            disk_mib: must be 1 to 4194304, is 0
            time_limit_s: must be 1 to 2592000, is 0
            gpu_memory_mib: is for jobs that ask for GPUs
            name: must not contain control characters
            source: must not contain NUL characters
            tasks: must be 1 to 1000000, is 1000001
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
            with(json!({"isolation": "some"})),
            with(json!({"packages": "none"})),
            json!({"kind": "shell"}),
            json!({"source": "true"}),
            json!({"kind": "perl", "source": "1"}),
            json!({"kind": "Shell", "source": "true"}),
            json!([]),
        ],
        &expect![[r#"
            not a submit: unknown field `core`, expected one of `kind`, `name`, `source`, `entry`, `arguments`, `requirements`, `uv_lock`, `flags`, `labels`, `image`, `isolation`, `shared_tmp`, `tasks`, `array`, `lines_file`, `at_once`, `outputs`, `after`, `retries`, `backoff_s`, `warn_s`, `deadline_at_ms`, `priority`, `hold`, `notify`, `draft`, `market`, `max_price_micros`, `close_after_s`, `deterministic`, `verify`, `checkpoint_s`, `cores`, `ram_mib`, `disk_mib`, `gpus`, `gpu_memory_mib`, `time_limit_s`
            not a submit: unknown variant `some`, expected one of `none`, `restricted`, `docker`, `full`
            not a submit: unknown field `packages`, expected one of `kind`, `name`, `source`, `entry`, `arguments`, `requirements`, `uv_lock`, `flags`, `labels`, `image`, `isolation`, `shared_tmp`, `tasks`, `array`, `lines_file`, `at_once`, `outputs`, `after`, `retries`, `backoff_s`, `warn_s`, `deadline_at_ms`, `priority`, `hold`, `notify`, `draft`, `market`, `max_price_micros`, `close_after_s`, `deterministic`, `verify`, `checkpoint_s`, `cores`, `ram_mib`, `disk_mib`, `gpus`, `gpu_memory_mib`, `time_limit_s`
            source: must not be empty, or entry must name a file
            not a submit: missing field `kind`
            not a submit: unknown variant `perl`, expected one of `python`, `c`, `shell`
            not a submit: unknown variant `Shell`, expected one of `python`, `c`, `shell`
            not a submit: invalid length 0, expected struct Submit with 38 elements
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
        "numpy --no-binary :all:",
        "six===",
        "numpy>=2 <3",
        "scipy#1",
        "a\nb",
        "a # b\nc",
        "a\tb",
        &long,
    ];
    check(
        bad.map(|requirement| python(&[requirement])),
        &expect![[r#"
            untitled: TaskSpec { work: Python { program: Source("1"), packages: None }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            requirements: "-r /etc/passwd" has an option; options such as -r and --index-url are not taken
            requirements: "--index-url=x" has an option; options such as -r and --index-url are not taken
            requirements: "./local" is not a package's name with an optional version, such as "numpy" or "scikit-learn>=1.4,<2"; addresses and paths are not taken
            requirements: "git+https://example.org/x" is not a package's name with an optional version, such as "numpy" or "scikit-learn>=1.4,<2"; addresses and paths are not taken
            requirements: "x @ https://example.org/x.whl" is not a package's name with an optional version, such as "numpy" or "scikit-learn>=1.4,<2"; addresses and paths are not taken
            requirements: "numpy --no-binary :all:" has an option; options such as -r and --index-url are not taken
            requirements: "six===" is not a package's name with an optional version, such as "numpy" or "scikit-learn>=1.4,<2"; addresses and paths are not taken
            requirements: "numpy>=2 <3" is not a package's name with an optional version, such as "numpy" or "scikit-learn>=1.4,<2"; addresses and paths are not taken
            requirements: "scipy#1" is not a package's name with an optional version, such as "numpy" or "scikit-learn>=1.4,<2"; addresses and paths are not taken
            requirements: must not contain control characters, as "a\nb" does
            requirements: must not contain control characters, as "a # b\nc" does
            requirements: each must have at most 200 bytes and no control characters
            requirements: each must have at most 200 bytes and no control characters
        "#]],
    );
    let many = vec!["a"; REQUIREMENTS_MAX + 1000];
    check(
        [python(&many)],
        &expect![[r#"
            requirements: must be at most 50
        "#]],
    );
    let most = vec!["numpy"; REQUIREMENTS_MAX];
    assert!(
        serde_json::from_value::<Submit>(python(&most)).unwrap().check(Brought::Nothing).is_ok()
    );
}

#[test]
fn comments_of_a_requirements_file_are_left_out() {
    let lines = ["# for the model", "", "  numpy==2.1  # pinned", "scipy\t# see --hash=", " # end"];
    check(
        [
            json!({"kind": "python", "source": "1", "requirements": lines}),
            json!({"kind": "python", "source": "1", "requirements": ["# nothing"]}),
            json!({"kind": "shell", "source": "1", "requirements": ["# nothing"]}),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Python { program: Source("1"), packages: Names { requirements: ["numpy==2.1", "scipy"], requires_python: None } }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            untitled: TaskSpec { work: Python { program: Source("1"), packages: None }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            requirements: are for Python jobs only
        "#]],
    );
}

#[test]
fn lines_of_a_requirements_file_are_continued() {
    let names = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        super::packages::requirements(&lines)
    };
    assert_eq!(names(&["six>=1 \\", "  # trailing", "numpy"]), ["six>=1", "numpy"]);
    assert_eq!(names(&["six \\", "    >=1, \\", "<2", "numpy"]), ["six >=1, <2", "numpy"]);
    assert_eq!(names(&["six>=1 \\", "", "numpy # note \\", "scipy"]), ["six>=1", "numpy", "scipy"]);
    assert_eq!(names(&["\\", "six\\"]), ["six"]);
    assert_eq!(names(&["\\", "# \\", " "]), [""; 0]);
    check(
        [
            json!({"kind": "python", "source": "1", "requirements": ["tzdata ; \\", "os_name == 'x'"]}),
            json!({"kind": "python", "source": "1", "requirements": ["six \\", "numpy"]}),
            json!({"kind": "python", "source": "1", "requirements": ["six \\", "-r other.txt"]}),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Python { program: Source("1"), packages: Names { requirements: ["tzdata ; os_name == 'x'"], requires_python: None } }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            requirements: "six numpy" is not a package's name with an optional version, such as "numpy" or "scikit-learn>=1.4,<2"; addresses and paths are not taken
            requirements: "six -r other.txt" has an option; options such as -r and --index-url are not taken
        "#]],
    );
}

#[test]
fn requirements_with_hashes_are_taken_as_they_are() {
    let python = |lines: &[&str]| json!({"kind": "python", "source": "1", "requirements": lines});
    let hash = format!("--hash=sha256:{}", "0".repeat(64));
    let whole = format!("numpy==2.1 {hash}");
    let good = ["# made by pip-compile", "numpy==2.1 \\", &format!("    {hash}"), "    # via x"];
    check(
        [python(&good), python(&[&whole])],
        &expect![[r##"
            untitled: TaskSpec { work: Python { program: Source("1"), packages: Hashed { text: "# made by pip-compile\nnumpy==2.1 \\\n    --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000\n    # via x\n" } }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            untitled: TaskSpec { work: Python { program: Source("1"), packages: Hashed { text: "numpy==2.1 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000\n" } }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
        "##]],
    );
    let bad = [
        "-r /etc/passwd",
        "--index-url=https://example.org",
        "--no-binary",
        "x @ https://example.org/x.whl",
        "./x.whl",
        "numpy",
        "--hash=md5:00",
        "x==1\nx==2",
        "# \u{1b}[2J",
        "x==1\0",
    ];
    let bad = bad.map(|line| python(&[&whole, line]));
    check(
        bad,
        &expect![[r##"
            requirements: with hashes cannot be taken: line 2, '-r /etc/passwd', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
            requirements: with hashes cannot be taken: line 2, '--index-url=https://example.org', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
            requirements: with hashes cannot be taken: line 2, '--no-binary', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
            requirements: with hashes cannot be taken: line 2, 'x @ https://example.org/x.whl', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
            requirements: with hashes cannot be taken: line 2, './x.whl', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
            requirements: with hashes cannot be taken: line 2, 'numpy', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
            requirements: with hashes cannot be taken: line 2, '--hash=md5:00', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
            requirements: must not contain control characters, as "x==1\nx==2" does
            requirements: must not contain control characters, as "# \u{1b}[2J" does
            requirements: must not contain control characters, as "x==1\0" does
        "##]],
    );
}

#[test]
fn a_uv_lock_stands_alone() {
    let with = |kind: &str, more: Value| {
        let mut body = json!({"kind": kind, "source": "1", "uv_lock": "version = 1\n"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    check(
        [
            with("python", json!({})),
            with("c", json!({})),
            with("python", json!({"requirements": ["numpy"]})),
            with("python", json!({"uv_lock": " \n"})),
            with("python", json!({"uv_lock": "a\u{0}"})),
            with("python", json!({"uv_lock": "a\u{1b}[0m"})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Python { program: Source("1"), packages: UvLock { text: "version = 1\n" } }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            uv_lock: is for Python jobs only
            uv_lock: takes the place of requirements
            uv_lock: must not be empty
            uv_lock: must not contain control characters
            uv_lock: must not contain control characters
        "#]],
    );
}

#[test]
fn a_job_says_what_its_machine_must_be() {
    let image = format!("gcc@sha256:{}", "0".repeat(64));
    check(
        [
            with(json!({"labels": ["python3.12", "R", "R"], "isolation": "full"})),
            with(json!({"image": "default", "labels": ["R"], "shared_tmp": true})),
            with(json!({"image": image, "isolation": "restricted"})),
            with(json!({"image": "default", "isolation": "full"})),
            with(json!({"image": "gcc:latest"})),
            with(json!({"image": format!("a/../b@sha256:{}", "0".repeat(64))})),
            with(json!({"labels": ["", "*", "image:*", "a b", "-R", "R\n"]})),
            with(json!({"labels": vec!["R"; FEATURES_MAX + 1]})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Full, labels: ["R", "python3.12"], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["R", "image:default"], image: Some("default"), shared_tmp: true, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Restricted, labels: ["image:gcc@sha256:0000000000000000000000000000000000000000000000000000000000000000"], image: Some("gcc@sha256:0000000000000000000000000000000000000000000000000000000000000000"), shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            isolation: an image runs in a container, which is "docker" and not "full"
            image: must name its content: sha256:… with 64 hexadecimal digits, name@sha256:… or "default"; a name alone can mean another image tomorrow
            image: must name its content: sha256:… with 64 hexadecimal digits, name@sha256:… or "default"; a name alone can mean another image tomorrow
            labels: "" must have 1 to 261 characters, has 0
            labels: "*" must be a name such as python3.12: letters, digits and any of .:_+/@- between them
            labels: "image:*" must be a name such as python3.12: letters, digits and any of .:_+/@- between them
            labels: "a b" must be a name such as python3.12: letters, digits and any of .:_+/@- between them
            labels: "-R" must be a name such as python3.12: letters, digits and any of .:_+/@- between them
            labels: "R\n" must be a name such as python3.12: letters, digits and any of .:_+/@- between them
            labels: must be at most 20
        "#]],
    );
}

#[test]
fn flags_are_for_the_compiler() {
    let c = |flags: &[&str]| json!({"kind": "c", "source": "int main(){}", "flags": flags});
    check(
        [
            c(&["-O3", "-march=native", "-DN=10", "-lm"]),
            c(&["-o", "@file", "-fplugin=x", &"x".repeat(1000)]),
            c(&["-g"; FLAGS_MAX + 1]),
            json!({"kind": "python", "source": "1", "flags": ["-O3"]}),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: C { program: Source("int main(){}"), flags: ["-O3", "-march=native", "-DN=10", "-lm"] }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
            flags: "-o" is not among the flags that are taken: -O…, -g, -w, -W…, -pedantic, -ansi, -std=…, -march=…, -mtune=…, -D…, -U…, -l…, -pthread, -static and those of -f… that are about optimization and code generation
            flags: "@file" is not among the flags that are taken: -O…, -g, -w, -W…, -pedantic, -ansi, -std=…, -march=…, -mtune=…, -D…, -U…, -l…, -pthread, -static and those of -f… that are about optimization and code generation
            flags: "-fplugin=x" is not among the flags that are taken: -O…, -g, -w, -W…, -pedantic, -ansi, -std=…, -march=…, -mtune=…, -D…, -U…, -l…, -pthread, -static and those of -f… that are about optimization and code generation
            flags: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" must have 1 to 100 characters, has 1000
            flags: must be at most 30
            flags: are for C jobs only
        "#]],
    );
}

#[test]
fn an_array_says_which_indices_its_tasks_have() {
    check(
        [
            with(json!({"array": "1-100"})),
            with(json!({"array": "0-9:2,20%4"})),
            with(json!({"array": "0-4", "at_once": 2})),
            with(json!({"tasks": 5, "at_once": 2})),
            with(json!({"array": "1-1000001"})),
            with(json!({"array": "5-1"})),
            with(json!({"array": "1-4%0"})),
            with(json!({"array": "1-4%2", "at_once": 2})),
            with(json!({"array": "1-4", "tasks": 4})),
            with(json!({"array": "1-4", "lines_file": "a.txt"})),
            with(json!({"at_once": 0})),
            with(json!({"lines_file": "a.txt"})),
            with(json!({"lines_file": "../\u{1b}[0m", "tasks": 2})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["campusgrid-4"], image: None, shared_tmp: false, tasks: 100, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
                Terms { indices: Indices { runs: [Run { first: 1, step: 1, count: 100, position: 0 }] }, at_once: None, retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Formula, deterministic: false, verify: false }
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["campusgrid-4"], image: None, shared_tmp: false, tasks: 6, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
                Terms { indices: Indices { runs: [Run { first: 0, step: 2, count: 5, position: 0 }, Run { first: 20, step: 1, count: 1, position: 5 }] }, at_once: Some(4), retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Formula, deterministic: false, verify: false }
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 5, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
                Terms { indices: Indices { runs: [Run { first: 0, step: 1, count: 5, position: 0 }] }, at_once: Some(2), retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Formula, deterministic: false, verify: false }
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 5, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
                Terms { indices: Indices { runs: [Run { first: 0, step: 1, count: 5, position: 0 }] }, at_once: Some(2), retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Formula, deterministic: false, verify: false }
            array: must have at most 1000000 tasks, with indices up to 2000000000
            array: its indices must rise: 1 comes after 5
            array: must be indices such as 1-100, 0-9:2 or 1,5,9-12, with %4 for at most 4 at once
            at_once: is in the array already, after its %
            tasks: is for jobs without array and lines_file
            array: is for jobs without lines_file
            at_once: must be at least 1
            lines_file: no file "a.txt" has come with the job
            tasks: is for jobs without array and lines_file
            lines_file: no file "../\u{1b}[0m" has come with the job
        "#]],
    );
}

#[test]
fn a_job_has_terms() {
    check(
        [
            with(json!({"retries": 3, "backoff_s": 60, "deadline_at_ms": 253_402_300_799_999_u64,
                "priority": -100, "hold": true, "warn_s": 599,
                "after": [{"job": 1, "when": "ok"}, {"job": 2, "when": "failed", "each": true}],
                "notify": {"end": true, "mail": true, "webhook": "https://example.org/hook?x=1"}})),
            with(
                json!({"retries": 11, "backoff_s": 86_401, "deadline_at_ms": 253_402_300_800_000_u64,
                "priority": 101, "warn_s": 600, "after": vec![json!({"job": 1, "when": "any"}); 51],
                "notify": {"end": true, "webhook": "ftp://example.org"}}),
            ),
            with(json!({"priority": -101, "after": vec![json!({"job": 1, "when": "any"}); 2],
                "notify": {"start": true}})),
            with(json!({"notify": {"mail": true, "webhook": "http:///etc"}})),
            with(json!({"notify": {"webhook": "https://example.org/\r\nHost: x"}})),
            with(json!({"priority": -128, "notify": {"webhook": "https://"}})),
            with(json!({"priority": 128})),
            with(json!({"retries": 256})),
            with(json!({"after": [{"job": 1, "when": "after"}]})),
            with(json!({"after": [{"job": -1, "when": "ok"}]})),
            with(json!({"after": [{"job": 1, "when": "ok", "else": 2}]})),
            with(json!({"notify": {"pager": true}})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["campusgrid-4"], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 599, checkpoint_s: 300 }
                Terms { indices: Indices { runs: [Run { first: 0, step: 1, count: 1, position: 0 }] }, at_once: None, retries: 3, backoff_s: 60, deadline_at_ms: Some(253402300799999), notify: Notify { start: false, end: true, failure: false, mail: true, webhook: Some("https://example.org/hook?x=1") }, sale: Formula, deterministic: false, verify: false }
                priority -100, on hold: true, after [After { job: 1, when: Ok, each: false }, After { job: 2, when: Failed, each: true }]
            retries: must be 0 to 10, is 11
            backoff_s: must be 0 to 86400, is 86401
            priority: must be -100 to 100
            deadline_at_ms: must be before the year 10000
            after: must be at most 50
            after: must name each only once
            notify.webhook: must be an http:// or https:// address
            warn_s: must be less than the time limit
            priority: must be -100 to 100
            after: must name each only once
            notify: must say how: mail, or the address of a webhook
            notify.webhook: must be an http:// or https:// address
            notify: must say of what: start, end or failure
            notify.webhook: must be an http:// or https:// address
            notify: must say of what: start, end or failure
            priority: must be -100 to 100
            notify.webhook: must be an http:// or https:// address
            notify: must say of what: start, end or failure
            not a submit: invalid value: integer `128`, expected i8
            not a submit: invalid value: integer `256`, expected u8
            not a submit: unknown variant `after`, expected one of `started`, `ok`, `any`, `failed`
            not a submit: invalid value: integer `-1`, expected u64
            not a submit: unknown field `else`, expected one of `job`, `when`, `each`
            not a submit: unknown field `pager`, expected one of `start`, `end`, `failure`, `mail`, `webhook`
        "#]],
    );
}

#[test]
fn arguments_and_patterns_are_for_the_worker() {
    let arguments =
        |count: usize, bytes: usize| with(json!({"arguments": vec!["x".repeat(bytes); count]}));
    check(
        [
            with(json!({"arguments": ["--seed", "{index}", "", "$(reboot)\n"],
                "outputs": ["*.csv", "results/**", "a/?.txt"]})),
            arguments(ARGUMENTS_MAX + 1, 1),
            arguments(1, ARGUMENTS_MAX_BYTES),
            with(json!({"arguments": ["a\0b"]})),
            with(json!({"outputs": ["../*", "/etc/*", "a**", "", "a\\b", "a//b"]})),
            with(json!({"outputs": vec!["*"; PATTERNS_MAX + 1]})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["campusgrid-4"], image: None, shared_tmp: false, tasks: 1, arguments: ["--seed", "{index}", "", "$(reboot)\n"], inputs: None, lines: None, outputs: ["*.csv", "results/**", "a/?.txt"], warn_s: 0, checkpoint_s: 300 }
            arguments: must be at most 1000, with 32768 bytes in all
            arguments: must be at most 1000, with 32768 bytes in all
            arguments: must not contain NUL characters
            outputs: "../*" must be a relative path without '..', '.', empty parts, backslashes or control characters
            outputs: "/etc/*" must be a relative path without '..', '.', empty parts, backslashes or control characters
            outputs: "a**" must be a relative path without '..', '.', empty parts, backslashes or control characters
            outputs: "" must have 1 to 255 characters, has 0
            outputs: "a\\b" must be a relative path without '..', '.', empty parts, backslashes or control characters
            outputs: "a//b" must be a relative path without '..', '.', empty parts, backslashes or control characters
            outputs: must be at most 50
        "#]],
    );
    let most = [arguments(ARGUMENTS_MAX, 31), arguments(1, ARGUMENTS_MAX_BYTES - 1)];
    assert!(most.map(submit).iter().all(Result::is_ok));
}

#[test]
fn an_entry_is_a_file_that_came() {
    let blob = samples::blob();
    let has = |path: &str| ["main.py", "lines.txt"].contains(&path);
    let files = |lines| Brought::Files { manifest: Some(blob), has: &has, lines };
    let told = |body: Value, brought: Brought<'_>| {
        let submit: Submit = serde_json::from_value(body).unwrap();
        let checked = submit.check(brought);
        checked.map_or_else(|errors| lines(&errors), |checked| words(&checked))
    };
    let python = |more: Value| {
        let mut body = json!({"kind": "python", "entry": "main.py"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let of_lines = || python(json!({"lines_file": "lines.txt"}));
    let told = [
        told(python(json!({})), files(None)),
        told(of_lines(), files(Some(3))),
        told(of_lines(), Brought::Later),
        told(with(json!({})), files(None)),
        told(python(json!({})), Brought::Nothing),
        told(python(json!({"entry": "other.py"})), files(None)),
        told(python(json!({"entry": "../main.py"})), Brought::Later),
        told(python(json!({"source": "1"})), Brought::Later),
        told(of_lines(), files(Some(0))),
        told(of_lines(), files(Some(TASKS_MAX + 1))),
        told(of_lines(), files(None)),
    ];
    expect![[r#"
        untitled: TaskSpec { work: Python { program: Entry("main.py"), packages: None }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["campusgrid-4"], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: Some(BlobRef { hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, size_bytes: 70000 }), lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
        untitled: TaskSpec { work: Python { program: Entry("main.py"), packages: None }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["campusgrid-4"], image: None, shared_tmp: false, tasks: 3, arguments: [], inputs: Some(BlobRef { hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, size_bytes: 70000 }), lines: Some("lines.txt"), outputs: [], warn_s: 0, checkpoint_s: 300 }
            Terms { indices: Indices { runs: [Run { first: 1, step: 1, count: 3, position: 0 }] }, at_once: None, retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Formula, deterministic: false, verify: false }
        untitled: TaskSpec { work: Python { program: Entry("main.py"), packages: None }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["campusgrid-4"], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: Some("lines.txt"), outputs: [], warn_s: 0, checkpoint_s: 300 }
            Terms { indices: Indices { runs: [Run { first: 1, step: 1, count: 1, position: 0 }] }, at_once: None, retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Formula, deterministic: false, verify: false }
        untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: ["campusgrid-4"], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: Some(BlobRef { hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, size_bytes: 70000 }), lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
        entry: no file "main.py" has come with the job
        entry: no file "other.py" has come with the job
        entry: no file "../main.py" has come with the job
        entry: is for jobs without source
        lines_file: must have 1 to 1000000 lines, has 0
        lines_file: must have 1 to 1000000 lines, has 1000001
        lines_file: no file "lines.txt" has come with the job
    "#]].assert_eq(&told.concat());
}

#[test]
fn a_job_on_the_market_is_one_run_of_one_task() {
    check(
        [
            with(json!({"market": "hand", "checkpoint_s": 0})),
            with(json!({"market": "rule", "max_price_micros": 7, "close_after_s": 5})),
            with(json!({"market": "rule", "array": "1-2", "retries": 1, "verify": true})),
            with(json!({"market": "rule", "max_price_micros": 0, "close_after_s": 604_801})),
            with(json!({"market": "hand", "max_price_micros": 7, "close_after_s": 5, "tasks": 2,
                "hold": true, "after": [{"job": 1, "when": "ok"}]})),
            with(json!({"max_price_micros": 7, "checkpoint_s": 4})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 0 }
                Terms { indices: Indices { runs: [Run { first: 0, step: 1, count: 1, position: 0 }] }, at_once: None, retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Hand, deterministic: false, verify: false }
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
                Terms { indices: Indices { runs: [Run { first: 0, step: 1, count: 1, position: 0 }] }, at_once: None, retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Rule { max_price_micros: 7, close_after_s: 5 }, deterministic: false, verify: false }
            array: is not for jobs on the market, which have one task
            retries: must be 0 for a job on the market: a bid is for one run
            verify: is not for jobs on the market, which run on one machine
            max_price_micros: is needed with market "rule"
            close_after_s: is needed with market "rule"
            max_price_micros: must be 1 to 1000000000000 micro-credits, is 0
            close_after_s: must be 5 to 604800, is 604801
            max_price_micros: is for jobs with market "rule"
            close_after_s: is for jobs with market "rule"
            tasks: must be 1 for a job on the market
            after: must be empty for a job on the market, which waits for nothing else
            hold: is not for jobs on the market, which wait for bids
            checkpoint_s: must be 5 to 86400, is 4
            max_price_micros: is for jobs with market "rule"
        "#]],
    );
    let unknown = json!({"kind": "c", "source": "x", "market": "auction"});
    assert!(serde_json::from_value::<Submit>(unknown).is_err());
}

#[test]
fn what_is_verified_is_deterministic_and_runs_once() {
    check(
        [
            with(json!({"deterministic": true, "retries": 1})),
            with(json!({"verify": true, "tasks": 3, "hold": true})),
            with(json!({"verify": true, "retries": 1, "checkpoint_s": 86_401})),
        ],
        &expect![[r#"
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 1, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
                Terms { indices: Indices { runs: [Run { first: 0, step: 1, count: 1, position: 0 }] }, at_once: None, retries: 1, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Formula, deterministic: true, verify: false }
            untitled: TaskSpec { work: Shell { program: Source("true") }, needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 256, gpus: 0, gpu_memory_mib: 0 }, time_limit_s: 600, isolation: Docker, labels: [], image: None, shared_tmp: false, tasks: 3, arguments: [], inputs: None, lines: None, outputs: [], warn_s: 0, checkpoint_s: 300 }
                Terms { indices: Indices { runs: [Run { first: 0, step: 1, count: 3, position: 0 }] }, at_once: None, retries: 0, backoff_s: 0, deadline_at_ms: None, notify: Notify { start: false, end: false, failure: false, mail: false, webhook: None }, sale: Formula, deterministic: true, verify: true }
                priority 0, on hold: true, after []
            retries: must be 0 where results are verified: every machine's counts
            checkpoint_s: must be 5 to 86400, is 86401
        "#]],
    );
}

#[test]
fn failed_tasks_keep_their_indices_when_they_run_again() {
    let body = with(json!({"tasks": 6, "labels": ["R"], "deadline_at_ms": 1, "at_once": 2}));
    let submit: Submit = serde_json::from_value(body).unwrap();
    let Checked { spec, terms, .. } = submit.check(Brought::Nothing).unwrap();
    let failed = terms.indices.only(&"1,4-5".parse().unwrap()).unwrap();
    let (spec, terms) = again(spec, terms, failed);
    assert_eq!((spec.tasks, terms.indices.to_string()), (3, "1,4-5".to_owned()));
    assert_eq!((terms.deadline_at_ms, terms.at_once), (None, Some(2)));
    assert_eq!(spec.labels, ["R", LABEL_4]);
}

fn submit(body: Value) -> Result<TaskSpec, String> {
    let submit: Submit = serde_json::from_value(body).unwrap();
    submit.check(Brought::Nothing).map(|checked| checked.spec).map_err(|errors| lines(&errors))
}

#[test]
fn the_largest_job_and_its_lock_fit_a_message() {
    let number = |number: usize| format!("{number:03}");
    let labels: Vec<String> = (0..FEATURES_MAX).map(|n| number(n) + &"x".repeat(258)).collect();
    let image = format!("{}@sha256:{}", "x".repeat(183), "0".repeat(64));
    let arguments = ["x".repeat(ARGUMENTS_MAX_BYTES - 1)];
    let outputs: Vec<String> = (0..PATTERNS_MAX).map(|_| "x".repeat(255)).collect();
    let texts = |source: usize, field: &str, text: Value| {
        submit(json!({"kind": "python", "source": "a".repeat(source), field: text,
            "labels": labels, "image": image, "name": "ß".repeat(64), "arguments": arguments,
            "outputs": outputs, "warn_s": 1}))
    };
    let names = || json!(vec!["a".repeat(200); REQUIREMENTS_MAX]);
    let uv_lock = |bytes: usize| json!("a".repeat(bytes));
    // A line and its end.
    let hashed = |bytes: usize| {
        let package = format!("a==1 --hash=sha256:{} #", "0".repeat(64));
        json!([package.clone() + &"x".repeat(bytes - package.len() - 1)])
    };
    let (lock_max, uv_max) = (LOCK_MAX_BYTES, UV_LOCK_MAX_BYTES);
    let flags = vec![format!("-D{}", "X".repeat(98)); FLAGS_MAX];
    let c = json!({"kind": "c", "source": "a".repeat(SOURCE_MAX_BYTES), "flags": flags,
        "labels": labels, "image": image, "arguments": arguments, "outputs": outputs});
    for spec in [
        texts(SOURCE_MAX_BYTES, "requirements", names()),
        texts(SOURCE_MAX_BYTES, "uv_lock", uv_lock(TEXTS_MAX_BYTES - SOURCE_MAX_BYTES)),
        texts(TEXTS_MAX_BYTES - uv_max, "uv_lock", uv_lock(uv_max)),
        texts(SOURCE_MAX_BYTES, "requirements", hashed(TEXTS_MAX_BYTES - SOURCE_MAX_BYTES)),
        texts(TEXTS_MAX_BYTES - lock_max, "requirements", hashed(lock_max)),
        submit(c),
    ] {
        let task = TaskId { job: JobId(u64::MAX), index: u32::MAX };
        let attempt = AttemptId { task, number: u32::MAX };
        let lock: Arc<str> = "a".repeat(LOCK_MAX_BYTES).into();
        let (spec, gpus) = (Arc::new(spec.unwrap()), (0..64).collect());
        let start = ToWorker::Start {
            attempt,
            index: u32::MAX,
            spec,
            gpus,
            lock: Some(Arc::clone(&lock)),
            checkpoint: Some(samples::saved()),
            whose: "a".repeat(64),
            name: "ß".repeat(64),
        };
        encode(&start).unwrap();
        encode(&ToWorker::Locked { attempt, lock: Arc::clone(&lock) }).unwrap();
        encode(&ToManager::Locked { attempt, lock: lock.to_string() }).unwrap();
    }
    let too_much = [
        texts(SOURCE_MAX_BYTES + 1, "requirements", names()),
        texts(1, "uv_lock", uv_lock(uv_max + 1)),
        texts(TEXTS_MAX_BYTES - uv_max + 1, "uv_lock", uv_lock(uv_max)),
        texts(1, "requirements", hashed(lock_max + 1)),
        texts(TEXTS_MAX_BYTES - lock_max + 1, "requirements", hashed(lock_max)),
    ];
    let errors: String = too_much.into_iter().map(Result::unwrap_err).collect();
    expect![[r#"
        source: must be at most 524288 bytes
        uv_lock: must be at most 458752 bytes, and 655360 with the source
        uv_lock: must be at most 458752 bytes, and 655360 with the source
        requirements: must be at most 327680 bytes, and 655360 with the source
        requirements: must be at most 327680 bytes, and 655360 with the source
    "#]]
    .assert_eq(&errors);
}

#[test]
fn registration_is_checked() {
    let check = |name: &str, password: &str, email: Option<&str>| {
        let (name, password) = (name.to_owned(), password.to_owned());
        let register =
            Register { name, password, email: email.map(str::to_owned), invitation: None };
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
        "priority": -1, "on_hold": false, "kept_until_ms": null,
        "held_micros": 1, "charged_micros": 0, "refunded_micros": 0, "takes_bids": true
    });
    let read: Job = serde_json::from_value(job.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), job);
    let mut detail = job;
    let more = json!({
        "source": "true", "entry": null, "arguments": ["{index}"], "array": "0-9:2",
        "lines_file": null, "at_once": 2, "outputs": ["*.csv"],
        "after": [{"job": 1, "when": "ok", "each": false}], "retries": 1, "backoff_s": 0,
        "warn_s": 0, "deadline_at_ms": null, "files": 0, "files_bytes": 0, "note": "",
        "notify": {"start": false, "end": true, "failure": false, "mail": true},
        "packages": null, "flags": [], "labels": [], "image": null,
        "isolation": "docker", "shared_tmp": false, "has_lock": false,
        "time_limit_s": 1, "waiting": null, "task_list": [],
        "deterministic": true, "verify": false, "checkpoint_s": 300, "task_micros": 5,
        "rate_permille": 1000,
        "market": {"sold_by": "rule", "max_price_micros": 5, "close_after_s": 60, "round": 1,
            "open": true, "sealed": true, "closes_at_ms": 7, "bids": 2, "award": null},
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
        offset_bytes: None,
    };
    let body = serde_json::to_string(&ErrorBody { error }).unwrap();
    assert_eq!(body, r#"{"error":{"code":"not_found","message":"?"}}"#);
}

#[test]
fn a_plain_submit_is_what_json_makes_of_the_least() {
    let least: Submit = serde_json::from_str(r#"{"kind":"c","source":"x"}"#).unwrap();
    let plain = Submit::of(WorkKind::C, "x");
    assert_eq!(serde_json::to_value(plain).unwrap(), serde_json::to_value(least).unwrap());
}

//! The form as a request of the API, with what is wrong with fields that cannot be one.

pub(super) mod terms;

use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest::submit::Brought;
use campusgrid_protocol::rest::{FieldError, Submit, WorkKind};

use super::offers::FEATURE_FIELD;
use super::sale;
use crate::web::pages::form::Fields;

/// What the form shows before anybody has typed: what the API takes for fields that are absent.
pub(super) const DEFAULTS: [(&str, &str); 9] = [
    ("kind", "python"),
    ("market", "formula"),
    ("cores", "1"),
    ("ram_mib", "512"),
    ("disk_mib", "256"),
    ("gpus", "0"),
    ("gpu_memory_mib", "0"),
    ("time_limit_s", "600"),
    ("isolation", "docker"),
];

/// How often checkpoints are saved, unless the form says otherwise: what the API takes for it.
pub(in crate::web::pages) const CHECKPOINT_S: u32 = 300;

/// The form as a request of the API; the API's own checks see every field that can be read.
///
/// # Errors
///
/// All fields that are wrong.
pub(super) fn read(fields: &Fields) -> Result<Submit, Vec<FieldError>> {
    let (body, mut errors) = read_leniently(fields);
    if errors.is_empty() {
        return Ok(body);
    }
    let unreadable = |found: &FieldError| errors.iter().all(|error| error.field != found.field);
    let checked = body.check(Brought::Later);
    let more: Vec<FieldError> = checked.err().into_iter().flatten().filter(unreadable).collect();
    errors.extend(more);
    Err(errors)
}

/// The form as a request, with something harmless where a field cannot be read: what of a form that
/// is not finished can be kept.
pub(super) fn read_leniently(fields: &Fields) -> (Submit, Vec<FieldError>) {
    let mut errors = Vec::new();
    let kind = kind(fields.text("kind")).unwrap_or_else(|| {
        errors.push(wrong("kind", "must be Python, C or a shell command"));
        WorkKind::Python
    });
    let isolation = isolation(fields.text("isolation")).unwrap_or_else(|| {
        errors.push(wrong("isolation", "must be one of those in the list"));
        Isolation::Docker
    });
    let mut number = |name: &str| {
        let text = fields.text(name).trim();
        text.parse::<u32>().unwrap_or_else(|_| {
            errors.push(wrong(name, "must be a whole number"));
            1
        })
    };
    let gpus = number("gpus");
    let (cores, ram_mib, disk_mib) = (number("cores"), number("ram_mib"), number("disk_mib"));
    let (gpu_memory_mib, time_limit_s) = (number("gpu_memory_mib"), number("time_limit_s"));
    let sale = sale::read(fields, &mut errors);
    let body = Submit {
        kind,
        name: non_empty(fields.text("name")),
        source: lines(fields.text("source")),
        entry: non_empty(fields.text("entry")),
        arguments: listed(fields.text("arguments"), str::to_owned),
        requirements: of_kind(kind, WorkKind::Python, || trimmed(fields.text("requirements"))),
        uv_lock: of_kind(kind, WorkKind::Python, || uv_lock(fields)),
        flags: of_kind(kind, WorkKind::C, || words(fields.text("flags"))),
        labels: labels(fields),
        image: non_empty(fields.text("image")),
        isolation: Some(isolation),
        shared_tmp: !fields.text("shared_tmp").is_empty(),
        tasks: 1,
        array: non_empty(fields.text("array")),
        lines_file: non_empty(fields.text("lines_file")),
        at_once: terms::number(fields, "at_once", &mut errors),
        outputs: trimmed(fields.text("outputs")),
        after: terms::after(fields, &mut errors),
        retries: terms::number(fields, "retries", &mut errors).unwrap_or(0),
        backoff_s: terms::number(fields, "backoff_s", &mut errors).unwrap_or(0),
        warn_s: terms::number(fields, "warn_s", &mut errors).unwrap_or(0),
        deadline_at_ms: terms::deadline(fields, &mut errors),
        priority: terms::number(fields, "priority", &mut errors).unwrap_or(0),
        hold: !fields.text("hold").is_empty(),
        notify: terms::notify(fields),
        draft: false,
        market: sale.market,
        max_price_micros: sale.max_price_micros,
        close_after_s: sale.close_after_s,
        deterministic: !fields.text("deterministic").is_empty(),
        verify: !fields.text("verify").is_empty(),
        checkpoint_s: terms::number(fields, "checkpoint_s", &mut errors).unwrap_or(CHECKPOINT_S),
        cores,
        ram_mib,
        disk_mib,
        gpus: u16::try_from(gpus).unwrap_or(u16::MAX),
        gpu_memory_mib,
        time_limit_s,
    };
    (body, errors)
}

fn kind(text: &str) -> Option<WorkKind> {
    match text {
        "python" => Some(WorkKind::Python),
        "c" => Some(WorkKind::C),
        "shell" => Some(WorkKind::Shell),
        _ => None,
    }
}

fn isolation(text: &str) -> Option<Isolation> {
    match text {
        "full" => Some(Isolation::Full),
        // A form without this field leaves it as it is for everybody.
        "docker" | "" => Some(Isolation::Docker),
        "restricted" => Some(Isolation::Restricted),
        "none" => Some(Isolation::None),
        _ => None,
    }
}

/// A field that is hidden for other kinds of work; what is in it stays behind for them.
fn of_kind<T: Default>(kind: WorkKind, wanted: WorkKind, read: impl FnOnce() -> T) -> T {
    if kind == wanted { read() } else { T::default() }
}

/// Lines that are not empty, without the blanks around them.
fn trimmed(text: &str) -> Vec<String> {
    listed(text, |line| line.trim().to_owned())
}

/// Lines that are not empty.
fn listed(text: &str, of_line: impl Fn(&str) -> String) -> Vec<String> {
    text.lines().map(of_line).filter(|line| !line.is_empty()).collect()
}

fn uv_lock(fields: &Fields) -> Option<String> {
    let text = lines(fields.text("uv_lock"));
    Some(text).filter(|text| !text.trim().is_empty())
}

/// Those that were chosen and those that were typed.
fn labels(fields: &Fields) -> Vec<String> {
    let mut labels = words(fields.text("labels"));
    labels.extend(fields.named(FEATURE_FIELD).map(str::to_owned));
    labels.sort_unstable();
    labels.dedup();
    labels
}

/// Words with blanks or commas between them.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',');
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Browsers send lines with CR LF, which a shell would take for a part of the command.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn non_empty(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

pub(super) fn wrong(field: &str, message: &str) -> FieldError {
    FieldError { field: field.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::resource::Isolation;
    use campusgrid_protocol::rest::submit::Brought;

    use super::super::examples::EXAMPLES;
    use super::{DEFAULTS, Fields, read};

    fn form(changes: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, text) in DEFAULTS.iter().chain(&[("source", "print(1)")]).chain(changes) {
            fields.set(name, text);
        }
        fields
    }

    fn wrong_fields(changes: &[(&str, &str)]) -> Vec<String> {
        let read = read(&form(changes)).and_then(|body| body.check(Brought::Later).map(drop));
        read.err().into_iter().flatten().map(|error| error.field).collect()
    }

    #[test]
    fn the_form_as_it_is_shown_first_and_every_example_are_good() {
        assert_eq!(wrong_fields(&[]), [""; 0]);
        for example in &EXAMPLES {
            let mut changes = vec![("name", example.title), ("source", example.source)];
            changes.extend(example.fields);
            assert_eq!(wrong_fields(&changes), [""; 0], "{}", example.key);
        }
    }

    #[test]
    fn all_fields_that_are_wrong_are_told_at_once() {
        assert_eq!(
            wrong_fields(&[("cores", "two"), ("ram_mib", "-1"), ("source", " "), ("array", "9-1")]),
            ["cores", "ram_mib", "source", "array"]
        );
        for (name, text) in [
            ("kind", "cobol"),
            ("gpus", "70000"),
            ("name", "a\u{202e}b"),
            ("isolation", "strong"),
            ("image", "gcc:latest"),
            ("labels", "<b>"),
            ("at_once", "all"),
            ("retries", "300"),
            ("priority", "1000"),
            ("warn_s", "600"),
            ("outputs", "../x"),
        ] {
            assert_eq!(wrong_fields(&[(name, text)]), [name]);
        }
        assert_eq!(wrong_fields(&[("kind", "c"), ("flags", "-o/etc/passwd")]), ["flags"]);
        assert_eq!(wrong_fields(&[("image", "default"), ("isolation", "full")]), ["isolation"]);
        assert_eq!(wrong_fields(&[("requirements", "numpy"), ("uv_lock", "x")]), ["uv_lock"]);
    }

    #[test]
    fn what_is_for_other_kinds_of_work_stays_behind() {
        let changes =
            [("requirements", "numpy"), ("uv_lock", "version = 1"), ("flags", "-O3  -g,-w\n")];
        let python = read(&form(&changes)).unwrap();
        assert!(python.uv_lock.is_some() && !python.requirements.is_empty());
        assert!(python.flags.is_empty());
        let c = read(&form(&[&changes[..], &[("kind", "c")]].concat())).unwrap();
        assert!(c.uv_lock.is_none() && c.requirements.is_empty());
        assert_eq!(c.flags, ["-O3", "-g", "-w"]);
    }

    #[test]
    fn lines_are_those_of_the_worker() {
        let typed = "numpy\r\n\r\n  scikit-learn>=1.5 \r\n# a comment";
        let body = read(&form(&[("requirements", typed), ("source", "a\r\nb")])).unwrap();
        assert_eq!(body.requirements, ["numpy", "scikit-learn>=1.5", "# a comment"]);
        assert_eq!(body.source, "a\nb");
        let hashed = "six==1.17.0 \\\r\n    --hash=sha256:4721f391";
        let body = read(&form(&[("requirements", hashed)])).unwrap();
        assert_eq!(body.requirements, ["six==1.17.0 \\", "--hash=sha256:4721f391"]);
    }

    #[test]
    fn what_the_machine_must_be_is_read() {
        let body = read(&form(&[
            ("labels", "R, node\tR"),
            ("feature.python3.12", "on"),
            ("feature.node", "on"),
            ("image", " default "),
            ("isolation", "restricted"),
            ("shared_tmp", "on"),
        ]));
        let body = body.unwrap();
        assert_eq!(body.labels, ["R", "node", "python3.12"]);
        assert_eq!(body.image.as_deref(), Some("default"));
        assert_eq!((body.isolation, body.shared_tmp), (Some(Isolation::Restricted), true));
        let body = read(&form(&[])).unwrap();
        assert!(body.labels.is_empty() && body.image.is_none() && !body.shared_tmp);
        assert_eq!(body.isolation, Some(Isolation::Docker));
    }
}

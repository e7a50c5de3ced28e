//! What of a submit is wrong, and what its tasks are if nothing is.

mod sale;

use super::{
    ARGUMENTS_MAX, ARGUMENTS_MAX_BYTES, After, FEATURES_MAX, FLAGS_MAX, FieldError, PATTERNS_MAX,
    SOURCE_MAX_BYTES, Submit, TEXTS_MAX_BYTES, UV_LOCK_MAX_BYTES, WorkKind, check_range,
    check_text, field, packages, quoted,
};
use crate::array::{Array, Indices, TASKS_MAX};
use crate::compiler_flag::check_compiler_flag;
use crate::message::LOCK_MAX_BYTES;
use crate::resource::{Isolation, Needs};
use crate::task::{BlobRef, LABEL_4, Program, TaskSpec, Work};
use crate::terms::{AFTER_MAX, BACKOFF_MAX_S, Notify, PRIORITY_MAX, RUNS_MAX, Terms};
use crate::text::{check_feature, check_image, check_label, check_path, check_pattern};

/// No deadline lies beyond this: the end of the year 9999. Milliseconds since the Unix epoch.
const DEADLINE_MAX_MS: u64 = 253_402_300_799_999;

/// Longest address of a webhook, bytes.
const WEBHOOK_MAX_BYTES: usize = 2000;

/// A submit that is right in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub name: String,
    pub spec: TaskSpec,
    pub terms: Terms,
    pub priority: i8,
    pub on_hold: bool,
    pub after: Vec<After>,
}

/// The files that come with a submit.
#[derive(Clone, Copy)]
pub enum Brought<'a> {
    /// None, and none will come.
    Nothing,
    /// Nobody knows yet: it is to be a draft. What is made of it then is for its form only.
    Later,
    /// These are all.
    Files {
        /// None if there are no files.
        manifest: Option<BlobRef>,
        has: &'a dyn Fn(&str) -> bool,
        /// How many lines `lines_file` has, if that is named and there.
        lines: Option<u32>,
    },
}

impl Brought<'_> {
    fn has(self, path: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Later => true,
            Self::Files { has, .. } => has(path),
        }
    }

    fn manifest(self) -> Option<BlobRef> {
        match self {
            Self::Nothing | Self::Later => None,
            Self::Files { manifest, .. } => manifest,
        }
    }
}

impl Submit {
    /// Checks every field and yields what is to be run, and on what terms.
    ///
    /// # Errors
    ///
    /// All fields that are wrong, not only the first.
    pub fn check(self, brought: Brought<'_>) -> Result<Checked, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = self.name.clone().unwrap_or_else(|| "untitled".to_owned());
        check_text(&mut errors, "name", check_label(&name));
        self.check_source(&mut errors, brought);
        self.check_packages(&mut errors);
        self.check_flags(&mut errors);
        self.check_machine(&mut errors);
        self.check_arguments(&mut errors);
        let terms = self.terms(&mut errors, brought);
        check_range(&mut errors, "cores", self.cores, 1, 1024);
        check_range(&mut errors, "ram_mib", self.ram_mib, 16, 4 << 20);
        check_range(&mut errors, "disk_mib", self.disk_mib, 1, 4 << 20);
        check_range(&mut errors, "gpus", self.gpus.into(), 0, 64);
        check_range(&mut errors, "gpu_memory_mib", self.gpu_memory_mib, 0, 4 << 20);
        check_range(&mut errors, "time_limit_s", self.time_limit_s, 1, 30 * 24 * 3600);
        if self.gpus == 0 && self.gpu_memory_mib > 0 {
            errors.push(field("gpu_memory_mib", "is for jobs that ask for GPUs"));
        }
        if self.warn_s > 0 && self.warn_s >= self.time_limit_s {
            errors.push(field("warn_s", "must be less than the time limit"));
        }
        let Some(terms) = terms.filter(|_| errors.is_empty()) else { return Err(errors) };
        let (priority, on_hold, after) = (self.priority, self.hold, self.after.clone());
        let spec = self.spec(brought.manifest(), &terms);
        Ok(Checked { name, spec, terms, priority, on_hold, after })
    }

    /// What is to be run, of a submit that is right.
    fn spec(self, inputs: Option<BlobRef>, terms: &Terms) -> TaskSpec {
        let needs = Needs {
            cpu_millis: self.cores * 1000,
            ram_mib: self.ram_mib,
            disk_mib: self.disk_mib,
            gpus: self.gpus,
            gpu_memory_mib: self.gpu_memory_mib,
        };
        let program = match self.entry {
            Some(entry) => Program::Entry(entry),
            None => Program::Source(self.source),
        };
        let work = match self.kind {
            WorkKind::Python => {
                let packages = packages::packages(&self.requirements, self.uv_lock);
                Work::Python { program, packages }
            }
            WorkKind::C => Work::C { program, flags: self.flags },
            WorkKind::Shell => Work::Shell { program },
        };
        let mut labels = self.labels;
        labels.extend(self.image.as_ref().map(|image| format!("image:{image}")));
        let mut spec = TaskSpec {
            work,
            needs,
            time_limit_s: self.time_limit_s,
            isolation: self.isolation.unwrap_or(Isolation::Docker),
            labels,
            image: self.image,
            shared_tmp: self.shared_tmp,
            tasks: terms.indices.len(),
            arguments: self.arguments,
            inputs,
            lines: self.lines_file,
            outputs: self.outputs,
            warn_s: self.warn_s,
            checkpoint_s: self.checkpoint_s,
        };
        require_label_4(&mut spec, terms);
        spec
    }

    /// None if something of it is wrong.
    fn terms(&self, errors: &mut Vec<FieldError>, brought: Brought<'_>) -> Option<Terms> {
        let before = errors.len();
        let (indices, at_once) = self.indices(errors, brought);
        if at_once == Some(0) {
            errors.push(field("at_once", "must be at least 1"));
        }
        check_range(errors, "retries", self.retries.into(), 0, u32::from(RUNS_MAX) - 1);
        check_range(errors, "backoff_s", self.backoff_s, 0, BACKOFF_MAX_S);
        if self.priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs() {
            errors.push(field("priority", "must be -100 to 100"));
        }
        if self.deadline_at_ms.is_some_and(|deadline| deadline > DEADLINE_MAX_MS) {
            errors.push(field("deadline_at_ms", "must be before the year 10000"));
        }
        if self.after.len() > AFTER_MAX {
            errors.push(field("after", &format!("must be at most {AFTER_MAX}")));
        }
        let is_twice = |(place, after)| self.after[..place].contains(after);
        if self.after.iter().take(AFTER_MAX).enumerate().any(is_twice) {
            errors.push(field("after", "must name each only once"));
        }
        let notify = self.notify.clone().unwrap_or_default();
        check_notify(errors, &notify);
        let sale = sale::sale(self, errors);
        if errors.len() > before {
            return None;
        }
        Some(Terms {
            indices: indices?,
            at_once,
            retries: self.retries,
            backoff_s: self.backoff_s,
            deadline_at_ms: self.deadline_at_ms,
            notify,
            sale,
            deterministic: self.deterministic || self.verify,
            verify: self.verify,
        })
    }

    /// The indices of its tasks, if nothing is wrong with them, and how many may run at once.
    fn indices(
        &self,
        errors: &mut Vec<FieldError>,
        brought: Brought<'_>,
    ) -> (Option<Indices>, Option<u32>) {
        if self.tasks != 1 && (self.array.is_some() || self.lines_file.is_some()) {
            errors.push(field("tasks", "is for jobs without array and lines_file"));
        }
        match (&self.array, &self.lines_file) {
            (None, None) => {
                check_range(errors, "tasks", self.tasks, 1, TASKS_MAX);
                let is_right = (1..=TASKS_MAX).contains(&self.tasks);
                (is_right.then(|| Indices::counted(self.tasks)), self.at_once)
            }
            (Some(_), Some(_)) => {
                errors.push(field("array", "is for jobs without lines_file"));
                (None, None)
            }
            (Some(array), None) => match array.parse::<Array>() {
                Ok(Array { at_once: Some(_), .. }) if self.at_once.is_some() => {
                    errors.push(field("at_once", "is in the array already, after its %"));
                    (None, None)
                }
                Ok(array) => (Some(array.indices), array.at_once.or(self.at_once)),
                Err(error) => {
                    errors.push(field("array", &error.to_string()));
                    (None, None)
                }
            },
            (None, Some(path)) => {
                let indices = indices_of_lines(path, brought);
                let indices = indices.map_err(|message| errors.push(field("lines_file", &message)));
                (indices.ok(), self.at_once)
            }
        }
    }

    fn check_arguments(&self, errors: &mut Vec<FieldError>) {
        let bytes: usize = self.arguments.iter().map(|argument| argument.len() + 1).sum();
        if self.arguments.len() > ARGUMENTS_MAX || bytes > ARGUMENTS_MAX_BYTES {
            let message =
                format!("must be at most {ARGUMENTS_MAX}, with {ARGUMENTS_MAX_BYTES} bytes in all");
            errors.push(field("arguments", &message));
        }
        if self.arguments.iter().any(|argument| argument.contains('\0')) {
            errors.push(field("arguments", "must not contain NUL characters"));
        }
        if self.outputs.len() > PATTERNS_MAX {
            errors.push(field("outputs", &format!("must be at most {PATTERNS_MAX}")));
        }
        for pattern in self.outputs.iter().take(PATTERNS_MAX) {
            if let Err(error) = check_pattern(pattern) {
                errors.push(field("outputs", &format!("{} {error}", quoted(pattern))));
            }
        }
    }

    /// Whether `requirements` name anything: comments do not.
    pub fn names_packages(&self) -> bool {
        !packages::requirements(&self.requirements).is_empty()
    }

    /// What a machine must offer, and how it must confine the task.
    fn check_machine(&self, errors: &mut Vec<FieldError>) {
        if self.labels.len() > FEATURES_MAX {
            errors.push(field("labels", &format!("must be at most {FEATURES_MAX}")));
        }
        for label in self.labels.iter().take(FEATURES_MAX) {
            if let Err(error) = check_feature(label) {
                errors.push(field("labels", &format!("{} {error}", quoted(label))));
            }
        }
        if let Some(image) = &self.image {
            check_text(errors, "image", check_image(image));
            if self.isolation == Some(Isolation::Full) {
                let message = "an image runs in a container, which is \"docker\" and not \"full\"";
                errors.push(field("isolation", message));
            }
        }
    }

    fn check_flags(&self, errors: &mut Vec<FieldError>) {
        if self.kind != WorkKind::C && !self.flags.is_empty() {
            errors.push(field("flags", "are for C jobs only"));
        }
        if self.flags.len() > FLAGS_MAX {
            errors.push(field("flags", &format!("must be at most {FLAGS_MAX}")));
        }
        for flag in self.flags.iter().take(FLAGS_MAX) {
            if let Err(error) = check_compiler_flag(flag) {
                errors.push(field("flags", &format!("{} {error}", quoted(flag))));
            }
        }
    }

    fn check_source(&self, errors: &mut Vec<FieldError>, brought: Brought<'_>) {
        if let Some(entry) = &self.entry {
            if !self.source.is_empty() {
                errors.push(field("entry", "is for jobs without source"));
            }
            if check_path(entry).is_err() || !brought.has(entry) {
                let message = format!("no file {} has come with the job", quoted(entry));
                errors.push(field("entry", &message));
            }
            return;
        }
        if self.source.trim().is_empty() {
            errors.push(field("source", "must not be empty, or entry must name a file"));
        }
        if self.source.len() > SOURCE_MAX_BYTES {
            errors.push(field("source", &format!("must be at most {SOURCE_MAX_BYTES} bytes")));
        }
        if self.source.contains('\0') {
            errors.push(field("source", "must not contain NUL characters"));
        }
    }

    fn check_packages(&self, errors: &mut Vec<FieldError>) {
        if self.kind != WorkKind::Python && !self.requirements.is_empty() {
            errors.push(field("requirements", "are for Python jobs only"));
        }
        if let Some(lock) = &self.uv_lock {
            if self.kind != WorkKind::Python {
                errors.push(field("uv_lock", "is for Python jobs only"));
            }
            if !self.requirements.is_empty() {
                errors.push(field("uv_lock", "takes the place of requirements"));
            }
            if lock.trim().is_empty() {
                errors.push(field("uv_lock", "must not be empty"));
            }
            self.check_packages_text(errors, "uv_lock", lock.len(), UV_LOCK_MAX_BYTES);
            if lock.contains(is_odd) {
                errors.push(field("uv_lock", "must not contain control characters"));
            }
        }
        if let Err(error) = packages::check_lines(&self.requirements) {
            errors.push(error);
            return;
        }
        let requirements = packages::requirements(&self.requirements);
        if !packages::are_hashed(&requirements) {
            errors.extend(packages::check_names("requirements", &requirements));
            return;
        }
        let bytes: usize = self.requirements.iter().map(|line| line.len() + 1).sum();
        if self.check_packages_text(errors, "requirements", bytes, LOCK_MAX_BYTES) {
            errors.extend(packages::check_hashed(&self.requirements).err());
        }
    }

    /// Packages that are given as a text, which has to fit a message together with the source; yields
    /// whether it does.
    fn check_packages_text(
        &self,
        errors: &mut Vec<FieldError>,
        name: &str,
        bytes: usize,
        max: usize,
    ) -> bool {
        let fits = bytes <= max && bytes + self.source.len() <= TEXTS_MAX_BYTES;
        if !fits {
            let message =
                format!("must be at most {max} bytes, and {TEXTS_MAX_BYTES} with the source");
            errors.push(field(name, &message));
        }
        fits
    }
}

/// Some tasks of a job to be run again as a job of their own, on the terms of then; but for its deadline,
/// which may be over.
pub fn again(mut spec: TaskSpec, mut terms: Terms, indices: Indices) -> (TaskSpec, Terms) {
    spec.tasks = indices.len();
    (terms.indices, terms.deadline_at_ms) = (indices, None);
    require_label_4(&mut spec, &terms);
    (spec, terms)
}

/// Workers of protocol 3 would do something else than these ask for.
fn require_label_4(spec: &mut TaskSpec, terms: &Terms) {
    if spec.needs_4() || terms.indices != Indices::counted(spec.tasks) {
        spec.labels.push(LABEL_4.to_owned());
    }
    spec.labels.sort_unstable();
    spec.labels.dedup();
}

/// From 1, one for each line of a file that came with the job; or what is wrong with it.
fn indices_of_lines(path: &str, brought: Brought<'_>) -> Result<Indices, String> {
    let missing = || format!("no file {} has come with the job", quoted(path));
    check_path(path).map_err(|_| missing())?;
    let lines = match brought {
        Brought::Nothing => None,
        Brought::Later => Some(1),
        Brought::Files { lines, .. } => lines,
    };
    let lines = lines.ok_or_else(missing)?;
    let indices = format!("1-{lines}").parse::<Indices>().ok();
    indices.ok_or_else(|| format!("must have 1 to {TASKS_MAX} lines, has {lines}"))
}

/// Control characters that no text file of packages has.
fn is_odd(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

/// The form of a webhook's address only; where it leads, the manager looks at before each use.
fn check_notify(errors: &mut Vec<FieldError>, notify: &Notify) {
    let is_address = |address: &str| {
        let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
        address.len() <= WEBHOOK_MAX_BYTES
            && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
            && address.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if notify.webhook.as_deref().is_some_and(|address| !is_address(address)) {
        errors.push(field("notify.webhook", "must be an http:// or https:// address"));
    }
    let is_about = notify.start || notify.end || notify.failure;
    if is_about != (notify.mail || notify.webhook.is_some()) {
        let message = if is_about {
            "must say how: mail, or the address of a webhook"
        } else {
            "must say of what: start, end or failure"
        };
        errors.push(field("notify", message));
    }
}

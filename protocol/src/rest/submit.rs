//! What of a submit is wrong, and what its tasks are if nothing is.

use super::{
    FEATURES_MAX, FLAGS_MAX, FieldError, SOURCE_MAX_BYTES, Submit, TASKS_MAX, TEXTS_MAX_BYTES,
    UV_LOCK_MAX_BYTES, WorkKind, check_text, field, packages, quoted,
};
use crate::compiler_flag::check_compiler_flag;
use crate::message::LOCK_MAX_BYTES;
use crate::resource::{Isolation, Needs};
use crate::task::{TaskSpec, Work};
use crate::text::{check_feature, check_image, check_label};

impl Submit {
    /// Checks every field and yields the job's name and what each of its tasks is.
    ///
    /// # Errors
    ///
    /// All fields that are wrong, not only the first.
    pub fn check(self) -> Result<(String, TaskSpec), Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = self.name.clone().unwrap_or_else(|| "untitled".to_owned());
        check_text(&mut errors, "name", check_label(&name));
        self.check_source(&mut errors);
        self.check_packages(&mut errors);
        self.check_flags(&mut errors);
        self.check_machine(&mut errors);
        check_range(&mut errors, "tasks", self.tasks, 1, TASKS_MAX);
        check_range(&mut errors, "cores", self.cores, 1, 1024);
        check_range(&mut errors, "ram_mib", self.ram_mib, 16, 4 << 20);
        check_range(&mut errors, "disk_mib", self.disk_mib, 1, 4 << 20);
        check_range(&mut errors, "gpus", self.gpus.into(), 0, 64);
        check_range(&mut errors, "gpu_memory_mib", self.gpu_memory_mib, 0, 4 << 20);
        check_range(&mut errors, "time_limit_s", self.time_limit_s, 1, 30 * 24 * 3600);
        if self.gpus == 0 && self.gpu_memory_mib > 0 {
            errors.push(field("gpu_memory_mib", "is for jobs that ask for GPUs"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let needs = Needs {
            cpu_millis: self.cores * 1000,
            ram_mib: self.ram_mib,
            disk_mib: self.disk_mib,
            gpus: self.gpus,
            gpu_memory_mib: self.gpu_memory_mib,
        };
        let work = match self.kind {
            WorkKind::Python => {
                let packages = packages::packages(&self.requirements, self.uv_lock);
                Work::Python { source: self.source, packages }
            }
            WorkKind::C => Work::C { source: self.source, flags: self.flags },
            WorkKind::Shell => Work::Shell { command: self.source },
        };
        let mut labels = self.labels;
        labels.extend(self.image.as_ref().map(|image| format!("image:{image}")));
        labels.sort_unstable();
        labels.dedup();
        let spec = TaskSpec {
            work,
            needs,
            time_limit_s: self.time_limit_s,
            isolation: self.isolation.unwrap_or(Isolation::Docker),
            labels,
            image: self.image,
            shared_tmp: self.shared_tmp,
            tasks: self.tasks,
        };
        Ok((name, spec))
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

    fn check_source(&self, errors: &mut Vec<FieldError>) {
        if self.source.trim().is_empty() {
            errors.push(field("source", "must not be empty"));
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

/// Control characters that no text file of packages has.
fn is_odd(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

fn check_range(errors: &mut Vec<FieldError>, name: &str, value: u32, min: u32, max: u32) {
    if !(min..=max).contains(&value) {
        errors.push(field(name, &format!("must be {min} to {max}, is {value}")));
    }
}

//! Which Python a task and its environment use: the one that its job requires by name, else the
//! first of this machine's that fits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use campusgrid_protocol::python::{PythonVersion, Specifiers};
use campusgrid_protocol::text::DEFAULT_IMAGE;
use campusgrid_sandbox::plan::Network;
use tokio::process::Command;
use tokio::time::timeout;

use super::workshop::{Chore, Failed, Share, Workshop, not_run, unfit};
use super::{EnvironmentError, fingerprint};
use crate::run::backend::Surroundings;

/// Tasks see nothing of the host but this.
const DIRECTORY: &str = "/usr/bin";

/// How a label names an interpreter: `python3.12`.
const LABEL: &str = "python3.";

/// Labels name minor versions below this one.
const MINOR_END: u32 = 100;

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What an interpreter is asked.
const QUESTION: [&str; 4] =
    ["-I", "-S", "-c", "import platform, sys; print(platform.python_version(), sys.executable)"];

/// An interpreter that is there, as tasks see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub path: String,
    pub version: PythonVersion,
    /// Changes whenever it is upgraded.
    pub(super) fingerprint: String,
    /// The content of the image that it is part of; `None` for this machine's own.
    pub(super) image: Option<String>,
}

/// What a job says about its interpreter.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The labels that the job requires.
    pub labels: &'a [String],
    /// What its program or its lock says that it runs on.
    pub program: Option<&'a Specifiers>,
    /// What its lock was made for, on whichever worker was first.
    pub lock: Option<&'a Specifiers>,
}

/// The interpreters of this machine; each is asked for its version once.
#[derive(Debug, Default)]
pub(super) struct Interpreters {
    versions: Mutex<BTreeMap<String, PythonVersion>>,
}

/// The interpreter that a job requires by a label such as `python3.12`, as a file's name.
pub(crate) fn named(labels: &[String]) -> Option<&str> {
    let is_one = |label: &&String| {
        label.strip_prefix(LABEL).is_some_and(|minor| {
            (1..=2).contains(&minor.len()) && minor.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    labels.iter().find(is_one).map(String::as_str)
}

impl Interpreters {
    /// The interpreter for a job; of several that fit, the system's own.
    ///
    /// # Errors
    ///
    /// `Requirements` if what the program says rules out all that it may run on anywhere, `Image` if a
    /// job's image has none, else `Machine` or `Engine`.
    pub(super) async fn choose(
        &self,
        workshop: Workshop<'_>,
        results: &Path,
        wanted: Wanted<'_>,
    ) -> Result<Interpreter, EnvironmentError> {
        let mut there = Vec::new();
        match workshop.surroundings {
            Surroundings::Machine => {
                for path in candidates(named(wanted.labels)) {
                    there.extend(self.ask(&path).await);
                }
            }
            Surroundings::Image(image) => {
                let program = named(wanted.labels).unwrap_or("python3");
                there.push(self.ask_inside(workshop, results, image, program).await?);
            }
        }
        choose(there, workshop.surroundings, wanted)
    }

    /// The interpreter of an image.
    async fn ask_inside(
        &self,
        workshop: Workshop<'_>,
        results: &Path,
        image: &str,
        program: &str,
    ) -> Result<Interpreter, EnvironmentError> {
        let identity = workshop.backends.identity(image).await;
        let identity = identity.map_err(|error| not_run("python", error).of_machine())?;
        let mut argv = vec![program.to_owned()];
        argv.extend(QUESTION.map(str::to_owned));
        let variables =
            BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]);
        let chore = Chore {
            what: "python",
            files: Vec::new(),
            argv,
            limit: ANSWER_LIMIT,
            share: Share::SMALL,
            network: Network::None,
            environment: &variables,
            read_only: Vec::new(),
            packages: None,
            results,
        };
        let said = match workshop.run(chore, |_| {}).await {
            Ok(said) => said,
            Err(Failed::Said { .. }) => String::new(),
            Err(failed @ (Failed::Cut { .. } | Failed::Surroundings(_))) => {
                return Err(failed.of_machine());
            }
        };
        let interpreter = || {
            let (version, path) = said.trim().split_once(' ')?;
            let version = PythonVersion::parse(version)?;
            let fingerprint = format!("{identity} {path} {version}");
            Some(Interpreter { path: path.to_owned(), version, fingerprint, image: Some(identity) })
        };
        interpreter().ok_or_else(|| unfit(image, &format!("has no {program} that works")))
    }

    /// None if it is not there or does not work.
    async fn ask(&self, path: &Path) -> Option<Interpreter> {
        let fingerprint = fingerprint(path).ok()?;
        let known = self.versions().get(&fingerprint).copied();
        let version = match known {
            Some(version) => version,
            None => {
                let mut command = Command::new(path);
                command.args(QUESTION).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
                command.kill_on_drop(true);
                let output = timeout(ANSWER_LIMIT, command.output()).await.ok()?.ok()?;
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let version = PythonVersion::parse(said.split_once(' ')?.0)?;
                self.versions().insert(fingerprint.clone(), version);
                version
            }
        };
        let path = path.to_str()?.to_owned();
        Some(Interpreter { path, version, fingerprint, image: None })
    }

    fn versions(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, PythonVersion>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where to look: what is named, else the system's own and then the newest first.
fn candidates(named: Option<&str>) -> Vec<PathBuf> {
    let directory = Path::new(DIRECTORY);
    if let Some(named) = named {
        return vec![directory.join(named)];
    }
    let minor = |entry: fs::DirEntry| -> Option<u32> {
        entry.file_name().to_str()?.strip_prefix(LABEL)?.parse().ok()
    };
    let mut minors: Vec<u32> = fs::read_dir(directory)
        .map(|entries| entries.flatten().filter_map(minor).collect())
        .unwrap_or_default();
    minors.sort_unstable_by(|a, b| b.cmp(a));
    let versions = minors.iter().map(|minor| directory.join(format!("{LABEL}{minor}")));
    std::iter::once(directory.join("python3")).chain(versions).collect()
}

/// The first of those that are there that fits.
pub(super) fn choose(
    there: Vec<Interpreter>,
    surroundings: Surroundings<'_>,
    wanted: Wanted<'_>,
) -> Result<Interpreter, EnvironmentError> {
    if there.is_empty() {
        let missing = named(wanted.labels).unwrap_or("Python 3");
        let message = format!("there is no {missing} for it on this worker");
        return Err(EnvironmentError::Machine { message });
    }
    let mut versions: Vec<PythonVersion> = there.iter().map(|each| each.version).collect();
    versions.dedup();
    let versions: Vec<String> = versions.iter().map(PythonVersion::to_string).collect();
    let versions = versions.join(" and ");
    let holds = |specifiers: Option<&Specifiers>, each: &Interpreter| {
        specifiers.is_none_or(|specifiers| specifiers.hold_for(each.version))
    };
    let mut fits = there.into_iter().filter(|each| holds(wanted.program, each)).peekable();
    if let (None, Some(program)) = (fits.peek(), wanted.program) {
        let needs = format!("it says that it needs Python {program}");
        if is_the_same_everywhere(surroundings, wanted.labels, program) {
            let message = format!("{needs}, and what it asks to run on has {versions}");
            return Err(EnvironmentError::Requirements { message });
        }
        // Other machines may have it, so this must not end the job.
        let label = (0..MINOR_END).find(|&minor| program.hold_for_minor(minor));
        let label = label.map_or("a version".to_owned(), |minor| format!("{LABEL}{minor}"));
        let message = format!(
            "{needs}, and this worker has {versions}; a job that requires the label {label} runs only \
             where there is that"
        );
        return Err(EnvironmentError::Machine { message });
    }
    fits.find(|each| holds(wanted.lock, each)).ok_or_else(|| {
        let lock = wanted.lock.map(Specifiers::to_string).unwrap_or_default();
        let message = format!(
            "the job's packages were chosen for Python {lock}, and this worker has {versions}"
        );
        EnvironmentError::Machine { message }
    })
}

/// Whether an interpreter that does not fit is what every worker has for the job: that of its image, or
/// the one version that it requires by a label.
fn is_the_same_everywhere(
    surroundings: Surroundings<'_>,
    labels: &[String],
    program: &Specifiers,
) -> bool {
    match surroundings {
        Surroundings::Image(image) if image != DEFAULT_IMAGE => true,
        Surroundings::Image(_) | Surroundings::Machine => {
            let minor = named(labels).and_then(|label| label.strip_prefix(LABEL)?.parse().ok());
            minor.is_some_and(|minor| !program.hold_for_minor(minor))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(minor: u32) -> Interpreter {
        let path = format!("/usr/bin/python3.{minor}");
        let version = PythonVersion(3, minor, 4);
        Interpreter { path, version, fingerprint: String::new(), image: None }
    }

    fn check(program: &str, lock: &str) -> Result<u32, EnvironmentError> {
        check_on(Surroundings::Machine, &[], program, lock)
    }

    fn check_on(
        surroundings: Surroundings<'_>,
        labels: &[&str],
        program: &str,
        lock: &str,
    ) -> Result<u32, EnvironmentError> {
        let specifiers = |text: &str| Specifiers::parse(text).filter(|_| !text.is_empty());
        let (program, lock) = (specifiers(program), specifiers(lock));
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        let wanted = Wanted { labels: &labels, program: program.as_ref(), lock: lock.as_ref() };
        choose(vec![interpreter(11), interpreter(13), interpreter(9)], surroundings, wanted)
            .map(|interpreter| interpreter.version.1)
    }

    #[test]
    fn the_systems_own_is_used_unless_only_another_fits() {
        assert_eq!(check("", ""), Ok(11));
        assert_eq!(check(">=3.10", ""), Ok(11));
        assert_eq!(check(">=3.12", ""), Ok(13));
        assert_eq!(check("<3.11", ""), Ok(9));
        assert_eq!(check("", ">=3.12"), Ok(13));
    }

    #[test]
    fn what_another_worker_may_have_does_not_end_a_job() {
        let ours = check(">=3.14", "").unwrap_err();
        assert!(matches!(&ours, EnvironmentError::Machine { .. }), "{ours}");
        let words = "needs Python >=3.14, and this worker has 3.11.4 and 3.13.4 and 3.9.4; a job \
                     that requires the label python3.14 runs";
        assert!(ours.to_string().contains(words), "{ours}");
        let ours = check("", ">=3.14").unwrap_err();
        assert!(matches!(&ours, EnvironmentError::Machine { .. }), "{ours}");
        let wanted = Wanted { labels: &[], program: None, lock: None };
        let none = choose(Vec::new(), Surroundings::Machine, wanted);
        assert!(matches!(none, Err(EnvironmentError::Machine { .. })));
        let default = check_on(Surroundings::Image(DEFAULT_IMAGE), &[], ">=3.14", "").unwrap_err();
        assert!(matches!(&default, EnvironmentError::Machine { .. }), "{default}");
    }

    #[test]
    fn what_is_the_same_on_all_workers_ends_a_job_at_once() {
        for (surroundings, labels) in [
            (Surroundings::Image("docker.io/library/python:3.11"), [].as_slice()),
            (Surroundings::Machine, &["python3.11"]),
        ] {
            let submitters = check_on(surroundings, labels, ">=3.14", "").unwrap_err();
            assert!(matches!(&submitters, EnvironmentError::Requirements { .. }), "{submitters}");
        }
    }

    #[test]
    fn only_a_version_of_python_is_the_name_of_an_interpreter() {
        let named = |label: &str| named(&["R".to_owned(), label.to_owned()]).map(str::to_owned);
        assert_eq!(named("python3.12").as_deref(), Some("python3.12"));
        for label in ["python3", "python3.", "python3.1x", "python3.123", "python3.1/../sh"] {
            assert_eq!(named(label), None, "{label}");
        }
    }

    #[tokio::test]
    async fn this_machines_own_is_asked_once() {
        let interpreters = Interpreters::default();
        let path = Path::new("/usr/bin/python3");
        let Some(found) = interpreters.ask(path).await else { return }; // There is no Python.
        assert_eq!(interpreters.versions().values().collect::<Vec<_>>(), [&found.version]);
        assert_eq!(interpreters.ask(path).await, Some(found));
        assert_eq!(interpreters.ask(Path::new("/usr/bin/python3.0")).await, None);
    }
}

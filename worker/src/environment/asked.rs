//! What a job asks for, checked: nothing, a lock, or a question that makes one.

use campusgrid_protocol::lock::Lock;
use campusgrid_protocol::python::Specifiers;
use campusgrid_protocol::task::Packages;

use super::interpreter::Interpreter;
use super::requirements::Requirements;
use super::uv_lock::Project;
use super::{EnvironmentError, hash, telling};

/// What a job asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nothing to install.
    Nothing {
        python: Option<Specifiers>,
    },
    /// A lock already.
    Locked(Lock),
    Question(Question),
}

/// What must be made a lock first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// To be resolved with the index.
    Names {
        requirements: Requirements,
        python: Option<Specifiers>,
    },
    UvLock {
        text: String,
        project: Project,
    },
}

impl Asked {
    /// Checks what a stranger asks for.
    ///
    /// # Errors
    ///
    /// `Requirements`.
    pub fn check(packages: &Packages) -> Result<Self, EnvironmentError> {
        let refused = |message: String| EnvironmentError::Requirements { message };
        match packages {
            Packages::None => Ok(Self::Nothing { python: None }),
            Packages::Names { requirements, requires_python } => {
                let python = requires_python.as_deref().map(|text| {
                    let no = "does not name versions of Python in the form of PEP 440";
                    Specifiers::parse(text).ok_or_else(|| refused(format!("\"{text}\" {no}")))
                });
                let python = python.transpose()?;
                let requirements = Requirements::check(requirements)
                    .map_err(|error| refused(error.to_string()))?;
                if requirements.is_empty() {
                    return Ok(Self::Nothing { python });
                }
                Ok(Self::Question(Question::Names { requirements, python }))
            }
            Packages::Hashed { text } => match Lock::check(text) {
                Ok(lock) if lock.packages() == 0 => Ok(Self::Nothing { python: None }),
                Ok(lock) => Ok(Self::Locked(lock)),
                Err(error) => Err(refused(error.to_string())),
            },
            Packages::UvLock { text } => {
                let project = Project::read(text).map_err(|error| refused(error.to_string()))?;
                Ok(Self::Question(Question::UvLock { text: text.clone(), project }))
            }
        }
    }

    /// The versions of Python that the program says it runs on.
    pub fn python(&self) -> Option<&Specifiers> {
        match self {
            Self::Nothing { python } | Self::Question(Question::Names { python, .. }) => {
                python.as_ref()
            }
            Self::Locked(lock) => lock.python(),
            Self::Question(Question::UvLock { project, .. }) => Some(&project.python),
        }
    }
}

impl Question {
    /// All that the answer depends on.
    pub(super) fn key(&self, interpreter: &Interpreter) -> blake3::Hash {
        // What uv answers in a stranger's image is what that image wants it to.
        let image = interpreter.image.clone().unwrap_or_default();
        hash(&match self {
            Self::Names { requirements, python } => {
                let python = python.as_ref().map(Specifiers::to_string).unwrap_or_default();
                let minor = interpreter.version.1.to_string();
                vec![requirements.text().to_owned(), python, minor, image]
            }
            Self::UvLock { text, .. } => vec![text.clone(), image],
        })
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Names { requirements, .. } => {
                format!("resolving {}", telling::packages(requirements.len()))
            }
            Self::UvLock { .. } => "reading uv.lock".to_owned(),
        }
    }
}

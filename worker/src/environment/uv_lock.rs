//! A `uv.lock` as a stranger wrote it: read here, so that `uv` gets to see only one that names
//! packages of registries, and a project made from what the lock says of it.
//!
//! Which registries does not matter: names, versions and hashes are taken, addresses are not.

use campusgrid_protocol::python::Specifiers;
use campusgrid_protocol::requirement::is_name;
use toml::{Table, Value};

/// The oldest and the newest layout whose meaning is known.
const VERSION: i64 = 1;

const PACKAGES_MAX: usize = 2000;

/// Why a `uv.lock` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UvLockError {
    #[error("uv.lock cannot be read: {message}")]
    Toml { message: String },
    #[error("uv.lock is of version {found}; this worker knows version {VERSION}")]
    Version { found: i64 },
    #[error("uv.lock has no {what}")]
    Missing { what: &'static str },
    #[error("uv.lock has {found} packages, more than {PACKAGES_MAX}")]
    TooMany { found: usize },
    #[error(
        "uv.lock takes {name} from {source_kind}; only packages of a registry can be installed here"
    )]
    Source { name: String, source_kind: String },
    #[error("uv.lock holds {found} projects; the lock of a single project is needed")]
    Projects { found: usize },
    #[error("uv.lock says requires-python = \"{found}\", which is not in the form of PEP 440")]
    Python { found: String },
    #[error("uv.lock names its project \"{found}\", which is no name of a package")]
    Name { found: String },
}

/// What `uv export` is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// A `pyproject.toml` for the lock.
    pub pyproject: String,
    /// The versions of Python that the lock is for.
    pub python: Specifiers,
}

impl Project {
    /// Reads a lock from outside.
    ///
    /// # Errors
    ///
    /// All of [`UvLockError`].
    pub fn read(lock: &str) -> Result<Self, UvLockError> {
        let lock: Table = lock.parse().map_err(|error: toml::de::Error| UvLockError::Toml {
            message: error.message().chars().take(200).collect(),
        })?;
        let found = lock.get("version").and_then(Value::as_integer);
        let found = found.ok_or(UvLockError::Missing { what: "version" })?;
        if found != VERSION {
            return Err(UvLockError::Version { found });
        }
        let text =
            |table: &Table, key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
        let python = text(&lock, "requires-python")
            .ok_or(UvLockError::Missing { what: "requires-python" })?;
        let python = Specifiers::parse(&python).ok_or(UvLockError::Python { found: python })?;
        let packages = lock.get("package").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if packages.len() > PACKAGES_MAX {
            return Err(UvLockError::TooMany { found: packages.len() });
        }
        let mut projects = Vec::new();
        for package in packages.iter().filter_map(Value::as_table) {
            let name =
                text(package, "name").ok_or(UvLockError::Missing { what: "name for a package" })?;
            let source = package.get("source").and_then(Value::as_table);
            match source.map_or("an unknown place", source_kind) {
                "registry" => {}
                "project" => projects.push(name),
                kind => {
                    let source_kind = kind.to_owned();
                    return Err(UvLockError::Source { name: shown(&name), source_kind });
                }
            }
        }
        match projects.as_slice() {
            [name] if is_name(name) => Ok(Self { pyproject: pyproject(name, &python), python }),
            [name] => Err(UvLockError::Name { found: shown(name) }),
            [] => Err(UvLockError::Missing { what: "project of its own, as that of a script" }),
            more => Err(UvLockError::Projects { found: more.len() }),
        }
    }
}

/// Where a package comes from: `registry`, `project` for what the lock belongs to, or in words.
fn source_kind(source: &Table) -> &'static str {
    const KINDS: [(&str, &str); 7] = [
        ("registry", "registry"),
        ("virtual", "a path"),
        ("editable", "a path"),
        ("directory", "a path"),
        ("path", "a path"),
        ("git", "a git repository"),
        ("url", "an address"),
    ];
    let mut kinds = KINDS.iter().filter(|(key, _)| source.contains_key(*key));
    match (kinds.next(), kinds.next()) {
        (Some(("virtual" | "editable", _)), None)
            if source.values().all(|place| place.as_str() == Some(".")) =>
        {
            "project"
        }
        (Some((_, kind)), None) => kind,
        (Some(_), Some(_)) => "several places",
        (None, _) => "an unknown place",
    }
}

/// The least that makes a project of this name.
fn pyproject(name: &str, python: &Specifiers) -> String {
    let mut project = Table::new();
    project.insert("name".to_owned(), name.into());
    project.insert("version".to_owned(), "0".into());
    project.insert("requires-python".to_owned(), python.to_string().into());
    let mut document = Table::new();
    document.insert("project".to_owned(), Value::Table(project));
    document.to_string()
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "version = 1\nrevision = 5\nrequires-python = \">=3.11\"\n";

    fn package(name: &str, source: &str) -> String {
        format!("[[package]]\nname = \"{name}\"\nversion = \"1\"\nsource = {{ {source} }}\n")
    }

    fn refusal(lock: &str) -> String {
        Project::read(lock).unwrap_err().to_string()
    }

    #[test]
    fn a_project_of_its_own_is_made_from_what_the_lock_says() {
        let lock = HEAD.to_owned()
            + &package("six", "registry = \"https://pypi.org/simple\"")
            + &package("lab-work", "virtual = \".\"");
        let project = Project::read(&lock).unwrap();
        expect_test::expect![[r#"
            [project]
            name = "lab-work"
            requires-python = ">=3.11"
            version = "0"
        "#]]
        .assert_eq(&project.pyproject);
        assert_eq!(project.python.to_string(), ">=3.11");
    }

    #[test]
    fn only_packages_of_a_registry_are_taken() {
        let project = package("p", "editable = \".\"");
        for (source, words) in [
            ("git = \"https://evil.example/x\"", "x from a git repository"),
            ("url = \"https://evil.example/x.whl\"", "x from an address"),
            ("url = \"https://evil.example/x.whl\", subdirectory = \"y\"", "x from an address"),
            ("path = \"../x.whl\"", "x from a path"),
            ("directory = \"/etc\"", "x from a path"),
            ("editable = \"packages/x\"", "x from a path"),
            ("registry = \"https://a\", git = \"https://b\"", "x from several places"),
            ("hg = \"https://a\"", "x from an unknown place"),
            ("", "x from an unknown place"),
        ] {
            let said = refusal(&format!("{HEAD}{project}{}", package("x", source)));
            assert!(said.contains(words), "{source}: {said}");
        }
    }

    #[test]
    fn what_is_no_lock_of_one_project_is_refused_in_words() {
        assert!(refusal("version = ").starts_with("uv.lock cannot be read: "));
        assert!(refusal("").contains("no version"));
        assert!(refusal("version = 2").contains("version 2"));
        assert!(refusal("version = 1").contains("no requires-python"));
        assert!(refusal("version = 1\nrequires-python = \"three\"").contains("\"three\""));
        assert!(refusal(HEAD).contains("no project of its own"));
        let two = package("a", "virtual = \".\"") + &package("b", "virtual = \".\"");
        assert!(refusal(&(HEAD.to_owned() + &two)).contains("2 projects"));
        let odd = package("../x", "virtual = \".\"");
        assert!(refusal(&(HEAD.to_owned() + &odd)).contains("\"../x\""));
    }
}

//! Requirements as a stranger wrote them, checked line by line before any tool reads them: no more of
//! them than a job may have, and nothing but names of packages.

use campusgrid_protocol::requirement::Requirement;
use campusgrid_protocol::rest::REQUIREMENTS_MAX;

/// Characters of one requirement.
pub const LINE_MAX: usize = 200;

/// Why requirements are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementsError {
    #[error("{found} requirements are more than {REQUIREMENTS_MAX}")]
    TooMany { found: usize },
    #[error("a requirement of {found} characters is longer than {LINE_MAX}")]
    TooLong { found: usize },
    #[error(
        "'{line}' is not a package name with an optional version, such as 'numpy' or \
         'scikit-learn>=1.4,<2'; addresses, paths and options are not taken"
    )]
    NotAName { line: String },
}

/// Checked requirements, one a line, without blank lines; at least none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    text: String,
}

impl Requirements {
    /// Checks all lines; blank ones are passed over.
    ///
    /// # Errors
    ///
    /// All of [`RequirementsError`].
    pub fn check(lines: &[String]) -> Result<Self, RequirementsError> {
        let lines: Vec<&str> =
            lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        if lines.len() > REQUIREMENTS_MAX {
            return Err(RequirementsError::TooMany { found: lines.len() });
        }
        let mut text = String::new();
        for line in lines {
            let found = line.chars().count();
            if found > LINE_MAX {
                return Err(RequirementsError::TooLong { found });
            }
            if Requirement::parse(line).is_none() {
                let line = line.chars().filter(|c| !c.is_control()).collect();
                return Err(RequirementsError::NotAName { line });
            }
            text.push_str(line);
            text.push('\n');
        }
        Ok(Self { text })
    }

    /// One requirement a line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of requirements.
    pub fn len(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether nothing is required, so that no environment is needed.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Requirements, RequirementsError> {
        Requirements::check(&[line.to_owned()])
    }

    #[test]
    fn lines_are_trimmed_and_blank_ones_passed_over() {
        let lines = ["", "  numpy>=2  ", "\t", "six"].map(str::to_owned);
        let requirements = Requirements::check(&lines).unwrap();
        assert_eq!((requirements.text(), requirements.len()), ("numpy>=2\nsix\n", 2));
        assert!(check("  ").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_name_is_refused_and_shown_without_what_moves_a_cursor() {
        let line = "numpy--index-url http://evil.example".to_owned();
        let error = check("numpy\n--index-url http://evil.example");
        assert_eq!(error, Err(RequirementsError::NotAName { line }));
    }

    #[test]
    fn number_and_length_are_limited() {
        let many = vec!["numpy".to_owned(); REQUIREMENTS_MAX + 1];
        assert_eq!(Requirements::check(&many), Err(RequirementsError::TooMany { found: 51 }));
        let long = "n".repeat(LINE_MAX + 1);
        assert_eq!(check(&long), Err(RequirementsError::TooLong { found: 201 }));
    }
}

//! Whose addresses are worth starting credits: those of some domains, where the operator names them.
//! Anybody can have as many addresses as they like of a domain of their own.

use std::str::FromStr;

use campusgrid_protocol::rest::FieldError;

use crate::web::error::WebError;

/// Domains of addresses; none for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains(Vec<String>);

impl Domains {
    /// Refuses an address that is of none of them.
    ///
    /// # Errors
    ///
    /// `Fields`, which names them.
    pub(in crate::web) fn check(&self, address: &str) -> Result<(), WebError> {
        if self.has(address) {
            return Ok(());
        }
        let (field, named) = ("email".to_owned(), self.0.join(" or @"));
        let message = format!("must end with @{named}: starting credits are for these only");
        Err(WebError::Fields(vec![FieldError { field, message }]))
    }

    fn has(&self, address: &str) -> bool {
        let domain = address.trim().rsplit_once('@').map_or("", |(_, domain)| domain);
        let domain = domain.trim_end_matches('.').to_lowercase();
        self.0.is_empty() || self.0.contains(&domain)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Domains {
    type Err = String;

    /// Separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut domains = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let is_good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
            if !name.chars().all(is_good) || name.starts_with('.') || name.ends_with('.') {
                return Err(format!("must be domains such as example.edu; {name:?} is none"));
            }
            domains.push(name.to_lowercase());
        }
        Ok(Self(domains))
    }
}

#[cfg(test)]
mod tests {
    use super::Domains;

    #[test]
    fn an_address_is_of_a_domain_that_is_named_whole() {
        let domains: Domains = "Campus.edu, students.campus.edu".parse().unwrap();
        for good in ["ada@campus.edu", "ada@CAMPUS.EDU.", "ada@students.campus.edu"] {
            assert!(domains.has(good), "{good}");
        }
        for bad in ["ada@evilcampus.edu", "ada@lab.campus.edu", "campus.edu", "a@campus.edu@x.org"]
        {
            assert!(!domains.has(bad), "{bad}");
        }
        assert!(Domains::default().has("ada@wherever.example"));
        assert!("".parse::<Domains>().unwrap().is_empty());
        assert!("campus.edu, @x.edu".parse::<Domains>().is_err());
    }

    #[test]
    fn a_refusal_names_them() {
        let domains: Domains = "campus.edu,lab.edu".parse().unwrap();
        let fields = domains.check("ada@x.org").unwrap_err().fields();
        assert_eq!(
            fields[0].message,
            "must end with @campus.edu or @lab.edu: starting credits are for these only"
        );
    }
}

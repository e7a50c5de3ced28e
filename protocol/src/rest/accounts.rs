//! The bodies about accounts: registering, passwords, logins, API tokens, users and invitations.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{FieldError, PASSWORD_MAX, PASSWORD_MIN, check_text, field};
use crate::text::{check_label, check_user_name};

/// An API token lasts at most this long. Days: a leap year.
pub const TOKEN_DAYS_MAX: u32 = 366;

/// An invitation lasts at most this long. Hours.
pub const INVITATION_HOURS_MAX: u32 = 30 * 24;

/// As many people can register with one invitation at most.
pub const INVITATION_USES_MAX: u32 = 10_000;

/// `POST register`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(example = json!({"name": "ada", "password": "correct horse battery", "email": "ada@example.org"}))
)]
#[serde(deny_unknown_fields)]
pub struct Register {
    pub name: String,
    pub password: String,
    pub email: Option<String>,
    /// What an operator has handed out, where registration is by invitation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
}

/// `POST verify`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// What stands in the link that was mailed.
    pub token: String,
}

/// Answers `POST verify`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Verified {
    pub verified: bool,
}

/// `POST login`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(example = json!({"name": "ada", "password": "correct horse battery"}))
)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub name: String,
    pub password: String,
}

/// Answers `POST register` and `POST login`: the token goes into `Authorization: Bearer …`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LoggedIn {
    pub user: String,
    pub token: String,
}

/// `GET me`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Me {
    pub user: String,
    pub operator: bool,
    pub balance_micros: i64,
    /// Whether they have shown that an address is theirs, which may bring starting credits.
    pub verified: bool,
}

/// What an API token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything that its user may see.
    Read,
    /// Submit and cancel jobs.
    Submit,
    /// Change its user's machines.
    Own,
    /// What only operators may do, if its user is one.
    Operate,
}

/// What a user may do beside having jobs and machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Member,
    Operator,
}

/// `POST password`: sets a new one, by showing the present one. All other logins are closed, and all
/// API tokens end.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    pub present: String,
    pub new: String,
}

/// A row of `GET sessions`: a login that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Session {
    pub session: u64,
    /// An address and a program, in words.
    pub from: String,
    pub opened_at_ms: u64,
    /// Maybe a minute late.
    pub used_at_ms: u64,
    pub until_ms: u64,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// `POST tokens`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// For its user to know it by.
    pub name: String,
    pub scopes: Vec<Scope>,
    /// 1 to [`TOKEN_DAYS_MAX`].
    pub days: u32,
    /// The user's present one: a login alone makes no tokens.
    pub password: String,
}

/// Answers `POST tokens`, and is the only place where the token itself is ever shown.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenMade {
    /// For `Authorization: Bearer …`.
    pub token: String,
    #[serde(flatten)]
    pub about: Token,
}

/// A row of `GET tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Token {
    pub id: u64,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub made_at_ms: u64,
    /// Absent if it never was; maybe a minute late.
    pub used_at_ms: Option<u64>,
    pub until_ms: u64,
}

/// A row of `GET users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct User {
    pub id: u64,
    pub name: String,
    pub email: Option<String>,
    pub role: Role,
    pub registered_at_ms: u64,
    /// Machines of theirs, connected or not.
    pub workers: u32,
}

/// `PATCH users/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    pub role: Role,
}

/// `POST invitations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// How many people it lets in, 1 to [`INVITATION_USES_MAX`].
    #[serde(default = "one")]
    pub uses: u32,
    /// How long it is good, 1 to [`INVITATION_HOURS_MAX`].
    #[serde(default = "one")]
    pub hours: u32,
}

fn one() -> u32 {
    1
}

/// Answers `POST invitations`, and is the only place where the invitation itself is ever shown.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InvitationMade {
    /// For `POST register`.
    pub invitation: String,
    /// The page to register on with it, below the dashboard's address.
    pub path: String,
    #[serde(flatten)]
    pub about: Invitation,
}

/// A row of `GET invitations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Invitation {
    pub id: u64,
    /// The operator who made it.
    pub by: String,
    pub uses_left: u32,
    pub made_at_ms: u64,
    pub until_ms: u64,
}

impl Register {
    /// Checks the name, the password and the e-mail address's form; an invitation is good or not.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        check_text(&mut errors, "name", check_user_name(&self.name));
        if let Some(problem) = password_problem(&self.password, &self.name) {
            errors.push(field("password", &problem));
        }
        if let Some(email) = &self.email
            && !is_email(email)
        {
            errors.push(field("email", "is not an e-mail address"));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// The form only; whether it reaches anybody is for a message to show.
fn is_email(text: &str) -> bool {
    let parted = text.split_once('@');
    text.len() <= 254
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && parted.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

impl ChangePassword {
    /// Checks the new password; the present one is right or wrong.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self, user: &str) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        errors.extend(password_problem(&self.new, user).map(|problem| field("new", &problem)));
        if self.new == self.present && errors.is_empty() {
            errors.push(field("new", "is the present one"));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl NewToken {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        check_text(&mut errors, "name", check_label(&self.name));
        let distinct: BTreeSet<Scope> = self.scopes.iter().copied().collect();
        if self.scopes.is_empty() {
            errors.push(field("scopes", "must name at least one of read, submit, own and operate"));
        } else if distinct.len() < self.scopes.len() {
            errors.push(field("scopes", "must name each only once"));
        }
        check_range(&mut errors, "days", self.days, TOKEN_DAYS_MAX);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl NewInvitation {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        check_range(&mut errors, "uses", self.uses, INVITATION_USES_MAX);
        check_range(&mut errors, "hours", self.hours, INVITATION_HOURS_MAX);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// What is wrong with a new password of a user, if anything is: a length, and not the user's name.
/// Rules about kinds of characters make passwords worse (NIST SP 800-63B-4, 3.1.1.2).
pub fn password_problem(password: &str, user: &str) -> Option<String> {
    let length = password.chars().count();
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&length) {
        Some(format!("must have {PASSWORD_MIN} to {PASSWORD_MAX} characters"))
    } else if password.eq_ignore_ascii_case(user) {
        Some("must not be the user's name".to_owned())
    } else {
        None
    }
}

fn check_range(errors: &mut Vec<FieldError>, name: &str, value: u32, max: u32) {
    if !(1..=max).contains(&value) {
        errors.push(field(name, &format!("must be 1 to {max}, is {value}")));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::{ChangePassword, ChangeUser, NewInvitation, NewToken, Register};
    use crate::rest::FieldError;

    fn told<T: DeserializeOwned>(
        body: Value,
        check: impl Fn(&T) -> Result<(), Vec<FieldError>>,
    ) -> String {
        let body: T = match serde_json::from_value(body) {
            Ok(body) => body,
            Err(error) => return format!("no such body: {error}\n"),
        };
        match check(&body) {
            Ok(()) => "good\n".to_owned(),
            Err(errors) => {
                errors.iter().map(|error| format!("{}: {}\n", error.field, error.message)).collect()
            }
        }
    }

    fn check(told: impl IntoIterator<Item = String>, expected: &Expect) {
        expected.assert_eq(&told.into_iter().collect::<String>());
    }

    #[test]
    fn a_token_has_a_name_scopes_and_an_end() {
        check(
            [
                json!({"name": "laptop", "scopes": ["read", "submit"], "days": 366, "password": ""}),
                json!({"name": "", "scopes": [], "days": 0, "password": ""}),
                json!({"name": "a\u{202e}b", "scopes": ["read", "read"], "days": 367, "password": ""}),
                json!({"name": "x", "scopes": ["all"], "days": 1, "password": ""}),
                json!({"name": "x", "scopes": ["own"], "days": 1, "password": "", "user": 3}),
                json!({"name": "x", "scopes": ["own"], "password": ""}),
                json!({"name": "x", "scopes": ["own"], "days": 1}),
            ]
            .map(|body| told(body, NewToken::check)),
            &expect![[r#"
                good
                name: must have 1 to 64 characters, has 0
                scopes: must name at least one of read, submit, own and operate
                days: must be 1 to 366, is 0
                name: must not contain control characters
                scopes: must name each only once
                days: must be 1 to 366, is 367
                no such body: unknown variant `all`, expected one of `read`, `submit`, `own`, `operate`
                no such body: unknown field `user`, expected one of `name`, `scopes`, `days`, `password`
                no such body: missing field `days`
                no such body: missing field `password`
            "#]],
        );
    }

    #[test]
    fn a_new_password_is_new_long_enough_and_not_the_name() {
        let change = |present: &str, new: &str| {
            told(json!({"present": present, "new": new}), |body: &ChangePassword| {
                body.check("Ada-Lovelace")
            })
        };
        check(
            [
                change("", "correct horse"),
                change("correct horse", "correct horse"),
                change("correct horse", "short"),
                change("correct horse", &"x".repeat(257)),
                change("correct horse", "ada-lovelace"),
            ],
            &expect![[r#"
                good
                new: is the present one
                new: must have 8 to 256 characters
                new: must have 8 to 256 characters
                new: must not be the user's name
            "#]],
        );
        let body = json!({"name": "grace-hopper", "password": "Grace-Hopper"});
        assert_eq!(told(body, Register::check), "password: must not be the user's name\n");
    }

    #[test]
    fn an_invitation_is_for_one_and_for_an_hour_unless_it_says_more() {
        check(
            [
                json!({}),
                json!({"uses": 10_000, "hours": 720}),
                json!({"uses": 0, "hours": 721}),
                json!({"uses": 10_001, "hours": 0}),
                json!({"uses": -1}),
            ]
            .map(|body| told(body, NewInvitation::check)),
            &expect![[r#"
                good
                good
                uses: must be 1 to 10000, is 0
                hours: must be 1 to 720, is 721
                uses: must be 1 to 10000, is 10001
                hours: must be 1 to 720, is 0
                no such body: invalid value: integer `-1`, expected u32
            "#]],
        );
    }

    #[test]
    fn a_role_is_one_of_two() {
        let role = |role: &str| told(json!({"role": role}), |_: &ChangeUser| Ok(()));
        assert_eq!(role("operator"), "good\n");
        assert!(role("root").starts_with("no such body"));
    }
}

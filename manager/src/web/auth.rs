//! Who asks: the token of a login or an API token, in a cookie or a header, the user it belongs to, and
//! what it may be used for.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use campusgrid_core::effect::Refusal;
use campusgrid_core::user::{Role, Scopes, User};
use campusgrid_protocol::id::{ApiTokenId, LoginId, UserId};

use super::Site;
use super::access::Access;
use super::cookie::{Cookie, Cookies};
use super::error::WebError;
use crate::engine::handle::AskError;
use crate::store::read::Viewer;

/// API tokens begin so: people and programs that look for lost secrets know them by it.
pub(super) const API_TOKEN_PREFIX: &str = "cgp_";

/// Separates the form token from every other use of a login's token.
const FORM_CONTEXT: &[u8] = b"campusgrid form token v1";

/// The secret of a login or of an API token: 256 random bits, shown as hex. Only its hash is stored.
#[derive(Clone, Copy)]
pub(super) struct Token([u8; 32]);

impl Token {
    /// # Errors
    ///
    /// `Random`, if the machine has none to give.
    pub(super) fn fresh() -> Result<Self, WebError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(WebError::Random)?;
        Ok(Self(bytes))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        // BLAKE3 hashes are 32 bytes as well, and theirs is a strict reader of hex.
        blake3::Hash::from_hex(text).ok().map(|bytes| Self(*bytes.as_bytes()))
    }

    /// What is stored of it.
    pub(super) fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.0).as_bytes()
    }

    /// What forms of this login carry: whoever sends it has read one of our pages.
    pub(super) fn form_token(&self) -> String {
        blake3::keyed_hash(&self.0, FORM_CONTEXT).to_string()
    }

    /// Whether a form came from a page of this login; takes equally long for every wrong token.
    pub(super) fn made_form(&self, form_token: &str) -> bool {
        blake3::Hash::from_hex(form_token)
            .is_ok_and(|sent| sent == blake3::keyed_hash(&self.0, FORM_CONTEXT))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)") // A secret never reaches a log.
    }
}

/// Whether a request names its token itself, which no browser does on behalf of another site.
pub(super) fn has_bearer(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION)
}

/// Whether what a request names is meant for an API token, though it may be a mistyped one.
fn shows_api_token(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim());
    token.is_some_and(|token| token.starts_with(API_TOKEN_PREFIX))
}

/// What a request shows, good or not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    Login(Token),
    ApiToken(Token),
}

/// What a request shows to say whose it is.
pub(super) fn shown(cookies: Cookies, headers: &HeaderMap) -> Option<Shown> {
    // A header that is there is the only thing that counts, or a request could pass for one
    // without a cookie while it acts by its cookie.
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        return match token.trim().strip_prefix(API_TOKEN_PREFIX) {
            Some(token) => Token::parse(token).map(Shown::ApiToken),
            None => Token::parse(token.trim()).map(Shown::Login),
        };
    }
    Token::parse(&cookies.find(Cookie::Session, headers)?).map(Shown::Login)
}

/// The token of the login that a request shows, good or not.
pub(super) fn token_of(cookies: Cookies, headers: &HeaderMap) -> Option<Token> {
    match shown(cookies, headers)? {
        Shown::Login(token) => Some(token),
        Shown::ApiToken(_) => None,
    }
}

/// By what a user is let in.
#[derive(Debug, Clone, Copy)]
enum Credential {
    Login { id: LoginId, token: Token },
    ApiToken { scopes: Scopes },
}

/// A user who is let in: by a login that is open, or by an API token that is good for what is asked.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) user: User,
    credential: Credential,
}

impl Login {
    /// Whoever a request shows itself to come from.
    ///
    /// # Errors
    ///
    /// `NotLoggedIn`, `Read`.
    pub(super) async fn of(site: &Site, shown: Option<Shown>) -> Result<Self, WebError> {
        let now = site.clock.now();
        let found = match shown.ok_or(WebError::NotLoggedIn)? {
            Shown::Login(token) => {
                let hash = token.hash();
                let found = site.readers.read(move |reader| reader.login(&hash, now)).await?;
                found.map(|(user, id)| {
                    site.last_uses.login(id, now);
                    Self { user, credential: Credential::Login { id, token } }
                })
            }
            Shown::ApiToken(token) => {
                let hash = token.hash();
                let found = site.readers.read(move |reader| reader.api_token(&hash, now)).await?;
                found.map(|(user, scopes, id): (User, Scopes, ApiTokenId)| {
                    site.last_uses.token(id, now);
                    Self { user, credential: Credential::ApiToken { scopes } }
                })
            }
        };
        found.ok_or(WebError::NotLoggedIn)
    }

    /// How this user looks at the store.
    pub(super) fn viewer(&self) -> Viewer {
        Viewer { user: self.user.id, operator: self.is_operator() }
    }

    /// As [`Login::viewer`], for what not even an operator does to what is somebody else's.
    pub(super) fn as_owner(&self) -> Viewer {
        Viewer { user: self.user.id, operator: false }
    }

    pub(super) fn id(&self) -> UserId {
        self.user.id
    }

    /// Whether this request may do what only operators may.
    pub(super) fn is_operator(&self) -> bool {
        let is_one = match self.user.role {
            Role::Operator => true,
            Role::Member => false,
        };
        is_one && self.may(Access::Operate)
    }

    /// What forms of this login carry; empty for an API token, which fills in no forms.
    pub(super) fn form_token(&self) -> String {
        match &self.credential {
            Credential::Login { token, .. } => token.form_token(),
            Credential::ApiToken { .. } => String::new(),
        }
    }

    /// Whether a form came from a page of this login.
    pub(super) fn made_form(&self, form_token: &str) -> bool {
        match &self.credential {
            Credential::Login { token, .. } => token.made_form(form_token),
            Credential::ApiToken { .. } => false,
        }
    }

    /// The login itself, where only somebody who knows the password may go on.
    ///
    /// # Errors
    ///
    /// `MissingScope` for an API token.
    pub(super) fn in_person(&self) -> Result<(LoginId, [u8; 32]), WebError> {
        match &self.credential {
            Credential::Login { id, token } => Ok((*id, token.hash())),
            Credential::ApiToken { .. } => Err(WebError::MissingScope { needed: Access::Person }),
        }
    }

    fn may(&self, access: Access) -> bool {
        let scopes = match &self.credential {
            Credential::Login { .. } => return true,
            Credential::ApiToken { scopes } => scopes,
        };
        match access {
            Access::Anyone => true,
            Access::Read => scopes.read,
            Access::Submit => scopes.submit,
            Access::Own => scopes.own,
            Access::Operate => scopes.operate,
            Access::Person => false,
        }
    }

    /// # Errors
    ///
    /// `MissingScope`; `Ask(Refused(NotAnOperator))`.
    fn check(&self, access: Access) -> Result<(), WebError> {
        if !self.may(access) {
            return Err(WebError::MissingScope { needed: access });
        }
        if access == Access::Operate && !self.is_operator() {
            return Err(AskError::Refused(Refusal::NotAnOperator).into());
        }
        Ok(())
    }
}

impl FromRequestParts<Site> for Login {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, WebError> {
        let login = Self::of(site, shown(site.cookies, &parts.headers)).await;
        let login = login.map_err(|error| {
            // Whoever wrote a program knows of no login.
            let is_stranger = matches!(error, WebError::NotLoggedIn);
            if is_stranger && shows_api_token(&parts.headers) {
                WebError::BadApiToken
            } else {
                error
            }
        })?;
        // Of a route that does not say what it needs, nothing is given away.
        login.check(parts.extensions.get().copied().unwrap_or(Access::Person))?;
        Ok(login)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, header};
    use campusgrid_core::user::{Role, Scopes, User};
    use campusgrid_protocol::id::UserId;

    use super::{Credential, Login, Shown, Token, shown};
    use crate::web::access::Access;
    use crate::web::cookie::Cookies;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn found(pairs: &[(HeaderName, &str)]) -> Option<String> {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        shown(Cookies::Plain, &headers).map(|shown| match shown {
            Shown::Login(token) => format!("login {token}"),
            Shown::ApiToken(token) => format!("API token {token}"),
        })
    }

    #[test]
    fn a_token_comes_in_the_cookie_or_the_header_and_nowhere_else() {
        let cookie = |value: &str| found(&[(header::COOKIE, value)]);
        let bearer = |value: &str| found(&[(header::AUTHORIZATION, value)]);
        let some = Some(format!("login {HEX}"));
        assert_eq!(cookie(&format!("cg_session={HEX}")), some);
        assert_eq!(cookie(&format!("a=b; cg_session={HEX}; c=d")), some);
        assert_eq!(bearer(&format!("Bearer {HEX}")), some);
        assert_eq!(bearer(&format!("bearer {HEX}")), some);
        assert_eq!(bearer(&format!("Bearer cgp_{HEX}")), Some(format!("API token {HEX}")));
        assert_eq!(bearer(&format!("Basic {HEX}")), None);
        assert_eq!(bearer(HEX), None);
        assert_eq!(cookie(&format!("session={HEX}")), None);
        assert_eq!(cookie(&format!("cg_session=cgp_{HEX}")), None);
        assert_eq!(cookie("cg_session=0011"), None);
        assert_eq!(cookie("cg_session="), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_bad_header_is_not_made_good_by_a_cookie() {
        let cookie = format!("cg_session={HEX}");
        let both = [(header::AUTHORIZATION, "Bearer x"), (header::COOKIE, cookie.as_str())];
        assert_eq!(found(&both), None);
    }

    #[test]
    fn a_form_belongs_to_one_login() {
        let (mine, other) = (Token::fresh().unwrap(), Token::fresh().unwrap());
        assert!(mine.made_form(&mine.form_token()));
        assert!(!mine.made_form(&other.form_token()));
        assert!(!mine.made_form(&mine.to_string()));
        assert!(!mine.made_form(""));
    }

    #[test]
    fn an_api_token_is_good_for_its_scopes_and_its_user_only() {
        let all = Scopes { read: true, submit: true, own: true, operate: true };
        let read = Scopes { read: true, ..Scopes::default() };
        let operate = Scopes { operate: true, ..Scopes::default() };
        let passes = |scopes: Scopes, role: Role| -> Vec<Access> {
            let user = User { id: UserId(1), name: "ada".to_owned(), role };
            let login = Login { user, credential: Credential::ApiToken { scopes } };
            assert!(login.in_person().is_err() && !login.made_form(""));
            let all = [
                Access::Anyone,
                Access::Read,
                Access::Submit,
                Access::Own,
                Access::Operate,
                Access::Person,
            ];
            all.into_iter().filter(|access| login.check(*access).is_ok()).collect()
        };
        use Access::{Anyone, Operate, Own, Read, Submit};
        assert_eq!(passes(all, Role::Operator), [Anyone, Read, Submit, Own, Operate]);
        assert_eq!(passes(all, Role::Member), [Anyone, Read, Submit, Own]);
        assert_eq!(passes(read, Role::Operator), [Anyone, Read]);
        assert_eq!(passes(operate, Role::Operator), [Anyone, Operate]);
        assert_eq!(passes(Scopes::default(), Role::Operator), [Anyone]);
    }
}

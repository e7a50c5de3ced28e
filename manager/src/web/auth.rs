//! Who asks: the token of a login, in a cookie or a header, and the user it belongs to.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum_extra::extract::CookieJar;
use campusgrid_core::user::{Role, User};
use campusgrid_protocol::id::UserId;

use super::Site;
use super::error::WebError;
use crate::store::read::Viewer;

/// The cookie that carries the token of a login.
const COOKIE: &str = "cg_session";

/// Separates the form token from every other use of a login's token.
const FORM_CONTEXT: &[u8] = b"campusgrid form token v1";

/// The secret of a login: 256 random bits, shown as hex. Only its hash is stored.
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

    fn parse(text: &str) -> Option<Self> {
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

    /// The header that makes a browser keep the token.
    pub(super) fn set_cookie(&self, days: u32) -> HeaderValue {
        let seconds = u64::from(days) * 24 * 3600;
        cookie_header(&format!("{self}"), seconds)
    }
}

/// The header that makes a browser forget its token.
pub(super) fn clear_cookie() -> HeaderValue {
    cookie_header("", 0)
}

fn cookie_header(value: &str, seconds: u64) -> HeaderValue {
    let cookie = format!("{COOKIE}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}");
    HeaderValue::from_str(&cookie).expect("hex and digits are good in a header")
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

/// The token that a request carries, good or not.
pub(super) fn token_of(headers: &HeaderMap) -> Option<Token> {
    // A header that is there is the only thing that counts, or a request could pass for one
    // without a cookie while it acts by its cookie.
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| Token::parse(token.trim()))?;
    }
    Token::parse(CookieJar::from_headers(headers).get(COOKIE)?.value())
}

/// A user with a login that is open now.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) user: User,
    pub(super) token: Token,
}

impl Login {
    /// The open login that a token belongs to.
    ///
    /// # Errors
    ///
    /// `NotLoggedIn`, `Read`.
    pub(super) async fn of(site: &Site, token: Option<Token>) -> Result<Self, WebError> {
        let token = token.ok_or(WebError::NotLoggedIn)?;
        let (hash, now) = (token.hash(), site.clock.now());
        let user = site.readers.read(move |reader| reader.login(&hash, now)).await?;
        Ok(Self { user: user.ok_or(WebError::NotLoggedIn)?, token })
    }

    /// How this user looks at the store.
    pub(super) fn viewer(&self) -> Viewer {
        Viewer { user: self.user.id, operator: self.is_operator() }
    }

    pub(super) fn id(&self) -> UserId {
        self.user.id
    }

    pub(super) fn is_operator(&self) -> bool {
        match self.user.role {
            Role::Operator => true,
            Role::Member => false,
        }
    }
}

impl FromRequestParts<Site> for Login {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, WebError> {
        Self::of(site, token_of(&parts.headers)).await
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, header};

    use super::{Token, clear_cookie, token_of};

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn found(pairs: &[(HeaderName, &str)]) -> Option<String> {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        token_of(&headers).map(|token| token.to_string())
    }

    #[test]
    fn a_token_comes_in_the_cookie_or_the_header_and_nowhere_else() {
        let cookie = |value: &str| found(&[(header::COOKIE, value)]);
        let bearer = |value: &str| found(&[(header::AUTHORIZATION, value)]);
        let some = Some(HEX.to_owned());
        assert_eq!(cookie(&format!("cg_session={HEX}")), some);
        assert_eq!(cookie(&format!("a=b; cg_session={HEX}; c=d")), some);
        assert_eq!(bearer(&format!("Bearer {HEX}")), some);
        assert_eq!(bearer(&format!("bearer {HEX}")), some);
        assert_eq!(bearer(&format!("Basic {HEX}")), None);
        assert_eq!(bearer(HEX), None);
        assert_eq!(cookie(&format!("session={HEX}")), None);
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
    fn cookies_are_kept_from_scripts_and_other_sites() {
        let cookie = Token::parse(HEX).unwrap().set_cookie(7);
        let expected = format!("cg_session={HEX}; HttpOnly; SameSite=Lax; Path=/; Max-Age=604800");
        assert_eq!(cookie.to_str().unwrap(), expected);
        let cleared = "cg_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0";
        assert_eq!(clear_cookie().to_str().unwrap(), cleared);
    }
}

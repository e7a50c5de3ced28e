//! The page to let machines in: it makes a token and shows the one line to run on the machine.

use std::net::Ipv6Addr;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_protocol::id::VoucherId;
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::workers::{HOURS_MAX, JoinTokenRow, MakeJoinToken, USES_MAX};

use super::account::error_of;
use super::form::{Fields, SignedForm};
use super::{Frame, PageError, Visitor};
use crate::web::error::WebError;
use crate::web::extract::Named;
use crate::web::local::without_port;
use crate::web::vouchers::{make_join_token, read_join_tokens, revoke_join_token};
use crate::web::words::{self, Moment};
use crate::web::{PublicUrl, Site};

/// The port that workers dial if they are not told another.
const USUAL_PORT: u16 = 9999;

/// Longest host name (RFC 1035) with room for the brackets of an address.
const HOST_MAX: usize = 255;

#[derive(Template, WebTemplate)]
#[template(path = "add_worker.html")]
struct AddPage {
    frame: Frame,
    /// The line to run on the machine; empty before a token was made.
    command: String,
    /// What the token just made is good for, in words.
    good_for: String,
    fingerprint: String,
    host: String,
    /// The flags by which the worker finds this manager.
    dial: String,
    uses: String,
    hours: String,
    owner: String,
    uses_max: u32,
    hours_max: u32,
    tokens: Vec<TokenRow>,
    problem: String,
    errors: Vec<FieldError>,
}

/// A token that is good now.
struct TokenRow {
    id: u64,
    owner: String,
    uses_left: String,
    until: Moment,
    left: String,
}

impl AddPage {
    async fn new(
        site: &Site,
        visitor: &Visitor,
        fields: &Fields,
        host: String,
    ) -> Result<Self, WebError> {
        let tokens = read_join_tokens(site, &visitor.login).await?;
        let typed = |name: &str, usual: &str| match fields.text(name).trim() {
            "" => usual.to_owned(),
            text => text.to_owned(),
        };
        let dial = match site.worker_port {
            USUAL_PORT => format!("-m {host}"),
            port => format!("-m {host} -p {port}"),
        };
        Ok(Self {
            frame: visitor.frame.clone(),
            command: String::new(),
            good_for: String::new(),
            fingerprint: site.fingerprint.grouped(),
            host,
            dial,
            uses: typed("uses", "1"),
            hours: typed("hours", "1"),
            owner: typed("owner", &visitor.login.user.name),
            uses_max: USES_MAX,
            hours_max: HOURS_MAX,
            tokens: tokens.iter().map(|row| TokenRow::new(site, row)).collect(),
            problem: String::new(),
            errors: Vec::new(),
        })
    }

    /// What is wrong with a field; empty if nothing is.
    fn error(&self, field: &str) -> &str {
        error_of(&self.errors, field)
    }
}

impl TokenRow {
    fn new(site: &Site, row: &JoinTokenRow) -> Self {
        let now = site.clock.now();
        Self {
            id: row.id,
            owner: row.owner.clone(),
            uses_left: words::counted(row.uses_left.into(), "machine", "machines"),
            until: Moment::new(row.until_ms, now),
            left: words::span(row.until_ms.saturating_sub(now.0)),
        }
    }
}

/// `GET /workers/add`.
pub(in crate::web) async fn add_form(
    State(site): State<Site>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let host = asked_host(&site, &headers);
    let page = AddPage::new(&site, &visitor, &Fields::default(), host).await?;
    Ok(page.into_response())
}

/// `POST /workers/add`.
pub(in crate::web) async fn add(
    State(site): State<Site>,
    headers: HeaderMap,
    form: SignedForm,
) -> Result<Response, PageError> {
    let SignedForm { visitor, fields } = form;
    let asked = asked_host(&site, &headers);
    let (host, made) = match read(&fields, &asked) {
        Ok((host, body)) => (host, make_join_token(&site, &visitor.login, body).await),
        Err(errors) => (asked, Err(WebError::Fields(errors))),
    };
    // After making it, so that it is among those that are listed.
    let mut page = AddPage::new(&site, &visitor, &fields, host).await?;
    match made {
        Ok((token, row)) => {
            page.command = format!("campusgrid-worker {} --token {token}", page.dial);
            page.good_for = good_for(&row);
            Ok((StatusCode::CREATED, page).into_response())
        }
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(error) => {
            let (status, _, problem) = error.describe();
            page.errors = error.fields();
            if page.errors.is_empty() {
                page.problem = problem;
            }
            Ok((status, page).into_response())
        }
    }
}

/// `POST /workers/tokens/{id}/revoke`.
pub(in crate::web) async fn revoke(
    State(site): State<Site>,
    Named(id): Named<VoucherId>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    revoke_join_token(&site, &form.visitor.login, id).await?;
    Ok(Redirect::to("/workers/add"))
}

fn good_for(row: &JoinTokenRow) -> String {
    let machines = words::counted(row.uses_left.into(), "machine", "machines");
    let lasts = words::span(row.until_ms.saturating_sub(row.made_at_ms));
    format!("Good for {machines} within {lasts}, which will be {}’s.", row.owner)
}

/// What was typed: the host that machines are to dial, and the token that is wished for.
fn read(fields: &Fields, asked: &str) -> Result<(String, MakeJoinToken), Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, message: &str| {
        let (field, message) = (field.to_owned(), message.to_owned());
        errors.push(FieldError { field, message });
    };
    let host = match fields.text("host").trim() {
        "" => asked,
        host if is_host(host) => host,
        _ => {
            wrong("host", "must be a host name or an address, without a port");
            asked
        }
    };
    let mut number = |name: &str| match fields.text(name).trim() {
        "" => 1,
        text => text.parse().unwrap_or_else(|_| {
            wrong(name, "must be a whole number");
            1
        }),
    };
    let (uses, hours) = (number("uses"), number("hours"));
    let owner = Some(fields.text("owner").trim().to_owned()).filter(|owner| !owner.is_empty());
    let body = MakeJoinToken { owner, uses, hours };
    errors.extend(body.check().err().unwrap_or_default());
    if errors.is_empty() { Ok((host.to_owned(), body)) } else { Err(errors) }
}

/// What may stand in a command line that people paste into a shell.
fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    // A colon belongs to an IPv6 address; to a name it is the beginning of a port.
    let has_port = text.contains(':') && text.parse::<Ipv6Addr>().is_err();
    let length = (1..=HOST_MAX).contains(&text.len());
    length && text.chars().all(plain) && !text.starts_with('-') && !has_port
}

/// The name under which the browser has found us: machines find us there as well, unless a proxy that
/// knows nothing of them is in front.
fn asked_host(site: &Site, headers: &HeaderMap) -> String {
    let public = site.config.public_url.as_ref().map(PublicUrl::host);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let found = public.or_else(|| host.map(without_port)).unwrap_or_default();
    let host = found.trim_matches(['[', ']']);
    if is_host(host) { host.to_owned() } else { "localhost".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn only_hosts_come_into_a_line_that_is_pasted_into_a_shell() {
        for (text, is) in [
            ("grid.campus", true),
            ("10.0.0.7", true),
            ("2001:db8::7", true),
            ("", false),
            ("-x", false),
            ("grid.campus:9999", false),
            ("10.0.0.7:9999", false),
            ("grid.campus; rm -rf ~", false),
            ("$(id)", false),
            ("grid campus", false),
            ("grid.campus\n", false),
        ] {
            assert_eq!(is_host(text), is, "{text}");
        }
    }
}

//! The dashboard and the API over a real connection: whatever is asked, by whomever, is answered in
//! good order, and what people write is never taken for markup.

mod site;

use std::sync::{Mutex, OnceLock, PoisonError};

use campusgrid_manager::web::routes::{Listed, listed};
use campusgrid_protocol::rest::ErrorBody;

use crate::Verdict;
use crate::front_door::site::{Answer, Site};

/// A tag that none of our pages has.
const FOREIGN_TAG: &str = "<x9";

/// Then all that was registered and submitted is forgotten, or pages would grow without an end.
const REQUESTS_PER_SITE: u32 = 5000;

const METHODS: [&str; 7] = ["GET", "POST", "DELETE", "PATCH", "PUT", "HEAD", "OPTIONS"];

const TYPES: [&str; 4] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data; boundary=b",
];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Nobody,
    /// With a login's token, as a program.
    Operator,
    Member,
    /// With a cookie, and the token of one of our own forms.
    Browser,
    /// With a cookie alone, as a foreign page would have it sent.
    ForeignPage,
}

const CALLERS: [Caller; 5] =
    [Caller::Nobody, Caller::Operator, Caller::Member, Caller::Browser, Caller::ForeignPage];

/// A request as the bytes describe it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) caller: Caller,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

/// Four bytes: which route (0 for none of ours), method if none, caller, content type. Then a line
/// that fills the route's names, and the body.
pub fn run(bytes: &[u8]) -> Verdict {
    static SITE: OnceLock<Mutex<Option<Site>>> = OnceLock::new();
    let Some(asked) = asked(bytes) else { return Verdict::Refused };
    let slot = SITE.get_or_init(|| Mutex::new(None));
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.as_ref().is_some_and(|site| site.is_spent || site.asked >= REQUESTS_PER_SITE) {
        *slot = None; // The old one lets go of its folder before a new one begins.
    }
    let site = slot.get_or_insert_with(Site::start);
    let Some(answer) = site.ask(&asked) else { return Verdict::Refused };
    check(&asked, &answer);
    if answer.status < 400 { Verdict::Taken } else { Verdict::Refused }
}

fn asked(bytes: &[u8]) -> Option<Asked> {
    static ROUTES: OnceLock<Vec<Listed>> = OnceLock::new();
    let (&[route, method, caller, content_type], rest) = bytes.split_first_chunk::<4>()?;
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let (names, body) = rest.split_at(end);
    let names = addressed(names);
    let routes = ROUTES.get_or_init(listed);
    let (method, path) = match routes.get(usize::from(route).checked_sub(1)?) {
        Some(listed) => {
            let method = METHODS.into_iter().find(|known| *known == listed.method.as_str());
            (method.unwrap_or("GET"), filled(listed.path, &names))
        }
        None => (METHODS[usize::from(method) % METHODS.len()], format!("/{names}")),
    };
    Some(Asked {
        method,
        path,
        caller: CALLERS[usize::from(caller) % CALLERS.len()],
        content_type: TYPES[usize::from(content_type) % TYPES.len()],
        body: body.get(1..).unwrap_or_default().to_vec(),
    })
}

/// As it can stand in the first line of a request.
fn addressed(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"<>\"`{}|\\^#".contains(byte);
    let one = |byte: &u8| {
        if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    };
    bytes.iter().map(one).collect()
}

/// A route's path with its names in braces filled one after the other, and the rest as its query.
fn filled(path: &str, names: &str) -> String {
    let mut names = names.split(';');
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => names.next().unwrap_or("1").to_owned(),
        false => part.to_owned(),
    });
    let path = parts.collect::<Vec<_>>().join("/");
    match names.next() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn check(asked: &Asked, answer: &Answer) {
    let Answer { status, .. } = answer;
    assert!((200..500).contains(status) || *status == 503, "{asked:?} is answered {answer:?}");
    // What the connection itself refuses carries no headers of ours.
    if answer.header("connection") == Some("close") && answer.header("date").is_none() {
        return;
    }
    assert!(answer.header("content-security-policy").is_some(), "{asked:?}: {answer:?}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{asked:?}");
    let kind = answer.header("content-type").unwrap_or_default();
    let body = String::from_utf8_lossy(&answer.body);
    if kind.starts_with("text/html") {
        assert!(!body.contains(FOREIGN_TAG), "{asked:?} comes back as markup:\n{body}");
    }
    if asked.path.starts_with("/api/") && *status >= 400 && asked.method != "HEAD" {
        let error: ErrorBody = serde_json::from_str(&body).expect("errors are in JSON");
        assert!(!error.error.code.is_empty() && !error.error.message.is_empty(), "{body}");
        assert!(!tells_of_the_inside(&error.error.message, asked), "{asked:?}: {body}");
    }
    let changes = !["GET", "HEAD", "OPTIONS"].contains(&asked.method);
    if changes && asked.caller == Caller::ForeignPage {
        assert!(*status >= 300, "a foreign page has changed something: {asked:?}, {answer:?}");
    }
}

/// Whether words that are meant for us have come out; but for those that went in.
fn tells_of_the_inside(message: &str, asked: &Asked) -> bool {
    let body = String::from_utf8_lossy(&asked.body);
    ["SQLITE", "constraint failed", "panicked", "src/", "rusqlite"]
        .into_iter()
        .any(|word| message.contains(word) && !asked.path.contains(word) && !body.contains(word))
}

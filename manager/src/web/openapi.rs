//! The API's description of itself in OpenAPI 3.1: what each handler says of itself, completed by what
//! the table of routes and the table of errors say for all of them. `GET /openapi.json`.

mod mend;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use campusgrid_protocol::rest::ErrorBody;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::access::Access;
use super::error::codes::{self, Code};
use super::etag;
use super::routes::{self, Listed, Route};

/// What a handler says of itself.
#[derive(Debug, Clone)]
pub(super) struct Says {
    methods: Value,
    path: String,
    operation: Value,
    /// By name.
    schemas: Vec<(String, Value)>,
}

/// What `utoipa::path` has made of a handler's attributes.
///
/// Two of these are hidden, but the only way to an operation's schemas and tags without a second list of
/// all handlers; utoipa-axum does the same.
pub(super) trait Described:
    utoipa::Path + utoipa::__dev::SchemaReferences + utoipa::__dev::Tags<'static>
{
}

impl<P> Described for P where
    P: utoipa::Path + utoipa::__dev::SchemaReferences + utoipa::__dev::Tags<'static>
{
}

impl Says {
    /// Reads it all.
    pub(super) fn of<P: Described>() -> Self {
        let mut schemas = Vec::new();
        P::schemas(&mut schemas);
        let mut operation = as_json(&P::operation());
        operation["tags"] = json!(P::tags());
        Self {
            methods: as_json(&P::methods()),
            path: P::path(),
            operation,
            schemas: schemas.into_iter().map(|(name, schema)| (name, as_json(&schema))).collect(),
        }
    }

    /// Whether that is what the table has this handler under.
    pub(super) fn is_of(&self, listed: &Listed) -> bool {
        let method = listed.method.as_str().to_ascii_lowercase();
        self.path == documented(listed.path) && self.methods == json!([method])
    }
}

/// `GET /openapi.json`.
pub(super) async fn json(headers: HeaderMap) -> Response {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(routes::table()));
    etag::json(&headers, &*DOCUMENT)
}

/// Describes all routes whose handlers say what they do.
fn document(table: Vec<Route>) -> Value {
    let mut schemas =
        BTreeMap::from([(ErrorBody::name().into_owned(), as_json(&ErrorBody::schema()))]);
    let mut of_errors = Vec::new();
    ErrorBody::schemas(&mut of_errors);
    schemas.extend(of_errors.into_iter().map(|(name, schema)| (name, as_json(&schema))));
    let mut paths = BTreeMap::<String, Map<String, Value>>::new();
    for Route { listed, says, .. } in table {
        let Some(says) = says else { continue };
        assert!(says.is_of(&listed), "{listed:?} is documented elsewhere: {}", says.path);
        schemas.extend(says.schemas.iter().cloned());
        let method = listed.method.as_str().to_ascii_lowercase();
        paths.entry(says.path.clone()).or_default().insert(method, completed(&listed, says));
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "CampusGrid",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": error_responses(),
            "securitySchemes": security_schemes(),
        },
    });
    mend::mend(&mut document);
    document
}

const DESCRIPTION: &str = "Credits are whole micro-credits (`…_micros`, 1,000,000 to the credit), times \
    are milliseconds since the Unix epoch (`…_at_ms`). Every error is `{\"error\":{\"code\",\
    \"message\"}}` with a stable code. Lists come in pages; `next` leads to the one that follows. \
    Requests that make something may carry an `Idempotency-Key`, and can then be sent again.";

const TAGS: [(&str, &str); 7] = [
    ("account", "Who you are, how you log in, what you have."),
    ("jobs", "What you submit."),
    ("files", "What jobs bring and leave, and what they print."),
    ("workers", "Machines."),
    ("market", "Jobs whose price is found by bids, and what work costs."),
    ("grid", "The whole, in figures."),
    ("operators", "For operators only."),
];

/// What a handler says, and what holds for its row beside.
fn completed(listed: &Listed, says: Says) -> Value {
    let mut operation = says.operation;
    operation["operationId"] = json!(operation_id(listed));
    if let Some(words) = words_of(listed.access) {
        let said = operation["description"].as_str().unwrap_or_default().to_owned();
        operation["description"] = json!(format!("{said}\n\n{words}").trim());
    }
    let mut parameters = of_path(&says.path);
    parameters.extend(operation["parameters"].as_array().cloned().unwrap_or_default());
    let has_query = parameters.iter().any(|parameter| parameter["in"] == "query");
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    operation["security"] = security(listed);
    let has_body = !operation["requestBody"].is_null();
    for status in errors_of(listed, has_query, has_body) {
        operation["responses"][status.as_str()] = Value::Null; // Its words come below.
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        for (status, response) in responses {
            complete_response(status, response);
        }
    }
    operation
}

/// Errors are told once for all; what is not told must have words all the same.
fn complete_response(status: &str, response: &mut Value) {
    let status: StatusCode = status.parse().expect("a status is a number");
    if status.is_client_error() || status.is_server_error() {
        *response = json!({ "$ref": format!("#/components/responses/Error{}", status.as_str()) });
    } else if response["description"].is_null() {
        response["description"] = json!(status.canonical_reason());
    }
}

/// The name of a call in programs that are made from the description: `get_jobs_id_files`.
fn operation_id(listed: &Listed) -> String {
    let method = listed.method.as_str().to_ascii_lowercase();
    let path = listed.path.strip_prefix("/api/v1").unwrap_or(listed.path);
    let parts = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.fold(method, |id, part| id + "_" + part)
}

/// The errors that any handler in such a row can come to.
fn errors_of(listed: &Listed, has_query: bool, has_body: bool) -> Vec<StatusCode> {
    let is_safe = listed.method == Method::GET;
    let is_closed = listed.access != Access::Anyone;
    let always = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
    let unsafe_ones =
        [StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS, StatusCode::INSUFFICIENT_STORAGE];
    let of_bodies = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        StatusCode::UNPROCESSABLE_ENTITY,
    ];
    let mut errors = always.to_vec();
    if has_query {
        errors.extend([StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY]);
    }
    errors.extend(listed.path.contains('{').then_some(StatusCode::NOT_FOUND));
    if is_closed {
        errors.extend([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
    }
    if !is_safe {
        errors.extend(unsafe_ones);
    }
    if has_body {
        errors.extend(of_bodies);
    }
    errors
}

/// What a path names: numbers, but for paths of files.
fn of_path(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let schema = if name == "path" {
            json!({ "type": "string", "minLength": 1, "maxLength": 255 })
        } else {
            json!({ "type": "integer", "format": "uint64", "minimum": 0 })
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    names.map(parameter).collect()
}

/// A path of the router as OpenAPI writes it.
fn documented(path: &str) -> String {
    path.replace("{*", "{")
}

fn words_of(access: Access) -> Option<&'static str> {
    match access {
        Access::Anyone => None,
        Access::Read => Some("An API token needs the scope `read`."),
        Access::Submit => Some("An API token needs the scope `submit`."),
        Access::Own => Some("An API token needs the scope `own`."),
        Access::Operate => Some("For operators; an API token needs the scope `operate`."),
        Access::Person => Some("No API token will do: it takes a login with a password."),
    }
}

fn security(listed: &Listed) -> Value {
    let is_safe = listed.method == Method::GET;
    match (listed.access, is_safe) {
        (Access::Anyone, _) => json!([]),
        (_, true) => json!([{ "bearer": [] }, { "cookie": [] }]),
        // What a browser sends on its own is not enough to change anything.
        (_, false) => json!([{ "bearer": [] }, { "cookie": [], "form_token": [] }]),
    }
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token (`cgp_…`, made on the page Account), or the token of a login.",
        },
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": "cg_session",
            "description": "The login of a browser; `__Host-cg_session` where browsers speak TLS.",
        },
        "form_token": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Form-Token",
            "description": "Goes with the cookie; it is in every page of ours.",
        },
    })
}

/// One answer for each status, with the codes that come under it.
fn error_responses() -> Value {
    let mut responses = Map::new();
    for status in codes::ALL.iter().map(|code| code.status) {
        let mut response = json!({
            "description": words_of_codes(status),
            "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/ErrorBody" },
            } },
        });
        let header = |words: &str| json!({ "description": words, "schema": { "type": "string" } });
        if status == StatusCode::UNAUTHORIZED {
            response["headers"] = json!({ "WWW-Authenticate": header("`Bearer`.") });
        }
        if can_be_tried_again(status) {
            response["headers"] = json!({ "Retry-After": header("Seconds.") });
        }
        responses.insert(format!("Error{}", status.as_str()), response);
    }
    Value::Object(responses)
}

/// Whether such an error says when to try again.
fn can_be_tried_again(status: StatusCode) -> bool {
    [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INSUFFICIENT_STORAGE,
    ]
    .contains(&status)
}

fn words_of_codes(status: StatusCode) -> String {
    let of_status = codes::ALL.iter().filter(|code| code.status == status);
    let words: Vec<String> =
        of_status.map(|Code { name, means, .. }| format!("`{name}`: {means}")).collect();
    words.join("\n\n")
}

fn as_json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("a description is JSON")
}

#[cfg(test)]
mod tests;

//! The machines of the grid, those that wait for their owner, and the page to approve one.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_core::snapshot::{NewcomerView, WorkerView};
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::resource::{Capacity, Isolation};
use serde::Deserialize;

use super::form::SignedForm;
use super::{Frame, PageError, Visitor};
use crate::web::extract::{Named, Params};
use crate::web::workers::adopt;
use crate::web::{Site, words};

/// A machine with an owner.
struct WorkerCard {
    id: u64,
    name: String,
    owner: String,
    running: String,
    may_remove: bool,
    link: Option<LinkCard>,
}

/// What a connected machine has.
struct LinkCard {
    cpu_millis: u32,
    cpu_taken_millis: u32,
    cores: String,
    cores_free: String,
    ram_mib: u32,
    ram_taken_mib: u32,
    ram: String,
    ram_free: String,
    disk: String,
    gpus: Vec<String>,
    gpus_free: usize,
    isolation: &'static str,
    isolation_words: &'static str,
    notes: Vec<String>,
    busy_percent: u16,
}

/// A machine that nobody has approved yet.
struct NewcomerCard {
    name: String,
    claimed_owner: Option<String>,
    capacity: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "workers.html")]
pub(super) struct WorkersPage {
    frame: Frame,
    workers: Vec<WorkerCard>,
    newcomers: Vec<NewcomerCard>,
    notice: &'static str,
}

#[derive(Template, WebTemplate)]
#[template(path = "approve.html")]
struct ApprovePage {
    frame: Frame,
    code: String,
    problem: String,
}

/// What was done just before, to say so.
#[derive(Debug, Deserialize)]
pub(super) struct Done {
    #[serde(default)]
    done: String,
}

/// A code from a link.
#[derive(Debug, Deserialize)]
pub(super) struct Code {
    #[serde(default)]
    code: String,
}

/// `GET /workers`.
pub(super) async fn workers(
    State(site): State<Site>,
    visitor: Visitor,
    Params(Done { done }): Params<Done>,
) -> WorkersPage {
    let frame = visitor.frame.clone().following_grid(&site);
    let snapshot = site.engine.snapshot();
    let notice = match done.as_str() {
        "approved" => "The machine is yours now and takes work.",
        "removed" => "The machine was removed; what ran there goes back to the queue.",
        _ => "",
    };
    WorkersPage {
        frame,
        workers: snapshot.workers.iter().map(|view| WorkerCard::new(view, &visitor)).collect(),
        newcomers: snapshot.newcomers.iter().map(NewcomerCard::new).collect(),
        notice,
    }
}

/// `GET /workers/approve`.
pub(super) async fn approve_form(
    visitor: Visitor,
    Params(Code { code }): Params<Code>,
) -> impl IntoResponse {
    ApprovePage { frame: visitor.frame, code, problem: String::new() }
}

/// `POST /workers/approve`.
pub(super) async fn approve(
    State(site): State<Site>,
    form: SignedForm,
) -> Result<Response, PageError> {
    let code = form.fields.text("code").to_owned();
    match adopt(&site, &form.visitor.login, &code).await {
        Ok(_) => Ok(Redirect::to("/workers?done=approved").into_response()),
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(error) => {
            let (status, _, problem) = error.describe();
            Ok((status, ApprovePage { frame: form.visitor.frame, code, problem }).into_response())
        }
    }
}

/// `POST /workers/{id}/remove`.
pub(super) async fn remove(
    State(site): State<Site>,
    Named(worker): Named<WorkerId>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    site.engine.remove_worker(form.visitor.login.id(), worker).await?;
    Ok(Redirect::to("/workers?done=removed"))
}

impl WorkerCard {
    fn new(view: &WorkerView, visitor: &Visitor) -> Self {
        Self {
            id: view.id.0,
            name: view.name.clone(),
            owner: view.owner_name.clone(),
            running: words::counted(view.running.into(), "task", "tasks"),
            may_remove: view.owner == visitor.login.id() || visitor.login.is_operator(),
            link: LinkCard::new(view),
        }
    }
}

impl LinkCard {
    fn new(view: &WorkerView) -> Option<Self> {
        let link = view.link.as_ref()?;
        let (capacity, free) = (&link.capacity, &link.free);
        let (isolation, isolation_words) = describe(link.isolation);
        Some(Self {
            cpu_millis: capacity.cpu_millis,
            cpu_taken_millis: capacity.cpu_millis.saturating_sub(free.cpu_millis),
            cores: words::cores(capacity.cpu_millis),
            cores_free: words::cores(free.cpu_millis),
            ram_mib: capacity.ram_mib,
            ram_taken_mib: capacity.ram_mib.saturating_sub(free.ram_mib),
            ram: words::mib(capacity.ram_mib),
            ram_free: words::mib(free.ram_mib),
            disk: words::mib(capacity.disk_mib),
            gpus: gpus(capacity),
            gpus_free: free.gpu_memory_mib.len(),
            isolation,
            isolation_words,
            notes: link.isolation_notes.clone(),
            busy_percent: link.load.cpu_busy_permille / 10,
        })
    }
}

impl NewcomerCard {
    fn new(view: &NewcomerView) -> Self {
        let capacity = &view.capacity;
        let mut parts = vec![
            words::counted(u64::from(capacity.cpu_millis / 1000), "core", "cores"),
            words::mib(capacity.ram_mib),
        ];
        parts.extend(gpus(capacity));
        let (name, claimed_owner) = (view.name.clone(), view.claimed_owner.clone());
        Self { name, claimed_owner, capacity: parts.join(", ") }
    }
}

fn gpus(capacity: &Capacity) -> Vec<String> {
    let describe = |gpu: &campusgrid_protocol::resource::Gpu| {
        format!("{} ({})", gpu.model, words::mib(gpu.memory_mib))
    };
    capacity.gpus.iter().map(describe).collect()
}

fn describe(isolation: Isolation) -> (&'static str, &'static str) {
    match isolation {
        Isolation::Full => ("full", "Sandboxed"),
        Isolation::Restricted => ("restricted", "Restricted sandbox"),
        Isolation::None => ("none", "No sandbox: own jobs only"),
    }
}
